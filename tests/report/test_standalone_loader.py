"""The code that loads a pruned folder without this package, run in a new process that has none."""

import ast
import json
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
import torch
import transformers as t
from helpers.tiny_models import GROUPED, REPRESENTATIVE, examples_for, randomized, tiny, tiny_tokenizer

import headprune_core as hp
from headprune_core.data.encoding import encode
from headprune_core.model.formats.standalone_sizes import standalone_sizes
from headprune_core.model.head_map import HEAD_MAP
from headprune_core.report.standalone_loader import standalone_code

# runs pieces of code in one process, each with its inputs, where headprune_core cannot be imported
RUNNER = """
import importlib.abc, pathlib, sys, warnings

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "headprune_core":
            raise ModuleNotFoundError(f"{name} is not to be had here")

sys.meta_path.insert(0, Absent())
import torch

try:
    import headprune_core
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("headprune_core is there")
answers = {}
for name, code, inputs, options in torch.load(sys.argv[1]):
    space = {}
    exec(code, space)
    model = space["model"]
    with torch.no_grad():
        answers[name] = {
            "logits": model(**inputs, **options).logits,
            "parameters": sum(p.numel() for p in model.parameters()),
            "zeros": sum(model.get_parameter(zero).numel() for zero in space["plain"]["zeros"]),
            "kind": (type(model).__name__, type(model).__module__),
            "dtype": str(next(model.parameters()).dtype),
            "training": model.training,
        }
torch.save(answers, sys.argv[2])
"""
KINDS = ("random", "empty rows")
SHARED = ("llama", "phi3", "gemma2", "gpt-oss")  # families whose heads share keys and values
SAMPLE = sorted({*REPRESENTATIVE, *SHARED})
PRUNED = {f"{family}, {kind}": (family, kind) for family in SAMPLE for kind in KINDS}


def mask_of(kind, shape):
    """At random, which cuts inside key-value groups; and every second row empty, the last among them."""
    mask = np.random.default_rng(2).random(shape) < 0.5
    if kind == "empty rows":
        mask[-1::-2] = False
    mask[0, 1] = mask[0, 1] or not mask.any()
    return mask


@cache
def pruned_by(family, kind):
    """A model, and the same without the heads of a mask."""
    whole = hp.PrunableModel(tiny(family))
    return whole, hp.prune_heads(whole, mask_of(kind, whole.grid.shape))


def without_our_code(jobs, place):
    """{name: what the model of each (name, code, inputs, options) is and answers}, found in a new process."""
    torch.save(jobs, place / "jobs.pt")
    command = [sys.executable, "-W", "error::UserWarning", "-c", RUNNER, str(place / "jobs.pt"), str(place / "answers.pt")]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "LOAD REPORT" not in done.stderr + done.stdout  # nothing is said to be missing
    return torch.load(place / "answers.pt")


def code_for(model, folder):
    first, _, rest = standalone_code(model).partition("\n")
    assert first == 'folder = "pruned-model"'
    return f"folder = {str(folder)!r}\n{rest}"


def job(name, model, family, folder):
    """The code for a model that is saved to `folder`, its inputs, and what it answers itself at real positions."""
    model.save_pretrained(folder)
    batch = encode(model, examples_for(family, count=5)).batch(np.arange(5), model.device)
    real = batch.real if batch.decoder_real is None else batch.decoder_real
    options = {} if model.task == "classification" else {"use_cache": False}
    with torch.no_grad():
        logits = model.logits(batch.inputs)
    return (name, code_for(model, folder), batch.inputs, options), (logits, real if logits.dim() == 3 else ...)


def in_half_precision(folder):
    """The job of a model in bfloat16, and its answers."""
    pruned = hp.prune_heads(hp.PrunableModel(tiny("bert").to(torch.bfloat16)), mask_of("empty rows", (3, 4)))
    return job("half", pruned, "bert", folder)


def in_shards(folder):
    """The job of a model with norms by head and tied embeddings, whose weights are in several files, and its answers."""
    config = t.CohereConfig(**GROUPED, use_qk_norm=True, logit_scale=1.0)
    whole = hp.PrunableModel(randomized(lambda: t.CohereForCausalLM(config)))
    pruned = hp.prune_heads(whole, np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1]], bool))
    work, answers = job("shards", pruned, "llama", folder)
    pruned.model.save_pretrained(folder, max_shard_size="20KB")
    (folder / "model.safetensors").unlink()
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    return work, answers


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """{name: (what a model answers, where that is real, what the plainly loaded one is)}, all loaded in one process."""
    place, known = tmp_path_factory.mktemp("plain"), {}
    for name, (family, kind) in PRUNED.items():
        known[name] = job(name, pruned_by(family, kind)[1], family, place / name.replace(", ", "-").replace(" ", "-"))
    known |= {"half": in_half_precision(place / "half"), "shards": in_shards(place / "shards")}
    found = without_our_code([work for work, _ in known.values()], place)
    return {name: (*real, found[name]) for name, (_, real) in known.items()}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", SAMPLE)
def test_every_family_loads_without_our_code_and_answers_the_same(family, kind, answers):
    whole, pruned = pruned_by(family, kind)
    logits, real, found = answers[f"{family}, {kind}"]
    torch.testing.assert_close(found["logits"][real], logits[real], rtol=0, atol=1e-5)
    assert found["kind"] == (type(pruned.model).__name__, type(pruned.model).__module__)
    assert not found["training"]
    left, before = (sum(p.numel() for p in some.model.parameters()) for some in (pruned, whole))
    assert found["parameters"] - found["zeros"] == left
    assert found["parameters"] < before


