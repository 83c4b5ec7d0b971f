"""Running the curves for a page: the request, the job, and what has been measured so far.

All points are measured together and sharpen text by text. Answers are kept on disk, so a run that was cut short and is
asked for again goes on where it stopped.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import datasets
import numpy as np
import streamlit as st

from headprune_core import CRITERIA, Curves, PrunableModel, ResultCache, evaluate_masks, measure_curves
from headprune_core.data.examples import overlap
from headprune_core.jobs import Job
from pages.parts.common.server_cache import hold_lock, shared
from pages.parts.common.session import runner
from pages.parts.common.workspace import BATCH_SIZE, Workspace


@dataclass(frozen=True)
class ExternalRanking:
    """A ranking that scores do not hold. key: a digest of it; how: in words; code: lines of Python that make it."""

    name: str
    key: str
    values: np.ndarray = field(compare=False, repr=False)
    how: str = ""
    code: tuple[str, ...] = ()
    by_command: bool = True  # whether the command line makes the same


@dataclass(frozen=True)
class CurveRequest:
    """What to measure: methods, shares of heads removed, alpha for HIES, random orders, texts to test on.

    The texts are `size` of those for testing, from number `start` on. given: the rankings of methods that need one.
    """

    methods: tuple[str, ...]
    sparsities: tuple[float, ...]
    alpha: float
    n_random: int
    size: int
    start: int = 0
    dtype: str = "float32"
    given: tuple[ExternalRanking, ...] = ()

    @property
    def runs(self) -> int:
        """How many masks are to be evaluated at most; equal ones are run once."""
        random = sum(name in CRITERIA and CRITERIA[name].random for name in self.methods)
        return len(self.sparsities) * (len(self.methods) - random + random * self.n_random) + 1

    @property
    def rankings(self) -> dict[str, np.ndarray]:
        return {one.name: one.values for one in self.given}

    def texts(self, evaluation: datasets.Dataset, key: str) -> datasets.Dataset:
        """The texts to test on; `key` names them."""
        # named rather than hashed: the library's hashing swaps the process's standard output, which sessions share
        there = range(self.start, self.start + self.size)
        return evaluation.select(there, new_fingerprint=f"{key}-{self.start}-{self.size}")

    def settings(self) -> dict:
        """As a document has it."""
        document = {name: value for name, value in asdict(self).items() if name not in ("given", "start", "size")}
        return document | {
            "evaluation_texts": self.size,
            "first_evaluation_text": self.start,
            "rankings": {one.name: {"how": one.how, "ranking": one.values.tolist()} for one in self.given},
        }


@dataclass
class CurveResult:
    """What has been measured for one `Workspace`, so far or to the end.

    shared: how many of the texts gave the scores too. same_decisions: share of texts on which the unpruned model decides as
    in float32, where another precision was asked for and classes are decided on.
    """

    key: str
    request: CurveRequest
    curves: Curves | None = None
    complete: bool = False
    shared: int | None = None
    same_decisions: float | None = None

    @property
    def measured(self) -> int:
        """Texts measured so far."""
        return 0 if self.curves is None else int(self.curves.frame.examples.iloc[0])


def start_curves(loaded: Workspace, request: CurveRequest) -> None:
    """Measure in the background; points show from the first texts on, and a cancelled run keeps what was measured."""
    result, server, before = CurveResult(loaded.key, request), shared(), curves(loaded)
    examples = request.texts(loaded.evaluation, loaded.key)

    def keep(found: Curves) -> None:
        result.curves = found

    def work(progress) -> tuple[Curves, float | None]:
        result.shared = overlap(loaded.calibration, examples)
        return server.curves.get((loaded.key, request), lambda: measure(progress), progress)

    def measure(progress) -> tuple[Curves, float | None]:
        def told(done: int, total: int, note: str) -> None:
            progress(done, total, f"{note}: {result.measured} of {request.size} texts")

        with hold_lock(server.heavy, progress):
            found = measure_curves(
                loaded.model,
                examples,
                loaded.scores,
                methods=request.methods,
                alpha=request.alpha,
                n_random=request.n_random,
                sparsities=request.sparsities,
                rankings=request.rankings,
                batch_size=BATCH_SIZE,
                dtype=request.dtype,
                cache=server.cache,
                progress=told,
                on_partial=keep,
            )
            return found, same_decisions(loaded.model, examples, request.dtype, server.cache, progress)

    def deliver(job: Job) -> None:
        result.complete = job.state == "done"
        if result.complete:
            result.curves, result.same_decisions = job.result
        if result.curves is None and before is not None and before.curves is not None:
            st.session_state["curves"] = before  # nothing new: what was there is shown again
        if job.error:
            st.session_state["failure"] = f"The curves could not be measured: {job.error}."

    if runner().start("Measuring the curves", work, deliver):
        st.session_state["failure"] = None
        st.session_state["curves"] = result


def curves(loaded: Workspace) -> CurveResult | None:
    """What was asked for `loaded`; its curves are None until the first texts are through."""
    result = st.session_state.get("curves")
    return result if result is not None and result.key == loaded.key else None


def same_decisions(
    model: PrunableModel,
    examples: datasets.Dataset,
    dtype: str,
    cache: ResultCache | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> float | None:
    """The share of `examples` on which the unpruned model decides alike in `dtype` and as loaded.

    None for the precision it was loaded in, and where tokens are predicted.
    """
    if model.in_precision(dtype) is model or model.task != "classification":
        return None

    def told(done: int, total: int, note: str) -> None:
        if progress is not None:
            progress(done, total, "Comparing with float32")

    whole = np.ones((1, *model.grid.shape), bool)
    options = {"batch_size": BATCH_SIZE, "cache": cache, "progress": told}
    found = [evaluate_masks(model, examples, whole, dtype=d, **options).logits[0].argmax(-1) for d in (None, dtype)]
    return float((found[0] == found[1]).mean())
