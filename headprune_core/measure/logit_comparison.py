"""One text, one model in several forms: the logits of each side by side, as anybody who runs the model would get them.

Every form runs the library's own forward in float32 kernels as loaded, without packed weights or shared work, so what is
left between masked and pruned is surgery's own doing. Where tokens are predicted, the logits are those of the next token.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import datasets
import numpy as np
import pandas as pd
import torch

from headprune_core.data.batches import Batch
from headprune_core.data.encoding import encode
from headprune_core.errors import HeadPruneError
from headprune_core.model.attention_hooks import AttentionHooks, use_hooks
from headprune_core.model.prunable_model import PrunableModel

from .evaluation import gates

NEXT = 8  # tokens that are shown of a vocabulary: the likeliest by the first form


@dataclass(frozen=True, eq=False)
class LogitComparison:
    """forms: their names. classes: of the logits that are shown. logits (F, N, C), of every class or, where tokens are
    predicted, of the likeliest. predicted (F, N): the class that each form decides on. max_logit_difference: the largest between any
    logit (of the whole vocabulary) of the second form and of those after it; the first is the unpruned model.
    """

    forms: tuple[str, ...]
    classes: tuple[tuple[str, ...], ...]
    logits: np.ndarray
    predicted: tuple[tuple[str, ...], ...]
    max_logit_difference: float

    def frame(self, text: int = 0) -> pd.DataFrame:
        """One text's logits: a line for each class, a column for each form."""
        return pd.DataFrame({"class": self.classes[text]} | {f: self.logits[i, text] for i, f in enumerate(self.forms)})


def compare_logits(
    model: PrunableModel, pruned: PrunableModel, examples: datasets.Dataset, *, reloaded: PrunableModel | None = None
) -> LogitComparison:
    """Run `model` whole and with the heads masked that `pruned` lacks, `pruned`, and `reloaded`, on all `examples` at once.

    Raises HeadPruneError where `pruned` is no smaller form of `model`, and for examples that the model cannot read.
    """
    if pruned.grid.shape != model.grid.shape:
        raise HeadPruneError(
            f"a model of {pruned.grid.shape} heads was given as a pruned form of one of {model.grid.shape}; expected rows "
            "of as many heads"
        )
    encoded = encode(model, examples)
    batch = encoded.batch(np.arange(len(encoded)), model.device)
    whole = model.grid.kept
    forms = {"unpruned": (model, whole), "masked": (model, pruned.grid.kept), "pruned": (pruned, pruned.grid.kept)}
    if reloaded is not None:
        forms["reloaded"] = reloaded, pruned.grid.kept
    found = {name: _logits(one, batch, mask) for name, (one, mask) in forms.items()}
    masked = found["masked"]
    max_logit_difference = max(float((other - masked).abs().max()) for other in list(found.values())[2:])
    shown, classes = _shown(model, found)
    names = tuple(forms)
    predicted = tuple(tuple(_name(model, int(best)) for best in found[name].argmax(-1)) for name in names)
    return LogitComparison(names, classes, shown, predicted, max_logit_difference)


@torch.no_grad()
def _logits(model: PrunableModel, batch: Batch, mask: np.ndarray) -> torch.Tensor:
    """(N, C) in float64, of classes or of the next token."""
    with use_hooks(AttentionHooks(gates=gates(model, mask))):
        logits = model.logits(batch.inputs).double()
    if model.task == "classification":
        return logits
    real = batch.real if batch.decoder_real is None else batch.decoder_real
    last = real.sum(-1) - 1
    return logits[torch.arange(len(logits)), last]


def _shown(model: PrunableModel, found: Mapping[str, torch.Tensor]) -> tuple[np.ndarray, tuple[tuple[str, ...], ...]]:
    """(F, N, C) logits of the classes that are shown, and their names by text."""
    every = torch.stack(list(found.values()))  # (F, N, C)
    if model.task == "classification":
        return every.cpu().numpy(), (model.labels,) * every.shape[1]
    best = every[0].topk(min(NEXT, every.shape[-1]), dim=-1).indices  # (N, NEXT)
    names = tuple(tuple(_name(model, int(token)) for token in tokens) for tokens in best)
    return every.gather(-1, best.expand(len(every), -1, -1)).cpu().numpy(), names


def _name(model: PrunableModel, number: int) -> str:
    """A class by its label, a token by its text."""
    if model.task == "classification":
        return model.labels[number]
    return str(number) if model.tokenizer is None else model.tokenizer.decode([number])
