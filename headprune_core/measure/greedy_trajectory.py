"""Result of a Greedy-Gnorm run: pruning order, scores and accuracy by step, ranking, and inflection point.

The Greedy-Gnorm paper (section 3.1) reads its empirical inflection point, at which accuracy starts to drop sharply, from a
figure; here it is computed by a fit of two lines. The run itself is in `greedy`.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from headprune_core.data.measures import SHARES, wilson
from headprune_core.errors import HeadPruneError
from headprune_core.model.head_layout import HeadGrid

EVALUATED = ("accuracy", "agreement", "loss", "measure", "measure_low", "measure_high")
_TINY = 1e-9  # smaller differences of shares are rounding errors
_COLUMNS = ("accuracy", "accuracy_low", "accuracy_high", "agreement", "loss")


@dataclass(frozen=True)
class GreedyTrajectory:
    """Steps of a Greedy-Gnorm run.

    Attributes:
        grid: the heads of the model.
        heads_per_step: number of heads pruned at each step.
        inverse: whether the highest-scoring heads were pruned first (inverse control).
        order: (row, head) of the pruned heads, in pruning order.
        scores: one (R, H) array per step, Gnorm before it; nan for pruned heads.
        accuracy: (S + 1,), on held-out examples after 0 to S steps; empty without evaluation, and shorter than the steps
            during a run.
        agreement: (S + 1,), likewise.
        loss: (S + 1,), likewise.
        measure_name: name of the main measure, see `MaskEvaluation.measure`.
        measure: (S + 1,), the main measure, likewise.
        measure_low: (S + 1,), lower bound of its 95% CI.
        measure_high: (S + 1,), upper bound of that interval.
        trials: number of predictions behind each value.
        settings: number of examples, objective and dtype.
    """

    grid: HeadGrid
    heads_per_step: int
    inverse: bool
    order: list[tuple[int, int]] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)
    accuracy: np.ndarray = field(default_factory=lambda: np.empty(0))
    agreement: np.ndarray = field(default_factory=lambda: np.empty(0))
    loss: np.ndarray = field(default_factory=lambda: np.empty(0))
    measure_name: str = "accuracy"
    measure: np.ndarray = field(default_factory=lambda: np.empty(0))
    measure_low: np.ndarray = field(default_factory=lambda: np.empty(0))
    measure_high: np.ndarray = field(default_factory=lambda: np.empty(0))
    trials: int = 0
    settings: dict = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Number of steps done."""
        return len(self.scores)

    @property
    def accuracy_low(self) -> np.ndarray:
        """(S + 1,), lower bound of the 95% CI of accuracy (Wilson)."""
        return wilson(self.accuracy * self.trials, self.trials)[0] if self.trials else self.accuracy

    @property
    def accuracy_high(self) -> np.ndarray:
        """(S + 1,), upper bound of the 95% CI of accuracy (Wilson)."""
        return wilson(self.accuracy * self.trials, self.trials)[1] if self.trials else self.accuracy

    def mask(self, step: int) -> np.ndarray:
        """Return the pruning mask after a number of steps.

        Args:
            step: number of steps, from 0.

        Returns:
            bool (R, H), True = kept.

        Raises:
            HeadPruneError: if the run has fewer steps.
        """
        if not 0 <= step <= self.steps:
            raise HeadPruneError(f"step must be between 0 and {self.steps}, got {step}")
        mask = np.ones(self.grid.shape, bool)
        for head in self.order[: step * self.heads_per_step]:
            mask[head] = False
        return mask

    @property
    def ranking(self) -> np.ndarray:
        """(R, H), position in the pruning order; heads that were not pruned follow, by their last score."""
        ranking = np.zeros(self.grid.shape)
        remaining = pruning_order(self.scores[-1], self.inverse) if self.scores else []
        for position, head in enumerate(dict.fromkeys([*self.order, *remaining])):
            ranking[head] = position
        return ranking

    @property
    def inflection(self) -> int | None:
        """Step at which the main measure starts to drop sharply (see `inflection`); None if it does not."""
        trials = self.trials if self.measure_name in SHARES else None
        return inflection(self.measure, trials or None) if len(self.measure) else None

    def first_steps(self, steps: int) -> "GreedyTrajectory":
        """Return the trajectory of the first steps.

        Args:
            steps: number of steps; at least one is kept.

        Returns:
            A shorter trajectory.
        """
        steps = max(steps, 1)
        parts = {name: getattr(self, name)[: steps + 1] for name in EVALUATED}
        return replace(self, order=self.order[: steps * self.heads_per_step], scores=self.scores[:steps], **parts)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per pruned head: step (from 1), row, head, its score at that step, and the measures after it."""
        rows, columns = [], {name: getattr(self, name) for name in _COLUMNS}
        if self.measure_name in ("pearson", "correlation"):
            main = self.measure_name
            columns |= {main: self.measure, f"{main}_low": self.measure_low, f"{main}_high": self.measure_high}
        for number, (row, head) in enumerate(self.order):
            step = number // self.heads_per_step
            record = {"step": step + 1, "row": row, "head": head, "score": self.scores[step][row, head]}
            for name, values in columns.items():
                record[name] = values[step + 1] if step + 1 < len(values) else np.nan
            rows.append(record)
        return pd.DataFrame(rows, columns=list(rows[0]) if rows else ["step", "row", "head", "score"])


def pruning_order(scores: np.ndarray, inverse: bool) -> list[tuple[int, int]]:
    """Return the heads in the order in which their scores prune them.

    Args:
        scores: (R, H), nan for heads that are already pruned.
        inverse: prune the highest scores first.

    Returns:
        (row, head) of the remaining heads; ties are broken by (row, head).
    """
    ranked = np.argsort(-scores if inverse else scores, axis=None, kind="stable")  # nan is last
    remaining = ranked[: int(np.isfinite(scores).sum())]
    return [tuple(int(i) for i in np.unravel_index(index, scores.shape)) for index in remaining]


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
