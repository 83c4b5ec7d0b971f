"""What a latency table says, in words, and why where pruning makes no difference to speed."""

import pandas as pd

LITTLE = 1.1  # a ratio of operations below this is lost among what else takes time
NOTICED = 0.03  # two copies of one model differ by nearly this much on a machine with little else to do
FULL = 0.8  # of the gain that arithmetic promises counts as all of it
SMALL = 8  # examples in a batch that leave arithmetic a small part of the work


def describe_latency(frame: pd.DataFrame) -> list[str]:
    """A sentence or two on every line of what `measure_latency` gave, then what is to be expected and why."""
    lines = list(frame.itertuples(index=False))
    if "speedup" not in frame:
        return [
            f"{_where(line)}: {_time(line.seconds)}, {line.examples_per_second:,.0f} examples a second "
            f"(the middle half of {line.repeats} measurements: {_time(line.seconds_low)} to {_time(line.seconds_high)})."
            for line in lines
        ]
    told = [f"{_where(line)}: {_verdict(line)}" for line in lines]
    told += [_arithmetic(line) for line in lines if line.batch_size == lines[0].batch_size]
    pruned = [line for line in lines if line.flops_ratio > 1]
    if pruned and not any(_faster(line) or _open(line) for line in pruned):
        told.append("No speed-up is to be expected on this device: what pruning gains here is a smaller model.")
    behind = [line.batch_size for line in pruned if line.batch_size <= SMALL and _falls_short(line)]
    if behind:
        told.append(
            f"In batches of {_listed(behind)} the saved arithmetic does not come back in full as time: starting every layer "
            "and reading its weights takes a while, however little there is to compute."
        )
    return told


def _listed(numbers: list[int]) -> str:
    return " or ".join(str(number) for number in sorted(set(numbers)))


def _where(line) -> str:
    return f"Batches of {line.batch_size} with {line.sequence_length} tokens each"


def _time(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _verdict(line) -> str:
    spread = f"{line.speedup_low:.2f} to {line.speedup_high:.2f} in the middle half of {line.repeats} pairs"
    if _faster(line):
        return (
            f"{line.speedup:.2f} times as fast as before ({spread}), {_time(line.compare_seconds)} before and "
            f"{_time(line.seconds)} now; the arithmetic alone would give {line.flops_ratio:.2f}."
        )
    if line.speedup_high < 1 and line.speedup <= 1 - NOTICED:
        return f"slower than before, {line.speedup:.2f} times as fast ({spread})."
    if _open(line):
        return (
            f"too unsteady to tell; the measured ratio is {line.speedup:.2f} ({spread}), which leaves room for no gain and "
            f"for the {line.flops_ratio:.2f} that the arithmetic alone would give. Measure again when the machine has "
            "nothing else to do."
        )
    return f"no difference to be told from chance; the measured ratio is {line.speedup:.2f} ({spread})."


def _faster(line) -> bool:
    return line.speedup_low > 1 and line.speedup >= 1 + NOTICED


def _open(line) -> bool:
    """Whether the measurement allows both no gain and all of the gain that arithmetic promises."""
    return line.flops_ratio >= 1 + NOTICED and line.speedup_low <= 1 and line.speedup_high >= line.flops_ratio


def _falls_short(line) -> bool:
    gain, promised = line.speedup - 1, line.flops_ratio - 1
    return line.speedup_high < line.flops_ratio and gain < FULL * promised


def _arithmetic(line) -> str:
    of = f"With {line.sequence_length} tokens"
    if line.flops_ratio == 1:
        return f"{of} both models do the same arithmetic, so no difference is to be expected."
    told = (
        f"{of} the pruned model does {1 - 1 / line.flops_ratio:.1%} less arithmetic. All heads together did "
        f"{line.heads_share:.0%} of it before, so where time goes with arithmetic, even a model without heads would be "
        f"{1 / (1 - line.heads_share):.1f} times as fast, no more."
    )
    return told if line.flops_ratio >= LITTLE else f"{told} That is too little to notice beside all else that takes time."
