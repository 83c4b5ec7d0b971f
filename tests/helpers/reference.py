"""Slow reference implementation of the scores, independent of the package and in double precision.

It uses one example at a time without padding, eager attention, hooks on the input of the output projection, and weight
gradients. An example has input_ids or pixel_values, and target_ids for a sequence-to-sequence model. The rows of a decoder
are in the order of their calls: in each layer self-attention, then cross-attention.
"""

import copy

import numpy as np
import torch
from helpers.tiny_models import FAMILIES
from torch.overrides import TorchFunctionMode


class Double(TorchFunctionMode):
    """Keeps double tensors in double precision where models cast to single precision (norms, softmax, rotary embeddings)."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if args and isinstance(args[0], torch.Tensor) and args[0].dtype is torch.double:
            function = torch.Tensor.double if function is torch.Tensor.float else function
            args = [torch.double if value is torch.float else value for value in args]
            kwargs = {name: torch.double if value is torch.float else value for name, value in kwargs.items()}
        return function(*args, **kwargs)


def reference_scores(model, family, examples, objective="loss", gnorm_objective="logit_norm"):
    """Return his (N, R, H), ae (N, R, H) and gnorm (N, 3, R, H).

    The entropy uses the probabilities of the tokens unchanged: with attention sinks (gpt-oss) they sum to less than 1.
    """
    model = prepared(model)
    results = [_one(model, FAMILIES[family], example, objective, gnorm_objective) for example in examples]
    his, ae, gnorm = (np.stack(part) for part in zip(*results, strict=True))
    return his, ae, gnorm


def token_products(model, family, examples, objective="loss"):
    """Return for each example (R, T, H): the signed sum of z dL/dz over a head's dimensions (and layers that share a row).

    If encoder and decoder rows differ in length, T is the longest and the rest is 0.
    """
    model, family = prepared(model), FAMILIES[family]
    return [_products(model, *_forward(model, family, example), example, objective).numpy() for example in examples]


def plain_logits(model, examples):
    """Return the logits of each example, (C,) or (T, V), with the library's own attention and without padding."""
    model = copy.deepcopy(model)
    capped = getattr(model.config, "attn_logit_softcapping", None)
    model.set_attn_implementation("sdpa" if model._supports_sdpa and not capped else "eager")
    with torch.no_grad():
        return [model(**inputs(model, example)).logits[0].numpy() for example in examples]


def prepared(model):
    """Return a copy in double precision with eager attention whose weights require gradients."""
    model = copy.deepcopy(model).double()
    model.set_attn_implementation("eager")
    return model.requires_grad_(True)


def inputs(model, example):
    """Return the model inputs of one example; decoder inputs are the targets shifted by one token."""
    if "pixel_values" in example:
        return {"pixel_values": torch.tensor([example["pixel_values"]], dtype=model.dtype)}
    given = {"input_ids": torch.tensor([example["input_ids"]])}
    if "target_ids" in example:
        read = [model.config.decoder_start_token_id, *example["target_ids"][:-1]]
        given["decoder_input_ids"] = torch.tensor([read])
    return given


def objective_value(name, logits, example):
    if name == "logit_norm":
        return torch.linalg.vector_norm(logits)
    if logits.dim() == 2:
        scores, targets = logits, [example["label"]]
    elif "target_ids" in example:
        scores, targets = logits[0], example["target_ids"]
    else:
        scores, targets = logits[0, :-1], example["input_ids"][1:]
    return torch.nn.functional.cross_entropy(scores, scores.argmax(-1) if name == "prediction" else torch.tensor(targets))


def _forward(model, family, example):
    """The model output, and for every row the head outputs of each layer that uses it."""
    rows = family.projections(model)
    z = [[] for _ in rows]
    hooks = [
        out.register_forward_pre_hook(lambda _, inputs, calls=calls: calls.append(inputs[0]))
        for (*_, out), calls in zip(rows, z, strict=True)
    ]
    with Double():
        output = model(**inputs(model, example), output_attentions=True)
    for hook in hooks:
        hook.remove()
    return output, z


def _products(model, output, z, example, objective):
    flat = [call for calls in z for call in calls]
    value = objective_value(objective, output.logits, example)
    products = [a * g for a, g in zip(flat, torch.autograd.grad(value, flat, retain_graph=True), strict=True)]
    by_head = [p[0].unflatten(-1, (model.config.num_attention_heads, -1)).sum(-1).detach() for p in products]
    padded = torch.nn.utils.rnn.pad_sequence(by_head, batch_first=True)
    return padded.unflatten(0, (len(z), -1)).sum(1)


def _one(model, family, example, objective, gnorm_objective):
    output, z = _forward(model, family, example)
    his = _products(model, output, z, example, objective).sum(1).abs()
    ae = torch.stack([-(a[0] * a[0].clamp_min(1e-300).log()).sum(-1).mean(-1) for a in _attentions(output)])
    ae = ae.unflatten(0, (len(z), -1)).mean(1)
    value = objective_value(gnorm_objective, output.logits, example)
    gnorm = block_norms(model, family, value)
    return tuple(part.detach().numpy() for part in (his, ae, gnorm))


def _attentions(output):
    if "encoder_attentions" not in output:
        return output.attentions
    pairs = zip(output.decoder_attentions, output.cross_attentions, strict=True)
    return [*output.encoder_attentions, *(attention for pair in pairs for attention in pair)]


def block_norms(model, family, value):
    """Return (3, R, H): for each query head the norm of its own block or of its key-value block."""
    rows = family.projections(model)
    heads = model.config.num_attention_heads
    groups = getattr(model.config, "num_key_value_heads", heads)
    weights = [row[part].weight for part in range(3) for row in rows]
    norms = []
    for i, gradient in enumerate(torch.autograd.grad(value, weights)):
        blocks = family.blocks(gradient, i // len(rows), heads, groups).flatten(1).norm(dim=1)
        norms.append(blocks.repeat_interleave(heads // len(blocks)))
    return torch.stack(norms).unflatten(0, (3, -1))
