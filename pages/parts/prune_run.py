"""Heads cut out of the loaded model for good: the job, the proof that nothing else changed, and the folder as one zip."""

import json
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from headprune_core import Proof, PrunableModel, measure_latency, parameter_table, prove, prune_heads
from headprune_core.surgery import Cut, plan_cut

from .background import start_heavy
from .work import BATCH_SIZE, Work

BATCHES = (1, 8)  # whose speed is measured, in examples
TOKENS = 64
PAIRS = 9


@dataclass(frozen=True)
class PruneRequest:
    """Which mask of which model, what becomes of groups that it cuts, and on how many texts it is proved."""

    key: str
    words: str
    mask: tuple[tuple[bool, ...], ...]
    inside_groups: str
    size: int

    @property
    def array(self) -> np.ndarray:
        return np.array(self.mask, bool)


@dataclass
class PruneResult:
    """The smaller model, the proof, and the zip of its folder, which goes when the result does."""

    request: PruneRequest
    cut: Cut
    pruned: PrunableModel
    proof: Proof | None
    table: pd.DataFrame
    zip: Path
    speed: pd.DataFrame | None = None

    def __post_init__(self):
        weakref.finalize(self, shutil.rmtree, self.zip.parent, ignore_errors=True)


def start_pruning(loaded: Work, request: PruneRequest) -> None:
    """Cut, save, load again from the folder, and compare the three forms on texts that the scores have not seen."""
    texts = None
    if loaded.evaluation is not None:
        # named rather than hashed: the library's hashing swaps the process's standard output, which sessions share
        texts = loaded.evaluation.select(range(request.size), new_fingerprint=f"{loaded.key}-{request.size}")

    def work(progress) -> PruneResult:
        place = Path(tempfile.mkdtemp(prefix="headprune-"))
        try:
            return cut_out(progress, place)
        except BaseException:  # cancelled too
            shutil.rmtree(place, ignore_errors=True)
            raise

    def cut_out(progress, place: Path) -> PruneResult:
        progress(0, 4, "Cutting the heads out")
        cut = plan_cut(loaded.model.grid, request.array, inside_groups=request.inside_groups)
        pruned = prune_heads(loaded.model, cut.kept)
        folder = place / "model"
        progress(1, 4, "Writing the folder and reading it again")
        pruned.save_pretrained(folder)
        reloaded = PrunableModel.from_pretrained(folder, device=str(loaded.model.device))
        (folder / "mask.json").write_text(json.dumps({"mask": cut.kept.tolist(), "chosen": request.words}))
        shutil.make_archive(str(folder), "zip", folder)
        shutil.rmtree(folder)

        def told(done: int, total: int, note: str) -> None:
            progress(total + done, 2 * total, "Comparing masked, pruned and reloaded")

        proof = None
        if texts is not None:
            proof = prove(loaded.model, pruned, texts, reloaded=reloaded, batch_size=BATCH_SIZE, progress=told)
        return PruneResult(request, cut, pruned, proof, parameter_table(loaded.model, pruned), place / "model.zip")

    def take(result: PruneResult, whole: bool) -> None:
        st.session_state["pruned"] = result

    start_heavy("Pruning for good", work, take, "The heads could not be removed")


def start_timing(loaded: Work, result: PruneResult) -> None:
    """Time the whole and the smaller model in turn."""

    def work(progress) -> pd.DataFrame:
        options = {"batch_sizes": BATCHES, "sequence_length": TOKENS, "repeats": PAIRS, "progress": progress}
        return measure_latency(result.pruned, compare=loaded.model, **options)

    def take(frame: pd.DataFrame, whole: bool) -> None:
        result.speed = frame

    start_heavy("Timing both models", work, take, "The models could not be timed")


def pruned_result(loaded: Work) -> PruneResult | None:
    """What was pruned of `loaded`, if anything was."""
    result = st.session_state.get("pruned")
    return result if result is not None and result.request.key == loaded.key else None
