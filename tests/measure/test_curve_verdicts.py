"""Verdicts on curves: comparison with random rankings, signs of failure, and their texts."""

import numpy as np
import pandas as pd
import pytest

import headprune_core as hp
from headprune_core.data.measures import wilson
from headprune_core.measure.curve_verdicts import (
    MIN_RANDOM_RANKINGS,
    compare_with_random,
    describe_stability,
    describe_verdict,
    verdict_text,
)
from headprune_core.measure.failure_signatures import failure_signatures

STEPS = [0.0, 0.1, 0.3, 0.5]


def made_up(**methods):
    """Curves over three sparsities from lists of accuracies; lists of lists are random seeds."""
    lines = []
    for method, values in methods.items():
        many = values if isinstance(values[0], list) else [values]
        for seed, accuracies in enumerate(many):
            for sparsity, accuracy in zip([0.0, 0.1, 0.4], accuracies, strict=True):
                lines.append((method, sparsity, seed if method == "random" else None, accuracy))
    return pd.DataFrame(lines, columns=["method", "sparsity", "seed", "accuracy"]).sample(frac=1, random_state=0)


def test_verdicts_by_hand():
    frame = made_up(
        random=[[0.9, 0.7, 0.3], [0.9, 0.8, 0.5]],  # areas (0.1 * 0.8 + 0.3 * 0.5) / 0.4 and (0.085 + 0.195) / 0.4
        good=[0.9, 0.9, 0.9],
        bad=[0.9, 0.3, 0.3],
        usual=[0.9, 0.8, 0.4],
    )
    found = hp.compare_with_random(frame).set_index("method")
    assert found.verdict.to_dict() == {
        "good": "better than random",
        "bad": "worse than random",
        "usual": "no better than random",
    }
    assert found.area.to_dict() == pytest.approx({"good": 0.9, "bad": 0.375, "usual": 0.6625})
    np.testing.assert_allclose(found[["random_low", "random_high"]], [[0.575, 0.7]] * 3)


@pytest.mark.parametrize(
    "frame",
    [
        made_up(good=[1.0, 1.0, 1.0]),
        made_up(random=[[1.0, 1.0, 1.0]], good=[1.0, 1.0, 1.0]).query("sparsity == 0.1"),
    ],
    ids=["no random curve", "one sparsity"],
)
def test_no_verdict_without_random_curves_of_two_sparsities(frame):
    assert hp.compare_with_random(frame).empty
    assert list(hp.compare_with_random(frame).columns) == [
        *("method", "area", "random_low", "random_high", "verdict", "n_random", "enough_random")
    ]


def test_without_labels_the_verdict_is_by_agreement():
    frame = made_up(random=[[0.9, 0.5, 0.3]], good=[0.9, 0.9, 0.9])
    unlabeled = frame.assign(agreement=frame.accuracy, accuracy=np.nan)
    by_agreement, by_accuracy = (hp.compare_with_random(curves) for curves in (unlabeled, frame))
    assert by_agreement.verdict.to_list() == ["better than random"]
    assert by_agreement.area.to_list() == by_accuracy.area.to_list()


@pytest.mark.parametrize("column", ["accuracy", "agreement"])
def test_a_method_that_was_not_measured_has_no_verdict(column):
    frame = made_up(random=[[0.9, 0.5, 0.3]], good=[0.9, 0.9, 0.9]).rename(columns={"accuracy": column})
    frame["accuracy" if column == "agreement" else "agreement"] = np.nan
    frame.loc[(frame.method == "good") & (frame.sparsity > 0), column] = np.nan
    assert hp.compare_with_random(frame).empty
    assert hp.compare_with_random(frame.assign(**{column: np.nan})).empty


