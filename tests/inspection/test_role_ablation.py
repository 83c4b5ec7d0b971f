"""Leave-one-out by role: known means, intervals and p-values, and what the verdict says."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

import headprune_core as hp
from headprune_core.inspection.role_ablation import PERMUTATIONS


def ablation(changes):
    """An ablation of two examples with these changes in loss (R, H)."""
    changes = np.asarray(changes, float)
    per_example = np.stack([changes - 0.5, changes + 0.5])
    return hp.LeaveOneOut(None, per_example, np.zeros_like(changes), 1.0, "loss")


def roles(names):
    """A role table of a (R, H) list of names."""
    names = np.array(names, dtype=object)
    row, head = (index.ravel() for index in np.indices(names.shape))
    return pd.DataFrame({"row": row, "head": head, "primary": names.ravel()})


SIX = [[1, 2, 3], [4, 5, 9]]
NAMES = [["self", "self", "self"], ["self", "sink", "sink"]]


def test_means_and_p_values_are_those_of_all_subsets():
    found = hp.role_ablation(ablation(SIX), roles(NAMES))
    assert found.table.role.tolist() == ["self", "sink"]
    assert found.table.heads.tolist() == [4, 2]
    np.testing.assert_allclose(found.table["mean"], [2.5, 7.0])
    np.testing.assert_allclose(found.table.difference, [2.5 - 4.0, 7.0 - 4.0])
    assert (found.mean, found.heads) == (4.0, 6)
    values = np.ravel(SIX)
    for line, size in zip(found.table.itertuples(), (4, 2), strict=True):
        every = np.array([values[list(some)].mean() for some in combinations(range(6), size)])
        exact = (np.abs(every - 4.0) >= abs(line.difference) - 1e-9).mean()
        assert line.p_value == pytest.approx(exact, abs=4 * np.sqrt(exact / PERMUTATIONS))
    np.testing.assert_allclose(found.table.p_holm, np.minimum(2 * found.table.p_value.min(), 1))


def test_the_interval_covers_the_mean_and_needs_two_heads():
    table = hp.role_ablation(ablation(SIX), roles([["self", "self", "self"], ["self", "self", "sink"]])).table
    assert table.low[0] < table["mean"][0] < table.high[0]
    assert table.low[0] >= 1
    assert table.high[0] <= 5
    assert table.loc[1, ["low", "high"]].isna().all()


@pytest.mark.slow
def test_intervals_cover_the_true_mean_as_often_as_they_say():
    """The heads of a role are a sample of a normal distribution with mean 2."""
    rng, covered, names = np.random.default_rng(0), 0, roles([["self"] * 30 + ["sink"] * 30])
    for seed in range(60):
        line = hp.role_ablation(ablation([rng.normal(2, 0.3, 60)]), names, measure="loss_change", seed=seed).table.iloc[0]
        covered += line.low <= 2 <= line.high
    assert 0.85 <= covered / 60 <= 1


def test_roles_that_differ_are_named_with_their_direction():
    rng = np.random.default_rng(0)
    changes = rng.normal(5, 0.1, (6, 12))
    names = np.full((6, 12), "mixed", dtype=object)
    names[0], names[1, :4], names[3] = "previous", "sink", "broad"
    changes[0] += 2
    changes[3] -= 2
    found = hp.role_ablation(ablation(changes), roles(names), measure="loss_change")
    assert found.verdict.startswith("These roles differ significantly from all 72 heads in mean signed change in loss")
    assert "previous (larger, p < 0.001)" in found.verdict
    assert "broad (smaller, p < 0.001)" in found.verdict
    assert "sink" not in found.verdict
    only = hp.role_ablation(ablation(changes), roles(np.where(names == "broad", "mixed", names)), measure="loss_change")
    assert "previous (larger" in only.verdict


@pytest.mark.slow
def test_random_roles_do_not_differ_more_often_than_the_level():
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(40):
        names = rng.permutation(["self"] * 24 + ["sink"] * 24 + ["mixed"] * 24)
        wrong += not hp.role_ablation(ablation([rng.exponential(1, 72)]), roles([names])).verdict.startswith("No role")
    assert wrong <= 6  # of 40; 2 are expected


def test_one_role_for_all_heads_cannot_be_compared():
    found = hp.role_ablation(ablation(SIX), roles([["mixed"] * 3] * 2))
    assert found.verdict == "All 6 heads have the role mixed, so no roles can be compared."
    assert found.table.loc[0, ["p_value", "p_holm"]].isna().all()


def test_other_heads_and_measures_are_refused():
    with pytest.raises(hp.HeadPruneError, match="the roles must be those of all 6 heads of the ablation, got 3 heads"):
        hp.role_ablation(ablation(SIX), roles([["self"] * 3]))
    with pytest.raises(hp.HeadPruneError, match="measure must be one of abs_loss_change, loss_change, got 'drop'"):
        hp.role_ablation(ablation(SIX), roles(NAMES), measure="drop")
