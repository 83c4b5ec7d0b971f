"""What removing one head does to the gradients of the others (Greedy-Gnorm, Fig. 2): the reason to score again.

    shift = E_x[ d |F(x)| / d W_Q ]  with the head gone,  less the same with it,

for each row's query weight, pooled to one cell for each pair of heads: the mean over the weights of head h (its outputs)
that read the h'-th part of the input (the paper's 64 x 64 blocks of 768 x 768). Zero everywhere would mean that no other
head noticed.
"""

import datasets
import numpy as np
import torch

from headprune_core.data.batches import Batch, in_parts
from headprune_core.data.encoding import encode
from headprune_core.errors import HeadPruneError
from headprune_core.model.attention_hooks import AttentionHooks, use_hooks
from headprune_core.model.packed_linear import FrozenLinear
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.scores.activation_capture import ActivationCapture
from headprune_core.scores.objectives import objective_value

from .evaluation import gates


def gradient_shift(
    model: PrunableModel,
    examples: datasets.Dataset,
    head: tuple[int, int],
    *,
    mask=None,
    batch_size: int = 32,
    progress=None,
) -> np.ndarray:
    """(R, H, H): the change in each row's mean query-weight gradient when `head` (row, head) goes from `mask` (R, H).

    Axis 1 is the head whose weights they are, axis 2 the part of the input that they read. mask None: all heads are there.
    """
    model.grid.check_unpruned("the gradient shift")
    mask = np.ones(model.grid.shape, bool) if mask is None else np.asarray(mask, bool)
    if mask.shape != model.grid.shape or not all(0 <= i < n for i, n in zip(head, mask.shape, strict=True)):
        raise HeadPruneError(f"head {tuple(head)} under a mask {mask.shape}; expected one of the {model.grid.shape} heads")
    without = mask.copy()
    without[tuple(head)] = False
    encoded = encode(model, examples)
    change = np.zeros((mask.shape[0], mask.shape[1], mask.shape[1]))
    done = 0
    for whole in encoded.batches(batch_size, model.device):
        if progress is not None:
            progress(done, len(encoded), "Comparing gradients")
        for sign, under in ((-1.0, mask), (1.0, without)):
            if under.any():  # with no head left there is no gradient
                for _, part in in_parts(whole, lambda batch, under=under: _pooled_gradients(model, batch, under)):
                    change += sign * part
        done += len(whole)
    return change / len(encoded)


def _pooled_gradients(model: PrunableModel, batch: Batch, mask: np.ndarray) -> np.ndarray:
    """(R, H, H) gradients of each row's query weight, summed over a batch's examples and pooled."""
    tape = ActivationCapture(model.grid, heads=False, projections=True)
    probe = AttentionHooks(gates=gates(model, mask), on_projection=tape.on_projection)
    with use_hooks(probe), torch.enable_grad(), FrozenLinear(model.packed):
        value = objective_value("logit_norm", model.logits(batch.inputs), batch)
    (gradients,) = tape.gradients(value, tape.results)
    return np.stack([_pooled(row.q, tape.inputs, gradients) for row in model.grid.rows])


@torch.no_grad()
def _pooled(query, inputs: dict, gradients: dict) -> np.ndarray:
    """One row's gradient D'X, pooled: D and X are pooled first, which is the same and far less to multiply."""
    heads, total = query.heads, torch.zeros(query.heads, query.heads, dtype=torch.float64)
    features = torch.as_tensor(query.features.ravel())
    for x, delta in zip(inputs[query.module], gradients[query.module], strict=True):
        x, delta = x.flatten(0, 1).double(), delta[..., features.to(delta.device)].flatten(0, 1).double()
        parts = torch.stack([part.mean(-1) for part in x.tensor_split(heads, dim=-1)], dim=-1)
        total += (delta.unflatten(-1, (heads, -1)).mean(-1).T @ parts).cpu()
    return total.numpy()
