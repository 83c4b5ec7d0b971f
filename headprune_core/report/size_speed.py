"""The report's section on model size and latency: parameters by module, FLOPs per token and measured speedup."""

import pandas as pd

from headprune_core.figures.latency import describe_latency_figure, latency_figure
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.prune.flops import flops_per_token, head_flops_per_token
from headprune_core.prune.latency_text import describe_latency
from headprune_core.prune.parameter_table import parameter_table

from .data import Facts
from .html import Block, Drawing, Points, Section, Table, Text, cite

TOKENS = 128  # sequence length of the FLOPs table if latency was not measured
INDENT = "\N{NO-BREAK SPACE}" * 3
TITLE = "Model size and latency"


def size_and_speed(facts: Facts) -> Section:
    """Return the section on parameters, FLOPs and, if measured, latency.

    Args:
        facts: data of the report.

    Returns:
        The section "Model size and latency".
    """
    table, latency = parameter_table(facts.model, facts.pruned), facts.record.latency
    latency = None if latency is None or latency.empty else latency
    before, after = int(table.parameters.iloc[0]), int(table.parameters_after.iloc[0])
    blocks: list[Block] = [
        Text(
            f"Parameters: {before:,} unpruned, {after:,} pruned ({1 - after / before:.1%} fewer). Size in float32: "
            f"{table.size_mib.iloc[0]:.1f} MiB unpruned, {table.size_mib_after.iloc[0]:.1f} MiB pruned. Only attention "
            "heads are pruned; embeddings and feed-forward layers are unchanged."
        ),
        Table(
            f"Parameters by module, in the layout of Guo and Sheridan's tables {cite('greedy')}; sizes in MiB, 4 bytes per "
            "parameter.",
            ("Module", "Parameters, unpruned", "Parameters, pruned", "Share, pruned", "MiB, unpruned", "MiB, pruned"),
            [_module(row) for row in table.itertuples()],
        ),
        _flops_table(facts, _lengths(facts.model, latency)),
    ]
    if latency is None:
        return Section(TITLE, blocks)
    if "speedup" in latency:
        blocks.append(Drawing(latency_figure(latency), describe_latency_figure(latency)))
    blocks.append(_latency_table(latency))
    return Section(TITLE, [*blocks, Points(describe_latency(latency))])


def _module(row) -> tuple[str, ...]:
    name = f"{INDENT * (row.level - 1)}{row.module}" if row.level else "Model"
    name += f" (shared with {row.tied_to})" if row.tied_to else ""
    counts = f"{row.parameters:,}", f"{row.parameters_after:,}", f"{row.share_after:.1f}%"
    return name, *counts, f"{row.size_mib:.2f}", f"{row.size_mib_after:.2f}"


def _lengths(model: PrunableModel, latency: pd.DataFrame | None) -> list[int | None]:
    if model.reads_images:
        return [None]
    if latency is not None:
        return sorted({int(length) for length in latency.sequence_length})
    return [min(TOKENS, model.max_tokens or TOKENS)]


def _flops_table(facts: Facts, lengths: list[int | None]) -> Table:
    rows = []
    for length in lengths:
        before, after = (flops_per_token(model, length) for model in (facts.model, facts.pruned))
        heads = head_flops_per_token(facts.model, length) / before
        name = "Image" if length is None else f"{length} tokens"
        rows.append((name, f"{before / 1e6:,.2f}", f"{after / 1e6:,.2f}", f"{1 - after / before:.1%}", f"{heads:.1%}"))
    return Table(
        "FLOPs per token in millions, by sequence length. The last column is the share of FLOPs in the attention heads of "
        "the unpruned model, which is the upper bound on savings.",
        ("Sequence length", "Unpruned", "Pruned", "Saved", "Share in heads"),
        rows,
    )


def _latency_table(latency: pd.DataFrame) -> Table:
    compared = "speedup" in latency
    columns = ["Batch size", "Tokens", "Pruned (ms)"]
    if compared:
        columns = ["Batch size", "Tokens", "Unpruned (ms)", "Pruned (ms)", "Speedup (×)"]
    rows = []
    for row in latency.itertuples():
        cells = [f"{row.batch_size}", f"{row.sequence_length}"]
        cells += [_milliseconds(row.compare_seconds, row.compare_seconds_low, row.compare_seconds_high)] if compared else []
        cells += [_milliseconds(row.seconds, row.seconds_low, row.seconds_high)]
        cells += [f"{row.speedup:.2f} ({row.speedup_low:.2f} to {row.speedup_high:.2f})"] if compared else []
        rows.append(cells)
    first = latency.iloc[0]
    return Table(
        f"Latency of a forward pass on {first.device}: median (IQR) of {first.repeats} measurements"
        + (", both models measured in alternation." if compared else "."),
        columns,
        rows,
    )


def _milliseconds(median: float, low: float, high: float) -> str:
    return f"{1000 * median:,.1f} ({1000 * low:,.1f} to {1000 * high:,.1f})"
