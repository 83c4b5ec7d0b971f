"""Result of the selection of alpha: the best mask, its tests, the verdict that follows from them, and the alpha it advises.

The verdict, the advised alpha and its text always agree: the best alpha is advised only if it is significantly better than
HIS only, or if no test is available. The computation is in `recommendation`, the evidence in words in `alpha_text`.
"""

from dataclasses import dataclass

from headprune_core.data.measures import format_difference, sentence_name
from headprune_core.measure.paired_tests import SIGNIFICANCE_LEVEL, McNemar, format_p
from headprune_core.measure.permutation_tests import PairedTest

from .cochran import Cochran


@dataclass(frozen=True)
class CrossValidated:
    """Cross-validated result of selecting alpha: each example is evaluated under a mask selected without it.

    Attributes:
        value: the selection measure over the pooled folds, 0 to 1.
        low: lower bound of its 95% CI (Wilson, or a bootstrap over examples for token prediction and regression).
        high: upper bound of that interval.
        accuracy: accuracy over the pooled folds, nan without labels.
        against_his: paired comparison of the pooled predictions with HIS only.
        folds: number of folds.
        masks: number of distinct masks selected in the folds.
    """

    value: float
    low: float
    high: float
    accuracy: float
    against_his: PairedTest
    folds: int
    masks: int


@dataclass(frozen=True)
class AlphaRecommendation:
    """The best alpha, the tests of it, and the alpha that follows from them.

    Attributes:
        by: the selection measure, "accuracy" or "agreement"; for regression "pearson" or "correlation".
        alpha: midpoint of (low, high).
        low: lower bound of the widest alpha interval of the best mask.
        high: upper bound of that interval.
        interval: index of that interval in the path.
        mask: index of the best mask in `AlphaAccuracy.masks`.
        masks: number of distinct masks.
        width: share of the alpha range in which the best mask applies.
        ties: number of distinct masks with the highest value.
        near: share of the alpha range within 1 pp (0.01) of the best.
        value: the selection measure under the best mask, on the examples used to select it (optimistically biased).
        value_low: lower bound of its 95% CI (Wilson, or a bootstrap over examples for regression).
        value_high: upper bound of that interval.
        accuracy: accuracy under the best mask, nan without labels.
        accuracy_low: lower bound of its 95% CI (Wilson).
        accuracy_high: upper bound of that interval.
        his: the selection measure under HIS only (alpha = 1).
        ae: the same under AE only (alpha = 0).
        random: its mean under random masks, nan without any.
        examples: number of examples.
        is_his: whether the best mask is that of HIS only.
        against_his: paired comparison of the best mask with HIS only; None if no per-example values are available.
        p_corrected: its p-value after Holm's correction for all masks; nan if not available, and for regression.
        cochran: test of all distinct masks; None if no per-example values are available, and for regression.
        cross_validated: result on examples not used for the selection; None if no per-example values are available.
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
    examples: int
    is_his: bool
    against_his: PairedTest | None
    p_corrected: float
    cochran: Cochran | None
    cross_validated: CrossValidated | None

    @property
    def alpha_text(self) -> str:
        """The best alpha in two decimals, or in as many as keep it inside its interval."""
        return format_inside(self.alpha, self.low, self.high)

    @property
    def significantly_better(self) -> bool:
        """True if the best alpha is significantly better than HIS only: cross-validated, and after Holm's correction."""
        if self.cross_validated is None or self.is_his:
            return False
        test = self.cross_validated.against_his
        return test.p_value < SIGNIFICANCE_LEVEL and test.difference > 0 and not self.p_corrected >= SIGNIFICANCE_LEVEL

    @property
    def advised_alpha(self) -> float:
        """The alpha that the verdict advises: the best one if significantly better or untestable, else 1.0 (HIS only)."""
        untested = self.cross_validated is None and self.masks > 1 and not self.is_his
        return self.alpha if self.significantly_better or untested else 1.0

    @property
    def advised_value(self) -> float:
        """The selection measure at the advised alpha, 0 to 1."""
        return self.his if self.advised_alpha == 1.0 else self.value

    @property
    def advised_text(self) -> str:
        """The advised alpha in words: "HIS only (alpha = 1)", or for example "alpha = 0.35"."""
        return "HIS only (alpha = 1)" if self.advised_alpha == 1.0 else f"alpha = {self.alpha_text}"

    @property
    def verdict(self) -> str:
        """One or two sentences: whether alpha has a significant effect, and which alpha is advised."""
        if self.masks == 1:
            return "Alpha has no effect: every alpha gives the same mask."
        if self.cross_validated is None:
            best = self.advised_text[0].upper() + self.advised_text[1:]
            return f"{best} has the highest {sentence_name(self.by)}; no significance test is available for this task."
        if self.significantly_better:
            return f"Choose {self.advised_text}: significantly better than HIS only ({self._difference_text()})."
        if self.cochran is None and self.is_his:
            return f"{self.advised_text} has the highest {sentence_name(self.by)}."
        if self.cochran is None:
            return (
                f"{self.advised_text} is advised: the best alpha is not significantly better than HIS only "
                f"({self._difference_text()})."
            )
        if self.cochran.p_corrected >= SIGNIFICANCE_LEVEL:
            return (
                f"No significant effect of alpha: the {self.masks} masks do not differ significantly (Cochran's Q corrected "
                f"for correlated masks, {format_p(self.cochran.p_corrected)}, n = {self.examples}). {self.advised_text} is "
                "advised."
            )
        if self.is_his:
            return f"Alpha has a significant effect, and {self.advised_text} has the highest {self.by}."
        return (
            f"{self.advised_text} is advised: alpha has a significant effect, but the best alpha is not significantly "
            f"better than HIS only ({self._difference_text()})."
        )

    def _difference_text(self) -> str:
        """Return the cross-validated difference to HIS only, and the corrected p-value if that alone is not significant."""
        test = self.cross_validated.against_his
        corrected = (
            f", {format_p(self.p_corrected)} after Holm's correction for {self.masks - 1} masks"
            if test.p_value < SIGNIFICANCE_LEVEL and self.p_corrected >= SIGNIFICANCE_LEVEL
            else ""
        )
        return f"cross-validated: {describe_difference(test, self.by)}{corrected}, n = {self.examples}"


def describe_difference(test: PairedTest, by: str = "accuracy") -> str:
    """Return a paired difference with its 95% CI and p-value.

    Args:
        test: result of a paired test.
        by: the measure that was compared.

    Returns:
        Text such as "+1.4 pp, 95% CI -0.3 to +3.0, exact McNemar p = 0.27".
    """
    bootstrap = "" if isinstance(test, McNemar) else "bootstrap "
    difference, low, high = (format_difference(by, value) for value in (test.difference, test.low, test.high))
    text = f"{difference}, 95% {bootstrap}CI {low.removesuffix(' pp')} to {high.removesuffix(' pp')}"
    return f"{text}, {test.test.removesuffix(' test')} {format_p(test.p_value)}"


def format_inside(value: float, low: float, high: float) -> str:
    """Format a number so that it stays strictly inside an interval.

    Args:
        value: the number, for example an alpha.
        low: lower bound.
        high: upper bound.

    Returns:
        The number with two decimals, or with as many as necessary.
    """
    return next((text for digits in range(2, 17) if low < float(text := f"{value:.{digits}f}") < high), repr(value))
