"""What differs between tasks: the loss and the prediction of an example, and the measures with their names.

All other modules ask a `Task` instead of comparing names of tasks. Losses are those of Transformers models that are called
with labels, for each example on its own.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from headprune_core.model.prunable_model import PrunableModel

IGNORED = -100  # target of a token without a label, as in Transformers


@dataclass(frozen=True)
class Task:
    """A task in which one of C classes is predicted, for each example or for each token.

    Attributes:
        name: value of `PrunableModel.task`.
        title: name in a sentence.
        pipeline: name of the pipeline on the Hugging Face Hub.
        by_token: whether every token has a prediction; the logits are then (N, T, C) instead of (N, C).
        correct: what the accuracy is a share of.
        loss: name of the loss.
        measure: main measure with labels, such as "accuracy".
        without_labels: main measure without labels.
        further: measures in addition to the main one, with labels.
        has_chance_level: whether 1 / C is the accuracy at chance level for balanced classes.
    """

    name: str
    title: str
    pipeline: str
    by_token: bool = False
    correct: str = "examples predicted correctly"
    loss: str = "cross-entropy loss (nats)"
    measure: str = "accuracy"
    without_labels: str = "agreement"
    further: tuple[str, ...] = ()
    has_chance_level: bool = False

    @property
    def generates(self) -> bool:
        """Whether the model generates text, so that its classes are the vocabulary."""
        return self.name in ("language", "translation")

    @property
    def has_decisions(self) -> bool:
        """Whether a prediction is a decision (a class or a set of labels), so that it can be a target or be equal."""
        return self.measure == "accuracy"

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Compute the loss of each prediction.

        Args:
            logits: (..., C).
            targets: (...) class numbers, -100 for ignored tokens, or (..., C) numbers if the task predicts several numbers.

        Returns:
            (...) losses; 0 for ignored tokens.
        """
        # Classes are contiguous in memory as the last axis, which is twice as fast as another axis.
        flat = cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="none", ignore_index=IGNORED)
        return flat.view(targets.shape)

    def decisions(self, logits: Tensor) -> Tensor:
        """Return the predictions in the form of targets.

        Args:
            logits: (..., C).
        """
        return logits.argmax(-1)

    def same(self, first: Tensor, second: Tensor) -> Tensor:
        """Return which decisions are equal.

        Args:
            first: decisions or targets.
            second: decisions or targets of the same shape, or of one that broadcasts.

        Returns:
            bool (...).
        """
        return first == second


@dataclass(frozen=True)
class MultiLabel(Task):
    """A task in which any number of C labels is predicted: those with a logit above 0 (a probability above 0.5)."""

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Compute the binary cross-entropy, mean over labels; see `Task.losses`."""
        targets = targets.to(logits.dtype).expand_as(logits)
        return binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(-1)

    def decisions(self, logits: Tensor) -> Tensor:
        """Return 1 for the predicted labels and 0 for the others, (..., C)."""
        return (logits > 0).to(logits.dtype)

    def same(self, first: Tensor, second: Tensor) -> Tensor:
        """Return which label sets are equal; see `Task.same`."""
        return (first == second).all(-1)


@dataclass(frozen=True)
class Regression(Task):
    """A task in which C numbers are predicted; there are no decisions, so there is no accuracy."""

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Compute the squared error, mean over outputs; see `Task.losses`."""
        return mse_loss(logits, targets.to(logits.dtype).expand_as(logits), reduction="none").mean(-1)

    def decisions(self, logits: Tensor) -> Tensor:
        """Return the outputs themselves."""
        return logits


WORDS = ("tokens", "words")  # columns with the words of an example
TAGS = ("ner_tags", "tags", "labels", "pos_tags", "label")  # columns with the tag of each word
_TOKENS = {"by_token": True, "correct": "next tokens predicted correctly"}
TASKS = {
    task.name: task
    for task in (
        Task("classification", "classification", "text-classification", has_chance_level=True),
        MultiLabel(
            "multi_label",
            "multi-label classification",
            "text-classification",
            correct="examples whose label set is predicted exactly",
            loss="binary cross-entropy loss (nats)",
            further=("micro_f1",),
        ),
        Regression(
            "regression",
            "regression",
            "text-classification",
            loss="squared error",
            measure="pearson",
            without_labels="correlation",
            further=("spearman",),
        ),
        Task(
            "token_classification",
            "token classification",
            "token-classification",
            by_token=True,
            correct="labeled tokens predicted correctly",
            further=("entity_f1",),
        ),
        Task("language", "text generation", "text-generation", **_TOKENS),
        Task("translation", "sequence-to-sequence generation", "translation", **_TOKENS),
    )
}


def task_of(model: PrunableModel) -> Task:
    """Return the task of a model.

    Args:
        model: the model.
    """
    return TASKS[model.task]


def has_targets(model: PrunableModel, columns) -> bool:
    """Return True if a dataset has something to predict: labels, or the tokens of a text.

    Args:
        model: the model.
        columns: names of the columns of the dataset.
    """
    if model.task == "token_classification":
        return tag_column(columns) is not None
    return model.generates or "label" in columns


def tag_column(columns) -> str | None:
    """Return the column with the tags of words, or with the labels of given tokens; None if there is none.

    Args:
        columns: names of the columns of the dataset.
    """
    if "input_ids" in columns:
        return "labels" if "labels" in columns else None
    return next((name for name in TAGS if name in columns), None) if set(WORDS) & set(columns) else None


def chance_level(model: PrunableModel) -> float | None:
    """Return the accuracy at chance level for balanced classes, 1 / C; None if the task has none.

    Args:
        model: the model.
    """
    return 1 / len(model.labels) if TASKS[model.task].has_chance_level else None
