"""Results do not depend on the PyTorch state of the caller: each entry point under each state, bit for bit."""

import inspect
import multiprocessing
import os
import random
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.assert_equal import same
from helpers.tiny_models import EVERYTHING, FAMILIES, REPRESENTATIVE, examples_for, random_examples, short, thorough, tiny

import headprune_core as hp
from headprune_core.model import forward_cost
from headprune_core.prune.onnx_export import has_onnx
from headprune_core.scores import evaluation_cost
from headprune_core.scores.head_scores import HeadScores
from headprune_core.torch_state import fixed_torch_state

pytestmark = pytest.mark.filterwarnings("ignore:Anomaly Detection")
EXAMPLES, MORE = random_examples(count=4, longest=7), random_examples(count=5, longest=6, seed=1)
SHAPE = (2, 4)
MASK = np.array([[1, 0, 1, 1], [0, 1, 1, 0]], bool)
GENERATOR = np.random.default_rng(0)
SCORES = HeadScores(None, {"his": GENERATOR.random((4, *SHAPE)), "ae": GENERATOR.random((4, *SHAPE))})
PATH = hp.alpha_path(*GENERATOR.random((2, *SHAPE)), 0.5)
TIMES = ("seconds", "examples_per_second", "speedup")  # columns that measure the machine


def recovered(model):
    tuned, run = hp.recover(hp.prune_heads(model, MASK), EXAMPLES, steps=2, teacher=model, objective="teacher")
    return run.loss, hp.evaluate_masks(tuned, MORE, [MASK]).logits


def untimed(model):
    table = hp.measure_latency(model, batch_sizes=[2], sequence_length=4, compare=model, repeats=1)
    return table[[name for name in table if not any(time in name for time in TIMES)]]


def pruned(model):
    smaller = hp.prune_heads(model, MASK)
    return hp.verify_pruning(model, smaller, MORE), hp.compare_logits(model, smaller, MORE)


ENTRY_POINTS = {
    "score_heads": lambda m: hp.score_heads(m, EXAMPLES),
    "score_heads in bfloat16": lambda m: hp.score_heads(m, EXAMPLES, dtype="bfloat16", objective="logit_norm"),
    "estimate_scoring": lambda m: hp.estimate_scoring(m, EXAMPLES).flops,
    "estimate_evaluation": lambda m: hp.estimate_evaluation(m, EXAMPLES, 2).flops,
    "evaluate_masks": lambda m: hp.evaluate_masks(m, MORE, [MASK]),
    "evaluate_masks in bfloat16": lambda m: hp.evaluate_masks(m, MORE, [MASK], dtype="bfloat16"),
    "leave_one_out": lambda m: hp.leave_one_out(m, MORE).per_example,
    "measure_curves": lambda m: hp.measure_curves(m, MORE, SCORES, methods=["his"], sparsities=[0.5]),
    "sparsity_curves": lambda m: hp.sparsity_curves(m, MORE, SCORES, methods=["ae"], sparsities=[0.5]),
    "alpha_accuracy": lambda m: hp.alpha_accuracy(m, MORE, PATH, n_random=1),
    "alpha_surface": lambda m: hp.alpha_surface(m, MORE, SCORES, [0.5]),
    "successive_halving": lambda m: hp.successive_halving(m, MORE, PATH),
    "max_sparsity": lambda m: hp.max_sparsity(m, MORE, SCORES.his, 5.0),
    "random_baseline": lambda m: hp.random_baseline(m, MORE, MASK, n_random=2),
    "greedy_gnorm": lambda m: hp.greedy_gnorm(m, EXAMPLES, evaluation=MORE, steps=2),
    "gradient_shift": lambda m: hp.gradient_shift(m, EXAMPLES, (0, 1)),
    "head_traits": lambda m: hp.head_traits(m, EXAMPLES).per_example["first"],
    "predict_text": lambda m: hp.predict_text(m, EXAMPLES["input_ids"][0]).values,
    "head_shares": lambda m: hp.head_shares(m, EXAMPLES["input_ids"][0]).change,
    "head_distances": lambda m: hp.head_distances(m, EXAMPLES).matrix,
    "text_attention": lambda m: hp.text_attention(m, None, heads=[(0, 1)], token_ids=[5, 6, 7, 8]).attention,
    "show_attention": lambda m: hp.show_attention(m, None, heads=[(0, 1)], token_ids=[5, 6, 7, 8]).document,
    "gate_dial": lambda m: hp.gate_dial(m, EXAMPLES, 0, 1, gates=[1, 0]).to_frame(),
    "masking_effect": lambda m: hp.masking_effect(m, MORE, [(0, 1)]).losses,
    "prune_heads, verify_pruning, compare_logits": pruned,
    "recover": recovered,
    "measure_latency": untimed,
    "PrunableModel": lambda m: hp.evaluate_masks(hp.PrunableModel(m.model), MORE, [MASK]),
    "fingerprint": lambda m: m.fingerprint,
}
# those that run a model themselves, not by another entry point
DIRECT = ("score_heads", "evaluate_masks", "greedy_gnorm", "gradient_shift", "prune_heads, verify_pruning, compare_logits")
DIRECT += (
    "score_heads in bfloat16",
    "recover",
    "measure_latency",
    "head_traits",
    "gate_dial",
    "text_attention",
    "head_distances",
    "predict_text",
    "head_shares",
)


