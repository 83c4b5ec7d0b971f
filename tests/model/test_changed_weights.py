"""A call after a change of the weights computes with the new ones: it equals that of a freshly wrapped copy, bit for bit."""

import copy
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
from helpers.assert_equal import same
from helpers.tiny_models import EVERYTHING, REPRESENTATIVE, examples_for, random_examples, short, thorough, tiny

import headprune_core as hp
from headprune_core.model.from_weights import WeightState, _bits, _sums

EXAMPLES, MORE = random_examples(count=4, longest=7), random_examples(count=5, longest=6, seed=1)
MASKS = np.array([[[1, 0, 1, 1], [0, 1, 1, 0]], [[1, 1, 1, 1], [0, 1, 1, 1]]], bool)


def evaluate(model, **options):
    return hp.evaluate_masks(model, MORE, MASKS, **options)


def pruned(model):
    smaller = hp.prune_heads(model, MASKS[0])
    return hp.verify_pruning(model, smaller, MORE), hp.compare_logits(model, smaller, MORE)


CALLS = {
    "HIS": lambda m, cache: hp.score_heads(m, EXAMPLES, metrics=["his"]),
    "AE": lambda m, cache: hp.score_heads(m, EXAMPLES, metrics=["ae"]),
    "Gnorm": lambda m, cache: hp.score_heads(m, EXAMPLES, metrics=["gnorm"]),
    "HIS in bfloat16": lambda m, cache: hp.score_heads(m, EXAMPLES, metrics=["his"], dtype="bfloat16"),
    "AE in bfloat16": lambda m, cache: hp.score_heads(m, EXAMPLES, metrics=["ae"], dtype="bfloat16"),
    "evaluation": lambda m, cache: evaluate(m),
    "evaluation with a cache": lambda m, cache: evaluate(m, cache=cache),
    "evaluation in bfloat16": lambda m, cache: evaluate(m, dtype="bfloat16", cache=cache),
    "leave one out": lambda m, cache: hp.leave_one_out(m, MORE),
    "greedy": lambda m, cache: hp.greedy_gnorm(m, EXAMPLES, evaluation=MORE, steps=2),
    "greedy with a cache": lambda m, cache: hp.greedy_gnorm(m, EXAMPLES, evaluation=MORE, steps=2, cache=cache),
    "pruning and its verification": lambda m, cache: pruned(m),
    "gradient shift": lambda m, cache: hp.gradient_shift(m, EXAMPLES, (0, 1)),
    "fingerprint": lambda m, cache: m.fingerprint,
}


def linear_weights(body):
    return [module.weight for module in body.modules() if isinstance(module, torch.nn.Linear)]


def another_checkpoint(body, **options):
    body.load_state_dict(type(body)(body.config).state_dict(), **options)


def train(body, **options):
    """Three steps; the gradients of all examples are computed in eval mode."""
    body.requires_grad_(True)
    optimizer = torch.optim.AdamW(body.parameters(), lr=1e-2, **options)
    for _ in range(3):
        body(torch.randint(5, 90, (4, 6)), labels=torch.arange(4) % 3).loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    body.requires_grad_(False)


def scale(body):
    with torch.no_grad():
        for weight in linear_weights(body):
            weight.mul_(1.5)


def edit_data(body):
    for weight in linear_weights(body):
        weight.data.mul_(1.5)


def edit_one_head(body):
    """All queries of one head, by `.data`."""
    body.bert.encoder.layer[0].attention.self.query.weight.data[8:16] = 0.5


def edit_one_output(body):
    """The columns of one head in the output projection, by NumPy."""
    body.bert.encoder.layer[0].attention.output.dense.weight.numpy()[:, 8:16] = 0.5


def edit_one_value(body):
    """One weight, by NumPy."""
    body.bert.encoder.layer[0].attention.self.query.weight.numpy()[5, 7] = 3.0


def replace_data(body):
    """Twice, so that the second data may be where the first were."""
    for weight in linear_weights(body):
        weight.data = weight.data * 3.0
        weight.data = weight.data * 0.5


def replace_parameters(body):
    for module in body.modules():
        if isinstance(module, torch.nn.Linear):
            module.weight = torch.nn.Parameter(module.weight * 1.5, False)


