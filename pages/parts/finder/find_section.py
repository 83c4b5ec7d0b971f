"""The finder: the heads with the highest or lowest values of a column, in chosen layers and roles."""

import pandas as pd
import streamlit as st

from pages.parts.common.shared_ui import downloads, records
from pages.parts.common.workspace import Workspace
from pages.parts.heads.head_table import HeadTable
from pages.parts.heads.selection import select, selection

PERSIST = {"persist_state": "session"}
DIRECTIONS = {"highest": "Highest first", "lowest": "Lowest first"}
DEFAULT, USUAL = "his", 10


def find_section(loaded: Workspace, table: HeadTable) -> None:
    """Show the menus of the finder, the heads that it finds, and the buttons that select them.

    Args:
        loaded: The workspace.
        table: The table of heads.
    """
    names = [name for name in table.numbers if name not in ("row", "head")]
    if st.session_state.get("finder_column", names[0]) not in names:  # a column of another model
        del st.session_state["finder_column"]
    first, second = st.columns(2)
    third, left, right = st.columns(3)
    column = first.selectbox(
        "Column", names, names.index(DEFAULT), format_func=table.labels.get, key="finder_column", **PERSIST
    )
    direction = second.segmented_control(
        "Direction",
        list(DIRECTIONS),
        default="highest",
        required=True,
        format_func=DIRECTIONS.get,
        key="finder_direction",
        **PERSIST,
    )
    most = len(table.frame)
    if st.session_state.get("finder_count", 1) > most:
        del st.session_state["finder_count"]
    count = third.number_input("Number of heads", 1, most, min(USUAL, most), key="finder_count", **PERSIST)
    row_labels = loaded.scores.grid.row_labels
    layers = _several(left, "Layers", list(range(len(row_labels))), "finder_layers", lambda row: str(row_labels[row]))
    roles = []
    if "role" in table.labels:
        roles = _several(right, "Roles", sorted(set(table.frame.role)), "finder_roles", str)
    found = find(table.frame, column, direction == "lowest", int(count), layers, roles)
    heads = [(int(row), int(head)) for row, head in found[["row", "head"]].to_numpy()]
    if not heads:
        st.info("No head matches. Remove a filter.", icon=":material/filter_alt_off:")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Select these heads",
            icon=":material/check_box:",
            type="primary",
            key="finder_select",
            on_click=select,
            args=(heads,),
        )
        st.button(
            "Add to selection",
            icon=":material/add_box:",
            key="finder_add",
            on_click=lambda: select([*selection(), *heads]),
            disabled=set(heads) <= set(selection()),
        )
        st.caption(_sentence(table, column, heads, most, bool(layers or roles)))
    leading = [name for name in ("row", "layer", "head", column, "role", "his", "ae", "hies", "gnorm") if name in found]
    order = list(dict.fromkeys([*leading, *table.labels]))
    st.dataframe(
        found,
        hide_index=True,
        height=min(420, 38 + 35 * len(found)),
        column_order=order,
        column_config=table.configured(),
        key="finder_table",
    )
    document = {"column": column, "direction": direction, "layers": layers, "roles": roles, "heads": records(found)}
    downloads("heads", found, document)


def find(
    frame: pd.DataFrame,
    column: str,
    lowest: bool,
    count: int,
    layers: list[int] | None = None,
    roles: list[str] | None = None,
) -> pd.DataFrame:
    """Return the heads with the highest or lowest values of a column; heads without a value are left out.

    Args:
        frame: One row per head.
        column: Column of numbers.
        lowest: Whether the lowest values are first.
        count: Number of heads, at most.
        layers: Rows to search; None or an empty list for all.
        roles: Roles to search; None or an empty list for all.
    """
    found = frame.dropna(subset=[column])
    found = found[found["row"].isin(layers)] if layers else found
    found = found[found["role"].isin(roles)] if roles else found
    return found.sort_values(column, ascending=lowest, kind="stable").head(count).reset_index(drop=True)


def _several(place, label: str, options: list, key: str, name) -> list:
    """A menu with several choices; none chosen means all."""
    if set(st.session_state.get(key, ())) - set(options):  # of another model
        del st.session_state[key]
    return place.multiselect(label, options, format_func=name, placeholder="All", key=key, **PERSIST)


def _sentence(table: HeadTable, column: str, heads: list, most: int, filtered: bool) -> str:
    chosen = sum(head in selection() for head in heads)
    what = f"{len(heads)} of {most} heads by {table.labels[column]}{', filtered' if filtered else ''}"
    return f"{what}; {chosen} of them selected."
