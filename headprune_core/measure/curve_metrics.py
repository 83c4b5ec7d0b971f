"""The shape of a curve of accuracy against sparsity, in numbers: its area, where it bends and falls, how far it can go.

All are read off the frame of `sparsity_curves`, by the main measure (accuracy, or agreement where there are no labels), at
the sparsities that were measured; random removal counts as the mean of its orders. Stability is the mean over sparsities of
the correlation with the unpruned model's logits, quoted as a ratio to HIS's (arXiv 2510.13832 reports up to 2.04). The knee
is Kneedle's (Satopää et al. 2011) without its smoothing. Verdicts and words are in `judgements`.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .curves import REGIMES, main_measure, wilson

PUBLISHED_STABILITY_RATIO = 2.04  # of HIES to HIS, at best (arXiv 2510.13832)
WITHIN = (1, 2, 5)  # points
AT = (0.1, 0.3, 0.5)
SUMMARY = ["method", "area", "stability", "agreement", "stability_ratio", *(f"within_{points}" for points in WITHIN)]
SUMMARY += ["knee", *(f"at_{at:.0%}".rstrip("%") for at in AT)]
_TINY = 1e-9  # below this, differences of shares are rounding


@dataclass(frozen=True)
class SteepestDrop:
    """The steepest fall of a curve between two measured sparsities.

    fall: what is lost of the main measure, as a share. heads: how many heads more are gone (None where the frame does not
    say). regime: the one of `REGIMES` in which the middle lies. clear: whether the 95 % intervals at the two ends lie apart.
    """

    start: float
    end: float
    fall: float
    heads: int | None
    regime: str
    clear: bool


def summary(curves: pd.DataFrame) -> pd.DataFrame:
    """A line per method: what its curve comes to.

    Columns: method; area: mean of the main measure over the range, by trapezia; stability and agreement: means over
    sparsities above 0; stability_ratio: to HIS's; within_1, within_2, within_5: the largest sparsity up to which the main
    measure is within so many points of the unpruned model at every measured one; knee; at_10, at_30, at_50: the main measure
    there, on straight lines between measured sparsities. NaN where the frame does not say.
    """
    measure, whole = main_measure(curves), unpruned(curves)
    his = _mean_after_zero(curves[curves.method == "his"], "correlation")
    lines = []
    for method, part in curves.groupby("method", sort=False):
        curve = method_curve(curves, method)
        stability = _mean_after_zero(part, "correlation")
        ratio = stability / his if his > 0 else np.nan
        reach = [within(curve, whole, points / 100) for points in WITHIN]
        there = np.interp(AT, curve.index, curve.value, np.nan, np.nan) if len(curve) else np.full(len(AT), np.nan)
        agreement = _mean_after_zero(part, "agreement")
        lines.append((method, area(part, measure), stability, agreement, ratio, *reach, knee(curve), *there))
    return pd.DataFrame(lines, columns=SUMMARY)


def method_curve(curves: pd.DataFrame, method: str, measure: str | None = None) -> pd.DataFrame:
    """A method's curve, its orders averaged: value, low, high (95 %, Wilson) and heads, by rising sparsity.

    Only sparsities at which the measure (the main one by default) is known; low, high and heads are NaN where the frame does
    not say.
    """
    measure = measure or main_measure(curves)
    part = curves[curves.method == method]
    value = part[measure].astype(float)
    low, high = _bounds(part, measure)
    heads = part["heads_pruned"].astype(float) if "heads_pruned" in part else np.nan
    table = pd.DataFrame({"sparsity": part.sparsity, "value": value, "low": low, "high": high, "heads": heads})
    return table.dropna(subset="value").groupby("sparsity").mean()


def unpruned(curves: pd.DataFrame, measure: str | None = None) -> float:
    """The main measure (or another) of the whole model; NaN where it was not measured. Agreement is then 1 by definition."""
    measure = measure or main_measure(curves)
    whole = curves.heads_pruned == 0 if "heads_pruned" in curves else curves.sparsity == 0
    values = curves.loc[whole, measure].dropna()
    return float(values.iloc[0]) if len(values) else 1.0 if measure == "agreement" else np.nan


def area(curve: pd.DataFrame, measure: str) -> float:
    """A measure's mean over the range of sparsities, by trapezia; NaN with fewer than two. Orders are averaged."""
    mean = curve.groupby("sparsity")[measure].mean().dropna().astype(float)
    return float(np.trapezoid(mean, mean.index) / np.ptp(mean.index)) if len(mean) > 1 else np.nan


