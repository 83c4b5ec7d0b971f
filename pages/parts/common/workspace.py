"""What a session works on: the request (which model, which text), and what came of it (model, examples, scores).

Loading is one job: read the text, load the model, score the heads. What was loaded before stays until the new is whole.
"""

import hashlib
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property

import datasets
import pandas as pd

from headprune_core import HeadPruneError, HeadScores, PrunableModel, score_heads
from headprune_core.data.encoding import truncation_note, encode
from headprune_core.data.examples import read_examples
from headprune_core.scores.objectives import OBJECTIVES

from .server_cache import ServerState, hold_lock

EVALUATION_ROWS = 960  # at most; the curves page may use fewer
BATCH_SIZE = 32  # texts at once when scoring; HIS by batch depends on it
NO_LABELS = "The text has no labels, so {what} is taken against the model's own answers."


@dataclass(frozen=True)
class ScoreOptions:
    """How heads are scored, by the names of `score_heads`; the defaults are the papers'."""

    his_reduction: str = "example"
    objective: str = "loss"
    gnorm_objective: str = "logit_norm"
    entropy: str = "exact"
    special_tokens: bool = True
    dtype: str = "float32"

    @property
    def run(self) -> dict:
        """Those that need a run of the model: all but the reduction, which is chosen afterwards."""
        return {name: value for name, value in asdict(self).items() if name != "his_reduction"}

    def fitting(self, *, answers: bool) -> tuple["ScoreOptions", list[str]]:
        """The options that can be had with or without right answers, and a note on each that changed."""
        changed, notes = {}, []
        for name, what in (("objective", "importance"), ("gnorm_objective", "Gnorm")):
            if getattr(self, name) == "loss" and not answers:
                changed[name] = "prediction"
                notes.append(NO_LABELS.format(what=what))
        return replace(self, **changed), notes


@dataclass(frozen=True)
class Request:
    """Which model and which text to load, and how to score. table holds an upload or pasted lines; text then names it."""

    model: str = "embedded"
    revision: str | None = None
    text: str = "embedded"
    table: pd.DataFrame | None = field(default=None, compare=False, repr=False)
    columns: tuple[str | None, str | None, str | None] = (None, None, None)
    subset: str | None = None
    splits: tuple[str, str] = ("calibration", "evaluation")
    size: int = 32
    options: ScoreOptions = ScoreOptions()


@dataclass(frozen=True, eq=False)
class Workspace:
    """One model with one text, scored. evaluation is None, with a note, where the text has no rows left for it."""

    request: Request
    model: PrunableModel
    calibration: datasets.Dataset
    evaluation: datasets.Dataset | None
    lengths: tuple[int, ...]
    scores: HeadScores
    data_notes: tuple[str, ...]

    @property
    def text_name(self) -> str:
        return "embedded tweets" if self.request.text == "embedded" else self.request.text

    @property
    def labelled(self) -> bool:
        return "label" in self.calibration.column_names

    @property
    def objectives(self) -> tuple[str, ...]:
        """What can be differentiated: the task loss only where there are right answers."""
        return OBJECTIVES if _answers(self.model, self.calibration) else tuple(o for o in OBJECTIVES if o != "loss")

    @property
    def options(self) -> ScoreOptions:
        """What the scores were computed with: the request's options, as far as they fit."""
        return _fitting(self.request.options, self.model, self.calibration)[0]

    @property
    def notes(self) -> tuple[str, ...]:
        return (*self.data_notes, *_fitting(self.request.options, self.model, self.calibration)[1])

    @cached_property
    def run_key(self) -> str:
        """A digest of what the scores come from, but for the reduction."""
        return _run_key(self.request, self.calibration, self.options)

    @cached_property
    def key(self) -> str:
        """A digest of model, text and options: what computed from one must not show under another."""
        return digest(self.run_key, self.options.his_reduction, self.evaluation)

    def reduced_by(self, reduction: str) -> "Workspace":
        """The same work with HIS by another reduction. No model run."""
        options = replace(self.request.options, his_reduction=reduction)
        return replace(self, request=replace(self.request, options=options), scores=self.scores.reduced_by(reduction))

    def in_precision(self, dtype: str, shared: ServerState) -> HeadScores | None:
        """The scores of the same text by the same options in another precision, where they were computed lately."""
        return shared.scores.peek(_run_key(self.request, self.calibration, replace(self.options, dtype=dtype)))

    def label_names(self, values) -> list[str]:
        """Labels as people read them: the data's own names, else the model's."""
        feature = self.calibration.features["label"]
        names = feature.names if isinstance(feature, datasets.ClassLabel) else self.model.labels
        return [names[v] if isinstance(v, int) and 0 <= v < len(names) else str(v) for v in values]


