"""Half precision: agreement with float32, memory shared with the model, underflow; and non-finite weights."""

import re
from collections import Counter

import numpy as np
import pytest
import torch
from helpers.tiny_models import FAMILIES, REPRESENTATIVE, columns, examples_for, random_examples, tiny
from scipy.stats import kendalltau
from transformers.pytorch_utils import Conv1D

import headprune_core as hp
from headprune_core.scores import head_scores as run

METRICS = ("his", "ae", "gnorm")


def agreement(found, expected):
    return kendalltau(found.ravel(), expected.ravel()).statistic


def state(model):
    return {name: value.clone() for name, value in model.model.state_dict().items()}


# bfloat16 beside a model in single precision


@pytest.mark.slow
@pytest.mark.parametrize("family", REPRESENTATIVE)
def test_bfloat16_scores_are_close_and_leave_the_model_unchanged(family):
    model, examples = hp.PrunableModel(tiny(family)), examples_for(family)
    before, weights = hp.score_heads(model, examples), state(model)
    low = hp.score_heads(model, examples, dtype="bfloat16")
    assert low.settings["dtype"] == "bfloat16"
    for metric in METRICS:
        found, expected = getattr(low, metric), getattr(before, metric)
        assert found.shape == expected.shape
        assert (found != expected).any()
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9
    after = hp.score_heads(model, examples)
    for metric in METRICS:
        np.testing.assert_array_equal(after.per_example[metric], before.per_example[metric])
    assert all(torch.equal(value, weights[name]) for name, value in state(model).items())


@pytest.mark.slow
def test_the_ranking_of_the_real_model_is_stable_in_bfloat16(embedded_model, calibration):
    full, low = (hp.score_heads(embedded_model, calibration, dtype=dtype) for dtype in (None, "bfloat16"))
    assert agreement(low.his, full.his) > 0.9
    assert agreement(low.gnorm, full.gnorm) > 0.9
    assert agreement(low.ae, full.ae) > 0.9
    assert (low.his != full.his).all()


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_only_weights_used_by_linear_layers_only_are_cast_and_copied(family):
    model = hp.PrunableModel(tiny(family))
    twin = model.in_precision("bfloat16")
    assert twin is model.in_precision("bfloat16")
    assert model.in_precision(None) is model.in_precision("float32") is model
    owners = [(isinstance(m, (torch.nn.Linear, Conv1D)), m._parameters.values()) for m in model.model.modules()]
    linear, others = ({p for kind, own in owners if kind is wanted for p in own} for wanted in (True, False))
    linear -= others  # tied embeddings
    pairs = zip(model.model.named_parameters(), twin.model.named_parameters(), strict=True)
    for (name, own), (other_name, other) in pairs:
        assert name == other_name
        assert own.dtype == torch.float32
        if own in linear:
            assert other.dtype == torch.bfloat16
            assert torch.equal(other, own.bfloat16())
        else:
            assert other.data_ptr() == own.data_ptr()
            assert other.dtype == torch.float32
    norms = [p for m in twin.model.modules() if type(m).__name__.endswith("Norm") for p in m.parameters()]
    assert norms
    assert {p.dtype for p in norms} == {torch.float32}
    ties = [Counter(id(p) for m in some.model.modules() for p in m._parameters.values()) for some in (model, twin)]
    assert sorted(ties[0].values()) == sorted(ties[1].values())


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_head_modules_belong_to_the_copy(family):
    model = hp.PrunableModel(tiny(family))
    twin, inside = model.in_precision("bfloat16"), set(model.model.modules())
    for row, other in zip(model.grid.rows, twin.grid.rows, strict=True):
        assert (row.name, row.kind) == (other.name, other.kind)
        assert twin.model.get_submodule(row.name) is other.module
        for part in ("q", "k", "v", "out"):
            own, copied = getattr(row, part), getattr(other, part)
            assert copied.module not in inside
            assert copied.module in set(twin.model.modules())
            np.testing.assert_array_equal(own.features, copied.features)


@pytest.mark.parametrize("family", ["gpt2", "t5", "qwen3", "bert"])
def test_activations_between_layers_stay_in_float32(family):
    """Only matrix multiplications are in bfloat16, also if the embedding is tied to the output layer."""
    model = tiny(family)
    model.config.tie_word_embeddings = True
    model.tie_weights()
    twin, seen = hp.PrunableModel(model).in_precision("bfloat16"), set()
    twin.model.get_input_embeddings().register_forward_hook(lambda _, inputs, output: seen.add(output.dtype))
    for name, module in twin.model.named_modules():
        if type(module).__name__.endswith("Norm") and not name.endswith(("q_norm", "k_norm")):
            module.register_forward_pre_hook(lambda _, inputs: seen.add(inputs[0].dtype))
    hp.score_heads(twin, examples_for(family, count=3))
    assert seen == {torch.float32}


