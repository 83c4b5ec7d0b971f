"""How every figure draws a method, and what all figures have in common: grey, margins, ticks, names letter by letter."""

import html

from headprune_core.masks.criteria import method_label, parse_alpha

_STYLE = {  # method -> color, dash, symbol
    "his": ("#0072b2", "solid", "circle"),
    "hies": ("#d55e00", "solid", "diamond"),
    "gnorm": ("#009e73", "solid", "square"),
    "ae": ("#cc79a7", "dash", "triangle-up"),
    "inverse_ae": ("#e69f00", "dash", "triangle-down"),
    "inverse_gnorm": ("#56b4e9", "dot", "x"),
    "hies_keep_high": ("#d55e00", "dot", "hexagon"),
    "greedy_gnorm": ("#882255", "solid", "pentagon"),
    "inverse_greedy_gnorm": ("#56b4e9", "dashdot", "cross"),
    "leave_one_out": ("#999933", "longdash", "triangle-left"),
    "custom": ("#aa4499", "longdashdot", "hourglass"),
}
_ALPHA_ENDS = ((122, 49, 0), (240, 150, 90))  # HIES at an alpha of its own: dark for entropy alone, light for importance
_ALPHA_DASHES = ("dash", "dot", "dashdot", "longdash", "longdashdot", "5px,2px,2px,2px,2px,2px")
_ALPHA_SYMBOLS = ("diamond-tall", "diamond-wide", "diamond-cross", "diamond-x", "hexagram")
GRAY = "rgba(128, 128, 128, {})"
_OTHER = ("#7a5195", "dashdot", "star")
MARGIN = {"l": 8, "r": 8, "t": 40, "b": 8}


def for_plotly(text: str) -> str:
    """A text as Plotly shows it letter by letter, though it reads some HTML: names of classes and methods are anybody's."""
    return html.escape(str(text), quote=False)


def label(method: str) -> str:
    """What people call a method."""
    return method_label(method)


def style(method: str) -> tuple[str, str, str]:
    """The color, dash and symbol by which every figure draws a method."""
    alpha = parse_alpha(method)
    return _STYLE.get(method, _OTHER) if alpha is None else _alpha_style(method.partition("@")[0], alpha)


def _alpha_style(base: str, alpha: float) -> tuple[str, str, str]:
    """A shade by alpha, and a dash and a symbol that differ between all alphas a twentieth apart."""
    red, green, blue = (round(dark + alpha * (light - dark)) for dark, light in zip(*_ALPHA_ENDS, strict=True))
    color = f"#{red:02x}{green:02x}{blue:02x}" if base == "hies" else f"#{blue:02x}{green:02x}{red:02x}"
    place = round(20 * alpha)
    return color, _ALPHA_DASHES[place % len(_ALPHA_DASHES)], _ALPHA_SYMBOLS[place % len(_ALPHA_SYMBOLS)]


def tick(count: int) -> int:
    """The step of an axis of `count` layers or heads."""
    return 1 if count <= 16 else 4