def model():
    return hp.PrunableModel(short("bert"))


@cache
def writer():
    return hp.PrunableModel(short("llama"))


@pytest.fixture(scope="module")
def shared():
    return model()


@pytest.fixture(scope="module")
def undisturbed():
    return {name: run(model()) for name, run in ENTRY_POINTS.items()}


@contextmanager
def set_and_reset(setter, getter, value):
    before = getter()
    setter(value)
    try:
        yield
    finally:
        setter(before)


default_dtype = partial(set_and_reset, torch.set_default_dtype, torch.get_default_dtype)
default_device = partial(set_and_reset, torch.set_default_device, lambda: None)
algorithms = torch.use_deterministic_algorithms, torch.are_deterministic_algorithms_enabled
deterministic = partial(set_and_reset, *algorithms)
products = partial(set_and_reset, torch.set_float32_matmul_precision, torch.get_float32_matmul_precision)

STATES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast to bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast to float16 without gradients": lambda: _both(torch.autocast("cpu", torch.float16), torch.no_grad()),
    "default dtype float64": lambda: default_dtype(torch.float64),
    "default dtype bfloat16": lambda: default_dtype(torch.bfloat16),
    "default device meta": lambda: default_device("meta"),
    "a block of the meta device": lambda: torch.device("meta"),
    "deterministic algorithms": lambda: deterministic(True),
    "anomaly detection": lambda: torch.autograd.detect_anomaly(check_nan=False),
}


@contextmanager
def _both(*managers):
    with ExitStack() as stack:
        for manager in managers:
            stack.enter_context(manager)
        yield


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
@pytest.mark.parametrize("entry", [pytest.param(e, marks=[] if e in DIRECT else pytest.mark.slow) for e in ENTRY_POINTS])
def test_the_state_of_the_caller_has_no_effect(entry, state, shared, undisturbed):
    with state():
        result = ENTRY_POINTS[entry](shared)
    assert same(result, undisturbed[entry])


DRAWING = ENTRY_POINTS | {"estimate_evaluation of tokens": lambda m: hp.estimate_evaluation(writer(), EXAMPLES, 2)}


