"""The export of a pruned model: its record, the report, and the zip with all files.

The zip is built in a thread without a session, so the session's settings are collected before.
"""

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from headprune_core import HeadPruneError, PrunableModel, PruningRecord, html_report, write_bundle
from headprune_core.data.examples import describe_overlap, overlap
from headprune_core.report.export_figures import export_figures
from pages.parts.common.background import start_exclusive_job
from pages.parts.common.session import ALPHA, setting
from pages.parts.common.workspace import Workspace
from pages.parts.curves.curve_run import curves

from .prune_code import FineTuningInfo, prune_command, prune_python
from .prune_run import PACKING, PruneResult, evaluation_examples


@dataclass(frozen=True, eq=False)
class ExportBundle:
    """One pruned model of `loaded` with all its results. recovered: the fine-tuned model. alpha: settings of the Alpha page
    by name. curves: those evaluated in this session."""

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
        """How many evaluation examples are also calibration examples."""
        examples = evaluation_examples(self.loaded, self.result.request.size)
        return None if examples is None else overlap(self.loaded.calibration, examples)

    @cached_property
    def record(self) -> PruningRecord:
        """The facts of the model card and the report."""
        loaded, result, choice = self.loaded, self.result, self.result.request.choice
        name = loaded.request.model
        return PruningRecord(
            source=Path(name).name if Path(name).is_dir() else name,  # the path of a local folder is private
            revision=loaded.request.revision,
            mask_description=choice.words,
            criterion=choice.criterion,
            alpha=choice.alpha,
            sparsity=choice.sparsity,
            calibration_data=f"{len(loaded.calibration)} examples of {loaded.text_name} ({loaded.request.splits[0]})",
            evaluation_data=None
            if result.verification is None
            else f"{result.request.size} examples of {loaded.text_name} ({loaded.request.splits[1]})",
            training_data=self._training_data(),
            reading=() if loaded.plan is None else tuple(loaded.plan.describe(examples=False)),
            evaluation_source=self._evaluation_source(),
            settings=loaded.scores.settings | choice.settings,
            verification=result.verification,
            random_baseline=result.random_baseline,
            latency=result.speed,
            recovery=result.recovery if self.recovered else None,
        )

    def _training_data(self) -> str | None:
        if not self.recovered:
            return None
        learned = self.result.learned
        text = f"examples of {self.loaded.text_name} ({learned.split})"
        return text if learned.shared is None else f"{text}; {describe_overlap(learned.shared)}"

    def _evaluation_source(self) -> dict[str, object]:
        """The evaluation examples as arguments of `load_examples`; empty for an upload, which other people lack."""
        request = self.loaded.request
        plan = self.loaded.plan
        if self.result.verification is None or (plan is not None and plan.file_type != "hub"):
            return {}
        source = {"source": request.text, "split": request.splits[1], "size": self.result.request.size}
        return source | ({} if plan is None else plan.settings)

    @property
    def tuned(self) -> FineTuningInfo | None:
        """The fine-tuning run, if the exported model is the fine-tuned one."""
        return FineTuningInfo(self.result.recovery, self.result.learned.split) if self.recovered else None

    @property
    def code(self) -> str:
        """Python that reproduces this model."""
        return prune_python(self.loaded, self.result.request, self.tuned)

    @property
    def command(self) -> str:
        """A command that does, with the mask from the zip."""
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
            n_overlap=self.shared,
            text=self.loaded.calibration[0]["text"] if "text" in self.loaded.calibration.column_names else None,
        )

    def bundle(self, progress=lambda done, total, note: None) -> Path:
        """Build the zip: model and card, mask, scores, curves, figures, settings, report. It is deleted with the result."""
        temp_dir = self.result.place / "packing"
        zipped = self.result.place / f"{'recovered' if self.recovered else 'pruned'}.zip"
        try:
            temp_dir.mkdir()
            progress(0, 4, "Writing the model and its card")
            self.model.save_pretrained(temp_dir / "model", record=self.record)
            progress(1, 4, "Writing the report")
            report = self.report()
            progress(2, 4, "Drawing the figures")
            figures = export_figures(self.model, self.record, scores=self.loaded.scores, curves=self.curves)
            progress(3, 4, "Compressing the zip")
            return write_bundle(
                zipped,
                temp_dir / "model",
                mask=self.result.cut.kept,
                record=self.record,
                scores=self.loaded.scores,
                curves=self.curves,
                report=report,
                figures=figures,
                settings=self.settings(),
                row_names=self.model.grid.row_names,
            )
        except OSError as error:  # other functions translate their errors themselves
            raise HeadPruneError(f"cannot write {temp_dir} ({error.strerror}); free disk space and build again") from error
        finally:
            shutil.rmtree(temp_dir, ignore_errors=True)

    @property
    def parts(self) -> tuple[object, ...]:
        """Contents of the zip that may change while the pruned model stays the same, in addition to alpha."""
        return self.loaded.scores, self.curves, self.result.speed, self.model

    def settings(self) -> dict[str, object]:
        """All settings as a JSON document."""
        request, wanted = self.loaded.request, self.result.request
        return {
            "model": request.model,
            "revision": request.revision,
            "text": self.loaded.text_name,
            "splits": list(request.splits),
            "scored_texts": len(self.loaded.calibration),
            "evaluation_examples": wanted.size,
            "scores": dict(self.loaded.scores.settings),
            "alpha_page": self.alpha,
            "mask_description": wanted.choice.words,
            "partial_groups": wanted.partial_groups,
        }


def export_bundle(loaded: Workspace, result: PruneResult, recovered: bool) -> ExportBundle:
    """The export with everything that this session has computed so far."""
    evaluated = curves(loaded)
    frame = None if evaluated is None or evaluated.curves is None else evaluated.curves.frame
    return ExportBundle(loaded, result, recovered, {name: setting(name) for name in ALPHA}, frame)


@dataclass(frozen=True, eq=False)
class Zip:
    """A zip, and what it was built from: `ExportBundle.alpha` and `ExportBundle.parts`."""

    file: Path
    alpha: dict[str, object]
    parts: tuple[object, ...]


def start_packing(bundle: ExportBundle) -> None:
    """Build the zip in the background."""
    parts = bundle.parts

    def take(file: Path, complete: bool) -> None:
        bundle.result.zips[bundle.recovered] = Zip(file, bundle.alpha, parts)

    start_exclusive_job(PACKING, bundle.bundle, take, "Building the zip failed")


def cached_zip(bundle: ExportBundle) -> Path | None:
    """The zip, if one was built from everything that is known by now."""
    made = bundle.result.zips.get(bundle.recovered)
    if made is None or made.alpha != bundle.alpha:
        return None
    return made.file if all(a is b for a, b in zip(made.parts, bundle.parts, strict=True)) else None
