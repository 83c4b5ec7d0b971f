"""Render a report as one HTML page: numbered sections, figures, tables and references, without network access.

Input is plain text and figures. All text is escaped here; text inside figures is escaped by `figures.style.for_plotly`. Text
cites references with `cite("michel")`; numbers follow the order of first citation. Colors follow the reader's light or dark
setting; print is always black on white.
"""

import datetime
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from headprune_core.figures.style import GRAY
from headprune_core.inspection.attention_html import json_in_html
from headprune_core.inspection.view import SCRIPT, STYLE

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"
_AXIS = {"automargin": True, "gridcolor": GRAY.format(0.25), "zerolinecolor": GRAY.format(0.4), "title": {"standoff": 10}}
TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 13, "color": "#5a6673"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "hoverlabel": {"bgcolor": "#ffffff", "bordercolor": "#8c8c8c", "font": {"color": "#1c2530"}},
    }
)
CONFIG = {"displaylogo": False, "responsive": True, "toImageButtonOptions": {"format": "svg"}}
NO_NETWORK = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
_PAGE = Path(__file__).with_name("page")
_ATTENTION_VIEW = f"""<style>
{STYLE}</style>
<script type="module">
{SCRIPT}
for (const place of document.querySelectorAll(".attention-view"))
  draw(place, JSON.parse(place.nextElementSibling.textContent));
</script>
"""
_CITE = re.compile("\ue000(\\w+)\ue001")


@dataclass(frozen=True)
class Text:
    """A paragraph.

    Attributes:
        text: text of the paragraph.
        kind: CSS class, such as "formula", or "".
    """

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Heading:
    """A numbered heading inside a section."""

    text: str


@dataclass(frozen=True)
class Points:
    """A bulleted list."""

    points: Sequence[str]


@dataclass(frozen=True, eq=False)
class Drawing:
    """A Plotly figure with its caption, which is also the text alternative.

    Attributes:
        figure: the figure.
        caption: what the figure shows.
    """

    figure: go.Figure
    caption: str


