"""Linear layers of a frozen model, backwards: no weight gradients, and no arithmetic on gradients that are zero.

Padding has no gradient, and in a classifier's last layer nearly all tokens have none: only the pooled one is looked at.
Rows of zeros contribute nothing to a product and are left out of it, exactly. A `TorchFunctionMode` belongs to its thread,
so a model that others use at the same time is not touched.
"""

import torch
from torch import Tensor
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

WORTH = 0.75  # rows are left out where at most this share of them is not zero
GLANCE = 8  # columns that are looked at first


class FrozenLinear(TorchFunctionMode):
    """While active, `linear` with a weight that takes no gradient is computed and differentiated as said above."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is linear and len(args) + len(kwargs) <= 3 and torch.is_grad_enabled():
            x, weight = args[0], args[1] if len(args) > 1 else kwargs["weight"]
            bias = args[2] if len(args) > 2 else kwargs.get("bias")
            if x.requires_grad and not weight.requires_grad and not (bias is not None and bias.requires_grad):
                return _Linear.apply(x, weight, bias)
        return function(*args, **kwargs)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.weight, ctx.dtype = weight, x.dtype
        return linear(x, weight, bias)

    @staticmethod
    def backward(ctx, gradient):
        flat = gradient.reshape(-1, gradient.shape[-1])
        weight = ctx.weight.to(flat.dtype)
        rows = nonzero_rows(flat)
        if rows is None:
            result = flat @ weight
        else:
            result = flat.new_zeros(len(flat), weight.shape[1])
            result[rows] = flat[rows] @ weight
        return result.reshape(*gradient.shape[:-1], -1).to(ctx.dtype), None, None


def nonzero_rows(gradient: Tensor) -> Tensor | None:
    """Which rows of a gradient (M, features) are not all zero; None where too few are zero to leave them out."""
    zero = (gradient[:, :GLANCE] == 0).all(-1).nonzero().flatten()  # a glance first: most gradients have none
    if len(zero) < (1 - WORTH) * len(gradient):
        return None
    keep = torch.ones(len(gradient), dtype=torch.bool, device=gradient.device)
    keep[zero] = gradient[zero].any(-1)
    rows = keep.nonzero().flatten()
    return rows if len(rows) <= WORTH * len(gradient) else None
