"""Heads cut out of the loaded model for good: the jobs that cut, prove, time, recover and export, and what they found."""

import shutil
import tempfile
import weakref
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import streamlit as st

from headprune_core import (
    Cancelled,
    HeadPruneError,
    LogitComparison,
    PrunableModel,
    PruningVerification,
    RandomBaseline,
    Recovery,
    compare_logits,
    export_onnx,
    measure_latency,
    parameter_table,
    prune_heads,
    random_baseline,
    recover,
    verify_pruning,
)
from headprune_core.data.examples import as_examples, overlap, read_examples
from headprune_core.prune.onnx_export import OnnxExport
from headprune_core.prune.structural_pruning import PruningPlan, plan_pruning
from pages.parts.common.background import start_exclusive_job
from pages.parts.common.server_cache import shared
from pages.parts.common.workspace import BATCH_SIZE, Workspace

from .mask_source import Choice

N_RANDOM = 20  # random choices of as many heads
PAIRS = 9  # of timed runs
COMPARING, TIMING, RECOVERING, EXPORTING, PACKING = (  # what jobs on a pruned model are called
    "Comparing logits",
    "Timing both models",
    "Recovering",
    "Exporting to ONNX",
    "Packing the zip",
)
MAX_TRAINING_EXAMPLES = 4096  # texts to learn from at most; a longer recovery sees them again


@dataclass(frozen=True)
class PruneRequest:
    """Which choice of heads of which model, what becomes of groups that it cuts, and on how many texts it is proved."""

    key: str
    choice: Choice
    partial_groups: str
    size: int


@dataclass(frozen=True)
class RecoverRequest:
    """steps: updates. objective: "labels" or "teacher", as `recover` has them."""

    steps: int
    objective: str


@dataclass(frozen=True)
class TrainingData:
    """What a recovery learned from: the split, and how many of its texts it is judged by too; None where by none."""

    split: str
    shared: int | None


@dataclass(eq=False)
class PruneResult:
    """The smaller model, saved in a folder that goes when the result does, and what has been found of it so far.

    proof, control: None without texts to compare on, and where measuring was cancelled. The others: None until asked for.
    """

    request: PruneRequest
    cut: PruningPlan
    pruned: PrunableModel
    place: Path
    table: pd.DataFrame
    verification: PruningVerification | None = None
    random_baseline: RandomBaseline | None = None
    speed: pd.DataFrame | None = None
    recovered: PrunableModel | None = None
    recovery: Recovery | None = None
    learned: TrainingData | None = None  # likewise None without a recovery
    said: LogitComparison | None = None
    onnx: dict[bool, OnnxExport] = field(default_factory=dict)  # by whether it is the recovered model's
    zips: dict[bool, object] = field(default_factory=dict)  # likewise; see `export_bundle.Zip`

    def __post_init__(self):
        weakref.finalize(self, shutil.rmtree, self.place, ignore_errors=True)

    @property
    def folder(self) -> Path:
        return self.place / "model"


def start_pruning(loaded: Workspace, request: PruneRequest) -> None:
    """Cut, save, load again from the folder, compare the forms on texts that the scores have not seen, and with chance.

    A run that is cancelled keeps the smaller model, if it was cut by then, and what was measured of it.
    """
    texts, cache = tested_texts(loaded, request.size), shared().cache

    def work(progress) -> PruneResult:
        place = Path(tempfile.mkdtemp(prefix="headprune-"))
        try:
            progress(0, 100, "Cutting the heads out")
            cut = plan_pruning(loaded.model.grid, request.choice.mask, partial_groups=request.partial_groups)
            pruned = prune_heads(loaded.model, cut.kept)
            progress(2, 100, "Writing the folder and reading it again")
            pruned.save_pretrained(place / "model")
            reloaded = PrunableModel.from_pretrained(place / "model", device=str(loaded.model.device))
        except BaseException:  # cancelled too
            shutil.rmtree(place, ignore_errors=True)
            raise
        result = PruneResult(request, cut, pruned, place, parameter_table(loaded.model, pruned))
        try:
            if texts is not None:
                measure(progress, result, reloaded)
        except Cancelled as stop:
            stop.partial = result
            raise
        return result

    def measure(progress, result: PruneResult, reloaded: PrunableModel) -> None:
        options = {"batch_size": BATCH_SIZE}
        told = _part(progress, 5, 35, "Comparing masked, pruned and reloaded")
        result.verification = verify_pruning(loaded.model, result.pruned, texts, reloaded=reloaded, progress=told, **options)
        told = _part(progress, 35, 100, f"Measuring {N_RANDOM} random choices of as many heads")
        options |= {"n_random": N_RANDOM, "cache": cache}
        result.random_baseline = random_baseline(loaded.model, texts, result.cut.kept, progress=told, **options)

    def take(result: PruneResult, whole: bool) -> None:
        st.session_state["pruned"] = result

    start_exclusive_job("Pruning for good", work, take, "The heads could not be removed")


