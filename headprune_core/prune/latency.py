"""Latency benchmark: seconds of forward passes of one model, or of two models in alternation after warm-up.

Models run under inference_mode in their loaded precision, on unpadded inputs of one length. The speedup is the median of the
ratios of neighboring measurements, so that slow phases of the machine affect both models. Quartiles are rounded outward: for
15 pairs of equal models, both quartiles lie on the same side of 1 in 1 of 28 cases. `flops` gives the theoretical speedup.
"""

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch

from headprune_core.data.batches import out_of_memory
from headprune_core.errors import Cancelled, HeadPruneError
from headprune_core.model.head_discovery import sample_inputs
from headprune_core.model.prunable_model import PrunableModel, runs_models

from .flops import flops_per_token, head_flops_per_token, tokens_of
from .peak_memory import measure_peak_memory

MIN_SECONDS = 0.02  # Minimum duration of one measurement.
MIB = 2**20
Progress = Callable[[int, int, str], None]


@runs_models
def measure_latency(
    model: PrunableModel,
    *,
    batch_sizes: Sequence[int] = (1, 8, 32),
    sequence_length: int | Sequence[int] = 128,
    compare: PrunableModel | None = None,
    repeats: int = 15,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Measure the latency of `model`, and of `compare` in alternation with it, for each setting.

    If `progress` raises Cancelled, the exception carries the finished rows as `.partial`.

    Args:
        model: model to measure, usually pruned.
        batch_sizes: examples per batch.
        sequence_length: tokens per example, one number or several; ignored for images.
        compare: model to compare with, usually the unpruned one, on the same device.
        repeats: measurements per setting.
        progress: called as progress(done, total, note).

    Returns:
        One row per setting. Columns: device, sequence_length (tokens), batch_size, repeats, seconds (per batch, median),
        seconds_low and seconds_high (quartiles), examples_per_second, memory_mib (peak MiB of tensors, excluding weights and
        inputs), flops_per_token. With `compare` also the same columns with the prefix compare_, and: speedup, speedup_low
        and speedup_high (compare_seconds / seconds, median and quartiles of pairs), flops_ratio (theoretical speedup:
        compare_flops_per_token / flops_per_token), heads_share (share of the FLOPs of `compare` in its heads, 0 to 1).

    Raises:
        HeadPruneError: if a setting is invalid, the models are on different devices, or a batch does not fit in memory.

    Example:
        >>> table = measure_latency(pruned, compare=model, batch_sizes=(1, 8))
    """
    _check(model, compare, batch_sizes, repeats)
    requested = [sequence_length] if isinstance(sequence_length, int) else list(sequence_length)
    if not requested:
        raise HeadPruneError("sequence_length must contain at least one number, got none")
    models = [model] if compare is None else [compare, model]
    lengths = list(dict.fromkeys(tokens_of(each, length) for length in requested for each in models))
    settings = [(length, batch) for length in lengths for batch in batch_sizes]
    rows: list[dict] = []
    try:
        for number, (length, batch) in enumerate(settings):
            note = f"Measuring latency: batch size {batch}, {length} tokens"

            def report(done: int, start: int = number * repeats, note: str = note) -> None:
                if progress is not None:
                    progress(start + done, len(settings) * repeats, note)

            rows.append(_measure_setting(models, batch, length, repeats, report))
        if progress is not None:
            progress(len(settings) * repeats, len(settings) * repeats, "Latency measured")
    except Cancelled as stop:
        stop.partial = pd.DataFrame(rows) if rows else None
        raise
    return pd.DataFrame(rows)


def example_inputs(model: PrunableModel, batch_size: int, sequence_length: int) -> dict[str, torch.Tensor]:
    """Return unpadded inputs for a benchmark.

    Args:
        model: model that reads the inputs.
        batch_size: number of examples.
        sequence_length: tokens per example, and of the target of an encoder-decoder; ignored for images.

    Returns:
        Tensors by input name, (batch_size, sequence_length) or (batch_size, channels, height, width).
    """
    inputs = {}
    for name, value in sample_inputs(model.model).items():
        if name != "pixel_values":  # Repeat the tokens, but keep the last one: some models require an end token.
            tokens, last = value[:, :-1], value[:, -1:]
            times = -(-sequence_length // tokens.shape[1])
            value = torch.cat([tokens.repeat(1, times)[:, : sequence_length - 1], last], dim=1)
        inputs[name] = value.repeat(batch_size, *[1] * (value.dim() - 1))
    return inputs


def _measure_setting(
    models: list[PrunableModel], batch: int, length: int, repeats: int, report: Callable[[int], None]
) -> dict:
    device = models[0].device
    inputs = [example_inputs(model, batch, length) for model in models]
    forwards = [lambda m=m, i=i: m.logits(i) for m, i in zip(models, inputs, strict=True)]
    try:
        # The memory measurement comes first because it also warms up the models.
        memory = [
            measure_peak_memory(forward, [*each.model.parameters(), *each.model.buffers(), *tensors.values()], device)
            for each, tensors, forward in zip(models, inputs, forwards, strict=True)
        ]
        with torch.inference_mode():
            times = _alternate(forwards, repeats, device, report)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise HeadPruneError(
            f"a batch of {batch} examples with {length} tokens does not fit in memory; use a smaller batch size or sequence "
            "length"
        ) from error
    row = {"device": str(device), "sequence_length": length, "batch_size": batch, "repeats": repeats}
    for prefix, model, seconds, peak in zip(("", "compare_"), models[::-1], times[::-1], memory[::-1], strict=False):
        low, median, high = _quartiles(seconds)
        row |= {
            f"{prefix}seconds": median,
            f"{prefix}seconds_low": low,
            f"{prefix}seconds_high": high,
            f"{prefix}examples_per_second": batch / median,
            f"{prefix}memory_mib": peak / MIB,
            f"{prefix}flops_per_token": flops_per_token(model, length),
        }
    if len(models) == 2:
        low, median, high = _quartiles(times[0] / times[1])
        unpruned_flops = row["compare_flops_per_token"]
        row |= {"speedup": median, "speedup_low": low, "speedup_high": high}
        row["flops_ratio"] = unpruned_flops / row["flops_per_token"]
        row["heads_share"] = head_flops_per_token(models[0], length) / unpruned_flops
    return row


def _alternate(forwards: list[Callable], repeats: int, device: torch.device, report: Callable[[int], None]) -> np.ndarray:
    """Return the seconds of one forward pass, (models, repeats), measured in alternation."""
    warm = [_seconds(forward, 1, device) for forward in forwards for _ in range(2)][1::2]  # The second run is warm.
    runs = [max(1, math.ceil(MIN_SECONDS / max(seconds, 1e-6))) for seconds in warm]
    times = np.empty((len(forwards), repeats))
    for repeat in range(repeats):
        report(repeat)
        for which, forward in enumerate(forwards):
            times[which, repeat] = _seconds(forward, runs[which], device)
    return times


def _quartiles(values: np.ndarray) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile."""
    low, high = np.quantile(values, 0.25, method="lower"), np.quantile(values, 0.75, method="higher")
    return float(low), float(np.median(values)), float(high)


def _seconds(forward: Callable[[], object], runs: int, device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    for _ in range(runs):
        forward()
    _wait(device)
    return (time.perf_counter() - start) / runs


def _wait(device: torch.device) -> None:
    """Wait until an asynchronous device has finished its queued work."""
    if device.type in ("cuda", "mps"):
        getattr(torch, device.type).synchronize()


def _check(model: PrunableModel, compare: PrunableModel | None, batch_sizes: Sequence[int], repeats: int) -> None:
    if not batch_sizes or min(batch_sizes) < 1:
        raise HeadPruneError(f"batch_sizes must contain one or more numbers, each 1 or more, got {list(batch_sizes)}")
    if repeats < 1:
        raise HeadPruneError(f"repeats must be 1 or more, got {repeats}")
    if model.device.type == "meta":
        raise HeadPruneError("the model is on the meta device and cannot be run; load its weights first")
    if compare is not None and compare.device != model.device:
        raise HeadPruneError(f"both models must be on one device, got {model.device} and {compare.device}")
