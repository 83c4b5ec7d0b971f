"""The machine under test: its name, its matrix-product rate, interleaved timing and peak memory."""

import gc
import platform
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable

import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode


def name(device: torch.device) -> str:
    """Return the processor (or GPU), the number of threads and the PyTorch version."""
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
    """Return the wall-clock seconds of one call of `work`."""
    gc.collect()
    wait(device)
    start = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - start


def interleaved(works: dict[str, Callable[[], object]], repeats: int, device: torch.device) -> dict[str, list[float]]:
    """Return the seconds of each of `works`, run in turn `repeats` times after one warm-up run each."""
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
    """Return the floating-point operations of the matrix products in `work`, counted while it runs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # disabling oneDNN warns about GPUs
        with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
            work()
    return counter.get_total_flops()


def matrix_product(dtype: torch.dtype, device: torch.device, size: int = 2048) -> tuple[Callable[[], object], float]:
    """Return a large square matrix product and its number of floating-point operations."""
    size = size if device.type == "cpu" else 8192
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return (lambda: a @ b), 2.0 * size**3


def packed_product(dtype: torch.dtype, device: torch.device, size: int = 2048) -> tuple[Callable[[], object], float]:
    """Return the same product with one side prepacked for oneDNN; on other devices the plain product.

    On some processors it is twice as fast as the plain product, which PyTorch runs with another library.
    """
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return matrix_product(dtype, device, size)
    a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
    packed = torch.ops.mkldnn._reorder_linear_weight(b, None)
    return (lambda: torch.ops.mkldnn._linear_pointwise(a, packed, None, "none", [], "")), 2.0 * size**3


def reset_peak(device: torch.device) -> int:
    """Start a new measurement of peak memory; return the bytes in use now."""
    if device.type != "cuda":
        return psutil.Process().memory_info().rss
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def peak_bytes(device: torch.device) -> int:
    """Return the peak memory: of tensors since `reset_peak` on CUDA, otherwise of the process since its start."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def wait(device: torch.device) -> None:
    """Wait until a GPU has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
