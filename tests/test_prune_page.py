"""The page that cuts heads out for good: from a mask to the proof, the sizes, and a zip that loads on its own."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from apptest import finished, opened

import headprune_core as hp


def said(elements) -> str:
    return " ".join(element.value for element in elements)


def press(app, label):
    next(button for button in app.button if button.label == label).click().run()
    return finished(app)


@pytest.fixture(scope="module")
def pruned():
    app = opened("model_and_text", alpha="0.8", sparsity="0.5")
    app.session_state["prune_size"] = 24
    app.switch_page("pages/views/prune.py").run()
    assert "Nothing has been removed yet" in said(app.info)
    return press(app, "Prune for good")


def test_the_mask_of_alpha_is_cut_out_and_proved(pruned):
    work, result = pruned.session_state["work"], pruned.session_state["pruned"]
    mask = hp.prune_mask(work.scores.hies(0.8), 0.5)
    np.testing.assert_array_equal(result.pruned.grid.kept, mask)
    np.testing.assert_array_equal(work.model.grid.kept, True)
    found = hp.evaluate_masks(work.model, work.evaluation.select(range(24)), [mask])
    metrics = {metric.label: metric.value for metric in pruned.metric}
    assert metrics["Heads"] == "36 of 72"
    assert metrics["Accuracy"] == f"{found.accuracy[0]:.1%}"
    assert metrics["Decided alike"] == "100.0%"
    assert result.proof.difference < 1e-5
    assert "Alpha 0.8, 50% removed" in said(pruned.main.caption)
    after = sum(parameter.numel() for parameter in result.pruned.model.parameters())
    assert metrics["Parameters"] == f"{after / 1e6:.2f} M"


def test_the_zip_loads_on_its_own_and_answers_alike(pruned, tmp_path):
    work, result = pruned.session_state["work"], pruned.session_state["pruned"]
    with zipfile.ZipFile(result.zip) as archive:
        assert not [name for name in archive.namelist() if name.endswith((".bin", ".pt", ".pkl"))]
        archive.extractall(tmp_path)
    assert json.loads((tmp_path / "mask.json").read_text())["mask"] == result.pruned.grid.kept.tolist()
    model, texts = hp.PrunableModel.from_pretrained(tmp_path, device="cpu"), work.evaluation.select(range(24))
    whole = np.ones((1, 6, 12), bool)
    found, expected = (hp.evaluate_masks(one, texts, whole).logits for one in (model, result.pruned))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_both_models_are_timed_in_turn(pruned):
    app = press(pruned, "Time both models")
    frame = app.session_state["pruned"].speed
    assert list(frame.batch_size) == [1, 8]
    assert "Batches of 8 with 64 tokens each" in said(app.main.markdown)


def test_a_mask_that_keeps_nothing_is_told():
    app = opened("prune", sparsity="1")
    next(button for button in app.button if button.label == "Prune for good").click().run()
    assert "The heads could not be removed: no head of 72 would be left" in said(app.error)


def test_rules_that_give_no_mask_are_told():
    app = opened("prune", sparsity="0.9", least="10")
    assert not app.exception
    assert "The rules under Alpha give no mask" in said(app.warning)
    assert "There is no mask yet" in said(app.info)


def test_without_texts_to_compare_on_the_model_is_still_cut():
    app = opened("model_and_text", sparsity="0.5")
    app.session_state["work"] = replace(app.session_state["work"], evaluation=None)
    app.switch_page("pages/views/prune.py").run()
    app = press(app, "Prune for good")
    result = app.session_state["pruned"]
    assert result.proof is None
    assert result.zip.exists()