@dataclass(frozen=True)
class Table:
    """A table whose first column holds row headers and whose other columns hold numbers.

    Attributes:
        caption: caption of the table.
        columns: column headers, none of them empty.
        rows: cells of each row.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Verbatim:
    """Preformatted text: code, JSON or a mask.

    Attributes:
        label: what the text is.
        text: the text.
        wrapped: whether long lines may be wrapped.
    """

    label: str
    text: str
    wrapped: bool = True


@dataclass(frozen=True, eq=False)
class AttentionFigure:
    """The attention view of a text with its caption.

    Attributes:
        document: what `TextAttention.document` returns.
        caption: what the figure shows.
    """

    document: dict
    caption: str


Block = Text | Heading | Points | Drawing | AttentionFigure | Table | Verbatim


@dataclass(frozen=True)
class Section:
    """A section; it is omitted if it has no blocks.

    Attributes:
        title: heading of the section.
        blocks: content of the section.
        numbered: whether the heading is numbered.
    """

    title: str
    blocks: Sequence[Block]
    numbered: bool = True


def cite(*keys: str) -> str:
    """Return a marker that is rendered as the numbers of the given references."""
    return "".join(f"\ue000{key}\ue001" for key in keys)


def page(title: str, date: datetime.date, abstract: str, sections: Sequence[Section], references: dict[str, str]) -> str:
    """Return the HTML document of a report.

    Args:
        title: title of the page.
        date: date below the title.
        abstract: abstract, plain text.
        sections: sections in order.
        references: text of each reference by key; only cited ones are listed.

    Returns:
        The HTML document.
    """
    writer = _Writer(references)
    head = f"<h1>{writer.text(title)}</h1>\n<p class='date'><time datetime='{date}'>{date.day} {date:%B %Y}</time></p>"
    parts = [f"<header>\n{head}\n<p class='abstract'><b>Abstract.</b> {writer.text(abstract)}</p>\n</header>"]
    parts += [writer.section(section) for section in sections if section.blocks]
    parts.append(writer.reference_list())
    style, script = (_PAGE.joinpath(name).read_text("utf-8") for name in ("style.css", "page.js"))
    document = (
        f"<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n<title>{html.escape(title)}</title>\n"
        f'<meta http-equiv="Content-Security-Policy" content="{NO_NETWORK}">\n'
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        "<meta name='color-scheme' content='light dark'>\n"
        f"<style>\n{style}</style>\n<script>{get_plotlyjs()}</script>\n<script>\n{script}</script>\n</head>\n<body>\n<main>\n"
        "<noscript><p>JavaScript is disabled, so figures are not shown. See the captions.</p></noscript>\n"
        + "\n".join(parts)
        + f"\n</main>\n{_ATTENTION_VIEW if writer.views else ''}</body>\n</html>\n"
    )
    return document.encode("utf-8", "replace").decode("utf-8")  # A lone surrogate would make writing the file fail.


@dataclass
class _Writer:
    """Renders blocks in order and numbers sections, figures, tables and references."""

    references: dict[str, str]
    sections: int = 0
    parts: int = 0
    figures: int = 0
    views: int = 0
    tables: int = 0
    cited: list[str] = field(default_factory=list)

    def text(self, text: str) -> str:
        return _CITE.sub(self._number, html.escape(str(text)))

    def _number(self, match: re.Match) -> str:
        key = match[1]
        if key not in self.references:
            return ""
        if key not in self.cited:
            self.cited.append(key)
        return f"<a class='cite' href='#ref-{key}'>[{self.cited.index(key) + 1}]</a>"

    def section(self, section: Section) -> str:
        self.sections += section.numbered
        self.parts = 0
        number = f"<span class='number'>{self.sections}</span> " if section.numbered else ""
        inside = "\n".join(self.block(block) for block in section.blocks)
        return f"<section>\n<h2>{number}{self.text(section.title)}</h2>\n{inside}\n</section>"

    def block(self, block: Block) -> str:
        match block:
            case Text(text, kind):
                return f"<p{f' class={kind!r}' if kind else ''}>{self.text(text)}</p>"
            case Heading(text):
                self.parts += 1
                return f"<h3><span class='number'>{self.sections}.{self.parts}</span> {self.text(text)}</h3>"
            case Points(points):
                return "<ul>\n" + "\n".join(f"<li>{self.text(point)}</li>" for point in points) + "\n</ul>"
            case Verbatim(label, text, wrapped):
                kind = " class='wrapped'" if wrapped else ""
                return f"<p class='label'>{self.text(label)}</p>\n<pre{kind} tabindex='0'>{html.escape(text)}</pre>"
            case Table():
                return self.table(block)
            case Drawing():
                return self.drawing(block)
            case AttentionFigure(document, caption):
                self.views += 1
                self.figures += 1
                data = f"<script type='application/json'>{json_in_html(document)}</script>"
                return self.figure(f"<div class='attention-view'></div>{data}", caption)

    def table(self, table: Table) -> str:
        self.tables += 1
        caption = f"<b>Table {self.tables}.</b> {self.text(table.caption)}"
        head = "".join(f"<th scope='col'>{self.text(name)}</th>" for name in table.columns)
        rows = []
        for first, *others in table.rows:
            cells = "".join(f"<td>{self.text(cell)}</td>" for cell in others)
            rows.append(f"<tr><th scope='row'>{self.text(first)}</th>{cells}</tr>")
        body = "\n".join(rows)
        # The wrapper scrolls sideways on narrow screens, so it must be focusable and have a name.
        return (
            f"<div class='wide' role='group' aria-label='Table {self.tables}' tabindex='0'><table>\n"
            f"<caption><span>{caption}</span></caption>\n"
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
        )

    def drawing(self, drawing: Drawing) -> str:
        self.figures += 1
        figure = go.Figure(drawing.figure).update_layout(template=TEMPLATE)
        markup = figure.to_html(full_html=False, include_plotlyjs=False, div_id=f"figure-{self.figures}", config=CONFIG)
        return self.figure(markup, drawing.caption)

    def figure(self, markup: str, caption: str) -> str:
        # A group, not an image: the figure contains focusable buttons. Its caption is the text alternative.
        return (
            f"<figure>\n<div role='group' aria-labelledby='caption-{self.figures}'>{markup}</div>\n"
            f"<figcaption id='caption-{self.figures}'><b>Figure {self.figures}.</b> {self.text(caption)}"
            "</figcaption>\n</figure>"
        )

    def reference_list(self) -> str:
        """Return the cited references in the order of first citation."""
        if not self.cited:
            return ""
        items = "\n".join(f"<li id='ref-{key}'>{self.text(self.references[key])}</li>" for key in self.cited)
        return f"<section>\n<h2>References</h2>\n<ol class='references'>\n{items}\n</ol>\n</section>"
