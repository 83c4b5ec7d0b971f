"""The attention view: one plain ES module and its style, without imports and without network access.

The files are joined to one module, which the app, notebooks and HTML files use unchanged. It exports
`draw(element, document, options)` and, as its default, the entry of Streamlit components and of anywidget.
"""

from pathlib import Path

_HERE = Path(__file__).parent
_FILES = ("values", "words", "column", "lines", "matrix", "picture", "files", "controls", "display", "view", "homes")
SCRIPT = "\n".join((_HERE / f"{name}.js").read_text("utf-8") for name in _FILES)
STYLE = (_HERE / "view.css").read_text("utf-8")
