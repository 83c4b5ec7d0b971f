"""Several methods on the same texts: is any of them right more often than the others beyond chance?

Cochran's Q (Biometrika 37, 256-266, 1950). With x_im what method m gives on text i (right 1, wrong 0), T_m its sum,

    Q = (M - 1) * sum_m (T_m - mean T)^2 / sum_im (x_im - mean_m x_im)^2,

by chance chi-squared with M - 1 degrees of freedom, if all pairs of methods go together equally much. Masks that differ in
one head do not: they answer nearly alike, Q then varies more than that, and chance looks like a difference too often. Box's
epsilon (Annals of Mathematical Statistics 25, 484-498, 1954; Greenhouse and Geisser 1959), from the covariances of the
methods' answers, shrinks both Q and the degrees of freedom so that its mean and its spread are right. Two methods alone:
`paired_tests`.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from headprune_core.errors import HeadPruneError


@dataclass(frozen=True)
class Cochran:
    """q and its degrees of freedom; p_value: Cochran's own; epsilon (0 to 1) and p_corrected: after Box."""

    q: float
    degrees: int
    p_value: float
    epsilon: float
    p_corrected: float


def cochran_q(right) -> Cochran:
    """Compare M methods by what each gives on N texts, (M, N): bool, or shares where a text has several answers.

    Methods that all give the same on every text, or one alone, have q 0 and p 1. Raises HeadPruneError for another shape.
    """
    right = np.asarray(right, float)
    if right.ndim != 2 or right.size == 0 or not np.isfinite(right).all():
        raise HeadPruneError(f"answers have shape {right.shape}; expected (methods, texts), all of them numbers")
    apart = right - right.mean(0)  # what a text gives all methods alike says nothing about them
    spread = float(np.square(apart).sum())
    degrees = len(right) - 1
    if spread == 0.0:
        return Cochran(0.0, degrees, 1.0, 1.0, 1.0)
    totals = apart.sum(1)
    q = float(degrees * np.square(totals).sum() / spread)
    epsilon = _epsilon(apart)
    p_value, p_corrected = chi2.sf(q, degrees), chi2.sf(epsilon * q, epsilon * degrees)
    return Cochran(q, degrees, float(p_value), epsilon, float(p_corrected))


def _epsilon(apart: np.ndarray) -> float:
    """Box's epsilon of centred answers (M, N): 1 where all pairs go together alike, 1 / (M - 1) at the least."""
    degrees = len(apart) - 1
    centred = apart - apart.mean(1, keepdims=True)
    small = centred @ centred.T if len(apart) <= apart.shape[1] else centred.T @ centred  # the same eigenvalues
    squares = float(np.square(small).sum())
    return float(np.clip(np.trace(small) ** 2 / (degrees * squares), 1.0 / degrees, 1.0)) if squares > 0 else 1.0
