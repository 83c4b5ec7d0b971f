"""What curves say: verdicts against random orders, ways of failing, and the sentences."""

import numpy as np
import pandas as pd
import pytest

import headprune_core as hp
from headprune_core.measure.curve_verdicts import compare_with_random, describe_verdict, failure_signatures, describe_stability
from headprune_core.measure.curves import wilson

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
def test_there_is_no_verdict_without(frame):
    assert hp.compare_with_random(frame).empty
    assert list(hp.compare_with_random(frame).columns) == ["method", "area", "random_low", "random_high", "verdict"]


def test_without_labels_the_verdict_is_by_agreement():
    frame = made_up(random=[[0.9, 0.5, 0.3]], good=[0.9, 0.9, 0.9])
    unlabelled = frame.assign(agreement=frame.accuracy, accuracy=np.nan)
    by_agreement, by_accuracy = (hp.compare_with_random(curves) for curves in (unlabelled, frame))
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
    """A frame as sparsity_curves makes it, of 100 heads, from values at STEPS; lists of lists are random orders."""
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


def test_words_for_better_worse_and_among():
    frame = curves(
        random=RANDOM,
        his=[0.9, 0.9, 0.885, 0.6],
        ae=[0.9, 0.7, 0.4, 0.3],
        gnorm=[0.9, 0.83, 0.68, 0.45],
        inverse_gnorm=[0.9, 0.6, 0.4, 0.3],
        inverse_ae=[0.9, 0.9, 0.9, 0.9],
        inverse_greedy_gnorm=[0.9, 0.83, 0.68, 0.45],
    )
    told = describe_verdict(frame)
    assert list(told) == ["his", "ae", "gnorm", "inverse_gnorm", "inverse_ae", "inverse_greedy_gnorm"]
    assert told["his"] == (
        "Better than random: its mean accuracy over the range, 0.834, lies above all 2 random orders (0.670 to 0.725; one "
        "more random order would lie there 1 time in 3). It stays within 2 points of the unpruned model's accuracy with up "
        "to 30% of the heads gone; it falls most for each head between 30% and 50% (specialization), by 28.5 points."
    )
    assert told["ae"].startswith(
        "Worse than random: its mean accuracy over the range, 0.520, lies below all 2 random orders"
    )
    assert "within 2 points of the unpruned model's accuracy at no measured sparsity" in told["ae"]
    assert "No better than random: " in told["gnorm"]
    assert "lies among the random orders (0.670 to 0.725)." in told["gnorm"]
    assert "That is what a control should be." in told["inverse_gnorm"]
    assert "here the order that it turns round points the wrong way" in told["inverse_ae"]
    assert told["inverse_ae"].endswith("its accuracy never falls.")
    assert "A control should be worse than random; it is not." in told["inverse_greedy_gnorm"]
    assert "control" not in told["his"] + told["ae"]


def test_a_small_steepest_fall_may_be_chance():
    told = describe_verdict(curves(trials=50, his=[0.9, 0.9, 0.88, 0.84]))["his"]
    assert told.startswith("Not compared with random. It stays within 2 points")
    assert told.endswith("between 30% and 50% (specialization), by 4.0 points, which may be chance.")


def test_one_random_order_says_little_and_that_is_said():
    told = describe_verdict(curves(random=[[0.9, 0.8, 0.7, 0.5]], his=[0.9] * 4))["his"]
    assert "lies above the one random order (0.710 to 0.710; one more random order would lie there 1 time in 2)" in told


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
def test_there_are_words_for_every_frame(frame):
    told = describe_verdict(frame)
    assert set(told) == set(frame.method) - {"random"}
    for words in told.values():
        assert words.endswith(".")
        assert "nan" not in words
    assert failure_signatures(frame) == []
    assert "nan" not in describe_stability(frame)


