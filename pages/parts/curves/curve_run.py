"""The job that evaluates the curves: its request, and the results so far.

All points are evaluated together, batch by batch. Predictions are kept in the result cache, so a cancelled run resumes
where it stopped when the same request is started again.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import datasets
import numpy as np
import streamlit as st
import torch

from headprune_core import CRITERIA, Curves, PrunableModel, ResultCache, evaluate_masks, measure_curves
from headprune_core.data.examples import overlap
from headprune_core.data.tasks import task_of
from headprune_core.jobs import Job
from pages.parts.common.failures import drop_failure, exceeds_masks, report_failure
from pages.parts.common.sentences import sentence
from pages.parts.common.server_cache import shared
from pages.parts.common.session import runner
from pages.parts.common.turns import WAITING
from pages.parts.common.workspace import BATCH_SIZE, Workspace

EVALUATING = "Evaluating curves"  # the name of the job


@dataclass(frozen=True)
class ExternalRanking:
    """A ranking that is not computed from the scores. key: its digest; how: its description; code: Python that makes it."""

    name: str
    key: str
    values: np.ndarray = field(compare=False, repr=False)
    how: str = ""
    code: tuple[str, ...] = ()
    by_command: bool = True  # whether the command line computes the same ranking


@dataclass(frozen=True)
class CurveRequest:
    """What to evaluate: criteria, sparsities, alpha of HIES, number of random rankings, evaluation examples.

    The examples are `size` of the evaluation set from index `start` on. given: the rankings of criteria that need one.
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
    def n_masks(self) -> int:
        """Number of masks to evaluate at most; equal ones are evaluated once."""
        random = sum(name in CRITERIA and CRITERIA[name].random for name in self.methods)
        return len(self.sparsities) * (len(self.methods) - random + random * self.n_random) + 1

    @property
    def rankings(self) -> dict[str, np.ndarray]:
        return {one.name: one.values for one in self.given}

    def texts(self, evaluation: datasets.Dataset, key: str) -> datasets.Dataset:
        """The evaluation examples; `key` names them."""
        # A given fingerprint avoids the library's hashing, which swaps the standard output that sessions share.
        indices = range(self.start, self.start + self.size)
        return evaluation.select(indices, new_fingerprint=f"{key}-{self.start}-{self.size}")

    def settings(self) -> dict:
        """The request as a JSON document."""
        document = {name: value for name, value in asdict(self).items() if name not in ("given", "start", "size")}
        return document | {
            "evaluation_texts": self.size,
            "first_evaluation_text": self.start,
            "rankings": {one.name: {"how": one.how, "ranking": one.values.tolist()} for one in self.given},
        }


@dataclass
class CurveResult:
    """The curves of one `Workspace`, so far or complete.

    shared: number of evaluation examples that are also calibration examples. same_decisions: share of examples on which
    the unpruned model predicts the same class as in float32; None for float32 and for token prediction.
    """

    key: str
    request: CurveRequest
    curves: Curves | None = None
    complete: bool = False
    shared: int | None = None
    same_decisions: float | None = None

    @property
    def measured(self) -> int:
        """Number of examples evaluated so far."""
        return 0 if self.curves is None else int(self.curves.frame.examples.iloc[0])


def start_curves(loaded: Workspace, request: CurveRequest) -> None:
    """Evaluate in the background. Results arrive batch by batch, and a cancelled run keeps what it has."""
    if exceeds_masks(request.n_masks):
        return
    result, server, before = CurveResult(loaded.key, request), shared(), curves(loaded)
    examples = request.texts(loaded.evaluation, loaded.key)

    def keep(found: Curves) -> None:
        result.curves = found

    def work(progress) -> tuple[Curves, float | None]:
        result.shared = overlap(loaded.calibration, examples)
        return server.curves.get((loaded.key, request), lambda: measure(progress), progress)

    def measure(progress) -> tuple[Curves, float | None]:
        def count(done: int, total: int, note: str) -> None:
            progress(done, total, note if note == WAITING else f"{note}: {result.measured} of {request.size} examples")

        with server.turns.hold(count) as report:
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
                progress=report,
                on_partial=keep,
            )
            return found, same_decisions(loaded.model, examples, request.dtype, server.cache, report)

    def deliver(job: Job) -> None:
        result.complete = job.state == "done"
        if result.complete:
            result.curves, result.same_decisions = job.result
        if result.curves is None and before is not None and before.curves is not None:
            st.session_state["curves"] = before  # nothing new: show the earlier result
        if job.error:
            report_failure(f"Evaluating the curves failed. {sentence(job.error)}", runner().view)

    if runner().start(EVALUATING, work, deliver):
        drop_failure()
        st.session_state["curves"] = result


def curves(loaded: Workspace) -> CurveResult | None:
    """The latest result for `loaded`; its curves are None until the first batch is done."""
    result = st.session_state.get("curves")
    return result if result is not None and result.key == loaded.key else None


def same_decisions(
    model: PrunableModel,
    examples: datasets.Dataset,
    dtype: str,
    cache: ResultCache | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> float | None:
    """Share of `examples` on which the unpruned model predicts the same class in `dtype` and as loaded.

    None for the precision that it was loaded in, for token prediction and for regression.
    """
    task = task_of(model)
    if model.in_precision(dtype) is model or task.by_token or not task.has_decisions:
        return None

    def report(done: int, total: int, note: str) -> None:
        if progress is not None:
            progress(done, total, "Comparing with float32")

    unpruned = np.ones((1, *model.grid.shape), bool)
    options = {"batch_size": BATCH_SIZE, "cache": cache, "progress": report}
    loaded, other = (evaluate_masks(model, examples, unpruned, dtype=d, **options).logits[0] for d in (None, dtype))
    return float(task.same(*(task.decisions(torch.from_numpy(logits)) for logits in (loaded, other))).double().mean())
