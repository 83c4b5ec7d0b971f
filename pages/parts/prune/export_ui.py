"""What there is to take home of a pruned model: the zip, the report, and the model as ONNX."""

import streamlit as st

from headprune_core.prune.onnx_export import INSTALL, has_onnx
from pages.parts.common.session import runner
from pages.parts.common.shared_ui import progress
from pages.parts.common.workspace import Workspace

from .export_bundle import ExportBundle, export_bundle, packed, start_packing
from .prune_run import EXPORTING, PACKING, PruneResult, start_onnx


def take(loaded: Workspace, result: PruneResult) -> None:
    """Everything worth keeping."""
    st.subheader("Take it with you")
    recovered = False
    if result.recovered is not None:
        recovered = st.segmented_control(
            "Which model",
            [False, True],
            default=True,
            required=True,
            format_func={False: "As cut", True: "After recovery"}.get,
            key="take_recovered",
        )
    home = export_bundle(loaded, result, bool(recovered))
    with st.container(horizontal=True):
        _everything(home)
        st.download_button(
            "Report (HTML)",
            home.report,
            "report.html",
            "text/html",
            icon=":material/description:",
            on_click="ignore",
            key="download_report",
        )
        _onnx(result, bool(recovered))
    progress(EXPORTING, PACKING)
    st.caption(
        "The folder **model** in the zip holds safetensors, configuration, tokenizer, the map of the heads that are left "
        "and a model card, which also tells how to load it without HeadPrune and how to share it. With HeadPrune:"
    )
    st.code('import headprune_core as hp\n\nmodel = hp.PrunableModel.from_pretrained("model")', "python")
    with st.expander("Copy as code", icon=":material/code:"):
        tuned = " and fine-tuned" if recovered else ""
        st.caption(f"The same heads, cut out{tuned}, and measured again:")
        st.code(home.code, "python")
        st.caption("Or on the command line, with the mask out of the zip:")
        st.code(home.command, "bash", wrap_lines=True)


def _everything(home: ExportBundle) -> None:
    """The zip: made first, with progress and Cancel, since its model is written anew; then there to be saved."""
    made = packed(home)
    if made is not None:
        st.download_button(
            f"Save the zip ({made.stat().st_size / 2**20:.0f} MB)",
            made.read_bytes,
            "pruned-model.zip",
            "application/zip",
            icon=":material/download:",
            on_click="ignore",
            key="download_model",
            type="primary",
        )
        return
    pressed = st.button(
        "Everything (zip)",
        icon=":material/folder_zip:",
        key="make_zip",
        type="primary",
        disabled=runner().busy,
        help="Model with its card, mask, scores, curves, figures, settings and the report",
    )
    if pressed:
        start_packing(home)
        st.rerun()


def _onnx(result: PruneResult, recovered: bool) -> None:
    made = result.onnx.get(recovered)
    if made is not None:
        st.download_button(
            "ONNX",
            made.file.read_bytes,
            "model.onnx",
            "application/octet-stream",
            icon=":material/download:",
            on_click="ignore",
            key="download_onnx",
            help=f"ONNX Runtime gives its logits to {made.difference:.0e}",
        )
        return
    pressed = st.button(
        "Make ONNX",
        icon=":material/deployed_code:",
        key="make_onnx",
        disabled=runner().busy or not has_onnx(),
        help="Checked with ONNX Runtime" if has_onnx() else f"First run: {INSTALL}",
    )
    if pressed:
        start_onnx(result, recovered)
        st.rerun()
