"""Change of gradients when a head is pruned (Greedy-Gnorm, Fig. 2): the reason why static scores become stale.

    shift = E_x[ d |F(x)| / d W_Q ]  without the head  minus  the same with it,

for the query weight of each row, averaged over one block per pair of heads: the weights of head h (its outputs) that read
the h'-th part of the input (the 64 x 64 blocks of 768 x 768 in the paper). Zero everywhere means that no other head is
affected.
"""

import datasets
import numpy as np
import torch

from headprune_core.checked_mask import checked_mask
from headprune_core.data.batches import Batch, in_parts
from headprune_core.data.encoding import encode
from headprune_core.errors import HeadPruneError
from headprune_core.model.attention_hooks import AttentionHooks, use_hooks
from headprune_core.model.packed_linear import FrozenLinear
from headprune_core.model.prunable_model import PrunableModel, runs_models
from headprune_core.scores.activation_capture import ActivationCapture
from headprune_core.scores.objectives import objective_value
from headprune_core.scores.score_checks import cause_of_non_finite

from .evaluation import gates, masked_logits


@runs_models
def gradient_shift(
    model: PrunableModel,
    examples: datasets.Dataset,
    head: tuple[int, int],
    *,
    mask=None,
    batch_size: int = 32,
    progress=None,
) -> np.ndarray:
    """Compute the change of the query-weight gradients when one head is pruned.

    Args:
        model: the unpruned model.
        examples: calibration examples.
        head: (row, head) to prune.
        mask: bool (R, H), True = kept before `head` is pruned; None keeps all heads.
        batch_size: maximum batch size.
        progress: called as progress(done, total, note).

    Returns:
        (R, H, H), change of the mean gradient in each row; axis 1 is the head that owns the weights, axis 2 the part of the
        input that they read.

    Raises:
        HeadPruneError: if `mask` is not a mask of the model's heads or the head does not exist.
    """
    model.grid.check_unpruned("the gradient shift")
    mask = np.ones(model.grid.shape, bool) if mask is None else checked_mask(mask, model.grid.shape)
    if not all(0 <= i < n for i, n in zip(head, mask.shape, strict=True)):
        raise HeadPruneError(f"head must be one of the {model.grid.shape} heads, got {tuple(head)}")
    without = mask.copy()
    without[tuple(head)] = False
    encoded = encode(model, examples)
    change = np.zeros((mask.shape[0], mask.shape[1], mask.shape[1]))
    done = 0
    for batch in encoded.batches(batch_size, model.device):
        if progress is not None:
            progress(done, len(encoded), "Comparing gradients")
        for sign, under in ((-1.0, mask), (1.0, without)):
            if under.any():  # with no head left there is no gradient
                for _, part in in_parts(batch, lambda piece, under=under: _pooled_gradients(model, piece, under)):
                    change += sign * part
        done += len(batch)
    return change / len(encoded)


def _pooled_gradients(model: PrunableModel, batch: Batch, mask: np.ndarray) -> np.ndarray:
    """Return (R, H, H) gradients of each row's query weight, summed over a batch's examples and averaged over blocks."""
    capture = ActivationCapture(model.grid, heads=False, projections=True)
    hooks = AttentionHooks(gates=gates(model, mask), on_projection=capture.on_projection)
    with use_hooks(hooks), torch.enable_grad(), FrozenLinear(model.packed):
        value = objective_value("logit_norm", model.logits(batch.inputs), batch)
    (gradients,) = capture.gradients(value, capture.results)
    pooled = np.stack([_pooled(row.q, capture.inputs, gradients) for row in model.grid.rows])
    if not np.isfinite(pooled).all():
        cause = cause_of_non_finite(model, lambda: masked_logits(model, batch, mask), "logit_norm")
        raise HeadPruneError(f"the gradients of the query weights are not finite; {cause}")
    return pooled


@torch.no_grad()
def _pooled(query, inputs: dict, gradients: dict) -> np.ndarray:
    """Average one row's gradient D'X over blocks; averaging D and X first gives the same result at a lower cost."""
    heads, total = query.heads, torch.zeros(query.heads, query.heads, dtype=torch.float64)
    features = torch.as_tensor(query.features.ravel())
    for x, delta in zip(inputs[query.module], gradients[query.module], strict=True):
        x, delta = x.flatten(0, 1).double(), delta[..., features.to(delta.device)].flatten(0, 1).double()
        parts = torch.stack([part.mean(-1) for part in x.tensor_split(heads, dim=-1)], dim=-1)
        total += (delta.unflatten(-1, (heads, -1)).mean(-1).T @ parts).cpu()
    return total.numpy()
