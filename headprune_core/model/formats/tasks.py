"""Which tasks are supported: the task of a configuration, its classes, and the kinds of models that are refused by name."""

from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)
from transformers.models.auto import modeling_auto

from headprune_core.errors import HeadPruneError

LOADERS = {  # by the library's name of the task
    "SEQUENCE_CLASSIFICATION": AutoModelForSequenceClassification,
    "TOKEN_CLASSIFICATION": AutoModelForTokenClassification,
    "IMAGE_CLASSIFICATION": AutoModelForImageClassification,
    "CAUSAL_LM": AutoModelForCausalLM,
    "SEQ_TO_SEQ_CAUSAL_LM": AutoModelForSeq2SeqLM,
}
EXPECTED = (
    "expected a model for text or image classification (single-label, multi-label or regression), for token classification, "
    "a causal language model or a sequence-to-sequence model"
)
UNSUPPORTED = {"ForQuestionAnswering": "an extractive question answering model", "ForMaskedLM": "a masked language model"}


def example_task(config) -> str:
    """Return the task of a model with one prediction per example, by the rules of Transformers.

    Args:
        config: the Transformers configuration; one output without a problem_type means regression.
    """
    problem = getattr(config, "problem_type", None)
    if problem == "multi_label_classification":
        return "multi_label"
    return "regression" if problem == "regression" or (problem is None and config.num_labels == 1) else "classification"


def check_supported(name: str, *class_names: str) -> None:
    """Check that a model is of no kind that HeadPrune does not support.

    Args:
        name: name of the model.
        class_names: names of its class and of the base classes.

    Raises:
        HeadPruneError: if it is an extractive question answering model or a masked language model.
    """
    for ending, kind in UNSUPPORTED.items():
        if any(class_name.endswith(ending) for class_name in class_names):
            raise HeadPruneError(f"{name} is {kind}, which HeadPrune does not support; {EXPECTED}")


def task_classes(task: str) -> list[str]:
    """Return the names of the library's classes for a task.

    Args:
        task: a key of LOADERS.
    """
    listed = getattr(modeling_auto, f"MODEL_FOR_{task}_MAPPING_NAMES").values()
    return [name for entry in listed for name in ((entry,) if isinstance(entry, str) else entry)]


def task_loader(architecture: str) -> type | None:
    """Return the Auto class that builds a class of the library, or None if it is for another task.

    Args:
        architecture: name of the class.
    """
    return next((loader for task, loader in LOADERS.items() if architecture in task_classes(task)), None)


def loader_for(source, config):
    """Return the Auto class for the task of a configuration.

    Args:
        source: name of the model, for the error message.
        config: its Transformers configuration.

    Raises:
        HeadPruneError: if the task is not supported.
    """
    names = config.architectures or ["none"]
    check_supported(str(source), names[0])
    loader = task_loader(names[0])
    if loader is not None:
        return loader
    raise HeadPruneError(
        f"architecture of {source} must be a model for text, token or image classification, a causal language model or "
        f"a sequence-to-sequence model, got {names[0]}"
    )
