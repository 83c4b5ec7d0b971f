"""The dataset half of the form: where the dataset comes from, and its rows before they are read."""

import hashlib
import io
from dataclasses import dataclass

import streamlit as st

from headprune_core import HeadPruneError
from headprune_core.data.limits import UPLOAD
from headprune_core.data.source_tables import HubDataset, Source, read_source
from headprune_core.data.table_io import SUFFIXES, lines_table
from pages.parts.common.failures import drop_failure, report_failure
from pages.parts.common.hosting import hosting
from pages.parts.common.sentences import plain, sentence
from pages.parts.common.session import runner
from pages.parts.common.workspace import digest

from .form_job import form_value

# Settings of the form are still there after a visit to another page, and changing one drops the error of the last try.
FORM = {"persist_state": "session", "on_change": drop_failure}
HUB_JOB = "Reading the dataset"
UPLOAD_JOB = "Reading the file"


@dataclass(frozen=True)
class Dataset:
    """A chosen dataset, before its plan of reading.

    Attributes:
        name: how pages name it.
        found: its rows, or None for the built-in dataset.
        key: a digest of its content and of how it was read, for widgets that belong to it.
        reading: chosen encoding, delimiter, quoted, header and lines, None for those to be detected.
        subset: subset of a Hub dataset.
        splits: names of the calibration and evaluation splits.
    """

    name: str = "embedded"
    found: Source | None = None
    key: str = ""
    reading: tuple[tuple[str, object], ...] = ()
    subset: str | None = None
    splits: tuple[str, str] = ("calibration", "evaluation")


def dataset_form() -> Dataset | None:
    """Return the chosen dataset; None if something is missing.

    Raises:
        HeadPruneError: If its file cannot be read.
    """
    offered = hosting().datasets
    hub = None if offered is None else [one for one in offered if one not in ("embedded", "upload")]
    kinds = ["Built-in"]
    kinds += ["Hub dataset"] if hub is None or hub else []
    kinds += ["Upload", "Paste"] if offered is None or "upload" in offered else []
    kind = st.segmented_control("Dataset", kinds, default="Built-in", required=True, wrap=True, key="text_kind", **FORM)
    if kind == "Hub dataset":
        return _hub_form(hub)
    if kind == "Upload":
        return _upload_form()
    if kind == "Paste":
        text = st.text_area(
            "Examples, one per line",
            key="pasted",
            height=150,
            help="To add a label, put it after a tab.",
            **FORM,
        )
        if not text.strip():
            return None
        name = f"pasted lines {digest(text)[:6]}"
        return Dataset(name, read_source(lines_table(text, UPLOAD), None, "calibration", {}), digest(text))
    st.caption("Tweets labeled negative, neutral or positive. Calibration and evaluation sets do not overlap.")
    return Dataset()


def _upload_form() -> Dataset | None:
    upload = st.file_uploader(
        "Table, text file with one example per line, or CoNLL file with one word per line",
        type=[s[1:] for s in SUFFIXES],
        key="upload",
        on_change=_take_upload,
    )
    # An upload widget forgets its file when another page is opened; this copy is kept.
    name, data = (upload.name, upload.getvalue()) if upload else st.session_state.get("uploaded", (None, None))
    if data is None:
        return None
    if upload is None:
        st.caption(f"Uploaded before: {plain(name)}")
    content = hashlib.sha256(data).hexdigest()
    reading = _format_form(name, content)
    key = digest(name, content, reading)  # the extension decides how the content is read
    found = _read_upload(name, data, reading, key)
    return None if found is None else Dataset(name, found, key, reading)


def _read_upload(name: str, data: bytes, reading: tuple[tuple[str, object], ...], key: str) -> Source | None:
    """The rows of the uploaded file, which are read once, in the background; None before that and if it was cancelled.

    Raises:
        HeadPruneError: If the file cannot be read.
    """

    def work(progress) -> Source:
        file = io.BytesIO(data)
        file.name = name
        return read_source(file, None, "calibration", dict(reading), limits=UPLOAD, progress=progress)

    waiting = "The file is read when the running job has ended."
    return form_value("read_upload", key, work, name=UPLOAD_JOB, button="Read file", waiting=waiting)


