"""What a model predicts and how its classes are named; known from the model or from its configuration."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headprune_core.errors import HeadPruneError
from headprune_core.model.builtin import LABELS, is_builtin
from headprune_core.model.formats.config_checks import checked_config
from headprune_core.model.formats.tasks import example_task
from headprune_core.model.smollm2 import SMOLLM2

GENERIC = re.compile(r"label_?\d+", re.IGNORECASE)  # names that Transformers gives to classes without names
SHOWN = 5  # labels that an error names


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
        return not all(map(GENERIC.fullmatch, self.names))

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
        config = checked_config(source, {"revision": revision})
    except Exception:  # the loader raises exceptions of any class; loading the model will say what is wrong
        return None
    return ModelLabels.of_config(config)


class ClassNames:
    """Class numbers of a model by name, spelled loosely unless two names would be the same."""

    def __init__(self, classes: Sequence[str]):
        self.names = [str(name) for name in classes]
        self._exact = {name: number for number, name in enumerate(self.names)}
        loose = [plain_name(name) for name in self.names]
        self._loose = {name: number for number, name in enumerate(loose) if loose.count(name) == 1}

    def number(self, name) -> int | None:
        """Return the number of the class of a name; None if there is none.

        Args:
            name: the name.
        """
        return self._exact.get(str(name), self._loose.get(plain_name(name)))

    def chosen(self, value) -> int | None:
        """Return the number of a class that the user has named, by its name or number; None stays None.

        Args:
            value: the name, the number or None.

        Raises:
            HeadPruneError: if there is no such class.
        """
        if value is None:
            return None
        number = self.number(value)
        if number is None and isinstance(value, int | np.integer) and not isinstance(value, bool):
            number = int(value)
        if number is None or not 0 <= number < len(self.names):
            raise HeadPruneError(f"{value!r} is not a class of the model; its classes are {self.described()}")
        return number

    def described(self) -> str:
        """Return the numbers and names as text."""
        return listed([f"{number} = {name}" for number, name in enumerate(self.names)], quote=False)


def plain_name(name) -> str:
    """Return a name without case, and with a space for each run of spaces, hyphens and underscores.

    Args:
        name: the name.
    """
    return re.sub(r"[\s_-]+", " ", str(name).strip()).casefold()


def listed(names: Sequence[str], *, quote: bool = True) -> str:
    """Return the first names as text, with the number of the others.

    Args:
        names: the names.
        quote: whether to put them in quotes.
    """
    shown = [repr(name) if quote else name for name in names[:SHOWN]]
    return ", ".join(shown) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
