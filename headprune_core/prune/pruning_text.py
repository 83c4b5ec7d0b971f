"""What surgery did, in words and as a document: which heads went, what that saved, what it did to the answers."""

import numpy as np

from headprune_core.model.prunable_model import PrunableModel

from .verification import PruningVerification


def parameters(model: PrunableModel) -> int:
    """How many numbers the model has learned; shared ones count once."""
    return sum(parameter.numel() for parameter in model.model.parameters())


def pruning_document(model: PrunableModel, pruned: PrunableModel, verification: PruningVerification) -> dict[str, object]:
    """The mask, sizes and measures, as JSON has them: null where there is no number."""
    forms = _forms(verification)
    return {
        "mask": pruned.grid.kept.tolist(),
        "without_effect": _without_effect(pruned),
        "parameters": {"before": parameters(model), "after": parameters(pruned)},
        "difference": verification.max_logit_difference,
        "equal": verification.prediction_match,
        "accuracy": {name: _number(found.accuracy[0]) for name, found in forms.items()},
        "loss": {name: _number(found.loss[0]) for name, found in forms.items()},
        "agreement_of_masked": _number(verification.masked.agreement[0]),
        "answers": verification.unpruned.trials,
    }


def describe_pruning(model: PrunableModel, pruned: PrunableModel, verification: PruningVerification) -> list[str]:
    """A picture of the heads that are left, and a line for every finding."""
    kept, before, after = pruned.grid.kept, parameters(model), parameters(pruned)
    forms, silent = _forms(verification), _without_effect(pruned)
    what = "losses" if verification.unpruned.logits is None else "logits"
    lines = [
        f"{(~kept).sum()} of {kept.size} heads removed (·): layers down, heads across",
        *(" ".join("■" if here else "·" for here in row) for row in kept),
        "",
    ]
    if silent:
        lines.append(f"without effect, but others need their keys and values: {', '.join(silent)}")
    lines.append(f"parameters  {before:,} before, {after:,} after ({1 - after / before:.1%} fewer)")
    if not np.isnan(verification.unpruned.accuracy[0]):
        lines += [f"{name:<11} accuracy {found.accuracy[0]:.4f}" for name, found in forms.items()]
    return [
        *lines,
        f"{verification.masked.agreement[0]:.1%} of answers are those of the model before",
        f"{', '.join(list(forms)[1:])}: {what} differ by at most {verification.max_logit_difference:.1e}, {verification.prediction_match:.1%} decided alike",
    ]


def _forms(verification: PruningVerification) -> dict:
    forms = {
        "before": verification.unpruned,
        "masked": verification.masked,
        "pruned": verification.pruned,
        "reloaded": verification.reloaded,
    }
    return {name: found for name, found in forms.items() if found is not None}


def _without_effect(pruned: PrunableModel) -> list[str]:
    """Heads whose weights had to stay, as people name them."""
    return [f"{r}.{head}" for r, row in enumerate(pruned.grid.rows) for head in row.present if not row.kept[head]]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
