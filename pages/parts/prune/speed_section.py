"""Latency, throughput and memory of the unpruned and the pruned model on this machine, on request."""

import streamlit as st

from headprune_core.figures.latency import describe_latency_figure, latency_figure
from headprune_core.prune.latency_text import describe_latency
from pages.parts.chart import figure
from pages.parts.common.session import runner
from pages.parts.common.workspace import Workspace

from .prune_run import PruneResult, start_timing

BATCHES = (1, 8, 32)
LENGTHS = (16, 32, 64, 128, 256, 512)
PERSIST = {"persist_state": "session"}


def speed_section(loaded: Workspace, result: PruneResult) -> None:
    """Draw the form of the benchmark, and its result."""
    st.header("Speed")
    limit = loaded.model.max_tokens or max(LENGTHS)
    lengths = [length for length in LENGTHS if length <= limit]
    if "time_lengths" in st.session_state:  # kept from a model that may read longer inputs
        st.session_state["time_lengths"] = [n for n in st.session_state["time_lengths"] if n in lengths]
    default = [length for length in (32, 128) if length <= limit] or lengths[:1]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        batches = st.pills("Batch sizes", BATCHES, selection_mode="multi", default=BATCHES, key="time_batches", **PERSIST)
        tokens = st.pills(
            "Sequence lengths", lengths, selection_mode="multi", default=default, key="time_lengths", **PERSIST
        )
        blocked = runner().busy or not batches or not tokens
        if st.button("Run benchmark", icon=":material/timer:", key="time_models", disabled=blocked):
            start_timing(loaded, result, tuple(sorted(batches)), tuple(sorted(tokens)))
            st.rerun()
    frame = result.speed
    if frame is None:
        st.caption(
            "Times the unpruned and pruned models alternately on this machine after warm-up. Attention is only part of the "
            "total compute."
        )
        return
    text = describe_latency_figure(frame)
    figure(latency_figure(frame), "Speedup of the pruned model", "latency", alt=text)
    st.markdown("\n".join(f"- {line}" for line in describe_latency(frame)))
    number = st.column_config.NumberColumn
    memory = "Peak activation memory (MiB, excluding weights and inputs)"
    columns = {
        "sequence_length": number("Tokens", pinned=True, help="Tokens per example"),
        "batch_size": number("Batch size", pinned=True),
        "compare_seconds": number("Latency, unpruned (ms)", format="%.1f", help="Median time of one batch"),
        "seconds": number("Latency, pruned (ms)", format="%.1f", help="Median time of one batch"),
        "compare_examples_per_second": number("Examples/s, unpruned", format="%.0f", help="Throughput"),
        "examples_per_second": number("Examples/s, pruned", format="%.0f", help="Throughput"),
        "compare_memory_mib": number("MiB, unpruned", format="%.1f", help=memory),
        "memory_mib": number("MiB, pruned", format="%.1f", help=memory),
        "speedup": number("Speedup (×)", format="%.2f", help="Median over pairs of consecutive runs"),
        "speedup_low": number("IQR low", format="%.2f", help="Lower quartile of the speedup"),
        "speedup_high": number("IQR high", format="%.2f", help="Upper quartile of the speedup"),
        "flops_ratio": number("Theoretical speedup (FLOPs)", format="%.2f"),
    }
    milliseconds = frame.assign(seconds=1000 * frame.seconds, compare_seconds=1000 * frame.compare_seconds)
    st.dataframe(milliseconds[list(columns)], hide_index=True, column_config=columns, key="latency_table")
