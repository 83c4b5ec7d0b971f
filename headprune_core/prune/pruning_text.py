"""Summary of structural pruning as text and as JSON data: removed heads, parameters, accuracy and the equivalence check."""

import numpy as np

from headprune_core.data.measures import format_value, sentence_name
from headprune_core.model.prunable_model import PrunableModel

from .verification import PruningVerification


def count_parameters(model: PrunableModel) -> int:
    """Return the number of parameters of the model; shared ones count once."""
    return sum(parameter.numel() for parameter in model.model.parameters())


def pruning_document(model: PrunableModel, pruned: PrunableModel, verification: PruningVerification) -> dict[str, object]:
    """Return the mask, sizes and evaluation as JSON-compatible data.

    Args:
        model: unpruned model.
        pruned: pruned model.
        verification: evaluations of both on the same examples.

    Returns:
        Nested dictionaries; values that were not measured are None.
    """
    forms = _forms(verification)
    return {
        "mask": pruned.grid.kept.tolist(),
        "without_effect": _zeroed_heads(pruned),
        "parameters": {"before": count_parameters(model), "after": count_parameters(pruned)},
        "difference": verification.max_logit_difference,
        "equal": verification.prediction_match,
        "accuracy": {name: _number(result.accuracy[0]) for name, result in forms.items()},
        "measure": verification.unpruned.measure,
        "value": {name: _number(result.main_value[0]) for name, result in forms.items()},
        "loss": {name: _number(result.loss[0]) for name, result in forms.items()},
        "agreement_of_masked": _number(verification.masked.agreement[0]),
        "answers": verification.unpruned.trials,
    }


def describe_pruning(model: PrunableModel, pruned: PrunableModel, verification: PruningVerification) -> list[str]:
    """Describe the pruned model for a terminal.

    Args:
        model: unpruned model.
        pruned: pruned model.
        verification: evaluations of both on the same examples.

    Returns:
        Lines of text: a map of the heads, then one line per result.
    """
    kept, before, after = pruned.grid.kept, count_parameters(model), count_parameters(pruned)
    forms, zeroed = _forms(verification), _zeroed_heads(pruned)
    tokens = verification.unpruned.task.generates
    lines = [
        f"{(~kept).sum()} of {kept.size} heads removed (rows: layers, columns: heads; ■ kept, · removed)",
        *(" ".join("■" if head_kept else "·" for head_kept in row) for row in kept),
        "",
    ]
    if zeroed:
        lines.append(f"zeroed heads (weights shared with a kept head): {', '.join(zeroed)}")
    lines.append(f"parameters  {before:,} unpruned, {after:,} pruned ({1 - after / before:.1%} fewer)")
    unpruned = verification.unpruned
    if unpruned.labeled:
        named = {"unpruned" if name == "before" else name: result for name, result in forms.items()}
        measure = sentence_name(unpruned.measure)
        lines += [f"{name:<11} {measure} {result.main_value[0]:.4f}" for name, result in named.items()]
    same = verification.masked.task.without_labels
    agreement = format_value(same, verification.masked.agreement[0])
    return [
        *lines,
        f"{'agreement with the unpruned model' if same == 'agreement' else sentence_name(same)}: {agreement}",
        f"{', '.join(list(forms)[1:])}: max. {'loss' if tokens else 'logit'} difference "
        f"{verification.max_logit_difference:.1e}, identical {'token accuracy' if tokens else 'predictions'} on "
        f"{verification.prediction_match:.1%} of examples",
    ]


def _forms(verification: PruningVerification) -> dict:
    """Return the evaluations by their JSON keys."""
    forms = {
        "before": verification.unpruned,
        "masked": verification.masked,
        "pruned": verification.pruned,
        "reloaded": verification.reloaded,
    }
    return {name: result for name, result in forms.items() if result is not None}


def _zeroed_heads(pruned: PrunableModel) -> list[str]:
    """Return the zeroed heads as layer.head."""
    return [f"{r}.{head}" for r, row in enumerate(pruned.grid.rows) for head in row.present if not row.kept[head]]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