def curves(trials=1000, steps=STEPS, measure="accuracy", **methods):
    """A frame as sparsity_curves makes it, of 100 heads, from values at STEPS; lists of lists are random rankings."""
    lines = []
    for method, values in methods.items():
        many = values if isinstance(values[0], list) else [values]
        for seed, shares in enumerate(many):
            for sparsity, share in zip(steps, shares, strict=True):
                lines.append((method.replace("_at_", "@"), sparsity, round(100 * sparsity), seed, share))
    frame = pd.DataFrame(lines, columns=["method", "sparsity", "heads_pruned", "seed", measure])
    low, high = wilson(frame[measure] * trials, trials)
    if measure == "agreement":
        low = high = frame["accuracy"] = np.full(len(frame), np.nan)
    else:
        frame["agreement"] = frame.accuracy
    frame["seed"] = frame.seed.where(frame.method == "random").astype("Int64")
    return frame.assign(accuracy_low=low, accuracy_high=high, correlation=frame[measure] ** 2, trials=trials)


RANDOM = [[0.9, 0.85, 0.7, 0.5], [0.9, 0.8, 0.65, 0.4]]


def random_rankings(count):
    """Random curves whose areas lie between those of the two in RANDOM, both included."""
    low, high = np.array(RANDOM[1]), np.array(RANDOM[0])
    return [(low + (high - low) * share).tolist() for share in np.linspace(0.0, 1.0, count)]


def test_texts_of_better_worse_and_not_significantly_better():
    frame = curves(
        random=random_rankings(19),
        his=[0.9, 0.9, 0.885, 0.6],
        ae=[0.9, 0.7, 0.4, 0.3],
        gnorm=[0.9, 0.83, 0.68, 0.45],
        inverse_gnorm=[0.9, 0.6, 0.4, 0.3],
        inverse_ae=[0.9, 0.9, 0.9, 0.9],
        inverse_greedy_gnorm=[0.9, 0.83, 0.68, 0.45],
    )
    texts = describe_verdict(frame)
    assert list(texts) == ["his", "ae", "gnorm", "inverse_gnorm", "inverse_ae", "inverse_greedy_gnorm"]
    assert texts["his"] == (
        "Better than random: mean accuracy 0.834 vs. 0.670 to 0.725 for 19 random rankings; rank-based p ≤ 1/20. It stays "
        "within 2 pp of the unpruned model's accuracy up to 30% sparsity; its steepest drop per head is between 30% and 50% "
        "sparsity (specialization): 28.5 pp."
    )
    assert texts["ae"].startswith(
        "Worse than random: mean accuracy 0.520 vs. 0.670 to 0.725 for 19 random rankings; rank-based"
    )
    assert "within 2 pp of the unpruned model's accuracy at no measured sparsity" in texts["ae"]
    assert texts["gnorm"].startswith(
        "Not significantly better than random: mean accuracy 0.701, not above the range of 19 random rankings (0.670 to "
        "0.725)."
    )
    assert "As expected for an inverse control." in texts["inverse_gnorm"]
    assert "so the criterion itself ranks heads in the wrong direction here" in texts["inverse_ae"]
    assert texts["inverse_ae"].endswith("its accuracy never decreases.")
    assert "is expected to be worse than random; this one is not significantly worse." in texts["inverse_greedy_gnorm"]
    assert "control" not in texts["his"] + texts["ae"]


def test_overlapping_intervals_at_the_steepest_drop_are_stated():
    text = describe_verdict(curves(trials=50, his=[0.9, 0.9, 0.88, 0.84]))["his"]
    assert text.startswith("Not compared with random rankings. It stays within 2 pp")
    assert text.endswith("between 30% and 50% sparsity (specialization): 4.0 pp; the 95% CIs at its ends overlap.")


