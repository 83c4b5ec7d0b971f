"""The verdict on each criterion against the random baseline; an icon only if there are enough random rankings for a test."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from headprune_core.masks.criteria import method_label

from .curve_findings import compare_with_random, describe_verdict

ICONS = {"better than random": ":material/check_circle:", "worse than random": ":material/cancel:"}
UNDECIDED = ":material/help:"


def verdict_list(frame: pd.DataFrame) -> None:
    """Draw one verdict per criterion."""
    lines = verdict_lines(frame)
    if not lines:
        return
    compared = len(compare_with_random(frame)) > 0
    st.header("Comparison with random pruning" if compared else "Maximum sparsity of each criterion")
    for line in lines:
        st.markdown(line)


def verdict_lines(frame: pd.DataFrame, methods: Sequence[str] | None = None) -> list[str]:
    """One line per criterion in Markdown. Too few random rankings decide nothing, so they get no icon of a decision."""
    compared = compare_with_random(frame)
    decided = compared[compared.enough_random.astype(bool)].set_index("method").verdict
    lines = []
    for method, text in describe_verdict(frame).items():
        if methods is None or method in methods:
            icon = ICONS.get(decided.get(method), UNDECIDED)
            lines.append(f"{icon} **{method_label(method)}**: {text}")
    return lines
