"""The code in a model card: load the model with HeadPrune or Transformers only, and reproduce the evaluation."""

import inspect
import json
from pathlib import Path

import torch
import transformers

from headprune_core.data.examples import load_examples
from headprune_core.data.table_io import SUFFIXES
from headprune_core.measure.evaluation import MaskEvaluation
from headprune_core.model.loading import is_hub_id
from headprune_core.model.prunable_model import PrunableModel

from .pruning_record import PruningRecord, share
from .standalone_loader import standalone_code

_LOAD = """\
import headprune_core as hp

folder = "pruned-model"  # this folder, or the model's ID on the Hub
model = hp.PrunableModel.from_pretrained(folder)"""
_EVALUATE = """\
import numpy as np

examples = hp.load_examples({arguments})
result = hp.evaluate_masks(model, examples, np.ones((1, *model.grid.shape), bool))
print(result.{name}[0])  # {value:.4f}"""
_RUN = """\
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
with torch.inference_mode():
    {call}"""
_LOGITS = 'print(model(**tokenizer("a text", return_tensors="pt")).logits)'
_GENERATE = 'print(tokenizer.decode(model.generate(**tokenizer("a text", return_tensors="pt"), max_new_tokens=20)[0]))'


def load_section(model: PrunableModel, record: PruningRecord | None) -> str:
    """Return the section "How to use" of a model card.

    Args:
        model: pruned model.
        record: how it was pruned and evaluated.

    Returns:
        Markdown with code for HeadPrune, for reproducing the evaluation if its data is public, and for Transformers only.
    """
    parts = ["## How to use", "With HeadPrune, to evaluate, mask or prune the model further:", block(_LOAD)]
    evaluation = _evaluation_code(record)
    if evaluation:
        parts += ["### Reproduce the evaluation", "Run this after the code above:", block(evaluation)]
    parts += [
        "### Use with Transformers only",
        f"Requires torch, transformers and safetensors (tested with transformers {transformers.__version__} and torch "
        f"{torch.__version__.split('+')[0]}). The sizes of pruned layers are stored in `head_map.json`, not in the "
        "configuration, so `from_pretrained` alone cannot load the weights. If the model is on the Hub, download it first: "
        "`hf download <user>/<name> --local-dir pruned-model`.",
        block(standalone_code(model)),
    ]
    if model.tokenizer is not None and not model.reads_images:
        parts += ["Run inference:", block(_RUN.format(call=_GENERATE if model.generates else _LOGITS))]
    return "\n\n".join(parts)


def block(code: str, language: str = "python") -> str:
    """Return a fenced code block."""
    return f"```{language}\n{code.rstrip()}\n```"


def _evaluation_code(record: PruningRecord | None) -> str | None:
    """Return code that reproduces the accuracy; None if there is none or the evaluation set is a private file."""
    final = final_evaluation(record)
    if final is None or not record.evaluation_source:
        return None
    measured, arguments = share(final), dict(record.evaluation_source)
    source = arguments.get("source", "embedded")
    plain = all(value is None or isinstance(value, (str, int)) for value in arguments.values())
    plain &= arguments.keys() <= inspect.signature(load_examples).parameters.keys()
    own_file = not is_hub_id(str(source)) or Path(str(source)).suffix.lower() in SUFFIXES
    if measured.name not in ("accuracy", "pearson") or not plain or own_file:
        return None
    written = {k: json.dumps(v, ensure_ascii=False) if isinstance(v, str) else repr(v) for k, v in arguments.items()}
    call = ", ".join(f"{name}={value}" for name, value in written.items())
    name = "accuracy" if measured.name == "accuracy" else "main_value"
    return _EVALUATE.format(arguments=call, name=name, value=measured.value)


def final_evaluation(record: PruningRecord | None) -> MaskEvaluation | None:
    """Return the evaluation of the weights that are saved.

    Args:
        record: how the model was pruned and evaluated.

    Returns:
        The evaluation after fine-tuning, or of the pruned model without fine-tuning; None if there is none.
    """
    if record is None:
        return None
    if record.recovery is not None:
        return record.recovery.after
    return None if record.verification is None else record.verification.pruned