@pytest.mark.slow
def test_some_of_these_masks_have_gated_heads_and_some_no_heads(answers):
    """Or the test above would not say what it means to."""
    grids = {name: pruned_by(*what)[1].grid for name, what in PRUNED.items()}
    gated = {name for name, grid in grids.items() if (grid.present & ~grid.kept).any()}
    assert {f"{family}, random" for family in SHARED} <= gated
    empty = {name for name, grid in grids.items() if not grid.kept.any(1).all()}
    assert {f"{family}, empty rows" for family in SAMPLE if family != "albert"} <= empty
    assert all(found["zeros"] > 0 for name, (*_, found) in answers.items() if name in empty)


@pytest.mark.slow
def test_the_precision_of_the_file_is_kept(answers):
    logits, _, found = answers["half"]
    assert found["dtype"] == "torch.bfloat16"
    torch.testing.assert_close(found["logits"], logits, rtol=0, atol=0.05)


@pytest.mark.slow
def test_shards_and_norms_by_head_and_tied_embeddings(answers):
    logits, real, found = answers["shards"]
    torch.testing.assert_close(found["logits"][real], logits[real], rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gpt2", "llama", "phi3", "t5", "bart"])
def test_it_writes_the_same_with_and_without_a_cache(family, tmp_path):
    model = hp.PrunableModel(tiny(family))
    pruned = hp.prune_heads(model, mask_of("empty rows", model.grid.shape))
    pruned.save_pretrained(tmp_path / "model")
    space = {}
    exec(code_for(pruned, tmp_path / "model"), space)
    ids = torch.arange(5, 11)[None]
    options = {"max_new_tokens": 5, "do_sample": False, "attention_mask": torch.ones_like(ids), "pad_token_id": 0}
    written = [
        some.generate(input_ids=ids, use_cache=cached, **options)
        for some in (space["model"], pruned.model)
        for cached in (True, False)
    ]
    assert all(torch.equal(written[0], other) for other in written[1:])


@pytest.mark.slow
def test_it_is_short_imports_only_the_libraries_and_says_no_more_than_the_family_needs():
    for family in ("bert", "phi3", "t5"):
        model = hp.PrunableModel(tiny(family))
        for kind in KINDS:
            code = standalone_code(hp.prune_heads(model, mask_of(kind, model.grid.shape)))
            found = [node for node in ast.walk(ast.parse(code)) if isinstance(node, (ast.Import, ast.ImportFrom))]
            names = {alias.name for node in found if isinstance(node, ast.Import) for alias in node.names}
            assert names - {"copy"} == {"json", "pathlib", "torch", "transformers"}
            assert all(node.module.startswith("transformers.") for node in found if isinstance(node, ast.ImportFrom))
            assert ("copy" in names) == ("plain['config']" in ast.unparse(ast.parse(code))) == (family == "phi3")
            assert ("AttentionInterface" in code) == (family == "t5")
    model = hp.PrunableModel(tiny("bert"))
    mask = np.ones((3, 4), bool)
    mask[0, 0] = False
    folder, *lines = [line for line in standalone_code(hp.prune_heads(model, mask)).splitlines() if line]
    assert folder == 'folder = "pruned-model"'
    assert len(lines) == 10
    assert max(map(len, lines)) <= 100


def test_the_sizes_that_are_written_are_those_that_surgery_changed(tmp_path):
    model = hp.PrunableModel(tiny("bert"), tokenizer=tiny_tokenizer())
    mask = np.ones((3, 4), bool)
    mask[0, 1], mask[2] = False, False
    pruned = hp.prune_heads(model, mask)
    pruned.save_pretrained(tmp_path / "model")
    found = json.loads((tmp_path / "model" / HEAD_MAP).read_text())["plain"]
    assert found == standalone_sizes(pruned)
    first, last = (f"bert.encoder.layer.{i}.attention" for i in (0, 2))
    parts = ("query", "key", "value")
    sizes = {(path, name): size for path, name, size in found["sizes"]}
    zeros = {
        **{(f"{last}.self.{part}", "weight"): [8, 32] for part in parts},
        **{(f"{last}.self.{part}", "bias"): [8] for part in parts},
        (f"{last}.output.dense", "weight"): [32, 8],
    }
    assert sizes == zeros | {
        (f"{first}.self", "num_attention_heads"): 3,
        (f"{first}.self", "all_head_size"): 24,
        **{(f"{first}.self.{part}", "out_features"): 24 for part in parts},
        (f"{first}.output.dense", "in_features"): 24,
        (f"{last}.self", "num_attention_heads"): 1,
        (f"{last}.self", "all_head_size"): 8,
        **{(f"{last}.self.{part}", "out_features"): 8 for part in parts},
        (f"{last}.output.dense", "in_features"): 8,
        **{(f"{first}.self.{part}", "weight"): [24, 32] for part in parts},
        **{(f"{first}.self.{part}", "bias"): [24] for part in parts},
        (f"{first}.output.dense", "weight"): [32, 24],
    }
    assert len(sizes) == len(found["sizes"])
    assert set(found["zeros"]) == {".".join(place) for place in zeros}
    assert found["heads_left"] == {}
    assert found["config"] == {}
