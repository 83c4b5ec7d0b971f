"""Leave-one-out ablation by role: whether heads of one role matter more or less than heads in general.

According to Budhraja et al. 2020 ("On the weak link between importance and prunability of attention heads", EMNLP), pruning
by role is no better than random pruning. This table shows it for one model: the mean change in loss of the heads of each
role, and a permutation test that assigns the roles to heads at random. Heads count as independent, which they are not if
the heads of one layer are alike.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from headprune_core.errors import HeadPruneError
from headprune_core.measure.ablation import MEASURES, LeaveOneOut
from headprune_core.measure.paired_tests import SIGNIFICANCE_LEVEL, holm
from headprune_core.scores.bootstrap import percentiles, resampled_means
from headprune_core.scores.correlation import format_p

RESAMPLES = 1000
PERMUTATIONS = 10_000
_NAMES = {"abs_loss_change": "absolute change in loss", "loss_change": "signed change in loss"}


@dataclass(frozen=True)
class RoleAblation:
    """Effect of masking one head at a time, by role.

    Attributes:
        table: One row per role, the most frequent first: role; heads, their number; mean, low and high, the mean over heads
            of `measure` and its 95% bootstrap CI over heads (nan for one head); difference, the mean minus that of all
            heads; p_value of a two-sided permutation test, and p_holm, corrected for the number of roles. The last two are
            nan if all heads have one role.
        mean: Mean of `measure` over all heads.
        heads: Number of all heads.
        measure: "abs_loss_change" or "loss_change".
    """

    table: pd.DataFrame
    mean: float
    heads: int
    measure: str

    @property
    def verdict(self) -> str:
        """Which roles differ significantly from all heads, in one sentence."""
        what, of = f"mean {_NAMES[self.measure]}", f"all {self.heads} heads"
        if len(self.table) < 2:
            return f"All {self.heads} heads have the role {self.table.role[0]}, so no roles can be compared."
        differs = self.table[self.table.p_holm < SIGNIFICANCE_LEVEL]
        if differs.empty:
            return f"No role differs significantly from {of} in {what} (permutation test, Holm-corrected, 5% level)."
        found = [
            f"{line.role} ({'larger' if line.difference > 0 else 'smaller'}, {format_p(line.p_holm)})"
            for line in differs.itertuples()
        ]
        verb = "This role differs" if len(found) == 1 else "These roles differ"
        return f"{verb} significantly from {of} in {what} (permutation test, Holm-corrected): {', '.join(found)}."


def role_ablation(
    ablation: LeaveOneOut, roles: pd.DataFrame, *, measure: str = "abs_loss_change", seed: int = 0
) -> RoleAblation:
    """Compare the effect of masking a head between roles.

    Args:
        ablation: Result of `leave_one_out`.
        roles: Result of `HeadTraits.roles` for the same model: row, head and primary of every head.
        measure: "abs_loss_change" or "loss_change".
        seed: Seed of the resamples and permutations.

    Returns:
        The comparison.

    Raises:
        HeadPruneError: If the measure is unknown or the tables have different heads.
    """
    if measure not in MEASURES:
        raise HeadPruneError(f"measure must be one of {', '.join(MEASURES)}, got {measure!r}")
    values = getattr(ablation, measure)
    if not np.array_equal(roles[["row", "head"]], np.argwhere(np.ones(values.shape, bool))):
        raise HeadPruneError(f"the roles must be those of all {values.size} heads of the ablation, got {len(roles)} heads")
    values, generator = values.ravel(), np.random.default_rng(seed)
    shuffled = generator.permuted(np.broadcast_to(values, (PERMUTATIONS, values.size)), axis=1)
    lines = []
    for role, count in roles.primary.value_counts().items():
        members = (roles.primary == role).to_numpy()
        mean, of_role = values[members].mean(), values[members]
        low, high = percentiles(resampled_means(of_role, RESAMPLES, seed)) if count > 1 else (np.nan, np.nan)
        difference, random = mean - values.mean(), shuffled[:, members].mean(1) - values.mean()
        extreme = (np.abs(random) >= abs(difference) - 1e-9 * np.abs(values).max()).sum()
        p_value = (1 + extreme) / (1 + PERMUTATIONS) if count < values.size else np.nan
        lines.append((role, int(count), mean, float(low), float(high), difference, p_value))
    table = pd.DataFrame(lines, columns=["role", "heads", "mean", "low", "high", "difference", "p_value"])
    return RoleAblation(table.assign(p_holm=holm(table.p_value)), float(values.mean()), values.size, measure)
