"""Slow reference implementation of Greedy-Gnorm (Algorithm 1), independent of the package.

Each step rescores all heads, one example at a time, then sets the removed heads' columns of the output projection to zero.
It also computes the shift of the Q gradients when one head is removed (Fig. 2).
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from helpers.reference import Double, block_norms, inputs, objective_value, prepared
from helpers.tiny_models import FAMILIES, columns


@dataclass(frozen=True)
class PlainTrajectory:
    """Result of the reference implementation.

    order: heads (row, head) in the order of their removal. scores: (R, H) before each step, NaN for removed heads. margin:
    the smallest relative difference of two scores that determined the order; the order is uncertain below it.
    """

    order: list[tuple[int, int]]
    scores: list[np.ndarray]
    margin: float


def reference_greedy(
    model, family, examples, *, steps=None, heads_per_step=1, inverse=False, objective="logit_norm"
) -> PlainTrajectory:
    """Remove `heads_per_step` heads per step, lowest score first (highest if inverse), ties by (row, head).

    It ends after `steps` steps or when no head remains.
    """
    model, family = prepared(model), FAMILIES[family]
    order, scores, margin = [], [], np.inf
    while steps is None or len(scores) < steps:
        found = reference_gnorm(model, family, examples, objective)
        found[tuple(np.array(order, int).reshape(-1, 2).T)] = np.nan
        scores.append(found)
        left = [(row, head) for row, head in np.ndindex(found.shape) if (row, head) not in order]
        left.sort(key=lambda head: (-found[head] if inverse else found[head], head))
        removed, remaining = left[:heads_per_step], left[heads_per_step:]
        for last, first in pairwise([*removed, *remaining[:1]]):
            if found[last] != found[first]:
                margin = min(margin, abs(found[last] - found[first]) / max(found[last], found[first]))
        for row, head in removed:
            mask_head(model, family, row, head)
        order += removed
        if not remaining:
            break
    return PlainTrajectory(order, scores, margin)


def reference_gnorm(model, family, examples, objective="logit_norm") -> np.ndarray:
    """Return (R, H): the product of the mean gradient norms of the Q, K and V blocks of a prepared model."""
    norms = [block_norms(model, family, _value(model, example, objective)).numpy() for example in examples]
    return np.mean(norms, axis=0).prod(0)


def reference_shift(model, family, examples, head, mask=None) -> np.ndarray:
    """Return (R, H, H): the change of the mean gradient of the logit norm for each row's Q weight when `head` is removed.

    The gradients are averaged over square blocks of a head's outputs and inputs. Heads pruned by `mask` are masked in both.
    """
    model, family = prepared(model), FAMILIES[family]
    for gone in np.argwhere(~mask) if mask is not None else ():
        mask_head(model, family, *gone)
    before = _pooled_q_gradients(model, family, examples)
    mask_head(model, family, *head)
    return _pooled_q_gradients(model, family, examples) - before


def mask_head(model, family, row, head) -> None:
    """Set the head's columns of the output projection to zero, in all layers that share the row."""
    *_, out = family.projections(model)[row]
    with torch.no_grad():
        columns(out).unflatten(1, (model.config.num_attention_heads, -1))[:, head] = 0


def _value(model, example, objective):
    with Double():
        return objective_value(objective, model(**inputs(model, example)).logits, example)


def _pooled_q_gradients(model, family, examples):
    heads = model.config.num_attention_heads
    groups = getattr(model.config, "num_key_value_heads", heads)
    weights = [row[0].weight for row in family.projections(model)]
    totals = [torch.zeros_like(weight) for weight in weights]
    for example in examples:
        for total, gradient in zip(totals, torch.autograd.grad(_value(model, example, "logit_norm"), weights), strict=True):
            total += gradient / len(examples)
    pooled = []
    for total in totals:
        by_head = family.blocks(total, 0, heads, groups)  # (H, size, inputs)
        size = by_head.shape[1]
        pooled.append(by_head.unflatten(2, (-1, size)).mean((1, 3)))
    return torch.stack(pooled).numpy()