def start_logit_comparison(loaded: Workspace, result: PruneResult, text: str) -> None:
    """The logits of the whole, the masked, the pruned and the reloaded model on one text."""

    def work(progress) -> LogitComparison:
        progress(0, 2, "Reading the folder again")
        reloaded = PrunableModel.from_pretrained(result.folder, device=str(loaded.model.device))
        progress(1, 2, "Comparing logits")
        return compare_logits(loaded.model, result.pruned, as_examples([text]), reloaded=reloaded)

    def take(found: LogitComparison, whole: bool) -> None:
        result.said = found

    start_exclusive_job(COMPARING, work, take, "The text could not be run")


def start_timing(loaded: Workspace, result: PruneResult, batch_sizes: tuple[int, ...], lengths: tuple[int, ...]) -> None:
    """Time the whole and the smaller model in turn."""

    def work(progress) -> pd.DataFrame:
        options = {"batch_sizes": batch_sizes, "sequence_length": lengths, "repeats": PAIRS, "progress": progress}
        return measure_latency(result.pruned, compare=loaded.model, **options)

    def take(frame: pd.DataFrame, whole: bool) -> None:
        result.speed = frame

    start_exclusive_job(TIMING, work, take, "The models could not be timed")


def start_recovering(loaded: Workspace, result: PruneResult, request: RecoverRequest) -> None:
    """Fine-tune the smaller model for a while; a run that is cancelled keeps what it has learned."""
    judged, learned = tested_texts(loaded, result.request.size), None

    def work(progress) -> tuple[PrunableModel, Recovery]:
        nonlocal learned
        progress(0, request.steps, "Reading texts to learn from")
        texts, split = training_texts(loaded, min(request.steps * BATCH_SIZE, MAX_TRAINING_EXAMPLES))
        learned = TrainingData(split, None if judged is None else overlap(texts, judged))
        options = {"steps": request.steps, "batch_size": BATCH_SIZE, "evaluation": judged, "progress": progress}
        options |= {"dtype": loaded.options.dtype}
        return recover(result.pruned, texts, objective=request.objective, teacher=loaded.model, **options)

    def take(found: tuple[PrunableModel, Recovery], whole: bool) -> None:
        (result.recovered, result.recovery), result.learned = found, learned
        result.onnx.pop(True, None)

    start_exclusive_job(RECOVERING, work, take, "The model could not be fine-tuned")


def start_onnx(result: PruneResult, recovered: bool) -> None:
    """Export the model that is to be taken home to ONNX, and check it with ONNX Runtime."""
    model = result.recovered if recovered else result.pruned

    def work(progress) -> OnnxExport:
        return export_onnx(model, result.place / f"{'recovered' if recovered else 'pruned'}.onnx", progress=progress)

    def take(found: OnnxExport, whole: bool) -> None:
        result.onnx[recovered] = found

    start_exclusive_job(EXPORTING, work, take, "The model could not be exported")


def pruned_result(loaded: Workspace) -> PruneResult | None:
    """What was pruned of `loaded`, if anything was."""
    result = st.session_state.get("pruned")
    return result if result is not None and result.request.key == loaded.key else None


def tested_texts(loaded: Workspace, size: int):
    """The first `size` texts for testing; None where there are none."""
    if loaded.evaluation is None:
        return None
    # named rather than hashed: the library's hashing swaps the process's standard output, which sessions share
    return loaded.evaluation.select(range(size), new_fingerprint=f"{loaded.key}-{size}")


def training_texts(loaded: Workspace, size: int):
    """Up to `size` texts to learn from, and their split: training rows where the text has them, else those that scores may
    be taken from."""
    request = loaded.request
    source = request.table if request.table is not None else request.text
    options = {"size": size, "columns": request.columns, "subset": request.subset}
    if request.table is None:
        for split in ("training", "train"):
            try:
                return read_examples(source, split=split, **options)[0], split
            except HeadPruneError:
                continue
    return read_examples(source, split=request.splits[0], **options)[0], request.splits[0]


def _part(progress, start: int, end: int, note: str):
    """Progress of a part of the job, from `start` to `end` of 100."""

    def told(done: int, total: int, _: str) -> None:
        progress(round(start + (end - start) * done / max(total, 1)), 100, note)

    return told