@pytest.mark.parametrize("entry", DRAWING)
def test_the_random_numbers_of_the_caller_are_not_used(entry, shared):
    for measured in (forward_cost.matrix_product_rate, evaluation_cost.seconds_per_reduced_logit):
        measured.cache_clear()  # what is measured once per process
    torch.rand(1), np.random.random(), random.random(), writer()  # which seeds those that have no seed yet
    before = torch.get_rng_state().numpy(), np.random.get_state()[1:3], random.getstate()
    DRAWING[entry](shared)
    after = torch.get_rng_state().numpy(), np.random.get_state()[1:3], random.getstate()
    for one, other in zip(before, after, strict=True):
        assert same(one, other)


def _checkpointing(model):
    model.activation_checkpointing_enable()


def _chunks(model):
    model.config.chunk_size_feed_forward = 2


def _chunked(model):
    for module in model.modules():
        if hasattr(module, "chunk_size_feed_forward"):
            module.chunk_size_feed_forward = 2


def _tuples(model):
    model.config.return_dict = False


def _attentions(model):
    model.config._output_attentions = True  # the property refuses to be set, a configuration file can contain it


def _hidden_states(model):
    model.config.output_hidden_states = True


def _trainable(model):
    model.requires_grad_(True)


BEFORE = [_checkpointing, _chunked, _tuples, _attentions, _hidden_states, _trainable, lambda model: model.train()]
AFTER = [_checkpointing, _chunks, _attentions, _hidden_states, _trainable]
SETTINGS = [(setting, True) for setting in BEFORE] + [(setting, False) for setting in AFTER]


@pytest.mark.slow
@pytest.mark.parametrize(("setting", "before"), SETTINGS)
@pytest.mark.parametrize("entry", DIRECT)
def test_settings_of_the_model_have_no_effect(entry, setting, before, undisturbed):
    """Only fingerprints differ, since they hash the configuration."""
    assert same(ENTRY_POINTS[entry](_with_setting(setting, before)), undisturbed[entry])


@cache
def _with_setting(setting, before):
    body = short("bert")
    if before:
        setting(body)
    wrapped = hp.PrunableModel(body)
    if not before:
        setting(body)
    return wrapped


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_settings_of_models_of_every_family_have_no_effect(family):
    examples = examples_for(family, count=3)

    def losses(wrapped):
        return hp.evaluate_masks(wrapped, examples, np.ones((1, *wrapped.grid.shape), bool)).losses

    expected = losses(hp.PrunableModel(tiny(family)))
    for setting in (_checkpointing, _chunked, _tuples, _attentions, _hidden_states):
        body = tiny(family)
        if setting is not _checkpointing or body.supports_gradient_checkpointing:
            setting(body)
        np.testing.assert_array_equal(losses(hp.PrunableModel(body)), expected)


@pytest.mark.slow
@pytest.mark.parametrize("family", REPRESENTATIVE if EVERYTHING else ("bert", "gpt-oss", "t5"))
def test_scores_of_every_kind_of_model_are_independent_of_the_state(family):
    wrapped, examples = hp.PrunableModel(tiny(family)), examples_for(family, count=4)
    expected = hp.score_heads(wrapped, examples)
    assert expected.his.any()
    for state in STATES.values():
        body = tiny(family)
        with state():
            assert same(hp.score_heads(wrapped, examples), expected)
            assert same(hp.score_heads(hp.PrunableModel(body), examples), expected)


@pytest.mark.slow
@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_loading_and_saving_are_independent_of_the_state(state, tmp_path, undisturbed):
    wrapped = model()
    with state():
        wrapped.save_pretrained(tmp_path / "a")
        hp.prune_heads(wrapped, MASK).save_pretrained(tmp_path / "b")
        loaded, smaller = (hp.PrunableModel.from_pretrained(tmp_path / name, device="cpu") for name in "ab")
    assert same(hp.score_heads(loaded, EXAMPLES).his, undisturbed["score_heads"].his)
    expected = undisturbed["prune_heads, verify_pruning, compare_logits"][0].pruned.logits
    assert same(hp.evaluate_masks(smaller, MORE, [MASK]).logits, expected)


