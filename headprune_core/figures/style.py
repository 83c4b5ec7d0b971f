"""Style that all figures share: how each criterion is drawn, axis titles and tick formats, grid gray and margins.

Colors stay distinguishable under color blindness and never carry a meaning alone. Backgrounds are left clear, so that a
figure fits light and dark pages.
"""

import html

from headprune_core.data.measures import SHARES, sentence_name
from headprune_core.masks.criteria import method_label, parse_alpha

from .roles import COLORS

_SHAPES = {  # criterion -> dash, symbol
    "his": ("solid", "circle"),
    "hies": ("solid", "diamond"),
    "gnorm": ("solid", "square"),
    "ae": ("dash", "triangle-up"),
    "inverse_ae": ("dash", "triangle-down"),
    "inverse_gnorm": ("dot", "x"),
    "hies_keep_high": ("dot", "hexagon"),
    "greedy_gnorm": ("solid", "pentagon"),
    "inverse_greedy_gnorm": ("dashdot", "cross"),
    "leave_one_out": ("longdash", "triangle-left"),
    "custom": ("longdashdot", "hourglass"),
}
_ALPHA_ENDS = ((122, 49, 0), (240, 150, 90))  # HIES at a given alpha: dark for entropy only, light for importance only
_ALPHA_DASHES = ("dash", "dot", "dashdot", "longdash", "longdashdot", "5px,2px,2px,2px,2px,2px")
_ALPHA_SYMBOLS = ("diamond-tall", "diamond-wide", "diamond-cross", "diamond-x", "hexagram")
GRAY = "rgba(128, 128, 128, {})"
_OTHER = ("#7a5195", "dashdot", "star")
MARGIN = {"l": 8, "r": 8, "t": 40, "b": 8}


PERCENT = ".3~p"  # tick format: 85%, 86.5%; a share of whole percent alone would repeat ticks on a narrow axis
HEAD, LAYER, SPARSITY = "Head", "Layer", "Sparsity (heads pruned)"
AXIS_TITLES = {
    "accuracy": "Accuracy",
    "agreement": "Agreement with unpruned model",
    "loss": "Loss (nats)",
    "perplexity": "Perplexity",
    "correlation": "Logit correlation with unpruned model",
    "pearson": "Pearson correlation with labels",
    "spearman": "Spearman correlation with labels",
    "micro_f1": "Micro F1",
    "entity_f1": "Entity F1",
}


def for_plotly(text: str) -> str:
    """Return a text escaped so that Plotly shows it literally.

    Plotly reads some HTML, and names of classes and rankings come from users.
    """
    return html.escape(str(text), quote=False)


def label(method: str) -> str:
    """Return the display name of a criterion."""
    return method_label(method)


def style(method: str) -> tuple[str, str, str]:
    """Return the color, dash and symbol that every figure uses for a criterion."""
    alpha = parse_alpha(method)
    if alpha is not None:
        return _alpha_style(method.partition("@")[0], alpha)
    return (COLORS[method], *_SHAPES[method]) if method in _SHAPES else _OTHER


def _alpha_style(base: str, alpha: float) -> tuple[str, str, str]:
    """A shade by alpha, and a dash and a symbol that differ between all alphas that are 0.05 apart."""
    red, green, blue = (round(dark + alpha * (light - dark)) for dark, light in zip(*_ALPHA_ENDS, strict=True))
    color = f"#{red:02x}{green:02x}{blue:02x}" if base == "hies" else f"#{blue:02x}{green:02x}{red:02x}"
    number = round(20 * alpha)
    return color, _ALPHA_DASHES[number % len(_ALPHA_DASHES)], _ALPHA_SYMBOLS[number % len(_ALPHA_SYMBOLS)]


def metric_axis(metric: str, *, regression: bool = False) -> dict[str, str | None]:
    """Return the axis title and tick format of a metric, as arguments of a Plotly axis; a regression loss has no nats."""
    title = "Loss (squared error)" if regression and metric == "loss" else AXIS_TITLES.get(metric, metric)
    return {"title": title, "tickformat": PERCENT if metric in SHARES else None}


def metric_format(metric: str) -> str:
    """Return the number format of a metric: percent for accuracy and agreement, three significant digits otherwise."""
    return ".1%" if metric in SHARES else ".3g"


def metric_name(metric: str) -> str:
    """Return the name of a metric within a sentence."""
    names = {"agreement": "agreement with the unpruned model", "correlation": "logit correlation with the unpruned model"}
    return names.get(metric) or sentence_name(metric)


def tick(count: int) -> int:
    """Return the tick step of an axis of `count` layers or heads."""
    return 1 if count <= 16 else 4
