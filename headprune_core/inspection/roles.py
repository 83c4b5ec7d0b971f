"""Roles of heads: every role is scored, and the largest score wins if the evidence separates it from the second.

The score of a role is its lift: the share of attention minus the share under uniform attention. The primary role of a head
is the one with the largest lift, if this lift is at least the threshold and its difference to the second largest is positive
in the split-half interval. Else the head is "broad" (normalized entropy above 0.9) or "mixed". Roles that contain each
other, such as the previous token and the tokens within 3 positions, do not compete.

A role says where a head looks, not whether the model needs it: according to Budhraja et al. 2020 ("On the weak link between
importance and prunability of attention heads", EMNLP), pruning by role is no better than random pruning.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from headprune_core.errors import HeadPruneError

from .token_patterns import PATTERNS

ROLES = (*PATTERNS, "sink")
THRESHOLD = 0.25
BROAD = 0.9  # normalized entropy above which a head without another role is broad
REFERENCE_LINES = {"Clark et al. 2019, positions": 0.5, "Clark et al. 2019, tokens": 0.6, "Gu et al. 2025, sinks": 0.3}
HALVES = 200  # random halves of the examples
MIN_EXAMPLES = 4  # for an interval from halves of the examples
# Roles whose keys include those of another role: they do not compete with it.
_CONTAINED = {
    "local": ("previous", "next", "self"),
    "sink": ("first", "delimiter"),
    "segment": ("previous", "next", "self", "local"),
}
WHERE = {
    "previous": "on the previous token",
    "next": "on the next token",
    "self": "on the token itself",
    "first": "on the first token",
    "delimiter": "on delimiters and punctuation",
    "same_token": "on other occurrences of the same token",
    "induction": "on the token after an earlier occurrence",
    "segment": "in the same text of the pair",
    "local": "within 3 positions",
    "sink": "on a single token",
}


@dataclass(frozen=True)
class RoleShares:
    """What roles are decided from.

    Attributes:
        shares: (N, R, H) by role, shares of attention; nan where an example has no token to which the role applies.
        nulls: (N, R, H) by role, the shares under uniform attention.
        entropy: (N, R, H), normalized entropy.
        populations: Kind of attention of each row.
        sink_token: (R, H), the most frequent token at the position of the sink, for the evidence; "" if there are none.
        sink_token_share: (R, H), share of the examples in which this token is there.
    """

    shares: dict[str, np.ndarray]
    nulls: dict[str, np.ndarray]
    entropy: np.ndarray
    populations: tuple[str, ...]
    sink_token: np.ndarray
    sink_token_share: np.ndarray

    def some(self, examples: np.ndarray) -> "RoleShares":
        """Return the shares of some examples."""
        parts = [{role: values[examples] for role, values in part.items()} for part in (self.shares, self.nulls)]
        return replace(self, shares=parts[0], nulls=parts[1], entropy=self.entropy[examples])


def role_table(found: RoleShares, threshold: float = THRESHOLD, *, confidence: float = 0.95, seed: int = 0) -> pd.DataFrame:
    """Return the role of every head with its evidence.

    Args:
        found: Shares of attention of at least 4 examples.
        threshold: Least lift of a role, 0 to 1.
        confidence: Level of the split-half interval.
        seed: Seed of the random halves.

    Returns:
        One row per head: row, head, primary (a role, "broad" or "mixed"), largest and secondary (the roles with the largest
        and second largest lift), score and null of the largest, lift, secondary_lift, low (lower limit of the interval of
        their difference), entropy and evidence (a sentence).

    Raises:
        HeadPruneError: If there are too few examples or the threshold is invalid.
    """
    if not 0 < threshold <= 1:
        raise HeadPruneError(f"threshold must be above 0 and at most 1, got {threshold:g}")
    n, rows, heads = found.entropy.shape
    if n < MIN_EXAMPLES:
        raise HeadPruneError(f"roles need at least {MIN_EXAMPLES} examples, got {n}; use more examples")
    shares, nulls = (np.stack([part[role].reshape(n, -1) for role in ROLES]) for part in (found.shares, found.nulls))
    means = _means_of_halves(shares - nulls, seed)
    best = np.where(np.isfinite(means[0]), means[0], -np.inf)
    place = np.arange(best.shape[1])
    largest = best.argmax(0)
    second = np.where(_competes()[largest].T, best, -np.inf).argmax(0)
    exists = np.isfinite(best[second, place]) & (second != largest)
    rival = np.where(exists, means[1:, second, place], 0.0)
    differences = means[1:, largest, place] - rival
    low = np.quantile(np.where(np.isfinite(differences), differences, -2.0), (1 - confidence) / 2, axis=0)
    entropy, names = found.entropy.mean(0).ravel(), np.array(ROLES, dtype=object)
    clear = (best[largest, place] >= threshold) & (low > 0)
    table = pd.DataFrame(
        {
            "row": np.repeat(np.arange(rows), heads),
            "head": np.tile(np.arange(heads), rows),
            "primary": np.where(clear, names[largest], np.where(entropy > BROAD, "broad", "mixed")),
            "largest": names[largest],
            "secondary": np.where(exists, names[second], ""),
            "score": np.nanmean(shares[largest, :, place], axis=1),
            "null": np.nanmean(nulls[largest, :, place], axis=1),
            "lift": best[largest, place],
            "secondary_lift": np.where(exists, best[second, place], np.nan),
            "low": low,
            "entropy": entropy,
        }
    )
    tokens = zip(found.sink_token.ravel(), found.sink_token_share.ravel(), strict=True)
    sinks = [f', most often "{token}" ({share:.0%} of examples)' if token else "" for token, share in tokens]
    lines = zip(table.itertuples(), sinks, strict=True)
    return table.assign(evidence=[_evidence(head, sink, threshold) for head, sink in lines])


def role_counts(found: RoleShares, thresholds=None) -> pd.DataFrame:
    """Return the number of heads of each role at several thresholds.

    Args:
        found: Shares of attention of at least 4 examples.
        thresholds: Thresholds; None for 0.05 to 0.75 in steps of 0.05.

    Returns:
        One row per threshold, population and role: threshold, population, role, heads.
    """
    thresholds = np.arange(1, 16) / 20 if thresholds is None else np.asarray(thresholds, float)
    tables = []
    for threshold in thresholds:
        table = role_table(found, float(threshold))
        population = np.array(found.populations, dtype=object)[table.row]
        counts = table.groupby([population, "primary"]).size().rename_axis(["population", "role"]).reset_index(name="heads")
        tables.append(counts.assign(threshold=float(threshold)))
    return pd.concat(tables, ignore_index=True)[["threshold", "population", "role", "heads"]]


def label_stability(found: RoleShares, threshold: float = THRESHOLD, *, splits: int = 20, seed: int = 0) -> float:
    """Return the share of heads that have the same primary role in both halves of the examples.

    Args:
        found: Shares of attention of at least 8 examples.
        threshold: Least lift of a role.
        splits: Number of random splits.
        seed: Seed of the splits.

    Returns:
        The mean share over the splits, 0 to 1.
    """
    rng, shares = np.random.default_rng(seed), []
    for _ in range(splits):
        halves = np.array_split(rng.permutation(len(found.entropy)), 2)
        first, second = (role_table(found.some(half), threshold, seed=seed).primary for half in halves)
        shares.append(float((first == second).mean()))
    return float(np.mean(shares))


def _means_of_halves(lifts: np.ndarray, seed: int) -> np.ndarray:
    """Mean lifts (1 + HALVES, K, heads) of all examples and of random halves, from lifts (K, N, heads) with nan."""
    n, rng = lifts.shape[1], np.random.default_rng(seed)
    weights = np.zeros((HALVES + 1, n))
    weights[0] = 1.0
    for half in weights[1:]:
        half[rng.permutation(n)[: n // 2]] = 1.0
    known = np.isfinite(lifts)
    sums, counts = weights @ np.where(known, lifts, 0.0), weights @ known.astype(float)
    means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return means.transpose(1, 0, 2)


def _competes() -> np.ndarray:
    """Return (roles, roles), False for equal roles and for roles of which one contains the other."""
    number = {role: index for index, role in enumerate(ROLES)}
    competes = ~np.eye(len(ROLES), dtype=bool)
    for outer, inner in _CONTAINED.items():
        for role in inner:
            competes[number[outer], number[role]] = competes[number[role], number[outer]] = False
    return competes


def _evidence(head, sink: str, threshold: float) -> str:
    """A sentence about one row of the table; `sink` says which token the sink is."""
    where = WHERE[head.largest] + (sink if head.largest == "sink" else "")
    share = f"{head.score:.0%} of attention is {where}; uniform attention would give {head.null:.0%}"
    if head.primary == "broad":
        return f"Attention is nearly uniform: its entropy is {head.entropy:.0%} of the maximum."
    if head.primary != "mixed":
        return f"{share}."
    if head.lift < threshold:
        return f"No role reaches the threshold of {threshold:.0%} above uniform attention: {share}."
    return f"Two roles are too close: {share}, and {WHERE[head.secondary]} the lift is {100 * head.secondary_lift:.0f} pp."
