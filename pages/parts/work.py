"""What a session works on: the request (which model, which text), and what came of it (model, examples, scores).

Loading is one job: read the text, load the model, score the heads. What was loaded before stays until the new is whole.
"""

import hashlib
from dataclasses import dataclass, field

import datasets
import pandas as pd

from headprune_core import HeadPruneError, HeadScores, PrunableModel, score_heads
from headprune_core.encoding import cut_note, encode
from headprune_core.examples import read_examples

from .shelf import Shared, in_turn

EVALUATION_ROWS = 960  # at most; the curves page may use fewer


@dataclass(frozen=True)
class Request:
    """Which model and which text to load. table holds an upload or pasted lines, and then text is only its name."""

    model: str = "embedded"
    revision: str | None = None
    text: str = "embedded"
    table: pd.DataFrame | None = field(default=None, compare=False, repr=False)
    columns: tuple[str | None, str | None, str | None] = (None, None, None)
    subset: str | None = None
    splits: tuple[str, str] = ("calibration", "evaluation")
    size: int = 32


@dataclass(frozen=True, eq=False)
class Work:
    """One model with one text, scored. evaluation is None, with a note, where the text has no rows left for it."""

    request: Request
    model: PrunableModel
    calibration: datasets.Dataset
    evaluation: datasets.Dataset | None
    lengths: tuple[int, ...]
    scores: HeadScores
    notes: tuple[str, ...]

    @property
    def text_name(self) -> str:
        return "embedded tweets" if self.request.text == "embedded" else self.request.text

    @property
    def labelled(self) -> bool:
        return "label" in self.calibration.column_names

    @property
    def key(self) -> str:
        """A digest of model and text: what computed from one must not show under another."""
        return digest(self.request.model, self.request.revision, self.calibration, self.evaluation)

    def label_names(self, values) -> list[str]:
        """Labels as people read them: the data's own names, else the model's."""
        feature = self.calibration.features["label"]
        names = feature.names if isinstance(feature, datasets.ClassLabel) else self.model.labels
        return [names[v] if isinstance(v, int) and 0 <= v < len(names) else str(v) for v in values]


def load(request: Request, shared: Shared, progress) -> Work:
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
    encoded = encode(model, calibration)
    if encoded.cut:
        notes.append(cut_note(encoded.cut, len(encoded), encoded.longest, model.max_tokens))
    objective = "loss"
    if model.task == "classification" and encoded.labels is None:
        objective = "prediction"
        notes.append("The text has no labels, so importance is taken against the model's own answers.")

    def score():
        with in_turn(shared.heavy, progress):
            return score_heads(
                model,
                calibration,
                objective=objective,
                progress=lambda done, total, note: progress(2 * total + done, 4 * total, note),
            )

    key = digest(request.model, request.revision, calibration, objective)
    scores = shared.scores.get(key, score, progress)
    return Work(request, model, calibration, evaluation, tuple(encoded.lengths.tolist()), scores, tuple(notes))


def digest(*parts) -> str:
    """A content hash of names and data sets."""
    total = hashlib.sha256()
    for part in parts:
        content = part.to_pandas().to_json() if isinstance(part, datasets.Dataset) else repr(part)
        total.update(content.encode() + b"\0")
    return total.hexdigest()[:24]
