"""How fast a model is, and how much faster than another: seconds of forward passes, the two in turn, warm.

The models run as anybody would run them: the library's forward under inference_mode, in the precision they were loaded in,
texts of one length without padding. For each setting both run A B A B ...; one measurement is as many runs as take at least
a fiftieth of a second. The speed-up is the median of the ratios of neighbours, so that what slows the machine down for a
while slows down both; beside it stand the quartiles, the outer one where they fall between two values: of 15 pairs without
a difference, chance puts both quartiles on one side of 1 once in 28 times. Beside that stands what the arithmetic alone
would give (`flops.py`).
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
from headprune_core.model.prunable_model import PrunableModel

from .flops import flops_per_token, head_flops_per_token, tokens_of
from .peak_memory import measure_peak_memory

LEAST = 0.02  # seconds of one measurement
MB = 2**20
Progress = Callable[[int, int, str], None]


def measure_latency(
    model: PrunableModel,
    *,
    batch_sizes: Sequence[int] = (1, 8, 32),
    sequence_length: int | Sequence[int] = 128,
    compare: PrunableModel | None = None,
    repeats: int = 15,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Seconds of a forward pass of `model`, and of `compare` (the unpruned model) in turn with it; a line per setting.

    Columns: device, sequence_length (tokens; an image's own number), batch_size, repeats, seconds (of a batch, median),
    seconds_low and seconds_high (quartiles), examples_per_second, memory_mib (the most that tensors take at once beside
    weights and inputs, in 2^20 bytes), flops_per_token. With `compare`: the same of it, as compare_seconds and so on;
    speedup, speedup_low and speedup_high (its seconds over the model's, median and quartiles of pairs); flops_ratio (its
    operations over the model's); heads_share (of its operations, what its heads do: 0 to 1).

    When `progress` raises Cancelled, the exception carries the lines that are finished as `.partial`. Raises HeadPruneError
    for lengths that the model does not have, models on different devices, and a batch that does not fit in memory.
    """
    _check(model, compare, batch_sizes, repeats)
    wanted = [sequence_length] if isinstance(sequence_length, int) else list(sequence_length)
    if not wanted:
        raise HeadPruneError("no sequence length was given; expected at least one")
    models = [model] if compare is None else [compare, model]
    lengths = list(dict.fromkeys(tokens_of(one, length) for length in wanted for one in models))
    settings = [(length, batch) for length in lengths for batch in batch_sizes]
    lines: list[dict] = []
    try:
        for number, (length, batch) in enumerate(settings):
            note = f"Batches of {batch}, {length} tokens each"

            def report(done: int, start: int = number * repeats, note: str = note) -> None:
                if progress is not None:
                    progress(start + done, len(settings) * repeats, note)

            lines.append(_line(models, batch, length, repeats, report))
        if progress is not None:
            progress(len(settings) * repeats, len(settings) * repeats, "Latency")
    except Cancelled as stop:
        stop.partial = pd.DataFrame(lines) if lines else None
        raise
    return pd.DataFrame(lines)


def example_inputs(model: PrunableModel, batch_size: int, sequence_length: int) -> dict[str, torch.Tensor]:
    """Inputs of that many examples and tokens, without padding; an encoder-decoder that writes has a target as long."""
    inputs = {}
    for name, value in sample_inputs(model.model).items():
        if name != "pixel_values":  # its words over and over; the last may have to mark the end
            words, last = value[:, :-1], value[:, -1:]
            times = -(-sequence_length // words.shape[1])
            value = torch.cat([words.repeat(1, times)[:, : sequence_length - 1], last], dim=1)
        inputs[name] = value.repeat(batch_size, *[1] * (value.dim() - 1))
    return inputs


def _line(models: list[PrunableModel], batch: int, length: int, repeats: int, report: Callable[[int], None]) -> dict:
    device = models[0].device
    inputs = [example_inputs(model, batch, length) for model in models]
    works = [lambda m=m, i=i: m.logits(i) for m, i in zip(models, inputs, strict=True)]
    try:
        # watched first, which also warms up
        memory = [
            measure_peak_memory(work, [*one.model.parameters(), *one.model.buffers(), *given.values()], device)
            for one, given, work in zip(models, inputs, works, strict=True)
        ]
        with torch.inference_mode():
            times = _in_turn(works, repeats, device, report)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise HeadPruneError(
            f"batches of {batch} with {length} tokens each do not fit in memory; choose smaller batches or shorter texts"
        ) from error
    line = {"device": str(device), "sequence_length": length, "batch_size": batch, "repeats": repeats}
    for prefix, model, seconds, most in zip(("", "compare_"), models[::-1], times[::-1], memory[::-1], strict=False):
        low, middle, high = _quartiles(seconds)
        line |= {
            f"{prefix}seconds": middle,
            f"{prefix}seconds_low": low,
            f"{prefix}seconds_high": high,
            f"{prefix}examples_per_second": batch / middle,
            f"{prefix}memory_mib": most / MB,
            f"{prefix}flops_per_token": flops_per_token(model, length),
        }
    if len(models) == 2:
        low, middle, high = _quartiles(times[0] / times[1])
        before = line["compare_flops_per_token"]
        line |= {"speedup": middle, "speedup_low": low, "speedup_high": high}
        line["flops_ratio"] = before / line["flops_per_token"]
        line["heads_share"] = head_flops_per_token(models[0], length) / before
    return line


def _in_turn(works: list[Callable], repeats: int, device: torch.device, report: Callable[[int], None]) -> np.ndarray:
    """(works, repeats) seconds of one run of each of `works`."""
    once = [_seconds(work, 1, device) for work in works for _ in range(2)][1::2]  # the second time, warm
    runs = [max(1, math.ceil(LEAST / max(seconds, 1e-6))) for seconds in once]
    times = np.empty((len(works), repeats))
    for repeat in range(repeats):
        report(repeat)
        for which, work in enumerate(works):
            times[which, repeat] = _seconds(work, runs[which], device)
    return times


def _quartiles(values: np.ndarray) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile."""
    low, high = np.quantile(values, 0.25, method="lower"), np.quantile(values, 0.75, method="higher")
    return float(low), float(np.median(values)), float(high)


def _seconds(work: Callable[[], object], runs: int, device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    for _ in range(runs):
        work()
    _wait(device)
    return (time.perf_counter() - start) / runs


def _wait(device: torch.device) -> None:
    """A GPU works on after it was asked; wait until it is done."""
    if device.type in ("cuda", "mps"):
        getattr(torch, device.type).synchronize()


def _check(model: PrunableModel, compare: PrunableModel | None, batch_sizes: Sequence[int], repeats: int) -> None:
    if not batch_sizes or min(batch_sizes) < 1:
        raise HeadPruneError(f"the batch sizes are {list(batch_sizes)}; expected one or more, each 1 or more")
    if repeats < 1:
        raise HeadPruneError(f"{repeats} repeats were asked for; expected 1 or more")
    if model.device.type == "meta":
        raise HeadPruneError("the model is on the meta device and cannot be run; expected loaded weights")
    if compare is not None and compare.device != model.device:
        raise HeadPruneError(f"the models are on {model.device} and {compare.device}; expected one device for both")
