"""What a session works on: the request for a model and a dataset, and the loaded model, examples and scores.

Loading is one job: read the dataset, load the model, score the heads.
"""

import hashlib
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property

import datasets
import numpy as np

from headprune_core import (
    HeadPruneError,
    HeadScores,
    PrunableModel,
    ReadingPlan,
    evaluate_masks,
    plan_examples,
    score_heads,
)
from headprune_core.cli.hosting import Hosting
from headprune_core.data.encoding import encode, truncation_note
from headprune_core.data.entities import entity_note
from headprune_core.data.examples import read_examples
from headprune_core.data.model_labels import configured_labels
from headprune_core.data.source_tables import HubDataset
from headprune_core.data.targets import example_targets, format_numbers
from headprune_core.data.tasks import IGNORED, has_targets, task_of
from headprune_core.model.builtin import is_builtin
from headprune_core.model.loading import check_not_local, has_hub_form
from headprune_core.scores.objectives import OBJECTIVES

from .server_cache import ServerState

EVALUATION_ROWS = 960  # maximum size of the evaluation set; pages may use fewer examples
CHECKED = 96  # examples that the unpruned model is evaluated on when a dataset is loaded
LOCAL = Hosting()  # the policy of a server on the user's own computer
BATCH_SIZE = 32  # examples per batch when scoring; the per-batch HIS depends on it
NO_LABELS = {  # by the objective that replaces the loss
    "prediction": "The dataset has no labels, so {what} uses the model's own predictions as targets.",
    "logit_norm": "The dataset has no labels, so {what} uses the norm of the model's outputs as the objective.",
}


@dataclass(frozen=True)
class ScoreOptions:
    """How heads are scored, with the argument names of `score_heads`; the defaults follow the papers."""

    his_reduction: str = "example"
    objective: str = "loss"
    gnorm_objective: str = "logit_norm"
    entropy: str = "exact"
    special_tokens: bool = True
    dtype: str = "float32"

    @property
    def run(self) -> dict:
        """The options that require rescoring: all but the reduction, which is applied to stored scores."""
        return {name: value for name, value in asdict(self).items() if name != "his_reduction"}

    def fitting(self, possible: tuple[str, ...]) -> tuple["ScoreOptions", list[str]]:
        """Return the options that use only possible objectives, and a note on each that changed."""
        changed, notes = {}, []
        other = next(objective for objective in ("prediction", "logit_norm") if objective in possible)
        for name, what in (("objective", "importance"), ("gnorm_objective", "Gnorm")):
            objective = getattr(self, name)
            if objective not in possible:
                changed[name] = "loss" if "loss" in possible else other
            if objective == "loss" and "loss" not in possible:
                notes.append(NO_LABELS[other].format(what=what))
        return replace(self, **changed), notes


@dataclass(frozen=True)
class Request:
    """Which model and dataset to load, and how to score.

    Attributes:
        model: A Hub ID, a folder, or "embedded" for the built-in model.
        is_folder: Whether `model` was entered as a folder; otherwise it is never one.
        revision: The Hub revision of the model.
        text: A Hub dataset ID, "embedded" for the built-in dataset, or the name of an upload.
        plan: How the dataset is read; None for the built-in dataset. That of a Hub dataset can be left to `load`.
        subset: The subset of a Hub dataset.
        splits: Names of the calibration and evaluation splits.
        size: Number of calibration examples.
        options: How to score.
    """

    model: str = "embedded"
    revision: str | None = None
    text: str = "embedded"
    plan: ReadingPlan | None = field(default=None, compare=False, repr=False)
    subset: str | None = None
    splits: tuple[str, str] = ("calibration", "evaluation")
    size: int = 32
    options: ScoreOptions = ScoreOptions()
    is_folder: bool = False


@dataclass(frozen=True)
class Check:
    """Accuracy of the unpruned model, share of the most frequent class, label set or tag, and number of examples."""

    accuracy: float
    chance: float
    n: int


