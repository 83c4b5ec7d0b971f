"""What the curves come to, in tables: a line a method, and every method against another on the same texts."""

import pandas as pd
import streamlit as st

from headprune_core import Curves
from headprune_core.masks.criteria import method_label
from headprune_core.measure.curve_metrics import AT, PUBLISHED_STABILITY_RATIO, WITHIN, summary
from headprune_core.measure.paired_tests import paired


def summary_table(curves: pd.DataFrame, measure: str) -> None:
    """`judgements.summary` with names and a word on each column."""
    table = summary(curves)
    table["method"] = [method_label(name) for name in table.method]
    number, share = st.column_config.NumberColumn, {"format": "percent"}
    columns = {
        "method": st.column_config.TextColumn("Criterion", pinned=True),
        "area": number("Area", format="%.3f", help=f"Mean {measure} over the whole range, by trapezia."),
        "stability": number(
            "Stability", format="%.3f", help="Mean correlation of the logits with the unpruned model's, above 0 % removed."
        ),
        "agreement": number("Agreement", format="%.3f", help="Mean share of answers equal to the unpruned model's."),
        "stability_ratio": number(
            "Stability to HIS",
            format="%.2fx",
            help=f"Stability as a ratio to HIS's. The HIES paper reports up to {PUBLISHED_STABILITY_RATIO}x.",
        ),
        "knee": number(
            "Knee",
            **share,
            help="Where the curve lies farthest above the straight line between its ends: after it, it falls.",
        ),
    }
    for points in WITHIN:
        columns[f"within_{points}"] = number(
            f"Within {points} pt{'s' if points > 1 else ''}",
            **share,
            help=f"How many heads can go while {measure} stays within {points} points of the unpruned model's throughout.",
        )
    for at in AT:
        name = f"at_{at:.0%}".rstrip("%")
        columns[name] = number(f"At {at:.0%}", **share, help=f"The {measure} with {at:.0%} of the heads removed.")
    st.dataframe(table, hide_index=True, column_config=columns, key="summary_table")


def paired_table(curves: Curves, sparsity: float, against: str, measure: str) -> None:
    """`paired_tests.paired` with a sentence that explains it."""
    table = paired(curves.frame, curves.right, sparsity, against)
    name, texts = method_label(against), curves.right.shape[1]
    right = "right" if measure == "accuracy" else "as the unpruned model does"
    if table.empty:
        st.caption(f"There is nothing to compare {name} with: choose another criterion besides random.")
        return
    sure = [method_label(line.method) for line in table.itertuples() if line.p_holm < 0.05]
    st.markdown(
        f"Both answer the same {texts} texts; only those on which they differ tell them apart. "
        + (
            f"**{', '.join(sure)}** {'differs' if len(sure) == 1 else 'differ'} from {name} by more than chance."
            if sure
            else f"None differs from {name} by more than chance would."
        )
    )
    table["method"] = [method_label(method) for method in table.method]
    for column in ("difference", "low", "high"):
        table[column] *= 100
    number = st.column_config.NumberColumn
    columns = {
        "method": st.column_config.TextColumn("Criterion", pinned=True),
        "difference": number(
            "Difference", format="%+.1f pts", help=f"{measure.capitalize()} less {name}'s: above 0 it is better."
        ),
        "low": number("from", format="%+.1f", help="95 % interval for paired shares (Newcombe)."),
        "high": number("to", format="%+.1f", help="95 % interval for paired shares (Newcombe)."),
        "b": number("It alone", help=f"Texts that it answers {right} and {name} does not."),
        "c": number(f"{name} alone", help=f"Texts that {name} answers {right} and it does not."),
        "p_value": number("p", format="%.3g", help="How often chance alone splits these texts so unevenly (exact McNemar)."),
        "p_holm": number(
            "p corrected", format="%.3g", help="Corrected for the number of criteria (Holm). Below 0.05: sure."
        ),
    }
    st.dataframe(table, hide_index=True, column_config=columns, key="paired_table")
