"""The plain reference against independent checks: finite differences of the loss that the model computes, inputs and outputs
of the library's attention function, and the effect of disabling a part of a model."""

import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from helpers.reference import Double, inputs, prepared, reference_scores, token_products
from helpers.tiny_models import FAMILIES, columns, examples_for, tiny
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

STEP = 1e-7  # so small that no ReLU and no choice of experts turns over on the way


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def model(family):
    return prepared(tiny(family))


@pytest.fixture(scope="module")
def examples(family):
    return examples_for(family, count=3).select([0, 2])


@pytest.fixture(scope="module")
def scores(model, family, examples):
    return reference_scores(model, family, examples)


@dataclass
class Call:
    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    mask: torch.Tensor | None
    options: dict
    out: torch.Tensor
    weights: torch.Tensor

    def probabilities(self):
        """From the definition, one query head at a time; an attention sink is one more key, whose share is dropped."""
        heads = self.query.shape[1]
        result = []
        for head in range(heads):
            key = self.key[0, head * self.key.shape[1] // heads]
            logits = self.query[0, head] @ key.T * self.options["scaling"]
            if cap := self.options.get("softcap"):
                logits = cap * (logits / cap).tanh()
            if (bias := self.options.get("position_bias")) is not None:
                logits = logits + bias[0, head]
            if self.mask is not None:
                logits = logits + self.mask[0, 0]
            if (sinks := self.options.get("s_aux")) is not None:
                logits = torch.cat([logits, sinks[head].detach().expand(len(logits), 1)], -1)
            result.append(logits.softmax(-1)[:, : len(key)])
        return torch.stack(result)


@pytest.fixture(scope="module")
def watch():
    """Run a model on an example and return inputs and outputs of every call of its attention function (eager)."""
    calls = []

    def watched(module, query, key, value, mask, **options):
        eager = sys.modules[type(module).__module__].eager_attention_forward
        out, weights = eager(module, query, key, value, mask, **options)
        calls.append(Call(query, key, value, mask, options, out, weights))
        return out, weights

    def look(model, example):
        calls.clear()
        model.set_attn_implementation("watched")
        try:
            with torch.no_grad(), Double():
                model(**inputs(model, example))
        finally:
            model.set_attn_implementation("eager")
        return list(calls)

    for interface, function in ((AttentionInterface, watched), (AttentionMaskInterface, eager_mask)):
        interface.register("watched", function)
    yield look
    for interface in (AttentionInterface, AttentionMaskInterface):
        del interface._global_mapping["watched"]


def own_loss(model, example):
    """The loss that the library computes; with a target text, the library also creates the decoder inputs."""
    given = inputs(model, example)
    given.pop("decoder_input_ids", None)
    classifier = type(model).__name__.endswith("Classification")
    labels = example["label"] if classifier else example.get("target_ids", example.get("input_ids"))
    with Double():
        return model(**given, labels=torch.tensor([labels])).loss


def logit_norm(model, example):
    with Double():
        return model(**inputs(model, example)).logits.norm()


def slope(function, weights, directions):
    """The derivative of function() as every weight moves along its direction, from four evaluations."""
    values = {}
    with torch.no_grad():
        before = [weight.clone() for weight in weights]
        for steps in (1, -1, 2, -2):
            for weight, old, direction in zip(weights, before, directions, strict=True):
                weight.copy_(old + steps * STEP * direction)
            values[steps] = function().item()
        for weight, old in zip(weights, before, strict=True):
            weight.copy_(old)
    return (8 * (values[1] - values[-1]) - (values[2] - values[-2])) / (12 * STEP)


def projections(model, family):
    return FAMILIES[family].projections(model)


def blocks(model, family, weight, part):
    """(blocks, ...), a view."""
    heads = model.config.num_attention_heads
    return FAMILIES[family].blocks(weight, part, heads, getattr(model.config, "num_key_value_heads", heads))


@pytest.mark.slow
def test_scores_are_float64_positive_and_of_the_right_shape(model, family, examples, scores, watch):
    shape = (2, len(projections(model, family)), model.config.num_attention_heads)
    assert [values.shape for values in scores] == [shape, shape, (2, 3, *shape[1:])]
    for values in scores:
        assert values.dtype == np.float64
        assert np.isfinite(values).all()
        assert (values > 0).all()
    for call in watch(model, examples[0]):
        assert {x.dtype for x in (call.query, call.key, call.value, call.out, call.weights)} == {torch.double}


def test_rows_are_in_the_order_of_the_calls(model, family, examples, watch):
    seen = []
    rows = projections(model, family)
    hooks = [
        out.register_forward_pre_hook(lambda _, z, row=row: seen.append((row, z[0]))) for row, (*_, out) in enumerate(rows)
    ]
    calls = watch(model, examples[1])
    for hook in hooks:
        hook.remove()
    assert [row for row, _ in seen] == sorted(row for row, _ in seen)
    assert {row for row, _ in seen} == set(range(len(rows)))
    for call, (_, z) in zip(calls, seen, strict=True):
        torch.testing.assert_close(call.out.flatten(2), z, rtol=0, atol=0)


@pytest.mark.slow
def test_his_is_the_derivative_of_the_loss_of_the_model(model, family, examples, scores):
    """All heads are scaled by different amounts at once: the derivative is the weighted sum of their signed products."""
    products = np.array([tokens.sum(1) for tokens in token_products(model, family, examples)])
    np.testing.assert_allclose(abs(products), scores[0], rtol=1e-9)
    amounts = np.random.default_rng(0).standard_normal(products.shape[1:])
    weights = [columns(out) for *_, out in projections(model, family)]
    directions = [
        (weight.detach().unflatten(1, (len(amount), -1)) * torch.tensor(amount)[:, None]).flatten(1)
        for weight, amount in zip(weights, amounts, strict=True)
    ]
    for example, product in zip(examples, products, strict=True):
        found = slope(lambda example=example: own_loss(model, example), weights, directions)
        assert found == pytest.approx((amounts * product).sum(), rel=1e-6, abs=1e-8)


def test_entropy_equals_its_definition(model, family, examples, scores, watch):
    for example, expected in zip(examples, scores[1], strict=True):
        calls = watch(model, example)
        found = torch.stack([torch.special.entr(call.probabilities()).sum(-1).mean(-1) for call in calls])
        np.testing.assert_allclose(found.unflatten(0, (len(expected), -1)).mean(1), expected, rtol=1e-9)


def test_attention_is_a_distribution_far_from_uniform(model, family, examples, scores, watch):
    calls, deficits = watch(model, examples[1]), []
    for call in calls:
        sums, sinks = call.weights.sum(-1), call.options.get("s_aux")
        assert (sums < 1).all() if sinks is not None else sums.numpy() == pytest.approx(1, rel=1e-12)
        seen = torch.zeros(call.weights.shape[2:]) if call.mask is None else call.mask[0, 0]
        uniform = (seen == 0).sum(-1).log().mean()
        deficits.append(uniform - torch.special.entr(call.weights[0]).sum(-1).mean(-1))
    most = torch.stack(deficits).amax(1)
    assert most.min() > 0.02
    assert most.max() > 0.3


@pytest.mark.slow
def test_a_block_of_a_weight_affects_the_heads_that_it_belongs_to(model, family, examples, watch):
    rows = projections(model, family)
    heads = model.config.num_attention_heads
    for row in {0, len(rows) - 1}:
        before = watch(model, examples[1])[row]
        for part, name in enumerate(("query", "key", "value")):
            weight = rows[row][part].weight
            with torch.no_grad():
                old = weight.clone()
                block = blocks(model, family, weight, part)
                block[1] += 1
                after = watch(model, examples[1])[row]
                weight.copy_(old)
            for other in ("query", "key", "value"):
                changed = (getattr(after, other) != getattr(before, other)).any(-1).any(-1)[0]
                assert changed.tolist() == [other == name and n == 1 for n in range(len(changed))]
            changed = (after.out != before.out).any(-1).any(1)[0]
            assert changed.tolist() == [head * len(block) // heads == 1 for head in range(heads)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "objective"), [("logit_norm", logit_norm), ("loss", own_loss)])
def test_gradient_norms_are_the_derivatives_along_the_gradients_of_the_blocks(
    model, family, examples, scores, name, objective
):
    """All blocks move along their own gradients by different amounts: the derivative is the weighted sum of their norms."""
    norms = scores[2] if name == "logit_norm" else reference_scores(model, family, examples, gnorm_objective=name)[2]
    generator = np.random.default_rng(1)
    for example, expected in zip(examples, norms, strict=True):
        model.zero_grad()
        objective(model, example).backward()
        directions, covered, total = {}, {}, 0.0
        for row, parts in enumerate(projections(model, family)):
            for part, weight in enumerate(module.weight for module in parts[:3]):
                gradients = blocks(model, family, weight.grad, part)
                known = expected[part, row].reshape(len(gradients), -1)
                assert (known == known[:, :1]).all()
                amounts = generator.uniform(0.5, 1.5, len(gradients))
                total += (amounts * known[:, 0]).sum()
                scale = torch.tensor(amounts / known[:, 0]).view(-1, *[1] * (gradients.dim() - 1))
                direction = directions.setdefault(weight, torch.zeros_like(weight))
                blocks(model, family, direction, part).copy_(gradients * scale)
                blocks(model, family, covered.setdefault(weight, torch.zeros_like(weight)), part).add_(1)
        assert all((count == 1).all() for count in covered.values())
        found = slope(lambda example=example: objective(model, example), list(directions), list(directions.values()))
        assert found == pytest.approx(total, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bert", "t5-classifier", "vit"])
def test_the_prediction_objective_uses_the_predicted_class(name):
    model, examples = tiny(name), examples_for(name)
    with torch.no_grad():
        labels = [model(**inputs(model, example)).logits.argmax().item() for example in examples]
    assert labels != examples["label"]
    relabelled = examples.remove_columns("label").add_column("label", labels)
    found, expected = reference_scores(model, name, examples, "prediction")[0], reference_scores(model, name, relabelled)[0]
    np.testing.assert_allclose(found, expected)


def no_window(model):
    model.config.sliding_window = 64


def no_attention_cap(model):
    for layer in model.model.layers:
        layer.self_attn.attn_logit_softcapping = None


def no_logit_cap(model):
    model.config.final_logit_softcapping = None


def no_position_bias(model):
    for module in model.modules():
        if hasattr(module, "relative_attention_bias"):
            torch.nn.init.zeros_(module.relative_attention_bias.weight)


def no_sinks(model):
    for layer in model.model.layers:
        torch.nn.init.constant_(layer.self_attn.sinks, -1e9)


def no_norms(model):
    for layer in model.model.layers:
        layer.self_attn.q_norm = layer.self_attn.k_norm = torch.nn.Identity()


SWITCHES = [(name, no_window) for name in ("modernbert", "mistral", "gemma2", "gemma3", "gpt-oss")]
SWITCHES += [(name, no_position_bias) for name in ("t5", "t5-classifier", "mt5")]
SWITCHES += [(name, no_norms) for name in ("qwen3", "gemma3")]
SWITCHES += [("gemma2", no_attention_cap), ("gemma2", no_logit_cap), ("gpt-oss", no_sinks)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "mask_head"), SWITCHES)
def test_special_parts_of_a_family_affect_the_scores(name, mask_head):
    examples = examples_for(name).select([8])
    changed = tiny(name)
    mask_head(changed)
    before, after = (reference_scores(model, name, examples) for model in (tiny(name), changed))
    differences = [abs(a - b).max() / b.max() for a, b in zip(after, before, strict=True)]
    assert min(differences[0], differences[2]) > 0.1
    assert differences[1] > 0.05 or mask_head is no_logit_cap