@pytest.mark.slow
@pytest.mark.parametrize("family", REPRESENTATIVE)
def test_masked_evaluation_in_bfloat16_is_close(family):
    model, examples = hp.PrunableModel(tiny(family)), examples_for(family)
    masks = np.random.default_rng(0).random((3, *model.grid.shape)) < 0.6
    full, low = (hp.evaluate_masks(model, examples, masks, dtype=dtype) for dtype in (None, "bfloat16"))
    assert (low.loss != full.loss).all()
    np.testing.assert_allclose(low.loss, full.loss, rtol=0.1)


def test_an_unknown_precision_is_refused():
    with pytest.raises(hp.HeadPruneError, match="dtype must be None, 'float32' or 'bfloat16', got 'int8'"):
        hp.score_heads(hp.PrunableModel(tiny("bert")), random_examples(), dtype="int8")


# float16


def faint():
    """A model whose outputs hardly depend on its heads, so that gradients are tiny although weights are not."""
    model = tiny("bert")
    with torch.no_grad():
        model.classifier.weight *= 1e-3
        model.bert.pooler.dense.weight *= 2e-4
    return model


def test_gradients_are_scaled_up_before_they_underflow_in_float16(monkeypatch):
    """The factor is removed again: scores equal those in float32, where float16 without it would lose heads."""
    options = {"metrics": ("his", "gnorm"), "gnorm_objective": "loss"}
    full = hp.score_heads(hp.PrunableModel(faint()), random_examples(), **options)
    half = hp.PrunableModel(faint().half())
    raised = hp.score_heads(half, random_examples(), **options)
    monkeypatch.setattr(run, "FP16_LOSS_SCALE", 1.0)
    with pytest.warns(hp.HeadPruneWarning, match="exactly 0"):
        bare = hp.score_heads(half, random_examples(), **options)
    for metric in ("his", "gnorm"):
        np.testing.assert_allclose(getattr(raised, metric), getattr(full, metric), rtol=0.02)
        assert np.abs(getattr(bare, metric) / getattr(full, metric) - 1).max() > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("family", REPRESENTATIVE)
def test_float16_is_close(family):
    examples = examples_for(family)
    full = hp.score_heads(hp.PrunableModel(tiny(family)), examples)
    low = hp.score_heads(hp.PrunableModel(tiny(family).half()), examples)
    for metric in METRICS:
        assert np.corrcoef(getattr(low, metric).ravel(), getattr(full, metric).ravel())[0, 1] > 0.98
        assert np.median(getattr(low, metric) / getattr(full, metric)) == pytest.approx(1, abs=0.05)


def test_a_zero_score_in_float16_causes_a_warning():
    model = tiny("bert")
    *_, out = FAMILIES["bert"].projections(model)[1]
    with torch.no_grad():
        columns(out).unflatten(1, (4, -1))[:, 2] = 0
    where = (
        r"the first at row 1 \(bert\.encoder\.layer\.1\.attention\.self\), head 2: gradients may have underflowed in float16"
    )
    with pytest.warns(hp.HeadPruneWarning, match=f"HIS is exactly 0 for 1 entries, {where}; load the model with dtype="):
        hp.score_heads(hp.PrunableModel(model.half()), random_examples(), metrics=("his",))
    with pytest.warns(hp.HeadPruneWarning, match=f"GNORM is exactly 0 for 3 entries, {where}"):
        hp.score_heads(hp.PrunableModel(model), random_examples(), metrics=("gnorm",))
    # zeros of other precisions are zeros
    hp.score_heads(hp.PrunableModel(model.bfloat16()), random_examples())
    hp.score_heads(hp.PrunableModel(model.float()), random_examples())


# Weights that are no numbers


PARTS = ("query", "key", "value", "output")


def spoil(family, model, row, part, head, number):
    """Set one element of the block of one head to `number`, by the layouts in tests/helpers/tiny_models.py."""
    modules = FAMILIES[family].projections(model)[row]
    groups = getattr(model.config, "num_key_value_heads", 4) or 4
    with torch.no_grad():
        if part == "output":
            columns(modules[3]).unflatten(1, (4, -1))[5, head, 3] = number
        else:
            which = PARTS.index(part)
            FAMILIES[family].blocks(modules[which].weight, which, 4, groups)[head, 3, 5] = number


@pytest.mark.slow
@pytest.mark.parametrize("family", [*REPRESENTATIVE, "phi3"])
@pytest.mark.parametrize(("part", "number"), list(zip(PARTS, [np.nan, np.inf] * 2, strict=True)))
def test_non_finite_weights_are_reported_by_row_part_and_head(family, part, number):
    model = hp.PrunableModel(tiny(family))
    assert model.describe_non_finite() is None
    row, head = len(model.grid.rows) - 1, 1
    spoil(family, model.model, row, part, head, number)
    name = re.escape(model.grid.row_names[row])
    words = rf"the {part} weights of row {row} \({name}\), head {head}, contain NaN or infinite values"
    assert re.fullmatch(words, model.describe_non_finite())
    with pytest.raises(hp.HeadPruneError, match=rf"his is not finite .*, head \d; {words}"):
        hp.score_heads(model, examples_for(family), metrics=("his",))


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_other_non_finite_weights_are_reported(family):
    model = hp.PrunableModel(tiny(family))
    names = [name for name, _ in model.model.named_parameters()]
    name = names[-1] if not names[-1].endswith("relative_attention_bias.weight") else names[-2]
    with torch.no_grad():
        model.model.get_parameter(name).view(-1)[-1] = torch.nan
    assert model.describe_non_finite() == f"the weights {name} contain NaN or infinite values"


