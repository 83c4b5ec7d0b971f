"""Folders that `prune_heads` of Transformers v4 wrote: they open as pruned models with the logits of the masked model."""

import json

import numpy as np
import pytest
import torch
from helpers.tiny_models import FAMILIES, examples_for, tiny
from safetensors.torch import load_file, save_file
from transformers.pytorch_utils import Conv1D

import headprune_core as hp

FAMILIES_OF_V4 = (
    "bert",
    "roberta",
    "electra",
    "distilbert",
    "xlm-roberta",
    "camembert",
    "albert",
    "vit",
    "deit",
    "gpt2",
    "gpt2-classifier",
)
PRUNED = {"0": [3, 1], "2": [0]}  # a union of lists has no order


def cut_as_v4_did(model, family, pruned):
    """The weights before and after: v4 removed rows of q, k and v and columns of the output projection."""
    changed = []
    for layer, heads in pruned.items():
        *parts, out = FAMILIES[family].projections(model)[int(layer)]
        size = (out.nx if isinstance(out, Conv1D) else out.in_features) // 4
        kept = torch.tensor([i for i in range(4 * size) if i // size not in heads])
        for module in dict.fromkeys(parts):
            index = torch.cat([kept + 4 * size * i for i in range(3)]) if isinstance(module, Conv1D) else kept
            along = 1 if isinstance(module, Conv1D) else 0
            changed.append((module.weight, module.weight.index_select(along, index)))
            changed.append((module.bias, module.bias[index]))
        changed.append((out.weight, out.weight.index_select(0 if isinstance(out, Conv1D) else 1, kept)))
    return changed


def v4_folder(family, folder, pruned=PRUNED):
    model = tiny(family)
    model.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    for before, after in cut_as_v4_did(model, family, pruned):
        (name,) = (n for n, w in weights.items() if w.shape == before.shape and torch.equal(w, before))
        weights[name] = after.detach().contiguous()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    edit(folder, pruned_heads=pruned, transformers_version="4.40.0")
    return folder


def edit(folder, **changes):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def mask_of(model, pruned):
    mask = np.ones(model.grid.shape, bool)
    for layer, heads in pruned.items():
        mask[int(layer), heads] = False
    return mask


def results(model, family, mask):
    evaluation = hp.evaluate_masks(model, examples_for(family), mask[None])
    return evaluation.losses if evaluation.logits is None else evaluation.logits


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES_OF_V4)
def test_a_folder_of_v4_is_the_masked_model(family, tmp_path):
    pruned = {"0": [3, 1]} if family == "albert" else PRUNED  # its layers share one row of heads
    model = hp.PrunableModel(tiny(family))
    mask = mask_of(model, pruned)
    loaded = hp.PrunableModel.from_pretrained(v4_folder(family, tmp_path / "v4", pruned), device="cpu")
    np.testing.assert_array_equal(loaded.grid.kept, mask)
    expected = results(model, family, mask)
    np.testing.assert_allclose(results(loaded, family, np.ones_like(mask)), expected, rtol=1e-4, atol=1e-5)
    removed = model.grid.parameters_per_head[~mask].sum()
    sizes = [sum(p.numel() for p in m.model.parameters()) for m in (model, loaded)]
    assert sizes[0] - sizes[1] == removed


@pytest.mark.slow
def test_it_is_pruned_further_and_saved_as_other_pruned_models_are(tmp_path):
    loaded = hp.PrunableModel.from_pretrained(v4_folder("bert", tmp_path / "v4"), device="cpu")
    mask = loaded.grid.kept.copy()
    mask[1] = False
    hp.prune_heads(loaded, mask).save_pretrained(tmp_path / "new")
    assert "pruned_heads" not in json.loads((tmp_path / "new" / "config.json").read_text())
    again = hp.PrunableModel.from_pretrained(tmp_path / "new", device="cpu")
    np.testing.assert_array_equal(again.grid.kept, mask)
    expected = results(hp.PrunableModel(tiny("bert")), "bert", mask)
    np.testing.assert_allclose(results(again, "bert", np.ones_like(mask)), expected, rtol=1e-4, atol=1e-5)


def test_a_configuration_without_pruned_heads_is_an_ordinary_model(tmp_path):
    tiny("bert").save_pretrained(tmp_path)
    edit(tmp_path, pruned_heads={})
    assert hp.PrunableModel.from_pretrained(tmp_path, device="cpu").grid.kept.all()


@pytest.mark.parametrize(
    ("pruned", "words"),
    [
        ({"7": [0]}, r"lists pruned heads \[0\] of layer 7, but BertForSequenceClassification has 3 layers of 4 heads"),
        ({"0": [4]}, r"lists pruned heads \[4\] of layer 0"),
        ({"0": [-1]}, r"lists pruned heads \[-1\] of layer 0"),
        ([[0, 1]], "has pruned_heads of an unknown form"),
        ({"0": "x"}, "has pruned_heads of an unknown form"),
        ({"0": [2], "2": [0]}, "config.json does not match the weights in its folder"),
    ],
)
def test_heads_that_do_not_fit_the_weights_are_refused(pruned, words, tmp_path):
    folder = v4_folder("bert", tmp_path / "v4")
    edit(folder, pruned_heads=pruned)
    with pytest.raises(hp.HeadPruneError, match=words) as refusal:
        hp.PrunableModel.from_pretrained(folder, device="cpu")
    assert str(folder) in str(refusal.value)


def test_an_encoder_decoder_was_never_pruned_by_v4(tmp_path):
    tiny("bart-classifier").save_pretrained(tmp_path)
    edit(tmp_path, pruned_heads={"0": [1]})
    with pytest.raises(hp.HeadPruneError, match="Transformers v4 pruned no encoder-decoder such as BartFor"):
        hp.PrunableModel.from_pretrained(tmp_path, device="cpu")
