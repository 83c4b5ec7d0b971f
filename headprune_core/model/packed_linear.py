"""Linear layers of a frozen model, made fast: weights laid out once for the machine, and no idle arithmetic backwards.

Weights that never change can be packed once into the layout that the CPU's kernels (oneDNN) want, as they are and
transposed for the backward pass. No weight gradients are formed. Rows of gradients that are zero are left out, exactly:
padding has no gradient, and in a classifier's last layer nearly all tokens have none, only the pooled one being looked at.
A `TorchFunctionMode` belongs to its thread, so a model that others use at the same time is not touched.
"""

from collections.abc import Iterable

import psutil
import torch
from torch import Tensor
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

WORTH = 0.75  # rows are left out where at most this share of them is not zero
GLANCE = 8  # columns that are looked at first
ROOM = 4  # weights are packed where this many times their size is free


class PackedWeights:
    """Weights in the layout of the CPU's kernels, packed when first used; one for all uses of a model.

    These operators are PyTorch's own and undocumented: where they or the memory are wanting, nothing is packed.
    """

    def __init__(self, module: torch.nn.Module):
        self._packed: dict[tuple[int, torch.dtype, bool], Tensor] = {}
        self._known = {id(p): p for p in module.parameters()}  # held, so that no other tensor can have their ids
        size = sum(p.numel() * p.element_size() for p in self._known.values())
        on_cpu = all(p.device.type == "cpu" for p in self._known.values())
        there = all(hasattr(torch.ops.mkldnn, name) for name in ("_reorder_linear_weight", "_linear_pointwise"))
        self._usable = on_cpu and there and torch.backends.mkldnn.is_available() and not _short_of_memory(size)

    def bytes_to_come(self, weights: Iterable[Tensor], size: int) -> int:
        """What packing `weights`, at `size` bytes a number, both ways will still take."""
        if not self._usable:
            return 0
        packed = {key for key, _, transposed in self._packed if transposed}
        return sum(2 * size * weight.numel() for weight in weights if id(weight) not in packed)

    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None, transposed: bool = False) -> Tensor:
        """x W' + bias, or x W where transposed, in the precision of x."""
        bias = None if bias is None else bias.to(x.dtype)
        if (
            not (self._usable and torch.backends.mkldnn.enabled)
            or id(weight) not in self._known
            or x.dtype not in (torch.float32, torch.bfloat16)
        ):
            weight = weight.to(x.dtype)
            return x @ weight if transposed else linear(x, weight, bias)
        key = id(weight), x.dtype, transposed
        if key not in self._packed:
            with torch.inference_mode(False):
                laid_out = weight.detach().to(x.dtype)
                laid_out = laid_out.t() if transposed else laid_out
                self._packed[key] = torch.ops.mkldnn._reorder_linear_weight(laid_out, None)
        return torch.ops.mkldnn._linear_pointwise(x, self._packed[key], bias, "none", [], "")


def _short_of_memory(size: int) -> bool:
    return psutil.virtual_memory().available < ROOM * size


class FrozenLinear(TorchFunctionMode):
    """While active, `linear` with a weight that takes no gradient is computed and differentiated as said above."""

    def __init__(self, packed: PackedWeights):
        super().__init__()
        self._packed = packed
        self._last: tuple[Tensor, Tensor] | None = None

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is linear:
            x, weight, bias = _arguments(*args, **kwargs)
            if not weight.requires_grad and not (bias is not None and bias.requires_grad) and x.device == weight.device:
                device = x.device.type
                if torch.is_autocast_enabled(device):
                    x = self._cast(x, torch.get_autocast_dtype(device))
                if x.requires_grad and torch.is_grad_enabled():
                    return _Linear.apply(x, weight, bias, self._packed)
                return self._packed.product(x.detach(), weight, bias)
        return function(*args, **kwargs)

    def _cast(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """x in that precision; q, k and v are made from the same x, which is cast once for the three."""
        if self._last is None or self._last[0] is not x:
            self._last = x, x.to(dtype)
        return self._last[1]


def _arguments(input, weight, bias=None):
    return input, weight, bias


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, packed):
        ctx.weight, ctx.packed = weight, packed
        return packed.product(x, weight, bias)

    @staticmethod
    def backward(ctx, gradient):
        flat = gradient.reshape(-1, gradient.shape[-1])
        rows = nonzero_rows(flat)
        if rows is None:
            result = ctx.packed.product(flat, ctx.weight, None, transposed=True)
        else:
            result = flat.new_zeros(len(flat), ctx.weight.shape[1])
            result[rows] = ctx.packed.product(flat[rows], ctx.weight, None, transposed=True)
        return result.reshape(*gradient.shape[:-1], -1), None, None, None


def nonzero_rows(gradient: Tensor) -> Tensor | None:
    """Which rows of a gradient (M, features) are not all zero; None where too few are zero to leave them out."""
    zero = (gradient[:, :GLANCE] == 0).all(-1).nonzero().flatten()  # a glance first: most gradients have none
    if len(zero) < (1 - WORTH) * len(gradient):
        return None
    keep = torch.ones(len(gradient), dtype=torch.bool, device=gradient.device)
    keep[zero] = gradient[zero].any(-1)
    rows = keep.nonzero().flatten()
    return rows if len(rows) <= WORTH * len(gradient) else None
