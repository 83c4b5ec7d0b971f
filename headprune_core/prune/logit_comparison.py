"""Logits of one model in several forms (unpruned, masked, pruned, reloaded) on the same input.

Every form runs the model's own forward pass in the loaded precision, without packed weights or the forward-pass cache, so
that any difference between masked and pruned comes from structural pruning. For token prediction, the logits are those of
the next token.
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
from headprune_core.measure.evaluation import gates
from headprune_core.model.attention_hooks import AttentionHooks, use_hooks
from headprune_core.model.prunable_model import PrunableModel, runs_models

MAX_TOKENS_SHOWN = 8  # most likely next tokens of the unpruned model


@dataclass(frozen=True, eq=False)
class LogitComparison:
    """Logits of F forms of a model on N inputs.

    Attributes:
        forms: names of the forms; the first is the unpruned model, the second the masked one.
        classes: for each input, names of the C classes, outputs or tokens whose logits are included.
        logits: (F, N, C), of all classes or, for text generation, of the most likely tokens; of a token classifier those of
            the first token that is not special.
        predicted: (F, N), predicted class, labels, numbers or token.
        max_logit_difference: maximum absolute difference between any logit (of the whole vocabulary) of the masked form and
            of the forms after it.
    """

    forms: tuple[str, ...]
    classes: tuple[tuple[str, ...], ...]
    logits: np.ndarray
    predicted: tuple[tuple[str, ...], ...]
    max_logit_difference: float

    def frame(self, text: int = 0) -> pd.DataFrame:
        """Return the logits of one input.

        Args:
            text: index of the input.

        Returns:
            One row per class and one column per form.
        """
        return pd.DataFrame({"class": self.classes[text]} | {f: self.logits[i, text] for i, f in enumerate(self.forms)})


@runs_models
def compare_logits(
    model: PrunableModel, pruned: PrunableModel, examples: datasets.Dataset, *, reloaded: PrunableModel | None = None
) -> LogitComparison:
    """Compute the logits of the unpruned, masked, pruned and reloaded forms of a model.

    Args:
        model: the unpruned model.
        pruned: the same model after structural pruning; its missing heads are masked in the second form.
        examples: inputs.
        reloaded: the pruned model after it was saved and loaded; optional.

    Returns:
        The logits and predictions of each form.

    Raises:
        HeadPruneError: if `pruned` is not a pruned form of `model`.
    """
    if pruned.grid.shape != model.grid.shape:
        raise HeadPruneError(
            f"pruned must be a pruned form of the model with {model.grid.shape} heads, got a model with {pruned.grid.shape} "
            "heads"
        )
    encoded = encode(model, examples)
    batches = list(encoded.batches(len(encoded), model.device))
    forms = {"unpruned": (model, model.grid.kept), "masked": (model, pruned.grid.kept), "pruned": (pruned, pruned.grid.kept)}
    if reloaded is not None:
        forms["reloaded"] = reloaded, pruned.grid.kept
    logits = {name: _logits(form, batches, mask) for name, (form, mask) in forms.items()}
    masked = logits["masked"]
    max_logit_difference = max(float((other - masked).abs().max()) for other in list(logits.values())[2:])
    if model.task == "token_classification":
        counted = _in_order([batch.predicted for batch in batches], batches)
        first = counted.int().argmax(-1)
        shown, classes = _shown(model, {name: of[torch.arange(len(of)), first] for name, of in logits.items()})
    else:
        counted = [None] * len(encoded)
        shown, classes = _shown(model, logits)
    names = tuple(forms)
    predicted = tuple(
        tuple(_prediction(model, row, some) for row, some in zip(logits[name], counted, strict=True)) for name in names
    )
    return LogitComparison(names, classes, shown, predicted, max_logit_difference)


def _logits(model: PrunableModel, batches: list[Batch], mask: np.ndarray) -> torch.Tensor:
    """Return (N, C) logits in float64, of classes or of the next token; of a token classifier (N, T, C)."""
    return _in_order([_batch_logits(model, batch, mask) for batch in batches], batches)


def _in_order(parts: list[torch.Tensor], batches: list[Batch]) -> torch.Tensor:
    """Return values of all batches in the order of the examples; values of tokens are padded with zeros."""
    order = np.argsort(np.concatenate([batch.index for batch in batches]))
    rows = [row for part in parts for row in part]
    return torch.nn.utils.rnn.pad_sequence([rows[place] for place in order], batch_first=True)


@torch.no_grad()
def _batch_logits(model: PrunableModel, batch: Batch, mask: np.ndarray) -> torch.Tensor:
    """Return (n, C) logits in float64 of one batch."""
    with use_hooks(AttentionHooks(gates=gates(model, mask))):
        logits = model.logits(batch.inputs).double()
    if not model.generates:
        return logits
    real = batch.real if batch.decoder_real is None else batch.decoder_real
    last = real.sum(-1) - 1
    return logits[torch.arange(len(logits)), last]


def _shown(model: PrunableModel, logits: Mapping[str, torch.Tensor]) -> tuple[np.ndarray, tuple[tuple[str, ...], ...]]:
    """Return (F, N, C) logits of the classes to show, and their names for each input."""
    every = torch.stack(list(logits.values()))  # (F, N, C)
    if not model.generates:
        return every.cpu().numpy(), (_outputs(model),) * every.shape[1]
    best = every[0].topk(min(MAX_TOKENS_SHOWN, every.shape[-1]), dim=-1).indices  # (N, MAX_TOKENS_SHOWN)
    names = tuple(tuple(_name(model, int(token)) for token in tokens) for tokens in best)
    return every.gather(-1, best.expand(len(every), -1, -1)).cpu().numpy(), names


def _outputs(model: PrunableModel) -> tuple[str, ...]:
    """Return the names of the C outputs of a model with one prediction per example."""
    count = model.model.config.num_labels
    return model.labels or (("output",) if count == 1 else tuple(f"output {i}" for i in range(count)))


def _prediction(model: PrunableModel, logits: torch.Tensor, counted: torch.Tensor | None = None) -> str:
    """Return the prediction from logits (C,): a class, a set of labels, numbers, or a token; from (T, C): the tags."""
    if counted is not None:
        return " ".join(model.labels[i] for i in logits.argmax(-1)[counted].tolist())
    if model.task == "multi_label":
        names = [name for name, logit in zip(model.labels, logits.tolist(), strict=True) if logit > 0]
        return ", ".join(names) or "no label"
    if model.task == "regression":
        return ", ".join(f"{value:.4g}" for value in logits.tolist())
    return _name(model, int(logits.argmax()))


def _name(model: PrunableModel, number: int) -> str:
    """Return the label of a class or the text of a token."""
    if not model.generates:
        return model.labels[number]
    return str(number) if model.tokenizer is None else model.tokenizer.decode([number])
