"""What a user takes home of a pruned model: its record, the report, and the zip with everything in it.

Made when it is asked for, in a thread that has no session: so what the session knows is collected before.
"""

import shutil
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from headprune_core import PrunableModel, PruningRecord, html_report, write_bundle
from headprune_core.examples import overlap
from headprune_core.figures_record import record_figures

from .as_code import COLUMNS
from .curve_run import curves
from .prune_code import prune_command, prune_python
from .prune_run import PruneResult, tested_texts
from .session import ALPHA, setting
from .work import Work


@dataclass(frozen=True, eq=False)
class TakeHome:
    """One pruned model of `loaded` and all that is known of it. recovered: as fine-tuned, not as cut. alpha: the settings
    of the Alpha page by name. curves: those measured in this session."""

    loaded: Work
    result: PruneResult
    recovered: bool
    alpha: dict[str, object]
    curves: pd.DataFrame | None

    @property
    def model(self) -> PrunableModel:
        return self.result.recovered if self.recovered else self.result.pruned

    @cached_property
    def shared(self) -> int | None:
        """How many of the test texts gave the scores too."""
        texts = tested_texts(self.loaded, self.result.request.size)
        return None if texts is None else overlap(self.loaded.calibration, texts)

    @cached_property
    def record(self) -> PruningRecord:
        """What card and report tell."""
        loaded, result, choice = self.loaded, self.result, self.result.request.choice
        name = loaded.request.model
        return PruningRecord(
            source=Path(name).name if Path(name).is_dir() else name,  # where folders lie here is nobody's business
            revision=loaded.request.revision,
            chosen=choice.words,
            criterion=choice.criterion,
            alpha=choice.alpha,
            sparsity=choice.sparsity,
            scored_on=f"{len(loaded.calibration)} texts of {loaded.text_name}",
            measured_on=None
            if result.proof is None
            else f"the first {result.request.size} test texts of {loaded.text_name}",
            measured_with=self._measured_with(),
            settings=loaded.scores.settings | choice.settings,
            proof=result.proof,
            control=result.control,
            latency=result.speed,
            recovery=result.recovery if self.recovered else None,
        )

    def _measured_with(self) -> dict[str, object]:
        """The test texts as arguments of `load_examples`; empty where they are a user's own, which others lack."""
        request = self.loaded.request
        if self.result.proof is None or request.table is not None:
            return {}
        given = dict(zip(COLUMNS, request.columns, strict=True)) | {"subset": request.subset}
        told = {"source": request.text, "split": request.splits[1], "size": self.result.request.size}
        return told | {name: value for name, value in given.items() if value}

    def report(self) -> str:
        """One HTML file."""
        return html_report(
            self.loaded.model,
            self.model,
            self.record,
            scores=self.loaded.scores,
            curves=self.curves,
            code=prune_python(self.loaded, self.result.request),
            command=prune_command(self.loaded, self.result.request),
            notes=self.loaded.notes,
            shared=self.shared,
        )

    def bundle(self) -> bytes:
        """The zip: model and card, mask, scores, curves, figures, settings, report."""
        place = Path(tempfile.mkdtemp(prefix="headprune-"))
        try:
            self.model.save_pretrained(place / "model", record=self.record)
            write_bundle(
                place / "bundle.zip",
                place / "model",
                mask=self.result.cut.kept,
                record=self.record,
                scores=self.loaded.scores,
                curves=self.curves,
                report=self.report(),
                figures=record_figures(self.model, self.record, scores=self.loaded.scores, curves=self.curves),
                settings=self.settings(),
                row_names=self.model.grid.row_names,
            )
            return (place / "bundle.zip").read_bytes()
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def settings(self) -> dict[str, object]:
        """Everything that was set, as JSON has it."""
        request, wanted = self.loaded.request, self.result.request
        return {
            "model": request.model,
            "revision": request.revision,
            "text": self.loaded.text_name,
            "splits": list(request.splits),
            "scored_texts": len(self.loaded.calibration),
            "tested_texts": wanted.size,
            "scores": dict(self.loaded.scores.settings),
            "alpha_page": self.alpha,
            "chosen": wanted.choice.words,
            "inside_groups": wanted.inside_groups,
        }


def take_home(loaded: Work, result: PruneResult, recovered: bool) -> TakeHome:
    """With what this session knows by now."""
    measured = curves(loaded)
    frame = None if measured is None or measured.curves is None else measured.curves.frame
    return TakeHome(loaded, result, recovered, {name: setting(name) for name in ALPHA}, frame)
