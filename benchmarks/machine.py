"""What this machine is and what it can do: its name, its matrix-product rate, and timing that is fair."""

import gc
import platform
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode


def name(device: torch.device) -> str:
    """The processor (or GPU), how many threads, and the PyTorch that runs on it."""
    if device.type == "cuda":
        what = torch.cuda.get_device_name(device)
    else:
        lines = [line for line in _cpuinfo() if line.startswith("model name")]
        what = f"{lines[0].split(':')[1].strip() if lines else platform.processor()}, {torch.get_num_threads()} threads"
    return f"{what}, PyTorch {torch.__version__}"


def _cpuinfo() -> list[str]:
    try:
        with open("/proc/cpuinfo") as file:
            return file.readlines()
    except OSError:
        return []


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """How long `work` takes once."""
    gc.collect()
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - start


def hold_lock(works: dict[str, Callable[[], object]], repeats: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each of `works`, run in turn `repeats` times after one run each that does not count."""
    for work in works.values():
        work()
    times: dict[str, list[float]] = {label: [] for label in works}
    for _ in range(repeats):
        for label, work in works.items():
            times[label].append(seconds(work, device))
    return times


def median(values: list[float]) -> float:
    return statistics.median(values)


def flops(work: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products in `work`, counted as it runs (by operators that can be)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the switch speaks of GPUs
        with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
            work()
    return counter.get_total_flops()


def matrix_product(dtype: torch.dtype, device: torch.device, size: int = 2048) -> tuple[Callable[[], object], float]:
    """A large square matrix product, and its floating-point operations."""
    size = size if device.type == "cpu" else 8192
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return (lambda: a @ b), 2.0 * size**3


def packed_product(dtype: torch.dtype, device: torch.device, size: int = 2048) -> tuple[Callable[[], object], float]:
    """The same with one side laid out beforehand as the CPU's kernels want it; elsewhere it is the plain one.

    On some processors it is twice as fast as the plain one, for which PyTorch asks another library.
    """
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return matrix_product(dtype, device, size)
    a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
    packed = torch.ops.mkldnn._reorder_linear_weight(b, None)
    return (lambda: torch.ops.mkldnn._linear_pointwise(a, packed, None, "none", [], "")), 2.0 * size**3


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