def within(curve: pd.DataFrame, whole: float, share: float) -> float:
    """The largest measured sparsity up to which no value of `method_curve` lies more than `share` below `whole`."""
    if not np.isfinite(whole) or curve.empty:
        return np.nan
    good = (curve.value >= whole - share - _TINY).to_numpy()
    count = len(good) if good.all() else int(good.argmin())
    return float(curve.index[count - 1]) if count else 0.0


def knee(curve: pd.DataFrame) -> float:
    """The sparsity at which a `method_curve` lies farthest above the straight line from its first point to its last.

    Both axes are scaled to [0, 1] first. NaN where the curve does not fall (where intervals are known: where those at its
    ends touch), or nowhere lies above the line.
    """
    if len(curve) < 3 or not _falls(curve.iloc[0], curve.iloc[-1]):
        return np.nan
    along = (curve.index - curve.index[0]) / np.ptp(curve.index)
    left = (curve.value - curve.value.iloc[-1]) / (curve.value.iloc[0] - curve.value.iloc[-1])
    above = left.to_numpy() + along.to_numpy() - 1.0
    best = int(np.argmax(above > above.max() - _TINY))  # the first of equals
    return float(curve.index[best]) if above[best] > _TINY else np.nan


def steepest_drop(curves: pd.DataFrame, method: str) -> SteepestDrop | None:
    """Between which two measured sparsities a method's main measure falls most for each head; None where it never falls."""
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
    clear = _falls(curve.iloc[i], curve.iloc[i + 1])
    return SteepestDrop(start, end, float(fall[i]), int(step[i]) if counted else None, regime_of((start + end) / 2), clear)


def regime_of(sparsity: float) -> str:
    """The name of the regime in which a sparsity lies; bounds belong to the one below."""
    return next(name for _, high, name in REGIMES if sparsity <= high + _TINY)


def inflection(values, trials: int | None = None) -> int | None:
    """The step after which accuracy falls for good, values[n] being the accuracy after n steps; None where it does not.

    Greedy-Gnorm (section 3.1) leaves its empirical "inflection point", at which accuracy begins to drop sharply, to the eye.
    Here it is the break b of the two joined straight lines that fit the values with the smallest squared error (the first b
    of equals), among those that fall faster after b than before. They are fitted up to the first step from which on more
    than half of the whole loss, first value less lowest, stays lost: what comes after the fall, slow decay or the level of
    guessing, does not say where it began. None where the fall from the fitted value at b to the last value is no more than
    noise: with `trials` (answers that a value is a share of) where their 95 % Wilson intervals touch, without where it is
    less than twice the spread of the values around the lines. None, too, where accuracy falls from the first step on: there
    is nothing before that it could fall faster than.
    """
    values = np.asarray(values, float)
    if values.ndim != 1 or len(values) < 3 or not np.isfinite(values).all():
        return None
    lost = values < values[0] - (values[0] - values.min()) / 2.0
    if values[0] - values.min() < _TINY or not lost[-1]:
        return None
    end = len(values) - int(lost[::-1].argmin()) + 1  # one value in the lost half, so that a sudden change is seen
    seen = values[:end]
    best = None
    for at in range(1, len(seen) - 1):
        fitted, before, change = _two_lines(seen, at)
        error = float(np.square(seen - fitted).sum())
        if change < -_TINY and before + change < -_TINY and (best is None or error < best[0] - _TINY):
            best = error, at, float(fitted[at])
    if best is None:
        return None
    error, at, level = best
    if trials is None:
        falls = level - values[-1] > 2.0 * np.sqrt(error / len(seen))
    else:
        falls = wilson(np.clip(level, 0, 1) * trials, trials)[0] > wilson(values[-1] * trials, trials)[1]
    return at if falls else None


def _two_lines(values: np.ndarray, at: int) -> tuple[np.ndarray, float, float]:
    """Two straight lines joined at step `at`, by least squares: the fitted values, the first slope, and its change."""
    step = np.arange(len(values), dtype=float)
    design = np.column_stack([np.ones_like(step), step - at, np.maximum(step - at, 0.0)])
    found = np.linalg.lstsq(design, values, rcond=None)[0]
    return design @ found, float(found[1]), float(found[2])


def _falls(first: pd.Series, last: pd.Series) -> bool:
    """Whether a point lies below an earlier one: where both have intervals, whether these lie apart."""
    known = np.isfinite([first.low, last.high]).all()
    return bool(last.high < first.low) if known else bool(last.value < first.value - _TINY)


def _bounds(part: pd.DataFrame, measure: str):
    """(low, high) of a share at 95 %: the frame's own, or Wilson's where it says how many answers there were."""
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
