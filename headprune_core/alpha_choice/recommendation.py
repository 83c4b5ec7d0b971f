"""Which alpha to take, from the accuracy of every mask along the exact path; and whether it matters at all.

The choice is the mask that answers most texts right, or, without labels, most as the unpruned model does; of equals the one
that holds over the largest share of alpha; and for it the middle of its widest interval. Three questions are kept apart:

- Does alpha matter? Cochran's Q over all distinct masks, corrected for masks that answer nearly alike (`cochran`).
- What is the choice worth? Its accuracy on the texts that it was chosen by flatters; the cross-validated one does not.
- Is choosing better than HIS alone? McNemar's exact test of the cross-validated answers against HIS alone, and of the chosen
  mask itself with Holm's correction for the number of masks looked at. Both must say so. The first alone would be too eager:
  folds share the texts they choose by, and of masks that were all equally good it called the choice better in 6 to 7 % of
  draws, in place of 2.5 %; the second does so in 1 to 2 %.

Where tokens are predicted a text has many answers: bootstrap intervals over texts stand in for McNemar's test, and nothing
is tested where the choice is by agreement, which is then not known text by text.
"""

from dataclasses import dataclass

import numpy as np

from headprune_core.errors import HeadPruneError
from headprune_core.measure.curves import wilson
from headprune_core.measure.paired_tests import McNemar, ShareDifference, holm, mcnemar, share_difference

from .alpha_accuracy import AlphaAccuracy
from .cochran import Cochran, cochran_q
from .cross_validation import chosen_without, stratified_folds

FOLDS = 10
SURE = 0.05  # of a test's p, below which a difference is called one
NEAR = 0.01  # of the measure: a point
_TINY = 1e-12  # below this, differences of shares are rounding


@dataclass(frozen=True)
class CrossValidated:
    """Choosing, judged by texts that had no part in it.

    value, low, high (95 %; Wilson, or a bootstrap over texts where tokens are predicted): the measure chosen by, over the
    pooled answers; accuracy: theirs. against_his: those answers beside HIS alone. masks: how many the folds chose.
    """

    value: float
    low: float
    high: float
    accuracy: float
    against_his: McNemar | ShareDifference
    folds: int
    masks: int


@dataclass(frozen=True)
class AlphaRecommendation:
    """The alpha to take, and how far that can be believed.

    by: "accuracy" or "agreement". alpha: the middle of (low, high), the widest interval of the chosen mask; mask: its number
    in `AlphaAccuracy.masks`; interval: that of (low, high) in the path; width: the share of alpha over which it holds; ties:
    how many distinct masks are as good; near: the share of alpha within a point of the best.
    value, value_low, value_high (95 %, Wilson): the measure under it, on the texts that it was chosen by; his, ae, random:
    the measure under HIS alone, AE alone and random masks. accuracy, accuracy_low, accuracy_high: of the choice, nan without
    labels. against_his: the chosen mask beside HIS alone; p_corrected: its p after Holm. cochran, cross_validated: see the
    module. None (nan) where they cannot be had. verdict: one sentence.
    """

    by: str
    alpha: float
    low: float
    high: float
    interval: int
    mask: int
    masks: int
    width: float
    ties: int
    near: float
    value: float
    value_low: float
    value_high: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    his: float
    ae: float
    random: float
    against_his: McNemar | ShareDifference | None
    p_corrected: float
    cochran: Cochran | None
    cross_validated: CrossValidated | None
    verdict: str

    @property
    def alpha_text(self) -> str:
        """alpha in two decimals, or as many as it takes to stay inside its interval."""
        return format_inside(self.alpha, self.low, self.high)


def recommend_alpha(
    found: AlphaAccuracy, *, by: str | None = None, folds: int = FOLDS, seed: int = 0
) -> AlphaRecommendation:
    """The alpha to take by "accuracy" or, label-free, by "agreement" (None: accuracy where there are labels).

    folds: of the cross-validation, spread evenly over the unpruned model's answers, drawn by `seed`; as many as texts where
    there are fewer. Raises HeadPruneError for accuracy without labels and for fewer than 2 folds or texts.
    """
    by = by or found.measure
    if by not in ("accuracy", "agreement"):
        raise HeadPruneError(f"the choice is to be by {by!r}; expected 'accuracy' or 'agreement'")
    measure, accuracy = getattr(found, by), found.accuracy
    if np.isnan(measure).any():
        raise HeadPruneError("accuracy is not known, as the texts have no labels; expected by='agreement'")
    mask = best_mask(measure[found.first], found.widths)
    interval = widest_interval(found, mask)
    low, high = found.path[interval].low, found.path[interval].high
    value_low, value_high = wilson(measure[interval] * found.trials, found.trials)
    random = getattr(found, f"random_{by}")
    answers = found.agrees if by == "agreement" else found.right
    tested = {"against_his": None, "p_corrected": np.nan, "cochran": None, "cross_validated": None}
    if answers is not None:
        tested = _tested(found, answers[found.first], mask, folds, seed)
    parts = {
        "by": by,
        "alpha": (low + high) / 2.0,
        "low": low,
        "high": high,
        "interval": interval,
        "mask": mask,
        "masks": len(found.masks),
        "width": float(found.widths[mask]),
        "ties": int((measure[found.first] >= measure.max() - _TINY).sum()),
        "near": float(found.widths[measure[found.first] >= measure.max() - NEAR - _TINY].sum()),
        "value": float(measure[interval]),
        "value_low": float(value_low),
        "value_high": float(value_high),
        "accuracy": float(accuracy[interval]),
        "accuracy_low": float(found.accuracy_low[interval]),
        "accuracy_high": float(found.accuracy_high[interval]),
        "his": float(measure[-1]),
        "ae": float(measure[0]),
        "random": float(random.mean()) if len(random) else np.nan,
    }
    verdict = _verdict(by, format_inside(parts["alpha"], low, high), len(found.masks), mask == found.which[-1], tested)
    return AlphaRecommendation(**parts, **tested, verdict=verdict)


