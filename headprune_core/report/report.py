"""HTML report on a pruned model: one file in the form of a short paper, from method to limitations.

All numbers come from the record, the models, the scores and the curves that are passed. What is not known is omitted or
stated as not measured. `html` renders the page.
"""

import datetime
import platform
from collections.abc import Sequence

import datasets
import numpy as np
import pandas as pd
import plotly
import torch
import transformers

from headprune_core.data.measures import measure_label
from headprune_core.errors import HeadPruneError
from headprune_core.figures.heatmaps import row_name
from headprune_core.inspection.text_attention import text_attention
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.prune.pruning_text import count_parameters
from headprune_core.references import REFERENCES
from headprune_core.scores.head_scores import HeadScores
from headprune_core.strict_json import as_json
from headprune_core.version import __version__

from .data import Facts, agreement, change, difference_text
from .html import AttentionFigure, Block, Points, Section, Text, Verbatim, page
from .method import data, limitations, method, with_full_stop
from .pruning_record import PruningRecord, share
from .results import results
from .size_speed import size_and_speed
from .uncertainty import describe_confidence, statistical_confidence


def html_report(
    model: PrunableModel,
    pruned: PrunableModel,
    record: PruningRecord,
    *,
    scores: HeadScores | None = None,
    curves: pd.DataFrame | None = None,
    code: str = "",
    command: str = "",
    notes: Sequence[str] = (),
    n_overlap: int | None = None,
    date: datetime.date | None = None,
    text: str | None = None,
) -> str:
    """Return an HTML report on a pruned model; the page needs no network.

    Args:
        model: the model before pruning.
        pruned: the pruned model.
        record: how it was pruned and evaluated.
        scores: scores that the mask is based on.
        curves: sparsity curves (`sparsity_curves`).
        code: python code that reproduces the pruning.
        command: command line that reproduces the pruning.
        notes: additional sentences, shown under "Notes".
        n_overlap: number of evaluation examples that are also in the calibration set.
        date: date of the report; today by default.
        text: an example text on which the report draws attention of heads with high HIS; needs scores.

    Returns:
        The HTML document.

    Raises:
        HeadPruneError: if models and scores do not have the same head grid.

    Example:
        >>> Path("report.html").write_text(html_report(model, pruned, record), encoding="utf-8")
    """
    shapes = [model.grid.shape, pruned.grid.shape, *([scores.grid.shape] if scores is not None else [])]
    if len(set(shapes)) > 1 or (pruned.grid.kept & ~model.grid.kept).any():
        raise HeadPruneError(
            f"model, pruned and scores must have the same head grid, and pruned a subset of the model's heads, got shapes "
            f"{', '.join(map(str, shapes))}"
        )
    facts = Facts(model, pruned, record, scores, curves, n_overlap)
    sections = [
        method(facts),
        data(facts),
        results(facts),
        Section("Attention", _attention(facts, text)),
        size_and_speed(facts),
        statistical_confidence(facts),
        Section("Reproducibility", _reproducibility(facts, code, command)),
        limitations(facts),
        Section("Notes", [Points([note for note in notes if note])] if any(notes) else []),
    ]
    title = f"Pruning {facts.removed_text} of {model.name}"
    return page(title, date or datetime.date.today(), _abstract(facts), sections, REFERENCES)


def _attention(facts: Facts, text: str | None) -> list[Block]:
    """The attention of the kept head and of the pruned head with the highest HIS, on one text."""
    if text is None or facts.scores is None or "his" not in facts.scores.per_example:
        return []
    his, kept = facts.scores.his, facts.pruned.grid.kept
    parts = {"kept": kept, "pruned": facts.model.grid.kept & ~kept}
    best = {state: np.where(part, his, -np.inf).argmax() for state, part in parts.items() if part.any()}
    heads = {state: divmod(int(number), his.shape[1]) for state, number in best.items()}
    try:
        found = text_attention(facts.model, text, heads=heads.values())
    except HeadPruneError:  # heads of different streams, or a text that the model cannot read: no figure
        return []
    rows = facts.model.grid.row_labels
    states = " and ".join(f"{row_name(rows[row])}, head {head} ({state})" for state, (row, head) in heads.items())
    caption = f"Attention of the heads with the highest HIS on an example: {states}. Choose a token to see its links."
    return [AttentionFigure(found.document(), caption)]


