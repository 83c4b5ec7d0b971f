"""Curve metrics: against values computed manually, SciPy, and trajectories with a known drop."""

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import trapezoid
from scipy.interpolate import interp1d

from headprune_core.data.measures import wilson
from headprune_core.measure.curve_metrics import SUMMARY, knee, method_curve, regime_of, steepest_drop, summary, unpruned
from headprune_core.measure.curves import REGIMES

STEPS = [0.0, 0.1, 0.3, 0.5, 0.9]


def curves(steps=STEPS, heads=None, **methods):
    """Frame with the minimal columns, rows shuffled; lists of lists are random rankings. heads: number of heads."""
    lines = []
    for method, values in methods.items():
        many = values if isinstance(values[0], list) else [values]
        for seed, shares in enumerate(many):
            for sparsity, share in zip(steps, shares, strict=True):
                lines.append((method, sparsity, seed if method == "random" else None, share, share / 2, share**2))
    frame = pd.DataFrame(lines, columns=["method", "sparsity", "seed", "accuracy", "agreement", "correlation"])
    if heads:
        frame["heads_pruned"] = (heads * frame.sparsity).round().astype(int)
    return frame.sample(frac=1, random_state=1)


def test_a_summary_by_hand():
    frame = curves(
        his=[0.9, 0.9, 0.885, 0.86, 0.3], ae=[0.9, 0.8, 0.89, 0.6, 0.1], random=[[0.9] * 5, [0.9, 0.7, 0.7, 0.5, 0.3]]
    )
    found = summary(frame).set_index("method")
    assert list(summary(frame).columns) == SUMMARY
    assert SUMMARY[-7:] == ["within_1", "within_2", "within_5", "knee", "at_10", "at_30", "at_50"]
    his = found.loc["his"]
    assert his.area == pytest.approx((0.1 * 0.9 + 0.2 * 0.8925 + 0.2 * 0.8725 + 0.4 * 0.58) / 0.9)
    assert his[["within_1", "within_2", "within_5"]].tolist() == [0.1, 0.3, 0.5]
    assert his.agreement == pytest.approx((0.9 + 0.885 + 0.86 + 0.3) / 8)
    assert his.stability == pytest.approx((0.9**2 + 0.885**2 + 0.86**2 + 0.3**2) / 4)
    assert (his.stability_ratio, his.knee) == (1.0, 0.5)
    ae = found.loc["ae"]  # it recovers after a loss at 10% sparsity, which does not count
    assert ae[["within_1", "within_2", "within_5"]].tolist() == [0.0, 0.0, 0.0]
    assert ae.stability_ratio == pytest.approx((0.8**2 + 0.89**2 + 0.6**2 + 0.1**2) / (4 * his.stability))
    random = found.loc["random"]
    assert random[["at_10", "at_30", "at_50"]].tolist() == pytest.approx([0.8, 0.8, 0.7])
    assert random.area == pytest.approx((0.1 * 0.85 + 0.2 * 0.8 + 0.2 * 0.75 + 0.4 * 0.65) / 0.9)


@pytest.mark.parametrize("seed", range(4))
def test_areas_and_values_between_are_scipys(seed):
    generator = np.random.default_rng(seed)
    steps, values = np.sort(generator.choice(99, 7, replace=False)) / 100, generator.random(7)
    found = summary(curves(steps=steps, his=values.tolist())).iloc[0]
    assert found.area == pytest.approx(trapezoid(values, steps) / (steps[-1] - steps[0]))
    expected = interp1d(steps, values, bounds_error=False)([0.1, 0.3, 0.5])
    np.testing.assert_allclose(found[["at_10", "at_30", "at_50"]].astype(float), expected)


def test_allowed_losses_tolerate_rounding():
    found = summary(curves(his=[0.9, 0.89, 0.88, 0.85, 0.849])).iloc[0]
    assert found[["within_1", "within_2", "within_5"]].tolist() == [0.1, 0.3, 0.5]


def test_one_sparsity_has_no_area_and_no_knee():
    found = summary(curves(steps=[0.3], his=[0.8], random=[[0.7], [0.6]])).set_index("method")
    assert found.at_30.to_dict() == pytest.approx({"his": 0.8, "random": 0.65})
    assert found[["area", "knee", "within_5", "at_10", "at_50"]].isna().all(axis=None)
    assert steepest_drop(curves(steps=[0.3], his=[0.8]), "his") is None


def test_a_constant_curve_is_usable_over_the_whole_range():
    found = summary(curves(his=[1.0] * 5)).iloc[0]
    assert found.tolist()[1:] == pytest.approx([1.0, 1.0, 0.5, 1.0, 0.9, 0.9, 0.9, np.nan, 1.0, 1.0, 1.0], nan_ok=True)
    assert steepest_drop(curves(his=[1.0] * 5), "his") is None


