"""A self-contained HTML file with the attention view."""

import html
import json

from headprune_core.errors import HeadPruneError

from .attention_document import FORMAT
from .view import SCRIPT, STYLE

MARK = ">__ATTENTION_DOCUMENT__<"  # where the data stands in the template; view/files.js fills the same template
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Attention on a text</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ margin: 0 auto; padding: 1.25rem; max-width: 90rem; background: light-dark(#ffffff, #11161c); }}
body {{ color: light-dark(#1c2530, #e6ebf0); font: 1rem/1.5 system-ui, sans-serif; }}
@media (max-width: 40rem) {{ body {{ padding: 1rem; }} }}
h1 {{ font-size: 1.35rem; margin: 0 0 0.9rem; overflow-wrap: anywhere; }}
{style}</style>
</head>
<body>
<main>
<h1>Attention on a text</h1>
<noscript><p>JavaScript is disabled, so the attention is not shown.</p></noscript>
<div id="attention"></div>
</main>
<script type="application/json" id="document"{mark}/script>
<script type="module">
const page = "<!doctype html>\\n" + document.documentElement.outerHTML;
{script}
const data = JSON.parse(document.getElementById("document").textContent);
document.title = "Attention of " + data.model;
document.querySelector("h1").textContent = document.title;
draw(document.getElementById("attention"), data, {{ page }});
</script>
</body>
</html>
"""


def page_template() -> str:
    """Return the HTML file with a mark in place of the data."""
    return _PAGE.format(policy=html.escape(POLICY), style=STYLE, script=SCRIPT, mark=MARK)


def attention_html(document: dict) -> str:
    """Return a self-contained HTML file with the attention view; it needs no network.

    Args:
        document: What `TextAttention.document` returns.

    Returns:
        The text of the file. Tokens cannot end the element that holds the data, and no text is read as HTML.

    Raises:
        HeadPruneError: If the document is of another kind.

    Example:
        >>> found = text_attention(model, "The flight was late.", heads=[(3, 5)])
        >>> Path("attention.html").write_text(attention_html(found.document()), encoding="utf-8")
    """
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise HeadPruneError(f"document must be the result of TextAttention.document(), with the format {FORMAT!r}")
    return page_template().replace(MARK, f">{json_in_html(document)}<", 1)


def json_in_html(document: dict) -> str:
    """Return a document as JSON that cannot end the element of an HTML page that holds it.

    Args:
        document: What `TextAttention.document` returns.
    """
    return json.dumps(document).replace("<", "\\u003c")