def merge_adapter(body):
    adapted = peft.get_peft_model(body, peft.LoraConfig(target_modules=["query", "value"], init_lora_weights=False))
    adapted.merge_and_unload()
    body.requires_grad_(False)


CHANGES = {
    "load_state_dict": another_checkpoint,
    "load_state_dict with assign": partial(another_checkpoint, assign=True),
    "AdamW": train,
    "AdamW, for each": partial(train, foreach=True),
    "AdamW, fused": partial(train, fused=True),
    "in place": scale,
    "data in place": edit_data,
    "data of one head": edit_one_head,
    "NumPy, one head": edit_one_output,
    "NumPy, one value": edit_one_value,
    "other data": replace_data,
    "other parameters": replace_parameters,
    "a merged adapter": merge_adapter,
}


QUICK = ("HIS", "AE in bfloat16", "evaluation with a cache", "fingerprint")


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated")
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_is_noticed(change, tmp_path):
    check_calls(QUICK, change, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("change", [next(iter(CHANGES))] if not EVERYTHING else CHANGES)
def test_every_call_uses_the_changed_weights(change, tmp_path):
    check_calls(CALLS, CHANGES[change], tmp_path)


def check_calls(names, change, tmp_path):
    model, cache = hp.PrunableModel(short("bert")), hp.ResultCache(tmp_path)
    first = {name: CALLS[name](model, cache) for name in names}
    torch.manual_seed(0)
    change(model.model.eval())
    fresh = hp.PrunableModel(copy.deepcopy(model.model))
    for name in names:
        expected = CALLS[name](fresh, None)
        assert same(CALLS[name](model, cache), expected), name
        assert not same(first[name], expected), name


def test_nan_in_a_weight_is_seen():
    model = hp.PrunableModel(short("bert"))
    hp.score_heads(model, EXAMPLES)
    model.model.bert.encoder.layer[0].output.dense.weight.data.fill_(torch.nan)
    with pytest.raises(hp.HeadPruneError, match=r"the weights bert.encoder.layer.0.output.dense.weight contain NaN"):
        hp.score_heads(model, EXAMPLES)
    model.model.load_state_dict(short("bert").state_dict())
    assert same(hp.score_heads(model, EXAMPLES), hp.score_heads(hp.PrunableModel(short("bert")), EXAMPLES))


@pytest.mark.slow
def test_nothing_is_computed_again_while_the_weights_stay():
    model = hp.PrunableModel(short("bert"))
    hp.score_heads(model, EXAMPLES, dtype="bfloat16")
    kept = model.packed, model.in_precision("bfloat16"), model.in_precision("bfloat16").packed
    for call in CALLS.values():
        call(model, None)
    assert kept == (model.packed, model.in_precision("bfloat16"), model.in_precision("bfloat16").packed)


def test_the_fingerprint_follows_the_configuration():
    model = hp.PrunableModel(short("bert"))
    before = model.fingerprint
    model.model.config.layer_norm_eps = 1.0
    assert model.fingerprint != before


SHAPES = [(64,), (40, 32), (5, 3, 2, 2), (1, 512, 64), (300, 7)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.bool])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_changed_value_is_seen(shape, dtype):
    """By the hash of all values and, as on other devices than the CPU, by sums over rows and columns."""
    module, generator = torch.nn.Module(), np.random.default_rng(0)
    module.register_buffer("values", torch.from_numpy(generator.standard_normal(shape) > 0).to(dtype))
    state, sums, flat = WeightState(module), _sums(_bits(module.values)), module.values.data.view(-1)
    for position in generator.integers(0, flat.numel(), 20):
        before = flat[position].clone()
        flat.data[position] = before.logical_not().to(dtype)
        assert state.has_changed(module)
        assert not torch.equal(_sums(_bits(module.values)), sums)
        flat.data[position] = before
        assert not state.has_changed(module)


def test_swapped_values_are_seen():
    module = torch.nn.Module()
    module.register_buffer("values", torch.arange(12.0).view(3, 4))
    state, sums = WeightState(module), _sums(_bits(module.values))
    module.values.data[[0, 2]] = module.values.data[[2, 0]]
    assert state.has_changed(module)
    assert not torch.equal(_sums(_bits(module.values)), sums)


