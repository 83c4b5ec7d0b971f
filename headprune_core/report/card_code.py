"""The code in a model card: how to load the model with this package and without it, and how to measure it again."""

import json
from pathlib import Path

import torch
import transformers

from headprune_core.data.table_io import SUFFIXES
from headprune_core.measure.evaluation import MaskEvaluation
from headprune_core.model.loading import is_hub_id
from headprune_core.model.prunable_model import PrunableModel

from .pruning_record import PruningRecord, share
from .standalone_loader import plain_loader

_LOAD = """\
import headprune_core as hp

folder = "pruned-model"  # this folder, or the model's id on the Hub
model = hp.PrunableModel.from_pretrained(folder)"""
_MEASURE = """\
import numpy as np

texts = hp.load_examples({arguments})
found = hp.evaluate_masks(model, texts, np.ones((1, *model.grid.shape), bool))
print(found.accuracy[0])  # {value:.4f}"""
_RUN = """\
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
with torch.inference_mode():
    {answer}"""
_ANSWERS = {
    "classification": 'print(model(**tokenizer("a text", return_tensors="pt")).logits)',
    "language": 'print(tokenizer.decode(model.generate(**tokenizer("a text", return_tensors="pt"), max_new_tokens=20)[0]))',
}
_ANSWERS["translation"] = _ANSWERS["language"]


def load_section(model: PrunableModel, record: PruningRecord | None) -> str:
    """How to load the model, with this package and without it, and how to measure it again where that is known."""
    parts = ["## Load it", "With HeadPrune, which can mask, measure and prune it further:", block(_LOAD)]
    again = _measure(record)
    if again:
        parts += ["### Measure it", "After those lines, on the same texts:", block(again)]
    parts += [
        "### Load it without HeadPrune",
        f"torch, transformers (written with {transformers.__version__} and torch {torch.__version__.split('+')[0]}) and "
        "safetensors are enough. The sizes of layers that lost heads are in `head_map.json`, not in the configuration, so "
        "`from_pretrained` alone cannot take the weights. From the Hub, fetch the folder first: "
        "`hf download <user>/<name> --local-dir pruned-model`.",
        block(plain_loader(model)),
    ]
    if model.tokenizer is not None and not model.reads_images:
        parts += ["Then, as always:", block(_RUN.format(answer=_ANSWERS[model.task]))]
    return "\n\n".join(parts)


def block(code: str, language: str = "python") -> str:
    """Code between fences."""
    return f"```{language}\n{code.rstrip()}\n```"


def _measure(record: PruningRecord | None) -> str | None:
    """Code that gives the card's accuracy again; None where there is none, or where its texts are not for others to have."""
    found = final(record)
    if found is None or not record.evaluation_source:
        return None
    measured, arguments = share(found), dict(record.evaluation_source)
    source = arguments.get("source", "embedded")
    plain = all(value is None or isinstance(value, (str, int)) for value in arguments.values())
    own_file = not is_hub_id(str(source)) or Path(str(source)).suffix.lower() in SUFFIXES
    if measured.name != "accuracy" or not plain or own_file:
        return None
    written = {k: json.dumps(v, ensure_ascii=False) if isinstance(v, str) else repr(v) for k, v in arguments.items()}
    told = ", ".join(f"{name}={value}" for name, value in written.items())
    return _MEASURE.format(arguments=told, value=measured.value)


def final(record: PruningRecord | None) -> MaskEvaluation | None:
    """What was measured of the weights that are saved; None where nothing was."""
    if record is None:
        return None
    if record.recovery is not None:
        return record.recovery.after
    return None if record.verification is None else record.verification.pruned