def test_every_public_function_that_runs_a_model_is_tested_here():
    described = {"flops_per_token", "parameter_table", "html_report", "model_card"}  # from sizes and results
    source = Path(__file__).read_text(encoding="utf-8")
    functions = [(name, part) for name, part in inspect.getmembers(hp, inspect.isfunction) if name in hp.__all__]
    takes_a_model = {name for name, function in functions if "model" in inspect.signature(function).parameters}
    untested = {name for name in takes_a_model - described if f"hp.{name}(" not in source}
    assert {name for name in untested if not name.startswith(("estimate", "plan"))} == set()


@pytest.mark.slow
@thorough
@pytest.mark.skipif(not has_onnx(), reason="needs the packages of the ONNX export")
def test_the_onnx_export_is_independent_of_the_state(tmp_path):
    wrapped = model()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert hp.export_onnx(wrapped, tmp_path / "model.onnx").difference < 1e-4


def _one_dropout(wrapped):
    wrapped.model.dropout.train()


def _sdpa(wrapped):
    wrapped.model.set_attn_implementation("sdpa")


def _another_layer(wrapped):
    wrapped.model.bert.encoder.layer[1] = short("bert").bert.encoder.layer[1]


REFUSED = {
    "train mode": (lambda w: w.model.train(), "BertForSequenceClassification is in train mode, .*; call eval"),
    "train mode and checkpointing": (lambda w: (_checkpointing(w.model), w.model.train()), "is in train mode"),
    "one module in train mode": (_one_dropout, "is in train mode"),
    "tuples": (lambda w: _tuples(w.model), "has return_dict=False in its configuration; set it to True"),
    "another attention function": (_sdpa, "was switched to the attention function 'sdpa' after wrapping; wrap it again"),
    "another layer": (_another_layer, "attention modules of .* were replaced after it was wrapped; wrap it again"),
}


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("entry", [name for name in ENTRY_POINTS if name not in ("fingerprint", "PrunableModel")])
def test_a_model_that_would_give_other_numbers_is_refused(entry, change, words):
    with pytest.raises(hp.HeadPruneError, match=words):
        ENTRY_POINTS[entry](_changed(change))


@cache
def _changed(change):
    wrapped = model()
    change(wrapped)
    return wrapped


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_imprecise_float32_products_are_refused(precision):
    wrapped = model()
    with products(precision), pytest.raises(hp.HeadPruneError, match=r"float32 matrix products are computed in (tf32|bf16)"):
        hp.score_heads(wrapped, EXAMPLES)


def test_weights_created_in_inference_mode_are_refused():
    with torch.inference_mode():
        body = short("bert")
    with pytest.raises(hp.HeadPruneError, match=r"were created inside torch.inference_mode\(\), .*; load the model outside"):
        hp.PrunableModel(body)


def test_the_state_of_the_caller_is_restored():
    def state():
        modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")
        return *modes, torch.get_default_device()

    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16), torch.device("meta"):
        before = state()
        with fixed_torch_state():
            assert state() == (True, False, False, torch.device("cpu"))
            other = []
            thread = threading.Thread(target=lambda: other.append(state()))
            thread.start()
            thread.join()
        assert state() == before
    assert other == [state()]


FORK = """
import os, sys, torch
sys.path[:0] = sys.argv[1:]
from test_torch_state import EXAMPLES, model, same
import headprune_core as hp
torch.set_num_threads(2)
wrapped = model()
expected = hp.score_heads(wrapped, EXAMPLES)
torch.randn(600, 600) @ torch.randn(600, 600)  # starts the threads
child = os.fork()
if child == 0:
    os._exit(0 if same(hp.score_heads(wrapped, EXAMPLES), expected) and torch.get_num_threads() == 1 else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.slow
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="the system cannot fork")
def test_a_forked_process_computes_the_same_with_one_thread():
    tests = os.path.dirname(__file__)
    command = [sys.executable, "-W", "ignore", "-c", FORK, tests, os.path.dirname(tests)]
    subprocess.run(command, check=True, timeout=300)