def load(request: Request, shared: ServerState, progress) -> Workspace:
    """Do what `request` asks, telling `progress` of each step."""
    progress(0, 4, "Reading the text")
    source = request.table if request.table is not None else request.text
    options = {"columns": request.columns, "subset": request.subset}
    calibration, notes = read_examples(source, split=request.splits[0], size=request.size, **options)
    evaluation = None
    try:
        evaluation, more = read_examples(source, split=request.splits[1], size=EVALUATION_ROWS, **options)
        notes += [note for note in more if note not in notes and "were asked for" not in note]
    except HeadPruneError as reason:
        notes.append(f"Accuracy cannot be measured: {reason}.")
    progress(1, 4, "Loading the embedded model" if request.model == "embedded" else f"Loading {request.model}")
    model = shared.models.get(
        (request.model, request.revision),
        lambda: PrunableModel.from_pretrained(request.model, revision=request.revision),
        progress,
    )
    progress(2, 4, "Making tokens")
    if model.reads_images:
        raise HeadPruneError(
            f"{model.name} reads images, and what was chosen to score on is text; the app takes text models: score this one "
            "in a notebook, with score_heads(model, a Dataset with a column image or pixel_values)"
        )
    encoded = encode(model, calibration)
    if encoded.truncated:
        notes.append(truncation_note(encoded.truncated, len(encoded), encoded.longest, model.max_tokens))
    scores = _score(request, model, calibration, shared, lambda d, total, note: progress(2 * total + d, 4 * total, note))
    return Workspace(request, model, calibration, evaluation, tuple(encoded.lengths.tolist()), scores, tuple(notes))


def rescore(work: Workspace, options: ScoreOptions, shared: ServerState, progress) -> Workspace:
    """The same model and text, scored by other options."""
    request = replace(work.request, options=options)
    return replace(work, request=request, scores=_score(request, work.model, work.calibration, shared, progress))


def _score(request: Request, model, calibration, shared: ServerState, progress) -> HeadScores:
    """Scores from the shelf, or computed when it is this session's turn."""
    options, _ = _fitting(request.options, model, calibration)

    def score() -> HeadScores:
        with hold_lock(shared.heavy, progress):
            return score_heads(model, calibration, batch_size=BATCH_SIZE, progress=progress, **options.run)

    scores = shared.scores.get(_run_key(request, calibration, options), score, progress)
    return scores.reduced_by(options.his_reduction)


def _answers(model: PrunableModel, calibration: datasets.Dataset) -> bool:
    """Whether there is something right to be said: labels, or the tokens that a language model predicts."""
    return model.task != "classification" or "label" in calibration.column_names


def _fitting(options: ScoreOptions, model, calibration) -> tuple[ScoreOptions, list[str]]:
    return options.fitting(answers=_answers(model, calibration))


def _run_key(request: Request, calibration, options: ScoreOptions) -> str:
    return digest(request.model, request.revision, calibration, options.run)


def digest(*parts) -> str:
    """A content hash of names and data sets."""
    total = hashlib.sha256()
    for part in parts:
        content = part.to_pandas().to_json() if isinstance(part, datasets.Dataset) else repr(part)
        total.update(content.encode() + b"\0")
    return total.hexdigest()[:24]
