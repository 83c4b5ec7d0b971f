"""Recommended alpha: against brute force over alpha and plain loops, and verdicts on simulated predictions."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.tiny_models import examples_for, random_examples, tiny
from scipy.stats import binomtest

import headprune_core as hp
from headprune_core.alpha_choice.alpha_recommendation import format_inside
from headprune_core.alpha_choice.alpha_text import describe_recommendation
from headprune_core.alpha_choice.cross_validation import stratified_folds
from headprune_core.alpha_choice.recommendation import best_mask, widest_interval
from headprune_core.measure.paired_tests import McNemar, mcnemar
from headprune_core.measure.permutation_tests import PairedTest, token_test


def made(right, path=None, agrees=None, labels=True):
    """An AlphaAccuracy of M masks that each hold for as long, or of a path given as [(high, mask), ...]."""
    right = np.asarray(right)
    path = path or [((m + 1) / len(right), m) for m in range(len(right))]
    masks = np.array([[[(m >> bit) & 1 for bit in range(8)]] for m in range(len(right))], bool)
    which = np.array([m for _, m in path])
    lows = [0.0, *(high for high, _ in path[:-1])]
    parts = tuple(hp.AlphaInterval(low, high, masks[m]) for low, (high, m) in zip(lows, path, strict=True))
    agrees = right if agrees is None else np.asarray(agrees)
    accuracy = right.mean(1) if labels else np.full(len(right), np.nan)
    low, high = np.zeros(len(right)), np.ones(len(right))
    by_mask = [values[which] for values in (accuracy, low, high, accuracy, agrees.mean(1), right)]
    agrees = agrees[which] if right.dtype == bool else None
    classes, random = np.arange(right.shape[1]) % 3, np.array([0.5, 0.7])
    return hp.AlphaAccuracy(parts, masks, which, *by_mask, agrees, classes, random, random, 0.9, right.shape[1])


def answers(masks, texts, seed, better=None, gain=0.0, noise=0.1, share=0.7):
    """Masks that answer nearly alike; one of them right more often."""
    generator = np.random.default_rng(seed)
    base = generator.random(texts) < share
    right = base ^ ((generator.random((masks, texts)) < noise) & (generator.random((masks, texts)) < 0.5))
    if better is not None:
        right[better] |= generator.random(texts) < gain
    return right


def test_the_best_alpha_is_that_of_brute_force():
    model, examples = hp.PrunableModel(tiny("bert")), random_examples(count=30, seed=1)
    scores = hp.score_heads(model, random_examples(), metrics=("his", "ae"))
    found = hp.alpha_accuracy(model, examples, hp.alpha_path(scores.his, scores.ae, 0.5), n_random=1)
    chosen = hp.recommend_alpha(found, folds=5)
    grid = np.linspace(0.0005, 0.9995, 1000)
    masks = [hp.prune_mask(scores.hies(alpha), 0.5) for alpha in grid]
    accuracy = hp.evaluate_masks(model, examples, masks).accuracy
    assert chosen.value == chosen.accuracy == accuracy.max() > accuracy.min()
    names = np.array([mask.tobytes() for mask in masks])
    good = {name: (names == name).sum() for name in set(names[accuracy == accuracy.max()])}
    assert chosen.width == pytest.approx(max(good.values()) / 1000, abs=0.002)
    assert hp.prune_mask(scores.hies(chosen.alpha), 0.5).tobytes() == max(good, key=good.get)
    assert chosen.ties == len(good)
    assert chosen.near == pytest.approx((accuracy >= accuracy.max() - 0.01).mean(), abs=0.002)
    assert (chosen.his, chosen.ae) == (accuracy[-1], accuracy[0])


def test_ties_pool_intervals_of_one_mask_and_take_the_widest_of_them():
    right = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 0]], bool)
    path = [(0.2, 0), (0.45, 1), (0.5, 2), (0.6, 0), (0.8, 2), (0.99, 1), (1.0, 2)]
    found = made(right, path)
    chosen = hp.recommend_alpha(found, folds=2)
    assert chosen.ties == 2
    assert (chosen.mask, chosen.interval) == (1, 1)  # 0.25 + 0.19 against 0.2 + 0.1
    assert (chosen.low, chosen.high, chosen.alpha) == (0.2, 0.45, pytest.approx(0.325))
    assert chosen.width == pytest.approx(0.44)
    assert widest_interval(found, 0) == 0


def test_best_of_equals_by_hand():
    assert best_mask(np.array([0.5, 0.7, 0.7]), np.array([0.8, 0.05, 0.15])) == 2
    assert best_mask(np.array([0.7, 0.7]), np.array([0.5, 0.5])) == 0
    assert best_mask(np.array([0.7 - 1e-15, 0.7]), np.array([0.6, 0.4])) == 0  # rounding is no difference


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(0.2, 0.45, "0.33"), (0.0, 1.0, "0.50"), (0.12341, 0.12347, "0.12344"), (0.995, 1.0, "0.998"), (0.0, 0.004, "0.002")],
)
def test_alpha_has_as_many_digits_as_necessary(low, high, text):
    assert format_inside((low + high) / 2, low, high) == text


def test_cross_validation_is_a_plain_loop():
    right = answers(7, 60, 0)
    found = made(right)
    held = hp.recommend_alpha(found, folds=6, seed=3).cross_validated
    folds, pooled, masks = stratified_folds(found.answers, 6, seed=3), [], []
    for text in range(60):
        others = np.flatnonzero(folds != folds[text])
        counts = [int(right[m, others].sum()) for m in range(7)]
        masks.append(counts.index(max(counts)))  # equal widths: the first
        pooled.append(bool(right[masks[-1], text]))
    assert held.value == held.accuracy == np.mean(pooled)
    assert held.against_his == mcnemar(np.array(pooled), right[-1])
    assert (held.folds, held.masks) == (6, len(set(masks)))
    assert held.low < held.value < held.high


def test_the_test_of_the_choice_is_corrected_for_all_masks():
    right = answers(9, 120, 1, better=4, gain=0.5)
    chosen = hp.recommend_alpha(made(right))
    assert chosen.mask == 4
    won, lost = (right[4] & ~right[-1]).sum(), (~right[4] & right[-1]).sum()
    assert (chosen.against_his.b, chosen.against_his.c) == (won, lost)
    assert chosen.against_his.p_value == binomtest(int(won), int(won + lost)).pvalue
    assert chosen.p_corrected == pytest.approx(min(1.0, 8 * chosen.against_his.p_value))  # the smallest of eight


def assert_consistent(chosen):
    """The verdict, the advised alpha, its text and value, and the description all agree."""
    best = chosen.advised_alpha != 1.0
    assert chosen.advised_alpha == (chosen.alpha if best else 1.0)
    assert chosen.advised_text == (f"alpha = {chosen.alpha_text}" if best else "HIS only (alpha = 1)")
    assert chosen.advised_value == (chosen.value if best else chosen.his)
    assert best or chosen.masks == 1 or chosen.advised_text in chosen.verdict
    assert chosen.verdict.startswith("Choose") is chosen.significantly_better
    assert describe_recommendation(chosen)[0] == chosen.verdict
    if best:
        assert chosen.advised_text in chosen.verdict.replace("Alpha", "alpha")


def test_a_significantly_better_mask_is_advised():
    chosen = hp.recommend_alpha(made(answers(10, 400, 2, better=3, gain=0.4)))
    test = chosen.cross_validated.against_his
    assert chosen.verdict.startswith("Choose alpha = 0.35: significantly better than HIS only (cross-validated: +")
    assert chosen.verdict.endswith(
        f"95% CI {100 * test.low:+.1f} to {100 * test.high:+.1f}, exact McNemar p < 0.001, n = 400)."
    )
    assert chosen.cochran.p_corrected < 0.001
    assert chosen.significantly_better
    assert chosen.advised_alpha == chosen.alpha == pytest.approx(0.35)
    assert_consistent(chosen)


@pytest.mark.slow
def test_equally_good_masks_have_no_significant_effect():
    chosen = [hp.recommend_alpha(made(answers(12, 300, seed))) for seed in range(100)]
    assert sum(one.verdict.startswith("No significant effect of alpha: the 12 masks do not") for one in chosen) >= 90
    assert sum(one.verdict.startswith("Choose") for one in chosen) <= 3
    assert sum(one.advised_alpha == 1.0 for one in chosen) >= 97
    for one in chosen:
        assert_consistent(one)


def test_his_only_is_advised_if_it_is_best_or_not_significantly_worse():
    right = answers(6, 400, 5, noise=0.05)
    worse = right.copy()
    worse[:5] &= np.random.default_rng(0).random(400) < 0.8
    his_best = hp.recommend_alpha(made(worse))
    assert his_best.verdict == "Alpha has a significant effect, and HIS only (alpha = 1) has the highest accuracy."
    assert his_best.is_his
    assert his_best.alpha != his_best.advised_alpha == 1.0
    assert_consistent(his_best)
    some = right.copy()
    some[:2] &= np.random.default_rng(0).random(400) < 0.8
    some[3:5] = some[5]
    some[3, np.flatnonzero(~some[5])[:2]] = True
    chosen = hp.recommend_alpha(made(some))
    assert chosen.mask == 3
    assert chosen.value > chosen.his == chosen.advised_value
    assert chosen.verdict.startswith(
        "HIS only (alpha = 1) is advised: alpha has a significant effect, but the best alpha is not significantly better "
        "than HIS only (cross-validated: "
    )
    assert_consistent(chosen)


def test_a_difference_that_only_holms_correction_rejects_states_both_p_values():
    right = np.repeat([np.arange(200) < 120], 30, axis=0)
    right[7, 120:127] = True  # 7 examples gained, none lost: p = 0.016, but not after correction for 29 masks
    chosen = hp.recommend_alpha(made(right))
    test = chosen.cross_validated.against_his
    assert (chosen.mask, test.b, test.c) == (7, 7, 0)
    assert test.p_value < 0.05 < chosen.p_corrected
    assert chosen.advised_alpha == 1.0
    assert "not significantly better" in chosen.verdict or "No significant effect" in chosen.verdict
    assert_consistent(chosen)


def test_a_selection_by_agreement_reports_its_lower_accuracy():
    generator = np.random.default_rng(0)
    right = np.repeat([generator.random(400) < 0.8], 4, axis=0)
    right[0] = right[0] & (np.arange(400) % 2 == 0)
    found = made(right, agrees=np.vstack([np.ones((1, 400), bool), right[1:]]))
    assert "significantly better than HIS only" in hp.recommend_alpha(found, by="agreement").verdict  # by agreement it is
    assert hp.recommend_alpha(found, by="agreement").accuracy == right[0].mean() < hp.recommend_alpha(found).accuracy


def test_one_mask_has_no_effect():
    chosen = hp.recommend_alpha(made(answers(1, 30, 0)))
    assert chosen.verdict == "Alpha has no effect: every alpha gives the same mask."
    assert chosen.advised_alpha == 1.0
    assert_consistent(chosen)
    assert (chosen.alpha, chosen.ties, chosen.cochran.p_value) == (0.5, 1, 1.0)
    assert np.isnan(chosen.p_corrected)


def test_without_labels_the_choice_is_by_agreement():
    found = made(answers(5, 50, 0), labels=False)
    chosen = hp.recommend_alpha(found)
    assert chosen.by == "agreement"
    assert chosen == chosen.__class__(**{**vars(chosen)})
    assert np.isnan([chosen.accuracy, chosen.cross_validated.accuracy]).all()
    assert chosen.value == found.agreement.max()
    with pytest.raises(
        hp.HeadPruneError, match="accuracy is unavailable because the examples have no labels; use by='agreement'"
    ):
        hp.recommend_alpha(found, by="accuracy")


def test_a_selection_by_agreement_reports_accuracy_if_labels_exist():
    right, agrees = answers(5, 80, 0), answers(5, 80, 1, better=2, gain=0.6)
    found = made(right, agrees=agrees)
    chosen = hp.recommend_alpha(found, by="agreement")
    assert (chosen.mask, chosen.value, chosen.accuracy) == (2, agrees[2].mean(), right[2].mean())
    assert chosen.against_his == mcnemar(agrees[2], agrees[-1])
    assert chosen.cross_validated.masks == 1
    assert chosen.cross_validated.accuracy == pytest.approx(right[2].mean())


def test_token_predictions_are_compared_by_permutation():
    model, examples = hp.PrunableModel(tiny("gpt2")), examples_for("gpt2", count=8)
    scores = hp.score_heads(model, examples_for("gpt2", seed=1), metrics=("his", "ae"))
    found = hp.alpha_accuracy(model, examples, hp.alpha_path(scores.his, scores.ae, 0.5), n_random=1)
    chosen = hp.recommend_alpha(found)
    assert type(chosen.against_his) is type(chosen.cross_validated.against_his) is PairedTest
    assert chosen.cross_validated.folds == 8
    assert np.isnan(chosen.p_corrected) == chosen.is_his
    counts = np.array([len(ids) - 1 for ids in examples["input_ids"]])
    result = hp.evaluate_masks(model, examples, found.masks[[chosen.mask, found.which[-1]]])
    assert chosen.against_his == token_test(*(result.right * counts).round(), counts)
    assert chosen.against_his.difference == pytest.approx(result.accuracy[0] - result.accuracy[1])
    by_agreement = hp.recommend_alpha(found, by="agreement")
    assert by_agreement.cochran is by_agreement.cross_validated is by_agreement.against_his is None
    assert by_agreement.verdict.endswith("has the highest agreement; no significance test is available for this task.")
    assert by_agreement.advised_alpha == (1.0 if by_agreement.is_his else by_agreement.alpha)
    for one in (chosen, by_agreement):
        assert_consistent(one)


def test_significantly_more_correct_tokens():
    generator = np.random.default_rng(0)
    counts = generator.integers(5, 20, 300)
    low, high = (generator.binomial(counts, share) / counts for share in (0.4, 0.7))
    found = hp.recommend_alpha(replace(made(np.stack([low, high, low])), counts=counts))
    assert found.verdict.startswith("Choose alpha = 0.50: significantly better than HIS only (cross-validated: +")
    assert "95% bootstrap CI" in found.verdict
    assert "permutation p < 0.001" in found.verdict
    assert found.p_corrected < 0.001
    assert_consistent(found)
    gained = ((high - low) * counts).sum() / counts.sum()
    assert found.cross_validated.against_his.difference == pytest.approx(gained)


def test_invalid_arguments_raise():
    found = made(answers(3, 20, 0))
    with pytest.raises(hp.HeadPruneError, match="by must be 'accuracy' or 'agreement', got 'loss'"):
        hp.recommend_alpha(found, by="loss")
    with pytest.raises(hp.HeadPruneError, match=r"folds must be between 2 and 20 .*, got 1"):
        hp.recommend_alpha(found, folds=1)
    assert isinstance(hp.recommend_alpha(found, folds=99).against_his, McNemar)