@pytest.mark.parametrize(("count", "enough"), [(1, False), (3, False), (18, False), (19, True), (20, True)])
def test_significance_needs_19_random_rankings(count, enough):
    frame = curves(random=random_rankings(count), his=[0.9] * 4, ae=[0.9, 0.3, 0.3, 0.3], inverse_ae=[0.9] * 4)
    compared = compare_with_random(frame).set_index("method")
    assert compared.verdict.to_dict() == {
        "his": "better than random",
        "ae": "worse than random",
        "inverse_ae": "better than random",
    }
    assert set(compared.n_random) == {count}
    assert set(compared.enough_random) == {enough}
    texts = describe_verdict(frame)
    rankings = "the 1 random ranking" if count == 1 else f"all {count} random rankings"
    for method, side in (("his", "above"), ("ae", "below")):
        few = f"{side.capitalize()} {rankings}: too few to tell (at least 19 are needed). Mean accuracy "
        assert texts[method].startswith(few) is not enough
        assert texts[method].startswith(f"{compared.verdict[method].capitalize()}: mean accuracy") is enough
        assert f"rank-based p ≤ 1/{count + 1}." in texts[method]
    assert ("inverse control" in texts["inverse_ae"]) is enough


def test_verdicts_as_text():
    assert MIN_RANDOM_RANKINGS == 19
    assert verdict_text("better than random", 19) == "better than random"
    assert verdict_text("worse than random", 20) == "worse than random"
    assert verdict_text("no better than random", 3) == "not significantly better than random"
    assert verdict_text("better than random", 3) == "above all 3 random rankings: too few to tell (at least 19 are needed)"
    assert verdict_text("worse than random", 1) == "below the 1 random ranking: too few to tell (at least 19 are needed)"


@pytest.mark.parametrize(
    "frame",
    [
        curves(steps=[0.5], random=[[0.5], [0.4]], his=[0.6]),
        curves(his=[0.9, 0.9, 0.9, 0.9]),
        curves(measure="agreement", random=[[1, 0.8, 0.7, 0.5]], his=[1, 0.9, 0.9, 0.6]),
        curves(his=[np.nan] * 4, random=[[np.nan] * 4]),
        curves(random=[[1.0] * 4], his=[1.0] * 4),
        made_up(random=[[0.9, 0.5, 0.3]], hies=[0.9, 0.9, 0.9], his=[0.9, 0.9, 0.9]).assign(agreement=np.nan),
    ],
    ids=["one sparsity", "no random", "no labels", "nothing known", "single class", "few columns"],
)
def test_every_frame_has_texts(frame):
    texts = describe_verdict(frame)
    assert set(texts) == set(frame.method) - {"random"}
    for text in texts.values():
        assert text.endswith(".")
        assert "nan" not in text
    assert failure_signatures(frame) == []
    assert "nan" not in describe_stability(frame)


def test_texts_without_labels_state_agreement():
    frame = curves(measure="agreement", random=[[1, 0.8, 0.7, 0.5]], his=[1, 0.99, 0.9, 0.6])
    assert "within 2 pp of the unpruned model's agreement up to 10% sparsity" in describe_verdict(frame)["his"]


def kinds(frame):
    return [(signature.method, signature.kind) for signature in failure_signatures(frame)]


HIS = [0.9, 0.895, 0.85, 0.6]


def test_no_gain_over_his_needs_a_loss_of_his():
    assert kinds(curves(his=HIS, hies=HIS, hies_keep_high=[0.9, 0.895, 0.86, 0.7], hies_at_0=[0.9, 0.89, 0.84, 0.5])) == [
        ("hies", "no gain over HIS"),
        ("hies@0", "no gain over HIS"),
    ]
    flat = [0.9, 0.9, 0.895, 0.9]
    assert kinds(curves(his=flat, hies=flat)) == []
    assert kinds(curves(trials=20, his=[0.9, 0.9, 0.85, 0.7], hies=flat)) == []


