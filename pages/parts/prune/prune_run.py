"""Jobs on the pruned model: pruning with verification, logit comparison, benchmark, fine-tuning and ONNX export."""

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
from headprune_core.temporary_folders import create_folder, delete_folder
from pages.parts.common.background import start_exclusive_job
from pages.parts.common.hosting import hosting
from pages.parts.common.server_cache import shared
from pages.parts.common.workspace import BATCH_SIZE, Workspace, check_tokens

from .mask_source import Choice

N_RANDOM = 20  # random masks of the same size
N_MASKS = N_RANDOM + 6  # evaluations in all: the mask, the pruned and the reloaded model, each beside the unpruned one
TIMING_REPEATS = 9  # pairs of runs
PRUNING, COMPARING, TIMING, RECOVERING, EXPORTING, PACKING = (  # names of jobs
    "Pruning the model",
    "Comparing logits",
    "Timing both models",
    "Fine-tuning",
    "Exporting to ONNX",
    "Building the zip",
)
MAX_TRAINING_EXAMPLES = 4096  # a longer fine-tuning run sees them again


@dataclass(frozen=True)
class PruneRequest:
    """The mask, the workspace's key, the treatment of partially pruned KV groups, and the number of evaluation examples."""

    key: str
    choice: Choice
    partial_groups: str
    size: int


@dataclass(frozen=True)
class RecoverRequest:
    """Optimizer steps, and the training target: "labels" or "teacher", as in `recover`."""

    steps: int
    objective: str


@dataclass(frozen=True)
class TrainingData:
    """The split that a fine-tuning run used, and its overlap with the evaluation examples; None without evaluation."""

    split: str
    shared: int | None


