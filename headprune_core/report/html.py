"""The page that a report is: numbered sections, figures, tables and references in one HTML file that asks no network.

What goes in is plain text and figures; every text is escaped here, and in figures where they are drawn
(`figures.for_plotly`). Texts cite by `cite("michel")`; the numbers follow the order of first mention. Plotly's script is in
the file once. Colours are those of the reader's light or dark setting, of the charts' letters too; paper is always white,
and figures are drawn narrower for it.
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
_CITE = re.compile("\ue000(\\w+)\ue001")


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: str = ""  # a class of the style sheet: "formula", "lead", "small"


@dataclass(frozen=True)
class Heading:
    """A heading within a section, numbered with it."""

    text: str


@dataclass(frozen=True)
class Points:
    """A list of sentences."""

    points: Sequence[str]


@dataclass(frozen=True, eq=False)
class Drawing:
    """A Plotly figure, and the words that say what it shows."""

    figure: go.Figure
    words: str


@dataclass(frozen=True)
class Table:
    """A table: its caption, the names of the columns, and lines of cells. Columns but the first hold numbers."""

    caption: str
    columns: Sequence[str]
    lines: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Verbatim:
    """Text that keeps its lines: code, JSON, a mask. label: what it is; wrapped: whether long lines may be broken."""

    label: str
    text: str
    wrapped: bool = True


Block = Text | Heading | Points | Drawing | Table | Verbatim


@dataclass(frozen=True)
class Section:
    """A title and what is under it; without any block the section is left out. numbered: whether its title has a number."""

    title: str
    blocks: Sequence[Block]
    numbered: bool = True


def cite(*keys: str) -> str:
    """A mark in a text that becomes the numbers of these references."""
    return "".join(f"\ue000{key}\ue001" for key in keys)


def page(title: str, date: datetime.date, abstract: str, sections: Sequence[Section], references: dict[str, str]) -> str:
    """The HTML of a report. references: key -> how it is listed; only those that are cited are."""
    writer = _Writer(references)
    head = f"<h1>{writer.text(title)}</h1>\n<p class='date'><time datetime='{date}'>{date.day} {date:%B %Y}</time></p>"
    parts = [f"<header>\n{head}\n<p class='abstract'><b>Abstract.</b> {writer.text(abstract)}</p>\n</header>"]
    parts += [writer.section(section) for section in sections if section.blocks]
    parts.append(writer.listed())
    style, script = (_PAGE.joinpath(name).read_text("utf-8") for name in ("style.css", "page.js"))
    whole = (
        f"<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n<title>{html.escape(title)}</title>\n"
        f'<meta http-equiv="Content-Security-Policy" content="{NO_NETWORK}">\n'
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        "<meta name='color-scheme' content='light dark'>\n"
        f"<style>\n{style}</style>\n<script>{get_plotlyjs()}</script>\n<script>\n{script}</script>\n</head>\n<body>\n<main>\n"
        "<noscript><p>Figures are drawn by JavaScript, which is off; their captions say what they show.</p></noscript>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )
    return whole.encode("utf-8", "replace").decode("utf-8")  # half a letter of a name would fail when the file is written


@dataclass
class _Writer:
    """Writes blocks in order and counts what is numbered."""

    references: dict[str, str]
    sections: int = 0
    parts: int = 0
    figures: int = 0
    tables: int = 0
    cited: list[str] = field(default_factory=list)

    def text(self, text: str) -> str:
        return _CITE.sub(self._number, html.escape(str(text)))

    def _number(self, found: re.Match) -> str:
        key = found[1]
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

    def table(self, table: Table) -> str:
        self.tables += 1
        caption = f"<b>Table {self.tables}.</b> {self.text(table.caption)}"
        head = "".join(f"<th scope='col'>{self.text(name)}</th>" for name in table.columns)
        lines = []
        for first, *others in table.lines:
            cells = "".join(f"<td>{self.text(cell)}</td>" for cell in others)
            lines.append(f"<tr><th scope='row'>{self.text(first)}</th>{cells}</tr>")
        body = "\n".join(lines)
        return (
            f"<div class='wide' tabindex='0'><table>\n<caption><span>{caption}</span></caption>\n"
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
        )

    def drawing(self, drawing: Drawing) -> str:
        self.figures += 1
        figure = go.Figure(drawing.figure).update_layout(template=TEMPLATE)
        drawn = figure.to_html(full_html=False, include_plotlyjs=False, div_id=f"figure-{self.figures}", config=CONFIG)
        words = html.escape(_CITE.sub("", drawing.words))
        return (
            f"<figure>\n<div role='img' aria-label='{words}'>{drawn}</div>\n"
            f"<figcaption><b>Figure {self.figures}.</b> {self.text(drawing.words)}</figcaption>\n</figure>"
        )

    def listed(self) -> str:
        """The references that were cited, in the order of first mention."""
        if not self.cited:
            return ""
        lines = "\n".join(f"<li id='ref-{key}'>{self.text(self.references[key])}</li>" for key in self.cited)
        return f"<section>\n<h2>References</h2>\n<ol class='references'>\n{lines}\n</ol>\n</section>"
