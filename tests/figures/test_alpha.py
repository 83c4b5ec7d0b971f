"""Figures of the choice of alpha and the texts about it: what is drawn where, without a browser."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import headprune_core as hp
from headprune_core.alpha_choice import alpha_text
from headprune_core.alpha_choice.successive_halving import HalvingResult, Round
from headprune_core.data.measures import wilson
from headprune_core.figures import alpha as drawn
from headprune_core.measure.paired_tests import format_p

ENDS, VALUES = [0.0, 0.2, 0.21, 0.61, 1.0], [0.6, 0.7, 0.9, 0.85]


@pytest.fixture
def found():
    """Four masks of 100 examples: the third has the highest accuracy, the last is HIS only; agreement differs."""
    masks = np.array([[[1, 1, 0, 0]], [[1, 0, 1, 0]], [[1, 0, 0, 1]], [[0, 1, 0, 1]]], bool)
    path = tuple(hp.AlphaInterval(*ends, mask) for *ends, mask in zip(ENDS, ENDS[1:], masks, strict=False))
    right = np.arange(100) < 100 * np.array(VALUES)[:, None]
    agrees = np.arange(100) >= np.array([50, 5, 20, 10])[:, None]
    low, high = wilson(right.sum(1), 100)
    accuracy, agreement = right.mean(1), agrees.mean(1)
    random = np.array([0.7, 0.72]), np.array([0.5, 0.6])
    classes = np.arange(100) % 2
    measures = accuracy, low, high, -np.log(accuracy), agreement
    return hp.AlphaAccuracy(path, masks, np.arange(4), *measures, right, agrees, classes, *random, 0.95, 100)


@pytest.fixture
def surface(found):
    parts = [found.frame.assign(sparsity=0.5), found.frame.assign(sparsity=0.125, accuracy=[0.8, 0.95, 0.8, 0.8])]
    return hp.AlphaSurface(pd.concat(parts, ignore_index=True))


def trace(figure, name):
    (one,) = (trace for trace in figure.data if trace.name == name)
    return one


def test_steps_are_drawn_where_they_are(found):
    figure = drawn.alpha_steps(found)
    line = trace(figure, "HIES (95% CI)")
    np.testing.assert_allclose(line.x, [0, 0.2, 0.2, 0.21, 0.21, 0.61, 0.61, 1])
    np.testing.assert_allclose(line.y, np.repeat(VALUES, 2))
    band = trace(figure, "95% CI")
    assert len(band.x) == len(band.y) == 16
    np.testing.assert_allclose(band.y[:8], np.repeat(found.accuracy_high, 2))
    np.testing.assert_allclose(band.y[8:], np.repeat(found.accuracy_low, 2)[::-1])
    np.testing.assert_allclose(band.x[8:], line.x[::-1])
    assert list(trace(figure, "Random mean (2 masks)").y) == pytest.approx([0.71, 0.71])
    ends = [trace(figure, name) for name in ("AE only", "HIS only")]
    assert [(end.x[0], end.y[0]) for end in ends] == [(0.0, 0.6), (1.0, 0.85)]
    assert ends[0].marker.symbol != ends[1].marker.symbol
    assert figure.layout.shapes == ()


def test_the_choice_is_marked(found):
    chosen = hp.recommend_alpha(found)
    figure = drawn.alpha_steps(found, chosen)
    (box,) = figure.layout.shapes
    assert (box.x0, box.x1) == (0.21, 0.61)
    highest, star = trace(figure, "Highest: α = 0.41"), trace(figure, "Recommended: HIS only (α = 1)")
    assert (highest.x[0], highest.y[0]) == (pytest.approx(0.41), 0.9)
    assert (star.x[0], star.y[0]) == (1.0, 0.85)  # as the verdict says
    assert star.marker.symbol != highest.marker.symbol
    held = trace(figure, "Cross-validated")
    assert held.y[0] == chosen.cross_validated.value
    assert held.y[0] + held.error_y.array[0] == pytest.approx(chosen.cross_validated.high)


def test_a_choice_by_agreement_is_drawn_on_agreement(found):
    figure = drawn.alpha_steps(found, hp.recommend_alpha(found, by="agreement"))
    assert figure.layout.yaxis.title.text == "Agreement with unpruned model"
    np.testing.assert_allclose(trace(figure, "HIES (95% CI)").y, np.repeat([0.5, 0.95, 0.8, 0.9], 2))
    assert trace(figure, "Random mean (2 masks)").y[0] == pytest.approx(0.55)
    assert (figure.layout.shapes[0].x0, figure.layout.shapes[0].x1) == (0.2, 0.21)


def test_without_random_masks_and_without_tests(found):
    empty = np.empty(0)
    bare = replace(found, random_accuracy=empty, random_agreement=empty, agrees=None)
    chosen = hp.recommend_alpha(bare, by="agreement")
    names = [trace.name for trace in drawn.alpha_steps(bare, chosen).data]
    assert not [name for name in names if "Random" in name or "Cross" in name or "Highest" in name]
    assert "Recommended: α = 0.205" in names
    assert "random" not in drawn.describe_alpha_steps(bare, chosen)
    assert alpha_text.describe_recommendation(chosen)[-1].startswith(
        "Per-example agreement is not available for token prediction"
    )


def test_steps_as_text(found):
    low, high = wilson(90, 100)
    assert drawn.describe_alpha_steps(found, hp.recommend_alpha(found)) == (
        "Alpha from 0 to 1 has 4 intervals with 4 distinct masks: accuracy ranges from 60.0% to 90.0%; HIS only 85.0%, AE "
        "only 60.0%, random masks 71.0% on average. The highest is at alpha = 0.41: 90.0% (95% CI "
        f"{low:.1%} to {high:.1%}). Recommended: HIS only (alpha = 1)."
    )
    right = found.right[[0, 2, 2, 3]]
    tied = replace(found, right=right, accuracy=right.mean(1))
    text = drawn.describe_alpha_steps(tied, hp.recommend_alpha(tied))
    assert text.endswith("(2 masks tie; this one covers the largest alpha range). Recommended: HIS only (alpha = 1).")


def test_one_mask_as_text(found):
    parts = {name: getattr(found, name)[:1] for name in ("accuracy", "agreement", "right", "agrees", "masks", "which")}
    one = replace(found, path=(hp.AlphaInterval(0.0, 1.0, found.masks[0]),), **parts)
    chosen = hp.recommend_alpha(one)
    expected = "One mask covers all alpha from 0 to 1: accuracy 60.0%, random masks 71.0% on average."
    assert drawn.describe_alpha_steps(one, chosen) == expected
    assert alpha_text.describe_recommendation(chosen) == ["Alpha has no effect: every alpha gives the same mask."]


def test_a_recommendation_as_text(found):
    chosen = hp.recommend_alpha(found)
    verdict, matters, held, against, near, tested = alpha_text.describe_recommendation(chosen)
    assert verdict == chosen.verdict
    assert matters.startswith(
        "Effect of alpha: significant at the 5% level (Cochran's Q, corrected for correlated masks: p < "
    )
    assert held.startswith("Cross-validated accuracy: 90.0% (95% CI ")
    assert against.startswith("Cross-validated selection vs. HIS only: +5.0 pp, 95% CI ")
    assert against.endswith("; 5 examples gained, 0 lost.")
    assert near == "Accuracy is within 1 pp of the best for 40% of the alpha range."
    assert tested.startswith("Alpha = 0.41 vs. HIS only on the examples used for selection: exact McNemar p = ")
    label_free = alpha_text.describe_recommendation(hp.recommend_alpha(found, by="agreement"))
    assert label_free[1] == ("Accuracy of the mask with the highest agreement (labels not used for selection): 70.0%.")


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.0004, "p < 0.001"),
        (0.034, "p = 0.034"),
        (0.256, "p = 0.26"),
        (1.0, "p = 1"),
    ],
)
def test_p_values_have_two_significant_digits(p, text):
    assert format_p(p) == text


def test_a_search_as_text():
    rounds = (Round(np.arange(8), 10, np.ones(8), 4), Round(np.arange(4), 20, np.ones(4), 1))
    search = HalvingResult("accuracy", 1, 0.3, 0.2, 0.4, 0.9, rounds, 120, 160)
    text = (
        "Quick search found alpha = 0.30 at 75% of the cost of the full search (rounds: 8 masks on 10 examples, 4 masks on "
        "20 examples)."
    )
    assert alpha_text.describe_halving(search) == text
    equal, below = (alpha_text.describe_halving(search, gap) for gap in (0.0, 0.0104))
    assert equal == f"{text} Its accuracy equals that of the full search on these examples."
    assert below == f"{text} Its accuracy is 1.0 pp below that of the full search on these examples."


def test_the_surface_is_the_step_function_at_every_sparsity(surface):
    figure = drawn.surface_heatmap(surface)
    heat, best = figure.data
    assert heat.type == "heatmap"
    np.testing.assert_allclose(heat.x, ENDS)  # both paths change at the same alphas
    np.testing.assert_allclose(heat.z, [[0.8, 0.95, 0.8, 0.8], VALUES])
    np.testing.assert_allclose(heat.customdata[0][1], [0.2, 0.21])
    assert list(figure.layout.yaxis.ticktext) == ["12.5%", "50%"]
    np.testing.assert_allclose(best.x, [0.205, 0.41])


def test_paths_that_change_at_other_alphas_share_the_picture(surface):
    other = pd.DataFrame({"sparsity": 0.9, "low": [0.0, 0.4], "high": [0.4, 1.0], "mask": [0, 1], "accuracy": [0.3, 0.4]})
    heat = drawn.surface_heatmap(hp.AlphaSurface(pd.concat([surface.frame, other.assign(agreement=0.5)]))).data[0]
    np.testing.assert_allclose(heat.x, [0, 0.2, 0.21, 0.4, 0.61, 1])
    np.testing.assert_allclose(heat.z[2], [0.3, 0.3, 0.3, 0.4, 0.4])
    np.testing.assert_allclose(heat.z[1], [0.6, 0.7, 0.9, 0.9, 0.85])


def test_the_surface_as_text(surface):
    assert drawn.describe_surface(surface) == (
        "Best accuracy: at 12.5% sparsity, 95.0% with alpha = 0.205 (HIS only: 80.0%); at 50% sparsity, 90.0% with alpha = "
        "0.41 (HIS only: 85.0%). Alpha has the largest effect at 50% sparsity: 30.0 pp between the best and the worst mask."
    )