def test_overflow_is_distinguished_from_non_finite_weights():
    model = tiny("bert")
    with torch.no_grad():
        model.bert.encoder.layer[2].output.LayerNorm.weight *= 1e4
        model.classifier.weight *= 1e4
    words = "the weights and all outputs are finite, so gradients overflowed in float16; load the model with dtype='float32'"
    with pytest.raises(hp.HeadPruneError, match=words):
        hp.score_heads(hp.PrunableModel(model.half()), random_examples(), metrics=("his",))


def fill(number):
    return lambda model: [weight.data.fill_(number) for weight in model.parameters()]


def scale(number):
    return lambda model: [weight.data.mul_(number) for weight in model.parameters()]


def spoil_eps(model):
    model.bert.encoder.layer[1].output.LayerNorm.eps = float("nan")


class Broken(torch.nn.Module):
    def forward(self, x):
        return x * torch.nan


def spoil_output(model):
    model.dropout = Broken().eval()


NO_NORM = r"all logits of an example are 0 or too close to it \(up to [^)]*\), .*; the weights reach {}: check them"
NORMS = {"zero": (fill(0.0), NO_NORM.format("0")), "denormal": (fill(1e-40), NO_NORM.format("1e-40"))}
LARGE = r"the first output that is not finite is that of bert[.\w]* \(\w+\), computed in float32; .* weights reach {}"
OUTPUTS = {
    "too large": (fill(1e30), LARGE.format(r"1e\+30")),
    "scaled": (scale(1e35), LARGE.format(r"[\d.]+e\+3\d")),
    "eps": (
        spoil_eps,
        r"is that of bert.encoder.layer.1.output.LayerNorm \(LayerNorm\), whose eps is nan; correct the model's",
    ),
    "output": (spoil_output, r"the first output that is not finite is that of dropout \(Broken\), computed in float32"),
}
GRADIENTS = {
    "scores": lambda model: hp.score_heads(model, random_examples(count=4)),
    "greedy": lambda model: hp.greedy_gnorm(model, random_examples(count=4), steps=1),
    "gradient shift": lambda model: hp.gradient_shift(model, random_examples(count=4), (0, 0)),
}
LOGITS = {
    "evaluation": lambda model: hp.evaluate_masks(model, random_examples(count=4), np.ones((1, 3, 4), bool)),
    "leave one out": lambda model: hp.leave_one_out(model, random_examples(count=4)),
}
WRONG = [(*case, call) for case in OUTPUTS.values() for call in (GRADIENTS | LOGITS).values()]
WRONG += [(*case, call) for case in NORMS.values() for call in GRADIENTS.values()]
NAMES = [f"{name}-{call}" for name in OUTPUTS for call in GRADIENTS | LOGITS]
NAMES += [f"{name}-{call}" for name in NORMS for call in GRADIENTS]


@pytest.mark.slow
@pytest.mark.parametrize(("change", "words", "call"), WRONG, ids=NAMES)
def test_the_cause_of_values_that_are_not_finite_is_named(change, words, call):
    """The model is in float32 already, so another precision is not the way out."""
    body = tiny("bert")
    wrapped = hp.PrunableModel(body)
    change(body)
    with pytest.raises(hp.HeadPruneError, match=words) as refusal:
        call(wrapped)
    assert "load the model" not in str(refusal.value)


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_an_evaluation_of_logits_that_are_not_finite_is_refused(family):
    body = tiny(family)
    wrapped, examples = hp.PrunableModel(body), examples_for(family, count=5)
    with torch.no_grad():
        body.get_input_embeddings().weight[examples["input_ids"][3][0]] = torch.inf
    number = "3" if family == "bert" else r"\d"  # embeddings that are also outputs spoil the logits of every example
    words = rf"the logits of example {number} are not finite; the weights .* contain NaN or infinite values"
    with pytest.raises(hp.HeadPruneError, match=words):
        hp.evaluate_masks(wrapped, examples, np.ones((1, *wrapped.grid.shape), bool))


def test_the_hook_that_looks_for_a_cause_is_removed():
    body = tiny("bert")
    wrapped = hp.PrunableModel(body)
    spoil_eps(body)
    for call in (GRADIENTS | LOGITS).values():
        with pytest.raises(hp.HeadPruneError):
            call(wrapped)
    assert not torch.nn.modules.module._global_forward_hooks