def test_words_without_labels_are_of_agreement():
    frame = curves(measure="agreement", random=[[1, 0.8, 0.7, 0.5]], his=[1, 0.99, 0.9, 0.6])
    assert (
        "within 2 points of the unpruned model's agreement with up to 10% of the heads gone"
        in describe_verdict(frame)["his"]
    )


def kinds(frame):
    return [(found.method, found.kind) for found in failure_signatures(frame)]


HIS = [0.9, 0.895, 0.85, 0.6]


def test_no_gain_over_his_is_said_where_his_has_something_to_gain():
    assert kinds(curves(his=HIS, hies=HIS, hies_keep_high=[0.9, 0.895, 0.86, 0.7], hies_at_0=[0.9, 0.89, 0.84, 0.5])) == [
        ("hies", "no gain over HIS"),
        ("hies@0", "no gain over HIS"),
    ]
    flat = [0.9, 0.9, 0.895, 0.9]
    assert kinds(curves(his=flat, hies=flat)) == []
    assert kinds(curves(trials=20, his=[0.9, 0.9, 0.85, 0.7], hies=flat)) == []


def test_no_gain_says_where_hies_is_worse():
    same, below = (failure_signatures(curves(his=HIS, hies=values))[0].sentence for values in (HIS, [0.9, 0.89, 0.7, 0.5]))
    assert same.startswith("At none of 3 sparsities does HIES lie clearly above HIS. Either importance and entropy say")
    assert below.startswith("HIES lies clearly above HIS nowhere and clearly below it at 30% to 50%. Either")
    first = failure_signatures(curves(his=HIS, hies=[0.9, 0.8, 0.86, 0.5]))[0].sentence
    assert "clearly below it at 10%, 50%. Either" in first


def test_worse_among_the_first_heads_needs_intervals_apart_or_all_random_orders_above():
    assert ("hies", "worse at <= 10 %") in kinds(curves(his=HIS, hies=[0.9, 0.8, 0.86, 0.7]))
    assert kinds(curves(trials=50, his=HIS, hies=[0.9, 0.8, 0.86, 0.9])) == []
    random = [[0.9, 0.82, 0.7, 0.5], [0.9, 0.85, 0.7, 0.5]]
    found = failure_signatures(curves(trials=50, random=random, his=HIS, hies=[0.9, 0.8, 0.86, 0.9]))
    assert [one.kind for one in found] == ["worse at <= 10 %"]
    assert found[0].sentence.startswith("With 10% of the heads gone HIES is below every random order, HIS is not. Among")


def test_a_catastrophe_is_a_great_loss_that_random_orders_share():
    bad = [0.9, 0.85, 0.6, 0.4]
    found = failure_signatures(curves(random=RANDOM, ae=bad, inverse_ae=bad, gnorm=[0.9, 0.9, 0.8, 0.7]))
    assert [(one.method, one.kind) for one in found] == [("ae", "catastrophic drop")]
    assert found[0].sentence.startswith(
        "With 30% of the heads gone AE has lost 30 points of accuracy and does no better than random orders. Either it says"
    )
    assert kinds(curves(trials=8, random=RANDOM, ae=bad)) == []  # eight texts cannot show it
    small = [[0.9, 0.89, 0.88, 0.85], [0.9, 0.88, 0.87, 0.84]]
    assert kinds(curves(trials=100_000, random=small, ae=[0.9, 0.88, 0.87, 0.83])) == []  # sure, but small
    late = curves(steps=[0.0, 0.3, 0.6, 0.9], random=[[0.9, 0.89, 0.6, 0.3]], ae=[0.9, 0.89, 0.5, 0.3])
    assert kinds(late) == []  # everything collapses there


def test_stability_is_quoted_beside_the_published_ratio():
    frame = curves(his=HIS, hies=[0.9, 0.9, 0.9, 0.9], random=RANDOM)
    ratio = 3 * 0.81 / np.square(HIS[1:]).sum()
    assert describe_stability(frame) == (
        "Stability (mean correlation with the unpruned model's logits) as a ratio to HIS's: "
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
