"""One map of heads: values or states by layer and head, and how they are drawn and put into words."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b

import numpy as np

from headprune_core.figures.roles import ramp

LEVELS = 32  # colors of a ramp
SKEWED = 100  # times the median: from this maximum on, a linear scale would show one row only, so color shows the rank
PRUNED_LAST = ("pruned first", "pruned last")


@dataclass(frozen=True, eq=False)
class Mark:
    """Heads that carry a symbol.

    Attributes:
        label: What the symbol says, within a sentence, such as "pruned".
        where: (R, H) bool.
        symbol: One character, or "" for none.
        color: Color of the cell as #rrggbb, or None to keep that of its value.
    """

    label: str
    where: np.ndarray
    symbol: str = ""
    color: str | None = None


@dataclass(frozen=True, eq=False)
class HeadMap:
    """Values by layer and head, NaN where there is none, or only states (marks with colors).

    Attributes:
        name: Column of the CSV file.
        title: Title of the map.
        values: (R, H) float, or None for a map of states.
        role: Its color, as in `headprune_core.figures.roles.ramp`.
        short: Name of the values within a sentence; by default the title.
        unit: Unit of the values, or "".
        dark: Which values are dark, because those heads are pruned last: "high" or "low".
        shown: (R, H) what the color shows in place of the values, such as ranks, or None.
        shown_as: What `shown` is, such as "Rank".
        limits: Values at both ends of the ramp, or None for those of the map.
        scale_text: What the legend says about the scale, or "" for both ends of the ramp.
        ranked: Whether a cell states its place in the pruning order.
        percent: Whether values are shares.
        ends: What light and dark mean.
        marks: Heads with symbols.
        description: Sentences that describe the map, or "" if they stand below it.
    """

    name: str
    title: str
    values: np.ndarray | None = None
    role: str = "neutral"
    short: str = ""
    unit: str = ""
    dark: str = "high"
    shown: np.ndarray | None = None
    shown_as: str = ""
    limits: tuple[float, float] | None = None
    scale_text: str = ""
    ranked: bool = False
    percent: bool = False
    ends: tuple[str, str] = PRUNED_LAST
    marks: tuple[Mark, ...] = field(default=())
    description: str = ""

    @cached_property
    def position(self) -> np.ndarray | None:
        """(R, H) place in the pruning order, from 1; ties by (row, head), as the criteria break them."""
        if self.values is None:
            return None
        order = np.argsort(self.values if self.dark == "high" else -self.values, axis=None, kind="stable")
        place = np.empty(order.size, int)
        place[order] = np.arange(1, order.size + 1)
        return place.reshape(self.values.shape)

    @cached_property
    def skew(self) -> float:
        """Largest value over the median of the absolute values; infinite if more than half of the values are 0."""
        size = np.abs(self.values[np.isfinite(self.values)])
        if not size.size or not size.max():
            return 1.0
        median = float(np.median(size))
        return float(size.max()) / median if median else float("inf")

    @cached_property
    def by_rank(self) -> bool:
        """Whether color shows the rank because one row would hide the others."""
        return self.values is not None and self.shown is None and self.limits is None and self.skew > SKEWED

    def levels(self) -> np.ndarray:
        """Return the color of each head, (R, H) int from 0 (light) to `LEVELS` - 1 (dark); -1 without a value."""
        if self.values is None:
            return np.full(self.marks[0].where.shape, -1)
        shown, dark = np.asarray(self.values if self.shown is None else self.shown, float), self.dark
        if self.by_rank:
            shown, dark = np.where(np.isfinite(self.values), self.position, np.nan).astype(float), "high"
        finite = np.isfinite(shown)
        low, high = self.range(shown)
        share = np.clip((shown - low) / (high - low), 0.0, 1.0) if high > low else np.full(shown.shape, 0.5)
        share = np.where(finite, share if dark == "high" else 1.0 - share, 0.0)
        return np.where(finite, np.rint(share * (LEVELS - 1)), -1).astype(int)

    def range(self, shown: np.ndarray) -> tuple[float, float]:
        """Return the values at both ends of the ramp; around 0 for differences."""
        finite = shown[np.isfinite(shown)]
        if self.limits is not None or not finite.size:
            return self.limits or (0.0, 0.0)
        if self.role == "difference" and not self.by_rank:
            largest = float(np.abs(finite).max())
            return -largest, largest
        return float(finite.min()), float(finite.max())

    def scale(self) -> str:
        """Say what the color shows."""
        if self.values is None or self.scale_text:
            return self.scale_text
        if self.by_rank:
            times = "more than half of the values are 0" if np.isinf(self.skew) else f"{self.skew:,.0f} times the median"
            return f"Color: rank, because {times if np.isinf(self.skew) else f'the largest value is {times}'}."
        low, high = self.range(np.asarray(self.values if self.shown is None else self.shown, float))
        ends = [f"{100 * end:.3g}%" if self.percent else f"{end:.3g}".replace("-", "\N{MINUS SIGN}") for end in (low, high)]
        light, dark = ends if self.dark == "high" else reversed(ends)
        unit = f" {self.unit}" if self.unit and self.shown is None else ""
        zero = "; gray: 0" if self.role == "difference" else ""
        return f"{f'{self.shown_as}, ' if self.shown_as else ''}{light} to {dark}{unit}{zero}"

    def document(self) -> tuple[str, Mapping]:
        """Return what the browser draws, with a name that changes with it."""
        parts = {
            "name": self.name,
            "title": self.title,
            "short": self.short or self.title,
            "unit": self.unit,
            "percent": self.percent,
            "values": None if self.values is None else [_number(value) for value in np.asarray(self.values, float).flat],
            "position": self.position.ravel().tolist() if self.ranked else None,
            "levels": self.levels().ravel().tolist(),
            "ramp": [] if self.values is None else ramp(self.role, LEVELS),
            "ends": list(self.ends),
            "scale": self.scale(),
            "marks": [
                {"label": mark.label, "symbol": mark.symbol, "color": mark.color, "at": np.flatnonzero(mark.where).tolist()}
                for mark in self.marks
            ],
            "description": self.description,
        }
        return blake2b(json.dumps(parts).encode(), digest_size=8).hexdigest(), parts


def _number(value: float) -> float | None:
    """The value with nine digits, as many as float32 has; None for NaN and infinity, which JSON does not have."""
    return float(f"{value:.9g}") if np.isfinite(value) else None
