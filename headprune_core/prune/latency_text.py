"""Text summary of a latency table: measured speedup per setting, theoretical speedup, and reasons for a difference."""

import pandas as pd

MIN_FLOPS_RATIO = 1.1  # A smaller theoretical speedup cannot be measured next to the other costs of a forward pass.
MIN_SPEEDUP = 0.03  # Two copies of one model differ by nearly this much on an idle machine.
FULL_GAIN = 0.8  # Share of the theoretical gain that counts as all of it.
SMALL_BATCH = 8  # Up to this batch size, computation is a small part of the time.


def describe_latency(frame: pd.DataFrame) -> list[str]:
    """Describe the table of `measure_latency` in sentences.

    Args:
        frame: table of `measure_latency`, with or without a compared model.

    Returns:
        One sentence per setting, then the expected speedup and the reasons for a smaller one.
    """
    rows = list(frame.itertuples(index=False))
    if "speedup" not in frame:
        return [
            f"{_setting(row)}: {_time(row.seconds)}, {row.examples_per_second:,.0f} examples/s "
            f"(IQR {_time(row.seconds_low)} to {_time(row.seconds_high)}, {row.repeats} measurements)."
            for row in rows
        ]
    sentences = [f"{_setting(row)}: {_verdict(row)}" for row in rows]
    sentences += [_theory(row) for row in rows if row.batch_size == rows[0].batch_size]
    pruned = [row for row in rows if row.flops_ratio > 1]
    if pruned and not any(_faster(row) or _inconclusive(row) for row in pruned):
        sentences.append("No measurable speedup on this device; pruning only reduces model size.")
    below = [row.batch_size for row in pruned if row.batch_size <= SMALL_BATCH and _falls_short(row)]
    if below:
        sentences.append(
            f"At batch size {_listed(below)}, the speedup is below the theoretical value because kernel launches and weight "
            "loading dominate at small batch sizes."
        )
    return sentences


def _listed(numbers: list[int]) -> str:
    return " or ".join(str(number) for number in sorted(set(numbers)))


def _setting(row) -> str:
    return f"Batch size {row.batch_size}, {row.sequence_length} tokens"


def _time(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _verdict(row) -> str:
    iqr = f"IQR {row.speedup_low:.2f} to {row.speedup_high:.2f}, {row.repeats} pairs"
    if _faster(row):
        return (
            f"{row.speedup:.2f}× speedup ({iqr}); {_time(row.compare_seconds)} unpruned, {_time(row.seconds)} pruned; "
            f"theoretical speedup {row.flops_ratio:.2f}×."
        )
    if row.speedup_high < 1 and row.speedup <= 1 - MIN_SPEEDUP:
        return f"slower than unpruned, {row.speedup:.2f}× ({iqr})."
    if _inconclusive(row):
        return (
            f"inconclusive, {row.speedup:.2f}× ({iqr}), which is compatible with no speedup and with the theoretical "
            f"{row.flops_ratio:.2f}×. Rerun on an idle machine."
        )
    return f"no measurable difference, {row.speedup:.2f}× ({iqr})."


def _faster(row) -> bool:
    return row.speedup_low > 1 and row.speedup >= 1 + MIN_SPEEDUP


def _inconclusive(row) -> bool:
    """Return whether the measurement is compatible with no speedup and with the full theoretical one."""
    return row.flops_ratio >= 1 + MIN_SPEEDUP and row.speedup_low <= 1 and row.speedup_high >= row.flops_ratio


def _falls_short(row) -> bool:
    gain, theoretical = row.speedup - 1, row.flops_ratio - 1
    return row.speedup_high < row.flops_ratio and gain < FULL_GAIN * theoretical


def _theory(row) -> str:
    length = f"At {row.sequence_length} tokens"
    if row.flops_ratio == 1:
        return f"{length}, both models need the same FLOPs, so no speedup is expected."
    text = (
        f"{length}, the pruned model needs {1 - 1 / row.flops_ratio:.1%} fewer FLOPs. Heads account for "
        f"{row.heads_share:.0%} of the unpruned model's FLOPs, so the theoretical speedup cannot exceed "
        f"{1 / (1 - row.heads_share):.1f}× even with all heads removed."
    )
    return text if row.flops_ratio >= MIN_FLOPS_RATIO else f"{text} The saving is too small to measure."