def best_mask(values: np.ndarray, widths: np.ndarray) -> int:
    """The mask of the highest value (M,); of equals the one of the largest width (M,), then the first."""
    best = np.flatnonzero(values >= values.max() - _TINY)
    return int(best[widths[best].argmax()])


def widest_interval(found: AlphaAccuracy, mask: int) -> int:
    """The number of the widest interval in which this mask holds, the first of equals."""
    mine = np.flatnonzero(found.which == mask)
    return int(mine[np.argmax([found.path[i].high - found.path[i].low for i in mine])])


def format_inside(value: float, low: float, high: float) -> str:
    """A number with two decimals, or as many as it takes to stay strictly between low and high."""
    return next((text for digits in range(2, 17) if low < float(text := f"{value:.{digits}f}") < high), repr(value))


def sure(test: McNemar | ShareDifference) -> bool:
    """Whether a paired difference is more than chance: by its p, or by its interval where it has no p."""
    return test.p_value < SURE if isinstance(test, McNemar) else not test.low <= 0.0 <= test.high


def _tested(found: AlphaAccuracy, answers: np.ndarray, mask: int, folds: int, seed: int) -> dict:
    """Everything that needs answers (M, N) text by text."""
    his = int(found.which[-1])
    texts = np.arange(answers.shape[1])
    in_fold = stratified_folds(found.answers, min(folds, len(texts)), seed=seed)
    chosen = chosen_without(answers, in_fold, lambda values: best_mask(values, found.widths))
    pooled = answers[chosen, texts]
    right = found.right[found.first][chosen, texts].mean() if found.measure == "accuracy" else np.nan
    against = _compared(pooled, answers[his])
    low, high = _interval(pooled)
    return {
        "against_his": _compared(answers[mask], answers[his]),
        "p_corrected": _corrected(answers, mask, his),
        "cochran": cochran_q(answers),
        "cross_validated": CrossValidated(
            float(pooled.mean()), low, high, float(right), against, len(np.unique(in_fold)), len(np.unique(chosen))
        ),
    }


def _compared(first: np.ndarray, second: np.ndarray) -> McNemar | ShareDifference:
    return mcnemar(first, second) if first.dtype == bool else share_difference(first, second)


def _interval(values: np.ndarray) -> tuple[float, float]:
    if values.dtype == bool:
        low, high = wilson(values.sum(), len(values))
        return float(low), float(high)
    around = share_difference(values, np.zeros(len(values)))
    return around.low, around.high


def _corrected(answers: np.ndarray, mask: int, his: int) -> float:
    """Holm's p of a mask against HIS alone, among the tests of all masks against it; nan where there are no such tests."""
    if answers.dtype != bool or mask == his:
        return np.nan
    others = [m for m in range(len(answers)) if m != his]
    return float(holm([mcnemar(answers[m], answers[his]).p_value for m in others])[others.index(mask)])


def _verdict(by: str, alpha: str, masks: int, is_his: bool, tested: dict) -> str:
    if masks == 1:
        return "Alpha does not matter here: every alpha gives the same mask."
    held = tested["cross_validated"]
    if held is None:
        return f"By {by} alpha {alpha} is best; no test says whether that is more than chance."
    better = sure(held.against_his) and held.against_his.difference > 0 and not tested["p_corrected"] >= SURE
    points = f"{100 * held.against_his.difference:+.1f} points on texts that had no part in the choice"
    if better and not is_his:
        return f"Choose alpha {alpha}: better than HIS alone ({points})."
    if tested["cochran"].p_corrected >= SURE:
        return (
            f"Alpha does not matter here: the differences between the {masks} masks along alpha are no larger than chance "
            "makes them."
        )
    if is_his:
        return "Alpha matters here, and HIS alone (alpha 1) is the best choice."
    return f"HIS alone is as good: alpha matters, but choosing one gains nothing that chance could not ({points})."
