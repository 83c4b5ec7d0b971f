"""The verdict on each criterion against the random baseline; an icon only if there are enough random rankings for a test."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from headprune_core.masks.criteria import method_label
from headprune_core.measure.curve_verdicts import compare_with_random, describe_verdict

MIN_RANDOM_RANKINGS = 19  # a curve above all of them then has p = 1/20
ICONS = {"better than random": ":material/check_circle:", "worse than random": ":material/cancel:"}
UNDECIDED = ":material/help:"


def verdict_list(frame: pd.DataFrame) -> None:
    """Draw one verdict per criterion."""
    lines = verdict_lines(frame)
    if not lines:
        return
    n_random = _n_random(frame)
    st.header("Comparison with random pruning" if n_random else "Maximum sparsity of each criterion")
    for line in lines:
        st.markdown(line)


def verdict_lines(frame: pd.DataFrame, methods: Sequence[str] | None = None) -> list[str]:
    """One line per criterion in Markdown. Too few random rankings decide nothing, so they get no icon of a decision."""
    compared = compare_with_random(frame).set_index("method").verdict
    n_random = _n_random(frame)
    lines = []
    for method, text in describe_verdict(frame).items():
        if methods is None or method in methods:
            icon = ICONS.get(compared.get(method), UNDECIDED) if n_random >= MIN_RANDOM_RANKINGS else UNDECIDED
            lines.append(f"{icon} **{method_label(method)}** {text}")
    return lines


def _n_random(frame: pd.DataFrame) -> int:
    """Number of random rankings."""
    return frame.loc[frame.method == "random", "seed"].nunique()