def test_no_gain_states_where_hies_is_worse():
    same, below = (failure_signatures(curves(his=HIS, hies=values))[0].sentence for values in (HIS, [0.9, 0.89, 0.7, 0.5]))
    assert same.startswith(
        "HIES is not clearly above HIS at any of 3 sparsities (95% CIs overlap). Possible causes: importance"
    )
    assert below.startswith("HIES is nowhere clearly above HIS and clearly below it at 30% to 50% sparsity (95% CIs do not ")
    first = failure_signatures(curves(his=HIS, hies=[0.9, 0.8, 0.86, 0.5]))[0].sentence
    assert "clearly below it at 10%, 50% sparsity (95% CIs do not overlap). Possible causes" in first


def test_early_loss_needs_intervals_apart_or_all_random_rankings_above():
    assert ("hies", "worse at <= 10%") in kinds(curves(his=HIS, hies=[0.9, 0.8, 0.86, 0.7]))
    assert kinds(curves(trials=50, his=HIS, hies=[0.9, 0.8, 0.86, 0.9])) == []
    random = [[0.9, 0.82, 0.7, 0.5], [0.9, 0.85, 0.7, 0.5]]
    found = failure_signatures(curves(trials=50, random=random, his=HIS, hies=[0.9, 0.8, 0.86, 0.9]))
    assert [one.kind for one in found] == ["worse at <= 10%"]
    assert found[0].sentence.startswith("HIES is below every random ranking at 10% sparsity, and HIS is not. A possible")


def test_a_catastrophic_drop_is_a_large_loss_that_random_rankings_share():
    bad = [0.9, 0.85, 0.6, 0.4]
    found = failure_signatures(curves(random=RANDOM, ae=bad, inverse_ae=bad, gnorm=[0.9, 0.9, 0.8, 0.7]))
    assert [(one.method, one.kind) for one in found] == [("ae", "catastrophic drop")]
    assert found[0].sentence.startswith(
        "At 30% sparsity, AE has lost 30 pp of accuracy and is not above the best random ranking. Possible causes: the"
    )
    assert kinds(curves(trials=8, random=RANDOM, ae=bad)) == []  # not significant with eight examples
    small = [[0.9, 0.89, 0.88, 0.85], [0.9, 0.88, 0.87, 0.84]]
    assert kinds(curves(trials=100_000, random=small, ae=[0.9, 0.88, 0.87, 0.83])) == []  # significant, but small
    late = curves(steps=[0.0, 0.3, 0.6, 0.9], random=[[0.9, 0.89, 0.6, 0.3]], ae=[0.9, 0.89, 0.5, 0.3])
    assert kinds(late) == []  # everything collapses there


def test_stability_is_stated_with_the_published_ratio():
    frame = curves(his=HIS, hies=[0.9, 0.9, 0.9, 0.9], random=RANDOM)
    ratio = 3 * 0.81 / np.square(HIS[1:]).sum()
    assert describe_stability(frame) == (
        "Stability (mean correlation with the unpruned model's logits) divided by that of HIS: "
        f"HIES {ratio:.2f}. The HIES paper reports up to 2.04."
    )
    assert describe_stability(frame[frame.method != "his"]) == ""


def test_the_published_curves_of_the_embedded_model():
    frame = pd.read_csv("assets/docs/curves.csv")
    assert compare_with_random(frame).set_index("method").verdict.to_dict() == {
        "his": "better than random",
        "hies@0.25": "no better than random",
        "hies": "better than random",
        "hies@0.75": "better than random",
        "hies_keep_high": "no better than random",
        "gnorm": "better than random",
        "greedy_gnorm": "better than random",
        "ae": "worse than random",
        "inverse_ae": "no better than random",
        "leave_one_out": "better than random",
        "inverse_gnorm": "worse than random",
        "inverse_greedy_gnorm": "worse than random",
    }
    mixed = ["hies@0.25", "hies", "hies@0.75", "hies_keep_high"]
    assert sorted(kinds(frame)) == sorted(
        [(name, "no gain over HIS") for name in mixed] + [("hies@0.25", "catastrophic drop"), ("ae", "catastrophic drop")]
    )
