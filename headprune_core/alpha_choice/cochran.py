"""Cochran's Q test of several methods on the same examples, corrected for correlated methods.

Cochran's Q (Biometrika 37, 256-266, 1950): with x_im the result of method m on example i (1 correct, 0 wrong) and T_m its
sum,

    Q = (M - 1) * sum_m (T_m - mean T)^2 / sum_im (x_im - mean_m x_im)^2,

which is approximately chi-squared with M - 1 degrees of freedom if all pairs of methods are equally correlated. Masks that
differ in one head are not, and the test then rejects too often. Box's epsilon (Annals of Mathematical Statistics 25,
484-498, 1954; Greenhouse and Geisser 1959), from the covariances of the methods, scales both Q and the degrees of freedom so
that mean and variance are correct. Tests of two methods are in `paired_tests`.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from headprune_core.errors import HeadPruneError


@dataclass(frozen=True)
class Cochran:
    """Result of Cochran's Q test.

    Attributes:
        q: the test statistic.
        degrees: degrees of freedom, number of methods minus 1.
        p_value: without correction.
        epsilon: Box's correction factor, 0 to 1.
        p_corrected: p-value after the correction.
    """

    q: float
    degrees: int
    p_value: float
    epsilon: float
    p_corrected: float


def cochran_q(right) -> Cochran:
    """Test whether M methods differ on the same N examples.

    Args:
        right: (M, N), bool (correct or not), or shares if an example has several predictions.

    Returns:
        The test. If all methods have equal results, or if there is only one, Q is 0 and p is 1.

    Raises:
        HeadPruneError: if `right` has another shape or is not finite.
    """
    right = np.asarray(right, float)
    if right.ndim != 2 or right.size == 0 or not np.isfinite(right).all():
        raise HeadPruneError(f"right must be finite numbers of shape (methods, examples), got shape {right.shape}")
    deviations = right - right.mean(0)  # an example with equal results carries no information about the methods
    spread = float(np.square(deviations).sum())
    degrees = len(right) - 1
    if spread == 0.0:
        return Cochran(0.0, degrees, 1.0, 1.0, 1.0)
    totals = deviations.sum(1)
    q = float(degrees * np.square(totals).sum() / spread)
    epsilon = _epsilon(deviations)
    p_value, p_corrected = chi2.sf(q, degrees), chi2.sf(epsilon * q, epsilon * degrees)
    return Cochran(q, degrees, float(p_value), epsilon, float(p_corrected))


def _epsilon(deviations: np.ndarray) -> float:
    """Return Box's epsilon of (M, N) deviations: 1 if all pairs are equally correlated, at least 1 / (M - 1)."""
    degrees = len(deviations) - 1
    centered = deviations - deviations.mean(1, keepdims=True)
    # The smaller of the two products, which have the same nonzero eigenvalues.
    product = centered @ centered.T if len(deviations) <= deviations.shape[1] else centered.T @ centered
    squares = float(np.square(product).sum())
    return float(np.clip(np.trace(product) ** 2 / (degrees * squares), 1.0 / degrees, 1.0)) if squares > 0 else 1.0
