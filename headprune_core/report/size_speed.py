"""Size and speed in a report: parameters by module, operations a token, and seconds of forward passes."""

import pandas as pd

from headprune_core.figures.latency import describe_latency_figure, latency_figure
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.prune.flops import flops_per_token, head_flops_per_token
from headprune_core.prune.latency_text import describe_latency
from headprune_core.prune.parameter_table import parameter_table

from .data import Facts
from .html import Block, Drawing, Points, Section, Table, Text, cite

TOKENS = 128  # of a text whose operations are counted where no speed was measured
INDENT = "\N{NO-BREAK SPACE}" * 3


def size_and_speed(facts: Facts) -> Section:
    """Parameters, operations and, where measured, speed."""
    table, latency = parameter_table(facts.model, facts.pruned), facts.record.latency
    latency = None if latency is None or latency.empty else latency
    before, after = int(table.parameters.iloc[0]), int(table.parameters_after.iloc[0])
    blocks: list[Block] = [
        Text(
            f"The model had {before:,} parameters and has {after:,}, {1 - after / before:.1%} fewer; as float32 it takes "
            f"{table.size_mib_after.iloc[0]:.1f} MB instead of {table.size_mib.iloc[0]:.1f}. Heads are a part of a model only: "
            "embeddings and feed-forward layers stay."
        ),
        Table(
            f"Parameters by module, in the form of Guo and Sheridan's tables {cite('greedy')}; a megabyte is 2^20 bytes, a "
            "parameter four.",
            ("Module", "Parameters", "Parameters after", "Share after", "MB", "MB after"),
            [_module(line) for line in table.itertuples()],
        ),
        _operations(facts, _lengths(facts.model, latency)),
    ]
    if latency is None:
        return Section("Size and speed", blocks)
    if "speedup" in latency:
        blocks.append(Drawing(latency_figure(latency), describe_latency_figure(latency)))
    blocks.append(_seconds(latency))
    return Section("Size and speed", [*blocks, Points(describe_latency(latency))])


def _module(line) -> tuple[str, ...]:
    name = f"{INDENT * (line.level - 1)}{line.module}" if line.level else "The whole model"
    name += f" (those of {line.tied_to})" if line.tied_to else ""
    counts = f"{line.parameters:,}", f"{line.parameters_after:,}", f"{line.share_after:.1f}%"
    return name, *counts, f"{line.size_mib:.2f}", f"{line.size_mib_after:.2f}"


def _lengths(model: PrunableModel, latency: pd.DataFrame | None) -> list[int | None]:
    if model.reads_images:
        return [None]
    if latency is not None:
        return sorted({int(length) for length in latency.sequence_length})
    return [min(TOKENS, model.max_tokens or TOKENS)]


def _operations(facts: Facts, lengths: list[int | None]) -> Table:
    lines = []
    for length in lengths:
        before, after = (flops_per_token(model, length) for model in (facts.model, facts.pruned))
        heads = head_flops_per_token(facts.model, length) / before
        name = "An image" if length is None else f"{length} tokens"
        lines.append((name, f"{before / 1e6:,.2f}", f"{after / 1e6:,.2f}", f"{1 - after / before:.1%}", f"{heads:.1%}"))
    return Table(
        "Millions of floating-point operations a token, by length; the last column is the share that all heads together had "
        "before, more than which cannot be saved.",
        ("Length", "Before", "After", "Saved", "Heads' share"),
        lines,
    )


def _seconds(latency: pd.DataFrame) -> Table:
    compared = "speedup" in latency
    columns = ("Batch", "Tokens", *(("Before, ms",) if compared else ()), "Now, ms", *(("Speed-up",) if compared else ()))
    lines = []
    for line in latency.itertuples():
        cells = [f"{line.batch_size}", f"{line.sequence_length}"]
        cells += (
            [_milliseconds(line.compare_seconds, line.compare_seconds_low, line.compare_seconds_high)] if compared else []
        )
        cells += [_milliseconds(line.seconds, line.seconds_low, line.seconds_high)]
        cells += [f"{line.speedup:.2f} ({line.speedup_low:.2f} to {line.speedup_high:.2f})"] if compared else []
        lines.append(cells)
    first = latency.iloc[0]
    return Table(
        f"Time of a forward pass on {first.device}, median and quartiles of {first.repeats} measurements"
        + (", both models in turn." if compared else "."),
        columns,
        lines,
    )


def _milliseconds(middle: float, low: float, high: float) -> str:
    return f"{1000 * middle:,.1f} ({1000 * low:,.1f} to {1000 * high:,.1f})"
