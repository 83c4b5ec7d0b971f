"""Head scores: four criteria side by side, a click on a head to look into it, and the table to take away."""

import numpy as np
import streamlit as st

from headprune_core.figures.heatmaps import METRIC_LABELS, describe_heatmap, has_custom_labels, row_name, score_heatmap
from headprune_core.scores.scaling import SCALINGS, scaled
from pages.parts.common.session import current_workspace, publish, remember, setting
from pages.parts.common.shared_ui import downloads, page_header
from pages.parts.common.workspace import BATCH_SIZE
from pages.parts.scores.head_inspector import inspector
from pages.parts.scores.score_options import options_panel

loaded = current_workspace()
scores = loaded.scores
rows, heads = scores.grid.shape
labels = scores.grid.row_labels
publish("alpha", "head")

page_header("head_scores")
st.markdown(
    "**HIS** asks how much the loss would feel it if the head's output changed. **AE** asks how spread its attention is. "
    "**HIES** mixes the two. **Gnorm** multiplies the gradient norms of its query, key and value weights. Click a head."
)
options_panel(loaded)
left, right = st.columns(2, vertical_alignment="bottom")
scaling = left.segmented_control(
    "Scale", list(SCALINGS), default="raw", required=True, format_func=SCALINGS.get, key="scaling"
)
alpha = right.slider(
    "Alpha in HIES",
    0.0,
    1.0,
    float(setting("alpha")),
    0.01,
    key="scores_alpha",
    help="1 is importance alone, 0 is entropy alone",
)
if alpha != setting("alpha"):
    remember("alpha", alpha)

table = {"his": scores.his, "ae": scores.ae, "hies": scores.hies(alpha), "gnorm": scores.gnorm}
hover = [
    f"<b>{row_name(labels[r])}, head {h}</b><br>"
    + "<br>".join(f"{name.upper()} {values[r, h]:.4g}" for name, values in table.items())
    for r, h in np.ndindex(rows, heads)
]
selected = setting("head")
if selected is not None and not (0 <= selected[0] < rows and 0 <= selected[1] < heads):
    st.toast(f"The link's head {selected[0]}.{selected[1]} is not one of the {rows} x {heads}; none is chosen.")
    remember("head", None)
    selected = None


def take_click(key: str) -> None:
    """A click opens the inspector on a cell; a second click on the same cell, which unselects it, turns it off and on."""
    points = st.session_state[key]["selection"]["points"]
    if points:
        st.session_state["clicked"] = tuple(int(i) for i in points[0]["customdata"][:2])
        remember("head", st.session_state["clicked"])
    else:
        remember("head", None if setting("head") else st.session_state.get("clicked"))


def take_row() -> None:
    rows_picked = st.session_state["score_table"]["selection"]["rows"]
    remember("head", divmod(rows_picked[0], heads) if rows_picked else None)


places = [*st.columns(2), *st.columns(2)]
for place, (name, values) in zip(places, table.items(), strict=True):
    key = f"heatmap_{name}"
    nats = (name, scaling) == ("ae", "raw") and loaded.options.entropy != "normalized"
    place.plotly_chart(
        score_heatmap(scaled(values, scaling), METRIC_LABELS[name], hover, selected, "nats" if nats else "", labels),
        key=key,
        selection_mode="points",
        on_select=lambda key=key: take_click(key),
        alt=describe_heatmap(values, METRIC_LABELS[name], labels),
        config={"displayModeBar": False},
    )
if selected is not None:
    with st.container(border=True, key="inspector"):
        inspector(loaded, selected, table["hies"])
        st.button("Close", icon=":material/close:", on_click=remember, args=("head", None))

with st.expander("Read the maps in words", icon=":material/record_voice_over:"):
    for name, values in table.items():
        st.markdown(f"- {describe_heatmap(values, METRIC_LABELS[name], labels)}")

st.subheader("The table")
frame = scores.to_frame()
frame.insert(4, f"hies_{alpha:g}", table["hies"].ravel())
if has_custom_labels(labels):
    frame.insert(1, "layer", np.repeat(labels, heads))
digits = dict.fromkeys(frame.columns[-len(table) :], st.column_config.NumberColumn(format="%.4g"))
st.dataframe(
    frame,
    hide_index=True,
    height=280,
    column_config=digits,
    on_select=take_row,
    selection_mode="single-row",
    key="score_table",
)
document = {"model": loaded.model.name, "alpha": alpha, "settings": scores.settings | {"batch_size": BATCH_SIZE}}
downloads("head_scores", frame, document | {"scores": {name: values.tolist() for name, values in table.items()}})