def _abstract(facts: Facts) -> str:
    """Return four sentences: method, data, result, statistical confidence."""
    record, verification = facts.record, facts.record.verification
    mask = with_full_stop(record.mask_description)
    sentences = [f"We removed {facts.removed_text} from {facts.model.name}. Mask: {mask}"]
    sentences += [f"Calibration set: {with_full_stop(record.calibration_data)}"] if record.calibration_data else []
    sentences += [f"Evaluation set: {with_full_stop(record.evaluation_data)}"] if record.evaluation_data else []
    before, after = count_parameters(facts.model), count_parameters(facts.pruned)
    smaller = f"{1 - after / before:.1%} fewer parameters"
    if verification is None:
        sentences.append(f"The pruned model has {smaller}.")
    elif not facts.labeled and not facts.task.has_decisions:
        same = agreement(verification.masked)
        sentences.append(f"The correlation with the unpruned model's outputs is {same}, with {smaller}.")
    elif not facts.labeled:
        what = "Next-token predictions" if facts.model.generates else "Predictions"
        sentences.append(f"{what} match the unpruned model on {agreement(verification.masked)}, with {smaller}.")
    else:
        last = list(facts.forms.values())[-1]
        values = [f"{share(evaluation)} {name}" for name, evaluation in facts.forms.items()]
        difference = difference_text(change(verification.unpruned, last), facts.measure)
        mean = ", averaged over examples" if facts.tokens else ""
        sentences.append(f"{measure_label(facts.measure)}: {', '.join(values)}; change {difference}{mean}, with {smaller}.")
    return " ".join([*sentences, describe_confidence(facts)])


def _reproducibility(facts: Facts, code: str, command: str) -> list[Block]:
    versions = {
        "HeadPrune": __version__,
        "Python": platform.python_version(),
        "PyTorch": torch.__version__,
        "Transformers": transformers.__version__,
        "Datasets": datasets.__version__,
        "NumPy": np.__version__,
        "Plotly": plotly.__version__,
    }
    software = ", ".join(f"{name} {version}" for name, version in versions.items())
    machine = f"on {platform.platform()} ({platform.machine()}), device {facts.model.device}"
    record = facts.record
    names = (
        "source",
        "revision",
        "mask_description",
        "criterion",
        "alpha",
        "sparsity",
        "calibration_data",
        "evaluation_data",
        "training_data",
    )
    settings = {name: getattr(record, name) for name in names if getattr(record, name) is not None}
    of_scores = dict(record.settings) or (dict(facts.scores.settings) if facts.scores is not None else {})
    settings |= {"scores": of_scores} if of_scores else {}
    pruned = [f"{facts.labels[row]}.{head}" for row, head in np.argwhere(~facts.kept)]
    zeroed = "\N{WHITE DIAMOND} zeroed, " if (facts.present & ~facts.kept).any() else ""
    blocks: list[Block] = [
        Text(f"Created with {software} {machine}."),
        Verbatim("Settings", as_json(settings)),
        Verbatim(f"Pruned heads (layer.head): {len(pruned)}", ", ".join(pruned) or "none"),
        Verbatim(
            f"Mask (rows: layers, columns: heads; \N{BLACK SQUARE} kept, {zeroed}· removed)",
            _grid(facts),
            wrapped=False,
        ),
    ]
    if code.strip():
        blocks.append(Verbatim("Python", code.strip("\n")))
    if command.strip():
        mask_file = " (uses mask.json from the zip)" if "--mask mask.json" in command else ""
        blocks.append(Verbatim(f"Command line{mask_file}", command.strip("\n")))
    return blocks


def _grid(facts: Facts) -> str:
    width = max(map(len, facts.labels))
    marks = np.where(facts.kept, "\N{BLACK SQUARE}", np.where(facts.present, "\N{WHITE DIAMOND}", "·"))
    return "\n".join(f"{label:>{width}}  {' '.join(row)}" for label, row in zip(facts.labels, marks, strict=True))
