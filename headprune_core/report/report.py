"""The report of a pruning: one HTML file that reads like a short paper, from what was done to how sure it is.

Every number comes from the record, the models, the scores or the curves that are given; what is not known is left out, or
said to be not known where a reader would take it for granted. The page itself is made in `report_html`.
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

from headprune_core.errors import HeadPruneError
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.prune.pruning_text import count_parameters
from headprune_core.references import REFERENCES
from headprune_core.scores.head_scores import HeadScores
from headprune_core.strict_json import as_json
from headprune_core.version import __version__

from .data import Facts, agreement, change, points
from .html import Block, Points, Section, Text, Verbatim, page
from .method import data, ended, limits, method
from .pruning_record import PruningRecord, share
from .results import results
from .size_speed import size_and_speed
from .uncertainty import describe_confidence, how_sure


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
) -> str:
    """The HTML of a report on `pruned`, which `model` became; nothing in it is fetched from anywhere.

    scores, curves: as they were when the heads were chosen. code, command: what makes the same again, in Python and on the
    command line. notes: sentences of the user's. shared: how many texts were both scored and measured on
    (`examples.overlap`). date: today where none is given. Raises HeadPruneError where the models, or scores and models, are
    not of the same heads.
    """
    shapes = [model.grid.shape, pruned.grid.shape, *([scores.grid.shape] if scores is not None else [])]
    if len(set(shapes)) > 1 or (pruned.grid.kept & ~model.grid.kept).any():
        raise HeadPruneError(
            f"the heads of the model, the pruned one and the scores have shapes {', '.join(map(str, shapes))}; expected a "
            "model, what it became by losing heads, and its scores"
        )
    facts = Facts(model, pruned, record, scores, curves, n_overlap)
    sections = [
        method(facts),
        data(facts),
        results(facts),
        size_and_speed(facts),
        how_sure(facts),
        Section("How to reproduce it", _reproduce(facts, code, command)),
        limits(facts),
        Section("Notes", [Points([note for note in notes if note])] if any(notes) else []),
    ]
    title = f"Pruning {facts.heads_of} of {model.name}"
    return page(title, date or datetime.date.today(), _abstract(facts), sections, REFERENCES)


def _abstract(facts: Facts) -> str:
    """Four sentences: what was done, on what, what was found, how sure."""
    record, verification = facts.record, facts.record.verification
    told = [f"{facts.heads_of} of {facts.model.name} were removed for good, {_how(record.mask_description)}."]
    scored = f"The heads were scored on {record.calibration_data}" if record.calibration_data else ""
    if scored or record.evaluation_data:
        measured = f"the smaller model was measured on {record.evaluation_data}" if record.evaluation_data else ""
        told.append(ended(f"{scored}; {measured}" if scored and measured else scored or f"T{measured[1:]}"))
    before, after = count_parameters(facts.model), count_parameters(facts.pruned)
    smaller = f"{1 - after / before:.1%} fewer parameters"
    if verification is None:
        told.append(f"The smaller model has {smaller}.")
    elif not facts.labelled:
        what = "next tokens" if facts.tokens else "answers"
        told.append(
            f"It gives {agreement(verification.masked)} of the {what} that the unpruned model gives, with {smaller}."
        )
    else:
        last = list(facts.forms.values())[-1]
        tuned = "" if len(facts.forms) < 3 else f" and {share(last)} once fine-tuned"
        mean = " in the mean over texts" if facts.tokens else ""
        told.append(
            f"Accuracy is {share(verification.unpruned)} before{',' if tuned else ' and'} {share(verification.pruned)} after{tuned}, "
            f"a change of {points(change(verification.unpruned, last))}{mean}, with {smaller}."
        )
    return " ".join([*told, describe_confidence(facts)])


def _how(chosen: str) -> str:
    return f"chosen so: {ended(chosen)[:-1]}"


def _reproduce(facts: Facts, code: str, command: str) -> list[Block]:
    versions = {
        "HeadPrune": __version__,
        "Python": platform.python_version(),
        "PyTorch": torch.__version__,
        "Transformers": transformers.__version__,
        "Datasets": datasets.__version__,
        "NumPy": np.__version__,
        "Plotly": plotly.__version__,
    }
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    where = f"on {platform.platform()} ({platform.machine()}), device {facts.model.device}"
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
    gone = [f"{facts.labels[row]}.{head}" for row, head in np.argwhere(~facts.kept)]
    gated = "\N{WHITE DIAMOND} without effect, " if (facts.present & ~facts.kept).any() else ""
    blocks: list[Block] = [
        Text(f"Made with {listed}, {where}."),
        Verbatim("Settings", as_json(settings)),
        Verbatim(f"The {len(gone)} heads that are gone, as layer.head", ", ".join(gone) or "none"),
        Verbatim(
            f"The mask: layers down, heads across; \N{BLACK SQUARE} kept, {gated}· removed",
            _grid(facts),
            wrapped=False,
        ),
    ]
    if code.strip():
        blocks.append(Verbatim("In Python", code.strip("\n")))
    if command.strip():
        with_file = ", with mask.json out of the zip" if "--mask mask.json" in command else ""
        blocks.append(Verbatim(f"On the command line{with_file}", command.strip("\n")))
    return blocks


def _grid(facts: Facts) -> str:
    width = max(map(len, facts.labels))
    marks = np.where(facts.kept, "\N{BLACK SQUARE}", np.where(facts.present, "\N{WHITE DIAMOND}", "·"))
    return "\n".join(f"{label:>{width}}  {' '.join(row)}" for label, row in zip(facts.labels, marks, strict=True))
