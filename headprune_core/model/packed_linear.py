"""Faster linear layers for frozen models.

Weights are prepacked once for oneDNN (and transposed for the backward pass), weight gradients are never computed, and rows
with zero gradient (padding, and all but the pooled token in a classifier's last layer) are skipped exactly. A
`TorchFunctionMode` is active in its own thread only, so other users of the model are not affected.
"""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

from headprune_core.memory import available_memory

MAX_NONZERO_ROWS = 0.75  # zero rows are skipped if at most this fraction of all rows is nonzero
FIRST_COLUMNS = 8  # columns that are tested first
MIN_FREE_MEMORY = 4  # weights are packed if this multiple of their size is free


class PackedWeights:
    """Weights of a model in the layout of oneDNN, packed at first use and shared by all uses of the model.

    The operators are internal to PyTorch; if they or enough memory are not available, ordinary products are used.

    Args:
        module: the frozen model.
    """

    def __init__(self, module: torch.nn.Module):
        self._packed: dict[tuple[int, torch.dtype, bool], Tensor] = {}
        self._known = {id(p): p for p in module.parameters()}  # references, so that no other tensor can reuse the ids
        size = sum(p.numel() * p.element_size() for p in self._known.values())
        on_cpu = all(p.device.type == "cpu" for p in self._known.values())
        has_operators = all(hasattr(torch.ops.mkldnn, name) for name in ("_reorder_linear_weight", "_linear_pointwise"))
        self._usable = on_cpu and has_operators and torch.backends.mkldnn.is_available() and not _short_of_memory(size)

    def bytes_to_come(self, weights: Iterable[Tensor], size: int, *, backward: bool = True) -> int:
        """Return the memory that packing will still need.

        Args:
            weights: weights that will be packed.
            size: bytes per number.
            backward: whether weights are packed transposed too, for the backward pass.

        Returns:
            Memory in bytes, without weights that are packed already.
        """
        if not self._usable:
            return 0
        packed = {key for key, _, transposed in self._packed if transposed == backward}
        return sum((1 + backward) * size * weight.numel() for weight in weights if id(weight) not in packed)

    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None, transposed: bool = False) -> Tensor:
        """Compute a product in the precision of x.

        Args:
            x: (..., inputs), or (..., outputs) if transposed.
            weight: (outputs, inputs).
            bias: (outputs,) or None.
            transposed: compute x W instead of x W' + bias.

        Returns:
            (..., outputs), or (..., inputs) if transposed.
        """
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
                values = weight.detach().to(x.dtype)
                values = values.t() if transposed else values
                self._packed[key] = torch.ops.mkldnn._reorder_linear_weight(values, None)
        return torch.ops.mkldnn._linear_pointwise(x, self._packed[key], bias, "none", [], "")


def _short_of_memory(size: int) -> bool:
    return available_memory() < MIN_FREE_MEMORY * size


class FrozenLinear(TorchFunctionMode):
    """While active, computes linear layers by packed products, treats weights as frozen and skips zero gradients.

    Args:
        packed: packed weights of the model.
    """

    def __init__(self, packed: PackedWeights):
        super().__init__()
        self._packed = packed
        self._last: tuple[Tensor, Tensor] | None = None

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is linear:
            x, weight, bias = _arguments(*args, **kwargs)
            if x.device == weight.device:
                device = x.device.type
                if torch.is_autocast_enabled(device):
                    x = self._cast(x, torch.get_autocast_dtype(device))
                if x.requires_grad and torch.is_grad_enabled():
                    return _Linear.apply(x, weight, bias, self._packed)
                return self._packed.product(x.detach(), weight, bias)
        return function(*args, **kwargs)

    def _cast(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Cast x; q, k and v have the same input, which is cast once for all three."""
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
    """Find the nonzero rows of a gradient.

    Args:
        gradient: (M, features).

    Returns:
        Indices of the rows that are not all zero, or None if too few rows are zero to skip them.
    """
    zero = (gradient[:, :FIRST_COLUMNS] == 0).all(-1).nonzero().flatten()  # quick test: most gradients have no zero rows
    if len(zero) < (1 - MAX_NONZERO_ROWS) * len(gradient):
        return None
    keep = torch.ones(len(gradient), dtype=torch.bool, device=gradient.device)
    keep[zero] = gradient[zero].any(-1)
    rows = keep.nonzero().flatten()
    return rows if len(rows) <= MAX_NONZERO_ROWS * len(gradient) else None
