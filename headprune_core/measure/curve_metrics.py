"""Metrics of curves of accuracy against sparsity: area, stability, knee point, steepest drop and usable range.

All are computed from the frame of `sparsity_curves` at the measured sparsities, by its main measure (see `main_measure`):
accuracy, or agreement if there are no labels. Random rankings are averaged. Comparisons and their wording are left to
`curve_verdicts`.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from headprune_core.data.measures import wilson

from .curves import REGIMES, main_measure

PUBLISHED_STABILITY_RATIO = 2.04  # highest ratio of HIES to HIS in the HIES paper (arXiv 2510.13832)
WITHIN = (1, 2, 5)  # percentage points below the unpruned model
AT = (0.1, 0.3, 0.5)  # sparsities of the summary
SUMMARY = ["method", "area", "stability", "agreement", "stability_ratio", *(f"within_{points}" for points in WITHIN)]
SUMMARY += ["knee", *(f"at_{at:.0%}".rstrip("%") for at in AT)]
_TINY = 1e-9  # smaller differences of shares are rounding errors


@dataclass(frozen=True)
class SteepestDrop:
    """The steepest drop of a curve between two adjacent measured sparsities.

    Attributes:
        start: sparsity before the drop.
        end: sparsity after it.
        fall: decrease of the main measure, as a share (0 to 1).
        heads: number of heads pruned between the two; None if the frame does not contain it.
        regime: the one of `REGIMES` that contains the midpoint.
        intervals_apart: whether the 95% CIs at the two ends do not overlap.
    """

    start: float
    end: float
    fall: float
    heads: int | None
    regime: str
    intervals_apart: bool


def summary(curves: pd.DataFrame) -> pd.DataFrame:
    """Summarize the curve of each method in one row.

    Stability is the mean correlation of the logits with those of the unpruned model, as in the HIES paper (arXiv
    2510.13832).

    Args:
        curves: frame of `sparsity_curves`.

    Returns:
        A frame with the columns method; area: normalized AUC of the main measure (trapezoidal rule); stability and
        agreement: means over sparsities above 0; stability_ratio: stability divided by that of HIS; within_1, within_2,
        within_5: largest sparsity up to which the main measure is at most 1, 2 or 5 pp below the unpruned model at every
        measured sparsity;
        knee: see `knee`; at_10, at_30, at_50: the main measure at 10, 30 and 50% sparsity, interpolated linearly. NaN if the
        frame does not contain what a column needs.
    """
    measure, baseline = main_measure(curves), unpruned(curves)
    his = _mean_after_zero(curves[curves.method == "his"], "correlation")
    rows = []
    for method, part in curves.groupby("method", sort=False):
        curve = method_curve(curves, method)
        stability = _mean_after_zero(part, "correlation")
        ratio = stability / his if his > 0 else np.nan
        ranges = [max_sparsity_within(curve, baseline, points / 100) for points in WITHIN]
        values = np.interp(AT, curve.index, curve.value, np.nan, np.nan) if len(curve) else np.full(len(AT), np.nan)
        agreement = _mean_after_zero(part, "agreement")
        rows.append((method, area(part, measure), stability, agreement, ratio, *ranges, knee(curve), *values))
    return pd.DataFrame(rows, columns=SUMMARY)


def method_curve(curves: pd.DataFrame, method: str, measure: str | None = None) -> pd.DataFrame:
    """Return the curve of one method, averaged over its rankings.

    Args:
        curves: frame of `sparsity_curves`.
        method: name of a method in it.
        measure: a column of it; by default the main measure.

    Returns:
        A frame indexed by increasing sparsity with the columns value, low and high (95% CI, Wilson) and heads (pruned). It
        contains only sparsities at which the measure is known; low, high and heads are NaN if the frame does not contain
        them.
    """
    measure = measure or main_measure(curves)
    part = curves[curves.method == method]
    value = part[measure].astype(float)
    low, high = _bounds(part, measure)
    heads = part["heads_pruned"].astype(float) if "heads_pruned" in part else np.nan
    table = pd.DataFrame({"sparsity": part.sparsity, "value": value, "low": low, "high": high, "heads": heads})
    return table.dropna(subset="value").groupby("sparsity").mean()


def unpruned(curves: pd.DataFrame, measure: str | None = None) -> float:
    """Return a measure of the unpruned model.

    Args:
        curves: frame of `sparsity_curves`.
        measure: a column of it; by default the main measure.

    Returns:
        The value at 0 pruned heads. If it was not measured: 1 for agreement (by definition), else NaN.
    """
    measure = measure or main_measure(curves)
    is_unpruned = curves.heads_pruned == 0 if "heads_pruned" in curves else curves.sparsity == 0
    values = curves.loc[is_unpruned, measure].dropna()
    return float(values.iloc[0]) if len(values) else 1.0 if measure == "agreement" else np.nan


def area(curve: pd.DataFrame, measure: str) -> float:
    """Return the normalized AUC of a curve: the mean of a measure over the range of sparsities.

    Args:
        curve: rows of one method in the frame of `sparsity_curves`; several rankings are averaged.
        measure: a column of it.

    Returns:
        The area under the curve (trapezoidal rule) divided by the range; NaN with fewer than two sparsities.
    """
    mean = curve.groupby("sparsity")[measure].mean().dropna().astype(float)
    return float(np.trapezoid(mean, mean.index) / np.ptp(mean.index)) if len(mean) > 1 else np.nan


def max_sparsity_within(curve: pd.DataFrame, baseline: float, tolerance: float) -> float:
    """Return the largest sparsity up to which a curve stays close to the unpruned model.

    Args:
        curve: result of `method_curve`.
        baseline: the measure of the unpruned model, 0 to 1.
        tolerance: allowed decrease, as a share (0.01 = 1 pp).

    Returns:
        The largest measured sparsity up to which no value is lower than baseline - tolerance; NaN if it is unknown.
    """
    if not np.isfinite(baseline) or curve.empty:
        return np.nan
    good = (curve.value >= baseline - tolerance - _TINY).to_numpy()
    count = len(good) if good.all() else int(good.argmin())
    return float(curve.index[count - 1]) if count else 0.0


def knee(curve: pd.DataFrame) -> float:
    """Return the knee point of a curve: the sparsity after which it drops faster.

    Kneedle (Satopää et al. 2011) without smoothing: both axes are scaled to [0, 1], and the knee is the point farthest above
    the straight line from the first point to the last.

    Args:
        curve: result of `method_curve`.

    Returns:
        The sparsity, 0 to 1; NaN if no point is above the line or the curve does not decrease (if intervals are known: if
        the 95% CIs at its ends overlap).
    """
    if len(curve) < 3 or not _falls(curve.iloc[0], curve.iloc[-1]):
        return np.nan
    along = (curve.index - curve.index[0]) / np.ptp(curve.index)
    left = (curve.value - curve.value.iloc[-1]) / (curve.value.iloc[0] - curve.value.iloc[-1])
    above = left.to_numpy() + along.to_numpy() - 1.0
    best = int(np.argmax(above > above.max() - _TINY))  # the first of equals
    return float(curve.index[best]) if above[best] > _TINY else np.nan


def steepest_drop(curves: pd.DataFrame, method: str) -> SteepestDrop | None:
    """Find the two adjacent sparsities between which the main measure drops most per head.

    Args:
        curves: frame of `sparsity_curves`; without the column heads_pruned, the drop per unit of sparsity is used.
        method: name of a method in it.

    Returns:
        The steepest drop, or None if the main measure never decreases.
    """
    curve = method_curve(curves, method)
    if len(curve) < 2:
        return None
    counted = curve.heads.notna().all()
    fall, step = -np.diff(curve.value), np.diff(curve.heads if counted else curve.index)
    steepness = np.where(step > 0, fall / np.where(step > 0, step, 1), -np.inf)
    i = int(steepness.argmax())
    if steepness[i] <= _TINY:
        return None
    start, end = float(curve.index[i]), float(curve.index[i + 1])
    apart, regime = _falls(curve.iloc[i], curve.iloc[i + 1]), regime_of((start + end) / 2)
    return SteepestDrop(start, end, float(fall[i]), int(step[i]) if counted else None, regime, apart)


def regime_of(sparsity: float) -> str:
    """Return the name of the regime that contains a sparsity.

    Args:
        sparsity: fraction of heads pruned, 0 to 1.

    Returns:
        A name in `REGIMES`; upper bounds are inclusive.
    """
    return next(name for _, high, name in REGIMES if sparsity <= high + _TINY)


def _falls(first: pd.Series, last: pd.Series) -> bool:
    """Return True if a point is below an earlier one; if both have intervals, these must not overlap."""
    known = np.isfinite([first.low, last.high]).all()
    return bool(last.high < first.low) if known else bool(last.value < first.value - _TINY)


def _bounds(part: pd.DataFrame, measure: str):
    """Return the 95% CI (low, high): the frame's own, or Wilson's if the frame has a number of predictions."""
    if f"{measure}_low" in part:
        return part[f"{measure}_low"], part[f"{measure}_high"]
    counts = next((part[name] for name in ("trials", "examples") if name in part and (part[name] > 0).all()), None)
    if measure != "agreement" or counts is None or part.empty:
        return np.nan, np.nan
    low, high = wilson(part[measure].to_numpy(float) * counts.to_numpy(float), counts.to_numpy(float))
    return pd.Series(low, part.index), pd.Series(high, part.index)


def _mean_after_zero(part: pd.DataFrame, measure: str) -> float:
    values = part.loc[part.sparsity > 0, measure] if measure in part else pd.Series(dtype=float)
    return float(values.mean())
