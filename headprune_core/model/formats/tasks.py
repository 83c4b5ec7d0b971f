"""Which tasks are supported: the task of a configuration, and the kinds of models that are refused by name."""

from headprune_core.errors import HeadPruneError

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
