"""What a user takes home of a pruned model: its record, the report, and the zip with everything in it.

Made when it is asked for, in a thread that has no session: so what the session knows is collected before.
"""

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from headprune_core import HeadPruneError, PrunableModel, PruningRecord, html_report, write_bundle
from headprune_core.data.examples import describe_overlap, overlap
from headprune_core.report.export_figures import export_figures
from pages.parts.common.as_code import COLUMNS
from pages.parts.common.background import start_exclusive_job
from pages.parts.common.session import ALPHA, setting
from pages.parts.common.workspace import Workspace
from pages.parts.curves.curve_run import curves

from .prune_code import FineTuningInfo, prune_command, prune_python
from .prune_run import PACKING, PruneResult, tested_texts


@dataclass(frozen=True, eq=False)
class ExportBundle:
    """One pruned model of `loaded` and all that is known of it. recovered: as fine-tuned, not as cut. alpha: the settings
    of the Alpha page by name. curves: those measured in this session."""

    loaded: Workspace
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
            mask_description=choice.words,
            criterion=choice.criterion,
            alpha=choice.alpha,
            sparsity=choice.sparsity,
            calibration_data=f"{len(loaded.calibration)} texts of {loaded.text_name}",
            evaluation_data=None
            if result.verification is None
            else f"the first {result.request.size} test texts of {loaded.text_name}",
            training_data=self._learned_on(),
            evaluation_source=self._measured_with(),
            settings=loaded.scores.settings | choice.settings,
            verification=result.verification,
            random_baseline=result.random_baseline,
            latency=result.speed,
            recovery=result.recovery if self.recovered else None,
        )

    def _learned_on(self) -> str | None:
        if not self.recovered:
            return None
        learned = self.result.learned
        told = f"the {learned.split} texts of {self.loaded.text_name}"
        return told if learned.shared is None else f"{told}; {describe_overlap(learned.shared)}"

    def _measured_with(self) -> dict[str, object]:
        """The test texts as arguments of `load_examples`; empty where they are a user's own, which others lack."""
        request = self.loaded.request
        if self.result.verification is None or request.table is not None:
            return {}
        given = dict(zip(COLUMNS, request.columns, strict=True)) | {"subset": request.subset}
        told = {"source": request.text, "split": request.splits[1], "size": self.result.request.size}
        return told | {name: value for name, value in given.items() if value}

    @property
    def tuned(self) -> FineTuningInfo | None:
        """The fine-tune, where it is the model that is taken home."""
        return FineTuningInfo(self.result.recovery, self.result.learned.split) if self.recovered else None

    @property
    def code(self) -> str:
        """Python that makes this model again."""
        return prune_python(self.loaded, self.result.request, self.tuned)

    @property
    def command(self) -> str:
        """A command that does, with the mask out of the zip."""
        return prune_command(self.loaded, self.result.request, self.tuned)

    def report(self) -> str:
        """One HTML file."""
        return html_report(
            self.loaded.model,
            self.model,
            self.record,
            scores=self.loaded.scores,
            curves=self.curves,
            code=self.code,
            command=self.command,
            notes=self.loaded.notes,
            shared=self.shared,
        )

    def bundle(self, progress=lambda done, total, note: None) -> Path:
        """The zip: model and card, mask, scores, curves, figures, settings, report. It goes when the result does."""
        place = self.result.place / "packing"
        zipped = self.result.place / f"{'recovered' if self.recovered else 'pruned'}.zip"
        try:
            place.mkdir()
            progress(0, 4, "Writing the model and its card")
            self.model.save_pretrained(place / "model", record=self.record)
            progress(1, 4, "Writing the report")
            report = self.report()
            progress(2, 4, "Drawing the figures")
            figures = export_figures(self.model, self.record, scores=self.loaded.scores, curves=self.curves)
            progress(3, 4, "Packing the zip")
            return write_bundle(
                zipped,
                place / "model",
                mask=self.result.cut.kept,
                record=self.record,
                scores=self.loaded.scores,
                curves=self.curves,
                report=report,
                figures=figures,
                settings=self.settings(),
                row_names=self.model.grid.row_names,
            )
        except OSError as error:  # the rest of them are told so already
            raise HeadPruneError(f"{place} cannot be written ({error.strerror}); expected room there: make some") from error
        finally:
            shutil.rmtree(place, ignore_errors=True)

    @property
    def parts(self) -> tuple[object, ...]:
        """What a zip tells that may change while the pruned model stays the same, beside alpha."""
        return self.loaded.scores, self.curves, self.result.speed, self.model

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
            "mask_description": wanted.choice.words,
            "partial_groups": wanted.partial_groups,
        }


def export_bundle(loaded: Workspace, result: PruneResult, recovered: bool) -> ExportBundle:
    """With what this session knows by now."""
    measured = curves(loaded)
    frame = None if measured is None or measured.curves is None else measured.curves.frame
    return ExportBundle(loaded, result, recovered, {name: setting(name) for name in ALPHA}, frame)


@dataclass(frozen=True, eq=False)
class Zip:
    """A zip that was made, and of what: `ExportBundle.alpha` and `ExportBundle.parts`."""

    file: Path
    alpha: dict[str, object]
    parts: tuple[object, ...]


def start_packing(home: ExportBundle) -> None:
    """Make the zip in the background."""
    parts = home.parts

    def take(file: Path, whole: bool) -> None:
        home.result.zips[home.recovered] = Zip(file, home.alpha, parts)

    start_exclusive_job(PACKING, home.bundle, take, "The zip could not be made")


def packed(home: ExportBundle) -> Path | None:
    """The zip, where one was made that tells all that is known by now."""
    made = home.result.zips.get(home.recovered)
    if made is None or made.alpha != home.alpha or any(a is not b for a, b in zip(made.parts, home.parts, strict=True)):
        return None
    return made.file