@dataclass(eq=False)
class PruneResult:
    """The pruned model, saved in a folder that is deleted with the result, and its results so far.

    verification, random_baseline: None without evaluation examples, or if their evaluation was cancelled. The others: None
    until the user starts them.
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
    learned: TrainingData | None = None
    logit_comparison: LogitComparison | None = None
    onnx: dict[bool, OnnxExport] = field(default_factory=dict)  # True: of the fine-tuned model
    zips: dict[bool, object] = field(default_factory=dict)  # likewise; see `export_bundle.Zip`

    def __post_init__(self):
        weakref.finalize(self, delete_folder, self.place)

    @property
    def folder(self) -> Path:
        return self.place / "model"


def start_pruning(loaded: Workspace, request: PruneRequest) -> None:
    """Prune, save and reload the model, compare the three models on held-out examples, and evaluate the random baseline.

    A cancelled run keeps the pruned model, if there is one by then, and the results so far.
    """
    examples, cache = evaluation_examples(loaded, request.size), shared().cache

    def work(progress) -> PruneResult:
        place = create_folder()
        try:
            progress(0, 100, "Removing the pruned heads")
            cut = plan_pruning(loaded.model.grid, request.choice.mask, partial_groups=request.partial_groups)
            pruned = prune_heads(loaded.model, cut.kept)
            progress(2, 100, "Saving and reloading the model")
            pruned.save_pretrained(place / "model")
            reloaded = PrunableModel.from_pretrained(place / "model", device=str(loaded.model.device))
        except BaseException:  # cancelled too
            delete_folder(place)
            raise
        result = PruneResult(request, cut, pruned, place, parameter_table(loaded.model, pruned))
        try:
            if examples is not None:
                measure(progress, result, reloaded)
        except Cancelled as stop:
            stop.partial = result
            raise
        return result

    def measure(progress, result: PruneResult, reloaded: PrunableModel) -> None:
        options = {"batch_size": BATCH_SIZE}
        options["progress"] = _part(progress, 5, 35, "Comparing the masked, pruned and reloaded models")
        result.verification = verify_pruning(loaded.model, result.pruned, examples, reloaded=reloaded, **options)
        options["progress"] = _part(progress, 35, 100, f"Evaluating {N_RANDOM} random masks of the same size")
        options |= {"n_random": N_RANDOM, "cache": cache}
        result.random_baseline = random_baseline(loaded.model, examples, result.cut.kept, **options)

    def take(result: PruneResult, complete: bool) -> None:
        st.session_state["pruned"] = result

    start_exclusive_job(PRUNING, work, take, "Pruning failed")


def start_logit_comparison(loaded: Workspace, result: PruneResult, text: str) -> None:
    """Compute the logits of the unpruned, masked, pruned and reloaded models on one input."""
    policy = hosting()

    def work(progress) -> LogitComparison:
        check_tokens(policy, loaded.model, as_examples([text]))
        progress(0, 2, "Reloading the model")
        reloaded = PrunableModel.from_pretrained(result.folder, device=str(loaded.model.device))
        progress(1, 2, "Comparing logits")
        return compare_logits(loaded.model, result.pruned, as_examples([text]), reloaded=reloaded)

    def take(comparison: LogitComparison, complete: bool) -> None:
        result.logit_comparison = comparison

    start_exclusive_job(COMPARING, work, take, "Comparing logits failed")


def start_timing(loaded: Workspace, result: PruneResult, batch_sizes: tuple[int, ...], lengths: tuple[int, ...]) -> None:
    """Time the unpruned and the pruned model alternately."""

    def work(progress) -> pd.DataFrame:
        options = {"batch_sizes": batch_sizes, "sequence_length": lengths, "repeats": TIMING_REPEATS, "progress": progress}
        return measure_latency(result.pruned, compare=loaded.model, **options)

    def take(frame: pd.DataFrame, complete: bool) -> None:
        result.speed = frame

    start_exclusive_job(TIMING, work, take, "The benchmark failed")


def start_recovering(loaded: Workspace, result: PruneResult, request: RecoverRequest) -> None:
    """Fine-tune the pruned model. A cancelled run keeps the steps that it has made."""
    evaluation, learned, policy = evaluation_examples(loaded, result.request.size), None, hosting()

    def work(progress) -> tuple[PrunableModel, Recovery]:
        nonlocal learned
        progress(0, request.steps, "Reading training examples")
        most = policy.capped(MAX_TRAINING_EXAMPLES)
        examples, split = training_examples(loaded, min(request.steps * BATCH_SIZE, most))
        check_tokens(policy, loaded.model, examples)
        learned = TrainingData(split, None if evaluation is None else overlap(examples, evaluation))
        options = {"steps": request.steps, "batch_size": BATCH_SIZE, "evaluation": evaluation, "progress": progress}
        options |= {"dtype": loaded.options.dtype}
        return recover(result.pruned, examples, objective=request.objective, teacher=loaded.model, **options)

    def take(tuned: tuple[PrunableModel, Recovery], complete: bool) -> None:
        (result.recovered, result.recovery), result.learned = tuned, learned
        result.onnx.pop(True, None)

    start_exclusive_job(RECOVERING, work, take, "Fine-tuning failed")


def start_onnx(result: PruneResult, recovered: bool) -> None:
    """Export the pruned or the fine-tuned model to ONNX, and verify it with ONNX Runtime."""
    model = result.recovered if recovered else result.pruned

    def work(progress) -> OnnxExport:
        return export_onnx(model, result.place / f"{'recovered' if recovered else 'pruned'}.onnx", progress=progress)

    def take(export: OnnxExport, complete: bool) -> None:
        result.onnx[recovered] = export

    start_exclusive_job(EXPORTING, work, take, "The ONNX export failed")


def pruned_result(loaded: Workspace) -> PruneResult | None:
    """The pruned model of `loaded`, or None."""
    result = st.session_state.get("pruned")
    return result if result is not None and result.request.key == loaded.key else None


def evaluation_examples(loaded: Workspace, size: int):
    """The first `size` evaluation examples, or None without an evaluation set."""
    if loaded.evaluation is None:
        return None
    # A given fingerprint avoids the library's hashing, which swaps the standard output that sessions share.
    return loaded.evaluation.select(range(size), new_fingerprint=f"{loaded.key}-{size}")


def training_examples(loaded: Workspace, size: int):
    """Up to `size` training examples and their split: the training split if there is one, else the calibration split."""
    request = loaded.request
    source, options = request.text if loaded.plan is None else loaded.plan, {"size": size}
    if loaded.plan is None or loaded.plan.split is not None:
        for split in ("training", "train"):
            try:
                return read_examples(source, split=split, **options)[0], split
            except HeadPruneError:
                continue
    return read_examples(source, split=request.splits[0], **options)[0], request.splits[0]


def _part(progress, start: int, end: int, note: str):
    """Progress of a part of the job, from `start` to `end` of 100."""

    def report(done: int, total: int, _: str) -> None:
        progress(round(start + (end - start) * done / max(total, 1)), 100, note)

    return report
