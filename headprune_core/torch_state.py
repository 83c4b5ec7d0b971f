"""The PyTorch state in which this package computes, whatever state its caller has set.

Grad mode, inference mode, autocast and the default device belong to one thread, so `fixed_torch_state` sets them for a
block. Settings that all threads share (train mode of a model, precision of float32 products) could be in use elsewhere, so
`check_runnable` refuses them. The default dtype has no effect, because this package names every dtype. The number of
threads, deterministic algorithms and the choice of kernels change rounding at most.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from .errors import HeadPruneError, HeadPruneWarning

_process = os.getpid()  # the process whose threads PyTorch uses


@contextmanager
def fixed_torch_state() -> Iterator[None]:
    """Enable gradients, leave inference mode, and turn off autocast and the default device, in this block and thread only.

    In a forked process, whose parent's threads do not exist, PyTorch is also limited to one thread.
    """
    _limit_threads_after_fork()
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for device in ("cpu", "cuda", "mps", "xpu"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


def make_runnable(model: nn.Module) -> nn.Module:
    """Freeze a model, put it in eval mode, and let it return named outputs and run feed-forward layers in one piece.

    Args:
        model: the Transformers model, which is changed.

    Returns:
        The same model.

    Raises:
        HeadPruneError: if its weights cannot be used in gradients.
    """
    if any(weight.is_inference() for weight in model.parameters()):
        raise HeadPruneError(
            f"the weights of {type(model).__name__} were created inside torch.inference_mode(), so no gradients can be "
            "computed with them; load the model outside of it"
        )
    for module in model.modules():
        if not getattr(vars(module).get("config"), "return_dict", True):
            module.config.return_dict = True
        if getattr(module, "chunk_size_feed_forward", 0):
            module.chunk_size_feed_forward = 0  # chunks must divide the number of tokens, and the result is the same
    return model.eval().requires_grad_(False)


def check_runnable(model: nn.Module, modules: set[nn.Module], attention: set[str]) -> None:
    """Check the settings of a wrapped model that would change its results.

    Args:
        model: the Transformers model.
        modules: modules of its head grid.
        attention: names of the attention functions that they may use.

    Raises:
        HeadPruneError: if one of them was changed after wrapping, or if float32 products are computed in lower precision.
    """
    name, present = type(model).__name__, list(model.modules())
    if any(module.training for module in present):
        raise HeadPruneError(f"{name} is in train mode, in which dropout makes results random; call eval() on it first")
    if not modules.issubset(present):
        raise HeadPruneError(f"attention modules of {name} were replaced after it was wrapped; wrap it again")
    configs = {module: vars(module)["config"] for module in present if "config" in vars(module)}
    if not all(getattr(config, "return_dict", True) for config in configs.values()):
        raise HeadPruneError(f"{name} has return_dict=False in its configuration; set it to True")
    used = {configs[module]._attn_implementation for module in modules & configs.keys()} - attention
    if used:
        raise HeadPruneError(f"{name} was switched to the attention function {used.pop()!r} after wrapping; wrap it again")
    products = {"cpu": torch.backends.mkldnn, "cuda": torch.backends.cuda}.get(model.device.type)
    precision = "ieee" if products is None else products.matmul.fp32_precision
    if precision in ("tf32", "bf16"):
        raise HeadPruneError(
            f"float32 matrix products are computed in {precision}, which changes results; call "
            "torch.set_float32_matmul_precision('highest'), and use dtype='bfloat16' for speed"
        )


def _limit_threads_after_fork() -> None:
    """Limit PyTorch to one thread if this process was forked, because it would wait for threads that were not copied."""
    global _process
    if os.getpid() == _process:
        return
    _process = os.getpid()
    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)
        warnings.warn(
            "PyTorch's threads do not survive a fork, so this process computes with one thread; use the start method "
            "'spawn' for more",
            HeadPruneWarning,
            stacklevel=4,
        )
