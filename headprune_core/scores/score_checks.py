"""Checks of computed values: an error that names the cause if they are not finite, a warning of underflow in float16."""

import math
import threading
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch.nn.modules.module import register_module_forward_hook
from torch.utils._pytree import tree_leaves

from headprune_core.errors import HeadPruneError, HeadPruneWarning
from headprune_core.model.prunable_model import PrunableModel

from .objectives import precise


def check_finite(metric: str, values: np.ndarray, model: PrunableModel, cause: Callable[[int], str]) -> None:
    """Check that all scores of a metric are finite.

    Args:
        metric: Name of the metric.
        values: (N, ..., R, H) per-example values.
        model: The model.
        cause: Function that finds the cause for an example, given its number.

    Raises:
        HeadPruneError: If a value is not finite.
    """
    bad = ~np.isfinite(values)
    if bad.any():
        example, *_, row, head = (int(i) for i in np.argwhere(bad)[0])
        raise HeadPruneError(
            f"{metric} is not finite for {int(bad.any(0).sum())} entries, the first at row {row} "
            f"({model.grid.row_names[row]}), head {head}; {cause(example)}"
        )


def cause_of_non_finite(model: PrunableModel, run: Callable[[], torch.Tensor], objective: str | None = None) -> str:
    """Find out why the outputs or gradients of a model are not finite, by running it again.

    Args:
        model: The model, in the precision in which it was run.
        run: Function that runs the model on the examples and returns its logits, (N, C) or (N, T, C).
        objective: Objective whose gradient was computed, or None.

    Returns:
        A lower-case sentence with the cause and what to do.
    """
    weights = model.describe_non_finite()
    if weights is not None:
        return weights
    found: list[torch.nn.Module] = []
    thread = threading.get_ident()

    def watch(module, inputs, output) -> None:
        if threading.get_ident() == thread and not found and not all(map(_is_finite, tree_leaves(output))):
            found.append(module)

    with torch.no_grad():
        handle = register_module_forward_hook(watch)
        try:
            logits = run()
        finally:
            handle.remove()
    dtype = "bfloat16" if model.uses_bfloat16 else str(model.model.dtype)[6:]
    hint = f"check the model, whose weights reach {_largest(model.model):.2g}"
    if dtype in ("float16", "bfloat16"):
        hint = "load the model with dtype='float32' and compute in that precision"
    if found:
        name = next((name for name, module in model.model.named_modules() if module is found[0]), "")
        where = f"the first output that is not finite is that of {name or 'the model'} ({type(found[0]).__name__})"
        setting = next((key for key, value in vars(found[0]).items() if _is_bad_number(value)), None)
        if setting is not None:
            return f"{where}, whose {setting} is {vars(found[0])[setting]}; correct the model's configuration"
        return f"{where}, computed in {dtype}; {hint}"
    if objective == "logit_norm" and not precise(logits).flatten(1).square().sum(1).all():
        return (
            f"all logits of an example are 0 or too close to it (up to {_largest_of(logits):.2g}), where their norm has no "
            f"gradient; the weights reach {_largest(model.model):.2g}: check them, or use the objective 'loss'"
        )
    return f"the weights and all outputs are finite, so gradients overflowed in {dtype}; {hint}"


def _is_finite(value) -> bool:
    return not isinstance(value, torch.Tensor) or bool(torch.isfinite(value).all())


def _is_bad_number(value) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _largest(module: torch.nn.Module) -> float:
    return max((_largest_of(weight) for weight in module.parameters()), default=0.0)


def _largest_of(tensor: torch.Tensor) -> float:
    return float(tensor.detach().abs().max()) if tensor.numel() else 0.0


def warn_of_underflow(per_example: dict[str, np.ndarray], model: PrunableModel) -> None:
    """Warn of scores that are exactly 0 in float16, where gradients below 6e-8 underflow to 0."""
    if model.model.dtype != torch.float16:
        return
    for metric in ("his", "gnorm"):
        zero = (per_example[metric] == 0).all(0) if metric in per_example else np.zeros(1, bool)
        if zero.any():
            row, head = (int(i) for i in np.argwhere(zero)[0][-2:])
            warnings.warn(
                f"{metric.upper()} is exactly 0 for {int(zero.sum())} entries, the first at row {row} "
                f"({model.grid.row_names[row]}), head {head}: gradients may have underflowed in float16; load the model "
                "with dtype='float32' or 'bfloat16'",
                HeadPruneWarning,
                stacklevel=3,
            )