def _take_upload() -> None:
    """Keep the uploaded file for the session; removing it from the widget drops the copy."""
    drop_failure()
    upload = st.session_state["upload"]
    st.session_state["uploaded"] = (upload.name, upload.getvalue()) if upload else (None, None)


def _format_form(name: str, content: str) -> tuple[tuple[str, object], ...]:
    """Choices of the file format, None for those to be detected."""
    suffix = name.lower().rpartition(".")[2]
    if suffix == "parquet":
        return ()
    encodings = [None, "utf-8", "utf-16", "cp1252", "cp1251", "gb18030", "cp932", "cp949", "big5", "latin-1"]
    choices = {"encoding": ("Encoding", {one: one or "Detect" for one in encodings})}
    if suffix in ("csv", "tsv"):
        delimiters = {None: "Detect", ",": "Comma", ";": "Semicolon", "\t": "Tab", "|": "Bar", "": "None"}
        choices["delimiter"] = ("Delimiter", delimiters)
        choices["quoted"] = ("Double quotes", {None: "Detect", True: "Enclose values", False: "Ordinary text"})
        choices["header"] = ("Header", {None: "Detect", True: "First row", False: "None"})
    if suffix not in ("csv", "json", "jsonl"):
        lines = {None: "Detect", "examples": "Examples", "words": "Words with tags"}
        choices["lines"] = ("Lines", lines)
    with st.popover("File format", icon=":material/data_object:"):
        columns = st.columns(len(choices))
        return tuple(
            (
                setting,
                column.selectbox(label, list(options), format_func=options.get, key=f"{setting} {content[:12]}", **FORM),
            )
            for column, (setting, (label, options)) in zip(columns, choices.items(), strict=True)
        )


def _hub_form(offered: list[str] | None) -> Dataset | None:
    """A Hub dataset, which is read in the background before its plan is shown; None until then."""
    if offered:
        name = st.selectbox("Hub dataset ID", offered, format_func=plain, key="offered_dataset", **FORM)
    else:
        name = st.text_input("Hub dataset ID", placeholder="stanfordnlp/sst2", key="hub_text", **FORM).strip()
    left, right = st.columns(2)
    calibration = left.text_input("Calibration split", "train", key="hub_calibration", **FORM).strip()
    evaluation = right.text_input("Evaluation split", "validation", key="hub_evaluation", **FORM).strip()
    subset = left.text_input("Subset (optional)", key="hub_subset", **FORM).strip() or None
    if not name:
        return None
    wanted = (name, subset, calibration)
    known, found = st.session_state.get("read_hub", (None, None))
    if known == wanted:
        return Dataset(name, found, digest(*wanted), subset=subset, splits=(calibration, evaluation))
    if st.button("Read dataset", icon=":material/download:", disabled=runner().busy, help="Reads its columns and labels."):
        _start_reading(wanted)
        st.rerun()
    return None


def _start_reading(wanted: tuple[str, str | None, str]) -> None:
    def deliver(job) -> None:
        if job.state == "done":
            st.session_state["read_hub"] = wanted, job.result
        else:
            report_failure(sentence(job.error or f"{HUB_JOB} was cancelled"), "model_and_data")

    policy = hosting()

    def work(progress) -> Source:
        progress(0, 1, f"Reading {wanted[0]}")
        policy.check_dataset(wanted[0])
        return read_source(HubDataset(wanted[0]), wanted[1], wanted[2], {})

    drop_failure()
    try:
        runner().start(HUB_JOB, work, deliver, "model_and_data")
    except HeadPruneError as reason:
        report_failure(sentence(str(reason)), "model_and_data")
