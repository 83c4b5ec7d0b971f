"""Saving under the class of the library that a folder loads into, also for classes that a user derived from it."""

import copy
import json
from pathlib import Path

import torch
import transformers
from transformers import PreTrainedModel

from headprune_core.errors import HeadPruneError
from headprune_core.model.head_discovery import NO_PAD, sample_inputs

from .tasks import task_loader


def library_class(model: PreTrainedModel) -> type[PreTrainedModel]:
    """Return the Transformers class of a model: its own class, or the nearest base class if the user derived one.

    Args:
        model: the Transformers model.
    """
    return next((kind for kind in type(model).__mro__ if getattr(transformers, kind.__name__, None) is kind), type(model))


def save_model(model: PreTrainedModel, folder: Path) -> None:
    """Write configuration and weights so that `from_pretrained` finds the class; the model in memory stays as it is.

    Args:
        model: the Transformers model.
        folder: empty or new folder.
    """
    config, before = model.config, (model.config.dtype, model.config.architectures)
    try:
        model.save_pretrained(folder)
    finally:
        config.dtype, config.architectures = before  # the library replaces them, and some constructors use the dtype
    file = folder / "config.json"
    values = json.loads(file.read_text(encoding="utf-8")) | {"architectures": [library_class(model).__name__]}
    if values.get("pad_token_id") == NO_PAD:
        values["pad_token_id"] = None  # the library raises an error for padded batches, instead of misreading them
    file.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def check_reloadable(model: PreTrainedModel) -> None:
    """Check that the class which a saved folder loads into computes the same as the model.

    Args:
        model: the Transformers model, whose class may be derived from one of the library.

    Raises:
        HeadPruneError: if the class is not derived from a supported one, or has other weights or logits.
    """
    kind, own = library_class(model), type(model).__name__
    if kind is type(model):
        return
    if task_loader(kind.__name__) is None:
        raise HeadPruneError(
            f"{own} is derived from {kind.__name__}, which has no task, so a folder of it cannot be loaded again; derive it "
            "from a class such as BertForSequenceClassification"
        )
    plain = copy.copy(model)
    plain.__class__ = kind
    config = copy.deepcopy(model.config)
    config.dtype = model.dtype
    with torch.device("meta"):
        known = kind(config).state_dict().keys()
    more = sorted(model.state_dict().keys() - known)
    with torch.no_grad():
        inputs = sample_inputs(model)
        same = not more and torch.equal(model(**inputs).logits, plain(**inputs).logits)
    if not same:
        reason = f"has more weights ({more[0]})" if more else "computes other logits"
        raise HeadPruneError(
            f"{own} {reason} than {kind.__name__}, the class that a saved folder is loaded into; copy the weights into a "
            f"{kind.__name__} or save model.state_dict() yourself"
        )