@pytest.mark.slow
def test_threads_that_find_a_change_together_use_the_new_weights(eager_switching):
    model = hp.PrunableModel(short("bert"))
    calls = [partial(hp.score_heads, model, EXAMPLES, dtype=dtype) for dtype in (None, "bfloat16")] * 4
    calls += [partial(evaluate, model), partial(evaluate, model, dtype="bfloat16"), lambda: model.fingerprint] * 2
    for seed in range(4):
        model.model.load_state_dict(tiny_state(seed))
        with ThreadPoolExecutor(8) as pool:
            together = [future.result() for future in [pool.submit(call) for call in calls]]
        fresh = hp.PrunableModel(copy.deepcopy(model.model))
        expected = [hp.score_heads(fresh, EXAMPLES, dtype=dtype) for dtype in (None, "bfloat16")] * 4
        expected += [evaluate(fresh), evaluate(fresh, dtype="bfloat16"), fresh.fingerprint] * 2
        assert same(together, expected)


def tiny_state(seed):
    torch.manual_seed(seed)
    return type(short("bert"))(short("bert").config).state_dict()


COPIES = {"deepcopy": copy.deepcopy, "copy": copy.copy, "pickle": lambda model: pickle.loads(pickle.dumps(model))}


def results(model, examples):
    masks = np.random.default_rng(0).random((2, *model.grid.shape)) < 0.6
    return hp.score_heads(model, examples), hp.evaluate_masks(model, examples, masks), model.fingerprint


@pytest.mark.slow
@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("used", [False, True])
def test_a_copy_gives_equal_results(copied, used):
    model = hp.PrunableModel(short("bert"), name="a name")
    expected = results(hp.PrunableModel(short("bert")), MORE)
    if used:
        assert same(results(model, MORE), expected)
        hp.score_heads(model, EXAMPLES, dtype="bfloat16")
    twin = copied(model)
    assert same(results(twin, MORE), expected)
    assert (twin.name, twin.task, twin.grid.row_names) == (model.name, model.task, model.grid.row_names)
    assert same(hp.score_heads(twin, EXAMPLES, dtype="bfloat16"), hp.score_heads(model, EXAMPLES, dtype="bfloat16"))


@pytest.mark.slow
@pytest.mark.parametrize("family", REPRESENTATIVE)
@pytest.mark.parametrize("copied", [COPIES["deepcopy"], COPIES["pickle"]], ids=["deepcopy", "pickle"])
def test_copies_of_every_family_and_of_its_pruned_model(copied, family, runs):
    model, examples = hp.PrunableModel(tiny(family)), examples_for(family, count=4)
    expected = results(model, examples)
    work = len(runs)
    twin = copied(model)
    assert same(results(twin, examples), expected)
    assert len(runs) == 2 * work  # the copy reuses outputs of its layers, as the model does
    mask = np.ones(model.grid.shape, bool)
    mask[:-1][:1] = mask[-1, 0] = False  # all heads of the first row, if there is another
    smaller = hp.prune_heads(model, mask)
    before = hp.evaluate_masks(smaller, examples, [mask])
    assert same(hp.evaluate_masks(copied(smaller), examples, [mask]), before)
    assert same(hp.evaluate_masks(hp.prune_heads(twin, mask), examples, [mask]), before)


def test_a_copy_has_weights_of_its_own():
    model = hp.PrunableModel(short("bert"))
    expected = results(model, MORE)
    twin = copy.deepcopy(model)
    scale(twin.model)
    assert not same(results(twin, MORE), expected)
    assert same(results(model, MORE), expected)


WORK = """
import pickle, sys
import headprune_core as hp
with open(sys.argv[1], "rb") as file:
    model, examples, expected = pickle.load(file)
scores = hp.score_heads(model, examples)
assert all((scores.per_example[metric] == values).all() for metric, values in expected.items())
"""


@thorough
@pytest.mark.slow
def test_a_copy_in_another_process_gives_equal_results(tmp_path):
    model = hp.PrunableModel(short("bert"))
    content = model, MORE, hp.score_heads(model, MORE).per_example
    (tmp_path / "model").write_bytes(pickle.dumps(content))
    command = [sys.executable, "-W", "ignore", "-c", WORK, tmp_path / "model"]
    subprocess.run(command, check=True, timeout=300, cwd=Path(__file__).parents[2])
