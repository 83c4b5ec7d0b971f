"""Color roles of all figures and head maps: one hue per criterion, a palette for classes, one frame for selected heads.

On every map of heads, dark means "pruned last" (kept longer), in both color schemes; `ramp` runs from light to dark.
"""

from itertools import pairwise

HUES = {"his": "#0072b2", "ae": "#cc79a7", "hies": "#d55e00", "gnorm": "#009e73"}  # one per criterion
CONTROLS = {  # shades of the hue of their criterion; dash and symbol differ too
    "inverse_ae": "#a24d7d",
    "hies_keep_high": "#e88b4a",
    "inverse_gnorm": "#52b795",
    "greedy_gnorm": "#00795a",
    "inverse_greedy_gnorm": "#7cc4ab",
}
OTHER = {"leave_one_out": "#8a8a2c", "custom": "#aa4499"}
COLORS = HUES | CONTROLS | OTHER  # of every criterion
CLASSES = ("#b8860b", "#5b8ba0", "#a65628", "#7f7f7f", "#6b8e23", "#8d6e9e")  # classes of the data, never criteria
NEUTRAL = "#6b7a89"  # counts, kept heads and measures that belong to no criterion
STATES = {"kept": "#5b6f82", "zeroed": "#aab7c4", "pruned": "#eef1f4", "first": "#d9b34a", "second": "#8fb3c4"}  # of a mask
CHOICE = "#9467bd"  # this mask, the current step, the recommended value
FRAME = ("#000000", "#ffffff")  # the frame of selected heads
_DIVERGING = ("#ffe08a", "#c9c6d1", "#7b5ea7", "#26003f")  # negative is light, zero is gray, positive is dark


def ramp(role: str, steps: int = 32) -> list[str]:
    """Return the colors of a map of heads, from light (pruned first) to dark (pruned last).

    Args:
        role: A criterion, "neutral", or "difference" for signed values, whose middle is gray.
        steps: Number of colors.

    Returns:
        Colors as #rrggbb whose lightness decreases.
    """
    if role == "difference":
        stops = [(0.0, _DIVERGING[0]), (0.5, _DIVERGING[1]), (0.75, _DIVERGING[2]), (1.0, _DIVERGING[3])]
    else:
        hue = COLORS.get(role, NEUTRAL)
        stops = [
            (0.0, mix(hue, "#ffffff", 0.1)),
            (0.4, mix(hue, "#ffffff", 0.6)),
            (0.65, hue),
            (1.0, mix(hue, "#000000", 0.3)),
        ]
    return [_between(stops, i / (steps - 1)) for i in range(steps)]


def colorscale(role: str, *, dark: str = "high", steps: int = 11) -> list[list]:
    """Return the ramp of a role as a Plotly color scale.

    Args:
        role: As for `ramp`.
        dark: Which values are dark: "high", or "low" where the lowest values are pruned last.
        steps: Number of colors.
    """
    colors = ramp(role, steps)
    return [[i / (steps - 1), color] for i, color in enumerate(colors if dark == "high" else reversed(colors))]


def mix(color: str, other: str, share: float) -> str:
    """Return `share` of a color mixed with another, both as #rrggbb."""
    parts = zip(_channels(color), _channels(other), strict=True)
    return "#" + "".join(f"{round(share * a + (1 - share) * b):02x}" for a, b in parts)


def _between(stops: list[tuple[float, str]], at: float) -> str:
    for (low, before), (high, after) in pairwise(stops):
        if at <= high:
            return mix(after, before, (at - low) / (high - low))
    return stops[-1][1]


def _channels(color: str) -> list[int]:
    return [int(color[i : i + 2], 16) for i in (1, 3, 5)]