@dataclass(frozen=True, eq=False)
class Workspace:
    """One model with one dataset, scored; evaluation is None if no examples are left for it, which a data note explains.

    `plan` says how the dataset was read, with its labels as classes of the model; None for the built-in dataset.
    `check` compares the unpruned model with chance on some of its labeled examples.

    `version` tells the content of the model from an earlier or later content of the same folder or Hub revision.
    """

    request: Request
    model: PrunableModel
    version: str
    calibration: datasets.Dataset
    evaluation: datasets.Dataset | None
    lengths: tuple[int, ...]
    scores: HeadScores
    data_notes: tuple[str, ...]
    plan: ReadingPlan | None = None
    check: Check | None = None

    @property
    def text_name(self) -> str:
        return "built-in tweets" if self.request.text == "embedded" else self.request.text

    @property
    def labelled(self) -> bool:
        return "label" in self.calibration.column_names

    @property
    def objectives(self) -> tuple[str, ...]:
        """The objectives that can be differentiated; see `_objectives`."""
        return _objectives(self.model, self.calibration)

    @property
    def options(self) -> ScoreOptions:
        """The options that the scores were computed with: those of the request, adapted to the dataset."""
        return _fitting(self.request.options, self.model, self.calibration)[0]

    @property
    def notes(self) -> tuple[str, ...]:
        return (*self.data_notes, *_fitting(self.request.options, self.model, self.calibration)[1])

    @property
    def model_key(self) -> tuple:
        """What determines the model: its source, and the version of its content."""
        return self.request.model, self.request.revision, self.version

    @cached_property
    def run_key(self) -> str:
        """A digest of everything that determines the scores except the reduction."""
        return digest(*self.model_key, self.calibration, self.options.run)

    @cached_property
    def key(self) -> str:
        """A digest of model, dataset and options; results of one workspace are not shown for another."""
        return digest(self.run_key, self.options.his_reduction, self.evaluation)

    def reduced_by(self, reduction: str) -> "Workspace":
        """Return the same workspace with another HIS reduction, without a forward pass."""
        options = replace(self.request.options, his_reduction=reduction)
        return replace(self, request=replace(self.request, options=options), scores=self.scores.reduced_by(reduction))

    def in_precision(self, dtype: str, shared: ServerState) -> HeadScores | None:
        """Return the scores by the same options in another precision; None if they were not computed recently."""
        options = replace(self.options, dtype=dtype)
        return shared.scores.peek(digest(*self.model_key, self.calibration, options.run))

    def label_names(self, values) -> list[str]:
        """Return label names: those of the dataset, else those of the model; the labels of a set are joined."""
        if self.model.task == "multi_label":
            sets = example_targets(self.model, self.calibration)
            return [", ".join(n for n, y in zip(self.model.labels, row, strict=True) if y) or "no label" for row in sets]
        if self.model.task == "regression":
            return [format_numbers(value) for value in values]
        feature = self.calibration.features["label"]
        names = feature.names if isinstance(feature, datasets.ClassLabel) else self.model.labels
        return [names[v] if isinstance(v, int) and 0 <= v < len(names) else str(v) for v in values]


def load(request: Request, shared: ServerState, progress, hosting: Hosting = LOCAL) -> Workspace:
    """Load and score what `request` describes.

    Args:
        request: What to load.
        shared: Caches of models and scores, and the turns at computing.
        progress: Called with (done, total, step) before each step.
        hosting: What the visitor may load, and how many examples and tokens.

    Returns:
        The scored workspace.

    Raises:
        HeadPruneError: If the model or dataset cannot be used.
    """
    progress(0, 4, "Reading the dataset")
    _check(request, hosting)
    plan = request.plan
    if plan is None and not is_builtin(request.text):
        known = configured_labels(request.model, request.revision)
        plan = plan_examples(HubDataset(request.text), model=known, subset=request.subset, split=request.splits[0])
    progress(1, 4, "Loading the built-in model" if request.model == "embedded" else f"Loading {request.model}")
    model, version = shared.model(request.model, request.revision, progress)
    progress(2, 4, "Tokenizing")
    if model.reads_images:
        raise HeadPruneError(
            f"{model.name} is a vision model, but the app supports text models only. To score it, use score_heads in a "
            "notebook with a Dataset that has an image or pixel_values column"
        )
    plan = None if plan is None else plan.for_model(model)
    calibration, evaluation, notes = _examples(request, plan, hosting)
    for examples in (calibration, evaluation):
        check_tokens(hosting, model, examples)
    encoded = encode(model, calibration)
    if encoded.truncated:
        notes.append(truncation_note(encoded.truncated, len(encoded), encoded.longest, model.max_tokens))
    notes += [note for note in (entity_note(model), model.note) if note]
    lengths = tuple(encoded.lengths.tolist())
    key = (request.model, request.revision, version)
    scores = _score(request.options, model, key, calibration, shared, lambda d, n, note: progress(2 * n + d, 4 * n, note))
    known = {"plan": plan, "check": None if plan is None else _unpruned(model, evaluation or calibration, shared, progress)}
    return Workspace(request, model, version, calibration, evaluation, lengths, scores, tuple(notes), **known)


