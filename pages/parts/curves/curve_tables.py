"""Tables of the curves: one row per criterion, and paired tests of every criterion against one of them."""

import pandas as pd
import streamlit as st

from headprune_core import Curves
from headprune_core.data.measures import SHARES, measure_label, sentence_name
from headprune_core.masks.criteria import method_label
from headprune_core.measure.curve_metrics import AT, PUBLISHED_STABILITY_RATIO, WITHIN
from headprune_core.measure.paired_tests import SIGNIFICANCE_LEVEL, paired
from pages.parts.common import labels

from .curve_findings import summary


def summary_table(curves: pd.DataFrame, measure: str) -> None:
    """Show `curve_metrics.summary` with labels and column help."""
    table = summary(curves)
    table["method"] = [method_label(name) for name in table.method]
    number, share = st.column_config.NumberColumn, {"format": "percent"}
    is_share, name = measure in SHARES, sentence_name(measure)
    values = share if is_share else {"format": "%.3f"}
    if not is_share:
        table = table.drop(columns="agreement")  # the same as the stability
    columns = {
        "method": st.column_config.TextColumn("Criterion", pinned=True),
        "area": number(
            "Area",
            format="%.3f",
            help=f"Normalized area under the curve (trapezoidal rule): mean {name} over the sparsity range.",
        ),
        "stability": number(
            "Stability", format="%.3f", help="Mean logit correlation with the unpruned model over all sparsities above 0."
        ),
        "agreement": number("Agreement", format="%.3f", help="Mean share of predictions that match the unpruned model."),
        "stability_ratio": number(
            "Stability vs. HIS",
            format="%.2f×",
            help=f"Stability divided by that of HIS. The HIES paper reports up to {PUBLISHED_STABILITY_RATIO}×.",
        ),
        "knee": number(
            "Knee point",
            **share,
            help="Knee point (Kneedle): sparsity with the largest distance above the chord between the endpoints.",
        ),
    }
    for points in WITHIN:
        near = f"{points} pp" if is_share else f"{points / 100:g}"
        columns[f"within_{points}"] = number(
            f"{labels.MAX_SPARSITY}, −{near}",
            **share,
            help=f"Largest sparsity up to which {name} stays within {near} of the unpruned model.",
        )
    for at in AT:
        columns[f"at_{at:.0%}".rstrip("%")] = number(
            f"At {at:.0%}", **values, help=f"{measure_label(measure)} at {at:.0%} sparsity."
        )
    st.dataframe(table, hide_index=True, column_config=columns, key="summary_table")


def paired_table(curves: Curves, sparsity: float, against: str, measure: str) -> None:
    """Show `paired_tests.paired` with a sentence that explains it."""
    table = paired(curves.frame, curves.outcomes, sparsity, against)
    name, n_examples = method_label(against), int(curves.frame.examples.iloc[0])
    correct = "correct" if measure == "accuracy" else "in agreement"
    exact, is_share = bool(table.b.notna().any()), measure in SHARES
    if table.empty:
        st.caption(f"No criterion to compare with {name}. Select another criterion besides the random baseline.")
        return
    differing = [method_label(line.method) for line in table.itertuples() if line.p_holm < SIGNIFICANCE_LEVEL]
    st.markdown(
        f"Both masks are evaluated on the same {n_examples} examples; "
        + (
            "the exact McNemar test uses only those on which they disagree. "
            if exact
            else "the permutation test swaps the two criteria within examples. "
        )
        + (
            f"**{', '.join(differing)}** {'differs' if len(differing) == 1 else 'differ'} significantly from {name} at "
            "the 5% level."
            if differing
            else f"No criterion differs significantly from {name} at the 5% level."
        )
    )
    table["method"] = [method_label(method) for method in table.method]
    if is_share:
        table[["difference", "low", "high"]] *= 100
    if not exact:
        table = table.drop(columns=["b", "c"])
    interval = f"bound of the {labels.CI} " + ("for paired shares (Newcombe)." if exact else "(bootstrap over examples).")
    unit, bound = ("%+.1f pp", "%+.1f") if is_share else ("%+.3f", "%+.3f")
    number = st.column_config.NumberColumn
    columns = {
        "method": st.column_config.TextColumn("Criterion", pinned=True),
        "difference": number(
            "Difference", format=unit, help=f"{measure_label(measure)} minus that of {name}; above 0 is better."
        ),
        "low": number("CI low", format=bound, help=f"Lower {interval}"),
        "high": number("CI high", format=bound, help=f"Upper {interval}"),
        "b": number(f"Only this {correct} (b)", help=f"Examples on which only this criterion is {correct}."),
        "c": number(f"Only {name} {correct} (c)", help=f"Examples on which only {name} is {correct}."),
        "p_value": number(
            "p", format="%.3g", help=f"{'Exact McNemar' if exact else 'Permutation'} test, two-sided p-value."
        ),
        "p_holm": number("p (Holm)", format="%.3g", help="Holm-corrected p-value. Below 0.05: significant at the 5% level."),
    }
    st.dataframe(table, hide_index=True, column_config=columns, key="paired_table")
