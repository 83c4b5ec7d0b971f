"""Inflection point of an accuracy trajectory, at which accuracy starts to drop sharply (Greedy-Gnorm, section 3.1).

The Greedy-Gnorm paper reads its empirical inflection point from a figure; this module computes it by a fit of two lines.
Whether a run ends there is left to `greedy`.
"""

import numpy as np

from headprune_core.data.measures import wilson

_TINY = 1e-9  # smaller differences of shares are rounding errors


def inflection(values, trials: int | None = None) -> int | None:
    """Return the step at which accuracy starts to drop sharply (the Greedy-Gnorm inflection point).

    Fits two joined line segments to the values and returns the breakpoint with the smallest squared error whose second slope
    is steeper than the first. The fit uses the steps up to the point where more than half of the total drop is lost
    permanently, because a slow decay or chance level after the drop carries no information about its start.

    Args:
        values: (S + 1,), accuracy after each step, 0 to 1, starting with the unpruned model.
        trials: number of predictions behind each value, for the noise test. The drop must exceed the noise: the 95% Wilson
            intervals of the fitted value at the breakpoint and of the last value must not overlap. If None, the drop must
            exceed twice the root mean squared error of the fit.

    Returns:
        The step, or None if the drop is within noise or if accuracy declines from the first step.
    """
    values = np.asarray(values, float)
    if values.ndim != 1 or len(values) < 3 or not np.isfinite(values).all():
        return None
    lost = values < values[0] - (values[0] - values.min()) / 2.0  # more than half of the total drop
    if values[0] - values.min() < _TINY or not lost[-1]:
        return None
    # Include one value after half of the drop is lost permanently, so that a sudden change is found.
    end = len(values) - int(lost[::-1].argmin()) + 1
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
    """Fit two lines joined at step `at` by least squares: fitted values, first slope, and change of slope."""
    step = np.arange(len(values), dtype=float)
    design = np.column_stack([np.ones_like(step), step - at, np.maximum(step - at, 0.0)])
    coefficients = np.linalg.lstsq(design, values, rcond=None)[0]
    return design @ coefficients, float(coefficients[1]), float(coefficients[2])