def _check(request: Request, hosting: Hosting) -> None:
    """Refuse what the visitor may not load: values that the form does not offer can still arrive here."""
    hosting.check_model(request.model, request.revision, is_folder=request.is_folder)
    if not request.is_folder and has_hub_form(request.model):
        check_not_local(request.model, request.revision)
    of_user = request.plan is not None and request.plan.file_type != "hub"
    if of_user:
        hosting.check_uploads()
    else:
        hosting.check_dataset(request.text)


def check_tokens(hosting: Hosting, model: PrunableModel, examples: datasets.Dataset | None) -> None:
    """Refuse examples with more tokens than this server allows.

    Args:
        hosting: The policy of the server.
        model: The model, whose tokenizer counts.
        examples: The examples, or None.

    Raises:
        HeadPruneError: If an example has more.
    """
    if hosting.tokens is None or examples is None:
        return
    longest = int(encode(model, examples).lengths.max())
    if longest > hosting.tokens:
        raise HeadPruneError(
            f"an example has {longest:,} tokens, but this server allows {hosting.tokens:,}; use shorter examples"
        )


def _examples(request: Request, plan: ReadingPlan | None, hosting: Hosting):
    """The calibration set, the evaluation set or None, and notes on both."""
    source = request.text if plan is None else plan
    calibration, notes = read_examples(source, split=request.splits[0], size=hosting.capped(request.size))
    evaluation, most = None, hosting.capped(EVALUATION_ROWS)
    try:
        evaluation, more = read_examples(source, split=request.splits[1], size=most)
        # A smaller evaluation set than the maximum is normal and needs no note.
        notes += [note for note in more if note not in notes and f"Requested {most} " not in note]
    except HeadPruneError as reason:
        notes.append(f"Accuracy is unavailable: {reason}.")
    return calibration, evaluation, notes


def _unpruned(model: PrunableModel, examples: datasets.Dataset, shared: ServerState, progress) -> Check | None:
    """The unpruned model on a few labeled examples: if it is no better than chance, columns or labels were misread."""
    task = task_of(model)
    few = examples.select(range(min(CHECKED, len(examples))))
    if task.generates or not task.has_decisions or not (encoded := encode(model, few)).labeled:
        return None
    with shared.turns.hold(lambda done, total, note: progress(99, 100, "Evaluating the unpruned model")) as report:
        found = evaluate_masks(model, few, np.ones((1, *model.grid.shape), bool), progress=report)
    if task.by_token:
        targets = [tag for row in encoded.inputs for tag in row["labels"] if tag != IGNORED]
    else:
        targets = [str(label) for label in encoded.labels]  # a set of labels is one of the classes
    chance = Counter(targets).most_common(1)[0][1] / len(targets)
    return Check(float(found.accuracy[0]), chance, len(few))


def rescore(workspace: Workspace, options: ScoreOptions, shared: ServerState, progress) -> Workspace:
    """Return the same model and dataset, scored with other options."""
    request = replace(workspace.request, options=options)
    scores = _score(options, workspace.model, workspace.model_key, workspace.calibration, shared, progress)
    return replace(workspace, request=request, scores=scores)


def _score(wanted: ScoreOptions, model, model_key: tuple, calibration, shared: ServerState, progress) -> HeadScores:
    """Scores from the cache, or computed in turn with other sessions."""
    options, _ = _fitting(wanted, model, calibration)

    def score() -> HeadScores:
        with shared.turns.hold(progress) as report:
            return score_heads(model, calibration, batch_size=BATCH_SIZE, progress=report, **options.run)

    scores = shared.scores.get(digest(*model_key, calibration, options.run), score, progress)
    return scores.reduced_by(options.his_reduction)


def _objectives(model: PrunableModel, calibration: datasets.Dataset) -> tuple[str, ...]:
    """The objectives that can be differentiated: the task loss needs targets, and the own prediction a decision."""
    impossible = set() if has_targets(model, calibration.column_names) else {"loss"}
    impossible |= set() if task_of(model).has_decisions else {"prediction"}
    return tuple(objective for objective in OBJECTIVES if objective not in impossible)


def _fitting(options: ScoreOptions, model, calibration) -> tuple[ScoreOptions, list[str]]:
    return options.fitting(_objectives(model, calibration))


def digest(*parts) -> str:
    """Return a content hash of names and datasets."""
    total = hashlib.sha256()
    for part in parts:
        content = part.to_pandas().to_json() if isinstance(part, datasets.Dataset) else repr(part)
        total.update(content.encode() + b"\0")
    return total.hexdigest()[:24]
