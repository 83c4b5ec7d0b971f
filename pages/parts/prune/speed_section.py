"""How fast the whole and the pruned model are on this machine, on request."""

import streamlit as st

from headprune_core.figures.latency import describe_latency_figure, latency_figure
from headprune_core.prune.latency_text import describe_latency
from pages.parts.common.session import runner
from pages.parts.common.workspace import Workspace

from .prune_run import PruneResult, start_timing

BATCHES = (1, 8, 32)
LENGTHS = (16, 32, 64, 128, 256, 512)


def speed(loaded: Workspace, result: PruneResult) -> None:
    """Latency, throughput and memory of both models in turn."""
    st.subheader("Is it faster?")
    limit = loaded.model.max_tokens or max(LENGTHS)
    lengths = [length for length in LENGTHS if length <= limit]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        batches = st.pills("Texts at once", BATCHES, selection_mode="multi", default=BATCHES, key="time_batches")
        tokens = st.pills(
            "Tokens a text",
            lengths,
            selection_mode="multi",
            default=[length for length in (32, 128) if length <= limit] or lengths[:1],
            key="time_lengths",
        )
        off = runner().busy or not batches or not tokens
        if st.button("Time both models", icon=":material/timer:", key="time_models", disabled=off):
            start_timing(loaded, result, tuple(sorted(batches)), tuple(sorted(tokens)))
            st.rerun()
    frame = result.speed
    if frame is None:
        st.caption("The whole and the smaller model in turn, warm, on this machine. Attention is a part of the work only.")
        return
    told = describe_latency_figure(frame)
    st.plotly_chart(latency_figure(frame), alt=told, key="latency", config={"displaylogo": False})
    st.markdown("\n".join(f"- {sentence}" for sentence in describe_latency(frame)))
    number = st.column_config.NumberColumn
    columns = {
        "sequence_length": number("Tokens", pinned=True),
        "batch_size": number("At once", pinned=True, help="Texts at once"),
        "compare_seconds": number("ms before", format="%.1f", help="Of a batch, median"),
        "seconds": number("ms after", format="%.1f"),
        "compare_examples_per_second": number("Texts/s before", format="%.0f", help="Texts a second"),
        "examples_per_second": number("Texts/s after", format="%.0f"),
        "compare_memory_mib": number(
            "MB before", format="%.1f", help="The most that tensors take beside weights and inputs"
        ),
        "memory_mib": number("MB after", format="%.1f"),
        "speedup": number("Times as fast", format="%.2f", help="Median of pairs of neighbouring runs"),
        "speedup_low": number("from", format="%.2f", help="Lower quartile"),
        "speedup_high": number("to", format="%.2f", help="Upper quartile"),
        "flops_ratio": number("By arithmetic", format="%.2f"),
    }
    milliseconds = frame.assign(seconds=1000 * frame.seconds, compare_seconds=1000 * frame.compare_seconds)
    st.dataframe(milliseconds[list(columns)], hide_index=True, column_config=columns, key="latency_table")
