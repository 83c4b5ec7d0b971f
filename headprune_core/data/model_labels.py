"""What a model predicts, as far as it decides how labels are read; known from the model or from its configuration."""

import re
from dataclasses import dataclass

from transformers import AutoConfig

from headprune_core.model.builtin import LABELS, is_builtin
from headprune_core.model.formats.tasks import example_task
from headprune_core.model.smollm2 import SMOLLM2

_GENERIC = re.compile(r"label_?\d+", re.IGNORECASE)


@dataclass(frozen=True)
class ModelLabels:
    """What a model predicts, as far as it decides how labels are read.

    Attributes:
        task: value of `PrunableModel.task`.
        names: names of the classes, labels or tags in the order of the logits.
    """

    task: str
    names: tuple[str, ...]

    @property
    def named(self) -> bool:
        """Whether the names are more than numbers, as in LABEL_0."""
        return not all(map(_GENERIC.fullmatch, self.names))

    @classmethod
    def of(cls, model) -> "ModelLabels | None":
        """Return the labels of a model.

        Args:
            model: a PrunableModel, ModelLabels, class names of a single-label classifier, or None.
        """
        if model is None or isinstance(model, cls):
            return model
        if hasattr(model, "labels"):
            return cls(model.task, tuple(map(str, model.labels)))
        return cls("classification", tuple(map(str, model)))

    @classmethod
    def of_config(cls, config) -> "ModelLabels | None":
        """Return the labels of a model that is not loaded; None if it classifies neither texts nor tokens.

        Args:
            config: the Transformers configuration.
        """
        kinds = config.architectures or ()
        if any(kind.endswith("ForTokenClassification") for kind in kinds):
            task = "token_classification"
        elif any(kind.endswith("ForSequenceClassification") for kind in kinds):
            task = example_task(config)
        else:
            return None
        names = (config.id2label.get(number, number) for number in range(config.num_labels))
        return cls(task, () if task == "regression" else tuple(map(str, names)))


def configured_labels(source: str, revision: str | None = None) -> ModelLabels | None:
    """Return the labels of a model from its configuration, without loading its weights.

    Args:
        source: source of the model, as in `PrunableModel.from_pretrained`.
        revision: revision of a Hub model.

    Returns:
        The labels; None if the configuration cannot be read, or if the model classifies neither texts nor tokens.
    """
    if is_builtin(source):
        return ModelLabels("classification", LABELS)
    if source == SMOLLM2:
        return None
    try:
        config = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)
    except Exception:  # the loader raises exceptions of any class; loading the model will say what is wrong
        return None
    return ModelLabels.of_config(config)
