"""The scores the slow and plain way, sharing no code with the package: one example at a time, no padding, eager attention,
hooks on the output projection's input, true weight gradients. In double precision, so that it is the truth."""

import copy

import numpy as np
import torch
from tiny import FAMILIES


def reference_scores(model, family, examples, objective="loss", gnorm_objective="logit_norm"):
    """his (N, R, H), ae (N, R, H) and gnorm (N, 3, R, H), one example after another."""
    model, rows, heads = _prepared(model, family)
    results = [_one(model, rows, heads, example, objective, gnorm_objective) for example in examples]
    his, ae, gnorm = (np.stack(part) for part in zip(*results, strict=True))
    return his, ae, gnorm


def token_products(model, family, examples, objective="loss"):
    """For each example (R, T, H), signed: the sum of z dL/dz over a head's dimensions (and over layers that share a row)."""
    model, rows, heads = _prepared(model, family)
    return [_products(*_forward(model, rows, example), len(rows), heads, objective).numpy() for example in examples]


def plain_logits(model, examples):
    """Logits of each example, (C,) or (T, V), by the model as it is but with the library's own attention and no padding."""
    model = copy.deepcopy(model)
    model.set_attn_implementation("sdpa")
    with torch.no_grad():
        return [model(input_ids=torch.tensor([ids])).logits[0].numpy() for ids in examples["input_ids"]]


def _prepared(model, family):
    model = copy.deepcopy(model).double()
    model.set_attn_implementation("eager")
    model.requires_grad_(True)
    return model, FAMILIES[family].projections(model), model.config.num_attention_heads


def _forward(model, rows, example):
    """What the model gives, every head output on the way (row by row, layer by layer), and what was put in."""
    z = [[] for _ in rows]
    hooks = [
        out.register_forward_pre_hook(lambda _, inputs, calls=calls: calls.append(inputs[0]))
        for (*_, out), calls in zip(rows, z, strict=True)
    ]
    ids, label = torch.tensor([example["input_ids"]]), torch.tensor([example["label"]])
    output = model(input_ids=ids, output_attentions=True)
    for hook in hooks:
        hook.remove()
    return output, [call for calls in z for call in calls], ids, label


def _products(output, z, ids, label, rows, heads, objective):
    gradients = torch.autograd.grad(_objective(objective, output.logits, ids, label), z, retain_graph=True)
    products = [_by_head(a * g, heads).sum((0, 3)) for a, g in zip(z, gradients, strict=True)]
    return torch.stack(products).unflatten(0, (rows, -1)).sum(1).detach()


def _one(model, rows, heads, example, objective, gnorm_objective):
    output, z, ids, label = _forward(model, rows, example)
    his = _products(output, z, ids, label, len(rows), heads, objective).sum(1).abs()
    ae = torch.stack([-(a[0] * a[0].clamp_min(1e-300).log()).sum(-1).mean(-1) for a in output.attentions])
    ae = ae.unflatten(0, (len(rows), -1)).mean(1)
    weights = [projection.weight for q, k, v, _ in rows for projection in (q, k, v)]
    value = _objective(gnorm_objective, output.logits, ids, label)
    norms = [_block_norms(g, w, heads, model) for w, g in zip(weights, torch.autograd.grad(value, weights), strict=True)]
    gnorm = torch.stack(norms).reshape(len(rows), 3, heads).transpose(0, 1)
    return tuple(part.detach().numpy() for part in (his, ae, gnorm))


def _objective(name, logits, ids, label):
    if name == "logit_norm":
        return torch.linalg.vector_norm(logits)
    scores, targets = (logits[0, :-1], ids[0, 1:]) if logits.dim() == 3 else (logits, label)
    return torch.nn.functional.cross_entropy(scores, scores.argmax(-1) if name == "prediction" else targets)


def _by_head(values, heads):
    return values.reshape(*values.shape[:2], heads, -1)


def _block_norms(gradient, weight, heads, model):
    """A norm for each query head, of its own block or of the key-value block that it reads."""
    size = getattr(model.config, "head_dim", None) or model.config.hidden_size // heads
    blocks = torch.stack([block.norm() for block in gradient.split(size)])
    return blocks.repeat_interleave(heads // len(blocks))