def test_without_labels_agreement_is_used_and_the_unpruned_model_has_1():
    frame = curves(steps=[0.1, 0.3], his=[0.9, 0.5]).assign(accuracy=np.nan)
    frame["agreement"] *= 2
    assert unpruned(frame) == 1.0
    found = summary(frame).iloc[0]
    assert (found.area, found.within_5) == (pytest.approx(0.7), 0.0)
    assert np.isnan(unpruned(curves(steps=[0.1], his=[0.9])))


def test_without_his_there_is_no_ratio_and_without_measures_there_is_nothing():
    assert np.isnan(summary(curves(ae=[0.9] * 5)).stability_ratio[0])
    nothing = summary(curves(his=[np.nan] * 5)).iloc[0]
    assert nothing.drop("method").isna().all()
    assert np.isnan(summary(curves(his=[0.9] * 5).drop(columns=["correlation", "agreement"])).stability[0])


def test_the_unpruned_model_has_no_pruned_head():
    frame = curves(steps=[0.001, 0.5], heads=72, his=[0.9, 0.5])
    assert unpruned(frame) == 0.9


def test_knee_of_the_kneedle_paper():
    # Satopää et al. (2011), Figure 2: ten points of -1 / (x + 0.1) + 5 have their knee at 0.22; mirrored, as curves fall
    x = np.linspace(0.0, 1.0, 10)
    frame = curves(steps=1 - x, his=(-1 / (x + 0.1) + 5).tolist())
    assert round(1 - knee(method_curve(frame, "his")), 2) == 0.22


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.9, 0.9, 0.9, 0.3, 0.3], 0.3),
        ([0.9, 0.9, 0.9, 0.9, 0.3], 0.5),
        ([0.9, 0.3, 0.3, 0.3, 0.3], None),  # below the straight line all along
        ([0.9, 0.8, 0.6, 0.4, 0.0], None),  # the straight line itself
        ([0.5, 0.9, 0.9, 0.9, 0.9], None),  # no fall
        ([0.9, 0.9, 0.9, 0.9, 0.9], None),
    ],
)
def test_knees_by_hand(values, expected):
    found = knee(method_curve(curves(his=values), "his"))
    assert np.isnan(found) if expected is None else found == expected


def test_a_drop_within_noise_has_no_knee():
    frame = curves(his=[0.9, 0.9, 0.89, 0.88, 0.85])
    for trials, clear in ((50, False), (5000, True)):
        low, high = wilson(frame.accuracy * trials, trials)
        found = knee(method_curve(frame.assign(accuracy_low=low, accuracy_high=high), "his"))
        assert np.isfinite(found) == clear


def test_intervals_of_agreement_use_the_number_of_predictions():
    frame = curves(his=[0.9, 0.8, 0.7, 0.6, 0.5]).assign(accuracy=np.nan)
    assert method_curve(frame, "his").low.isna().all()
    for column in ("trials", "examples"):
        found = method_curve(frame.assign(**{column: 40}), "his")
        np.testing.assert_allclose((found.low, found.high), wilson(40 * found.value, 40))
    assert method_curve(frame.assign(trials=0), "his").low.isna().all()


def test_the_steepest_drop_is_per_head():
    frame = curves(heads=100, his=[0.9, 0.8, 0.75, 0.55, 0.1])
    drop = steepest_drop(frame, "his")  # 0.010, 0.0025, 0.010 and 0.01125 for each head
    assert (drop.start, drop.end, drop.heads, drop.regime, drop.intervals_apart) == (0.5, 0.9, 40, "collapse", True)
    assert drop.fall == pytest.approx(0.45)
    few = steepest_drop(curves(heads=4, steps=[0, 0.1, 0.3, 0.6, 1], his=[0.9, 0.9, 0.8, 0.6, 0.5]), "his")
    assert (few.start, few.end, few.heads) == (0.3, 0.6, 1)  # 0 and 10% are the same heads
    bare = steepest_drop(curves(his=[0.9, 0.7, 0.65, 0.6, 0.5]), "his")
    assert (bare.start, bare.end, bare.heads, bare.regime) == (0.0, 0.1, None, "redundancy")
    assert steepest_drop(frame, "magic") is None


@pytest.mark.parametrize(("trials", "apart"), [(40, False), (4000, True)])
def test_a_drop_has_intervals_apart_only_with_enough_examples(trials, apart):
    frame = curves(his=[0.9, 0.9, 0.8, 0.8, 0.8])
    low, high = wilson(frame.accuracy * trials, trials)
    assert steepest_drop(frame.assign(accuracy_low=low, accuracy_high=high), "his").intervals_apart == apart


def test_every_sparsity_has_a_regime():
    assert [regime_of(at) for at in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.51, 1.0)] == [
        "redundancy", "redundancy", "transition", "transition", "specialization", "specialization", "collapse", "collapse",
    ]  # fmt: skip
    assert regime_of(0.1 + 0.2) == REGIMES[1][2]
