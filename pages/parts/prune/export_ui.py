"""Export of a pruned model: the zip, the report, ONNX, and code."""

import streamlit as st

from headprune_core.prune.onnx_export import INSTALL, has_onnx
from pages.parts.common.session import runner
from pages.parts.common.shared_ui import progress
from pages.parts.common.workspace import Workspace

from .export_bundle import ExportBundle, cached_zip, export_bundle, start_packing
from .prune_run import EXPORTING, PACKING, PruneResult, start_onnx


def export_section(loaded: Workspace, result: PruneResult) -> None:
    """Draw the buttons of all exports, and the code."""
    st.header("Export")
    recovered = False
    if result.recovered is not None:
        recovered = st.segmented_control(
            "Exported model",
            [False, True],
            default=True,
            required=True,
            format_func={False: "Pruned", True: "Pruned + fine-tuned"}.get,
            key="take_recovered",
            persist_state="session",
        )
    bundle = export_bundle(loaded, result, bool(recovered))
    with st.container(horizontal=True):
        _zip_button(bundle)
        st.download_button(
            "Download report (HTML)",
            bundle.report,
            "report.html",
            "text/html",
            icon=":material/description:",
            on_click="ignore",
            key="download_report",
        )
        _onnx_button(result, bool(recovered))
    progress(EXPORTING, PACKING)
    st.caption(
        "The folder **model** in the zip holds safetensors, configuration, tokenizer, head_map.json (kept heads) and a "
        "model card with loading and upload instructions. To load it with HeadPrune:"
    )
    st.code('import headprune_core as hp\n\nmodel = hp.PrunableModel.from_pretrained("model")', "python")
    with st.expander("Copy as code", icon=":material/code:"):
        st.caption(f"Reproduce this {'fine-tuned ' if recovered else ''}model in Python:")
        st.code(bundle.code, "python")
        st.caption("Or with the CLI (uses mask.json from the zip):")
        st.code(bundle.command, "bash", wrap_lines=True)


def _zip_button(bundle: ExportBundle) -> None:
    """A button that builds the zip in the background, because it saves the model; then one that downloads it."""
    file = cached_zip(bundle)
    if file is not None:
        st.download_button(
            f"Download zip ({file.stat().st_size / 2**20:.0f} MiB)",
            file.read_bytes,
            "pruned-model.zip",
            "application/zip",
            icon=":material/download:",
            on_click="ignore",
            key="download_model",
            type="primary",
        )
        return
    clicked = st.button(
        "Build zip",
        icon=":material/folder_zip:",
        key="make_zip",
        type="primary",
        disabled=runner().busy,
        help="Model with its card, mask, scores, curves, figures, settings and report. Then this button downloads it.",
    )
    if clicked:
        start_packing(bundle)
        st.rerun()


def _onnx_button(result: PruneResult, recovered: bool) -> None:
    """A button that exports the model to ONNX; then one that downloads it."""
    export = result.onnx.get(recovered)
    if export is not None:
        st.download_button(
            "Download ONNX",
            export.file.read_bytes,
            "model.onnx",
            "application/octet-stream",
            icon=":material/download:",
            on_click="ignore",
            key="download_onnx",
            help=f"Verified with ONNX Runtime (max. logit difference {export.difference:.0e})",
        )
        return
    clicked = st.button(
        "Export to ONNX",
        icon=":material/deployed_code:",
        key="make_onnx",
        disabled=runner().busy or not has_onnx(),
        help="The export is verified with ONNX Runtime." if has_onnx() else f"Install the extra first: {INSTALL}",
    )
    if clicked:
        start_onnx(result, recovered)
        st.rerun()
