"""The checks of one architecture, and what they found."""

import copy
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import transformers

import headprune_core as hp
from headprune_core.model.head_discovery import interface_needed

from .reference import Reference, loss
from .tiny import random_inputs, tiny_model

TOLERANCE = 1e-4  # relative to the largest value of a score, or of the logits
BATCH_SIZES = (1, 4)


@dataclass
class Finding:
    """What the checks of one architecture found.

    Attributes:
        task: task of the library.
        name: class of the library.
        result: "exact", "masking only" (exact, but heads cannot be removed), "refused", "not built" or "fault".
        reason: sentence for every result but "exact".
        batching: batches that the model runs in.
        seconds: time of the checks.
    """

    task: str
    name: str
    result: str
    reason: str = ""
    batching: str = ""
    seconds: float = 0.0

    def as_dict(self) -> dict:
        return asdict(self)


def check_architecture(task: str, name: str) -> Finding:
    """Build a tiny model of a class and compare everything that HeadPrune computes with the plain reference.

    Args:
        task: task of the library.
        name: class of the library.
    """
    start = time.perf_counter()
    finding = _finding(task, name)
    finding.seconds = round(time.perf_counter() - start, 2)
    return finding


def _finding(task: str, name: str) -> Finding:
    try:
        body = tiny_model(task, name)
        examples = random_inputs(body, task)
        runs = _runs(body, examples)
    except Exception as error:  # the generic configuration does not fit every architecture
        kind = getattr(transformers, name)
        if not getattr(kind, "_can_set_attn_implementation", bool)():
            return Finding(task, name, "refused", interface_needed(name))
        return Finding(task, name, "not built", _words(error))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = hp.PrunableModel(copy.deepcopy(body))
    except hp.HeadPruneError as error:
        if runs is None or str(error) == interface_needed(name):
            return Finding(task, name, "refused", str(error))
        return Finding(task, name, "not built", runs)
    except Exception as error:
        return Finding(task, name, "fault", f"raw error when wrapped: {_words(error)}")
    found = Finding(task, name, "exact", batching=model.batching)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            problem, limit = _differences(body, model, examples)
            rounding = problem
            if problem is not None:  # rounding of float32, unless it is still there in double precision
                problem, limit = _differences(body, hp.PrunableModel(copy.deepcopy(body).double()), examples)
    except Exception as error:
        problem, limit = f"raw error: {_words(error)}", None
    if problem is not None:
        found.result, found.reason = "fault", problem
    elif limit is not None:
        found.result, found.reason = "masking only", limit
    elif rounding is not None:
        found.reason = f"in double precision; in float32, {rounding}"
    return found


@torch.no_grad()
def _runs(body, examples) -> str | None:
    """Why the library itself cannot run the tiny model on one example; None if it can."""
    try:
        example = examples[0]
        inputs = {n: torch.tensor([example[n]]) for n in ("input_ids", "pixel_values") if n in example}
        if "target_ids" in example:
            inputs["decoder_input_ids"] = torch.tensor([example["target_ids"]])
        body(**inputs)
    except Exception as error:
        return f"the library cannot run the tiny model on text or an image alone: {_words(error)}"
    return None


def _differences(body, model, examples) -> tuple[str | None, str | None]:
    """The first difference, and why heads cannot be removed; None if there is none."""
    reference = Reference(body, model)
    rows = list(examples)
    problem = reference.check_features(rows[0])
    if problem:
        return problem, None
    expected = dict(zip(("his", "ae", "gnorm"), reference.scores(rows), strict=True))
    mask = np.random.default_rng(1).random(model.grid.shape) > 0.4
    mask[0, 0], mask[-1, -1] = False, True
    masks = np.stack([np.ones_like(mask), mask])
    wanted = _results(reference, rows, masks)
    for size in BATCH_SIZES:
        scores = hp.score_heads(model, examples, batch_size=size)
        for metric, values in expected.items():
            if metric == "ae" and np.isnan(values).any():
                return "the reference has no attention probabilities for AE", None
            problem = _compare(f"{metric} at batch size {size}", scores.per_example[metric], values)
            if problem:
                return problem, None
        evaluation = hp.evaluate_masks(model, examples, masks, batch_size=size)
        problem = _compare(f"masked results at batch size {size}", _numbers(evaluation), wanted)
        if problem:
            return problem, None
    limit = None
    try:
        pruned = hp.prune_heads(model, mask)
    except hp.HeadPruneError as error:
        pruned, limit = model, str(error)
    with tempfile.TemporaryDirectory() as place:
        pruned.save_pretrained(Path(place) / "model")
        reloaded = hp.PrunableModel.from_pretrained(Path(place) / "model", device="cpu")
    for kind, other in (("pruned", pruned), ("reloaded", reloaded)):
        evaluation = hp.evaluate_masks(other, examples, masks[:1] if limit is None else masks[1:])
        problem = _compare(f"{kind} results", _numbers(evaluation), wanted[1:])
        if problem:
            return problem, limit
    return None, limit


def _results(reference: Reference, rows: list[dict], masks) -> np.ndarray:
    """(M, N, C) logits of a classifier, or (M, N, 1) losses, with output weights set to zero."""
    results = []
    for mask in masks:
        logits = reference.zeroed_logits(rows, mask)
        if logits[0].ndim == 2:
            logits = [[float(loss(torch.tensor(own)[None], row))] for own, row in zip(logits, rows, strict=True)]
        results.append(logits)
    return np.array(results)


def _numbers(evaluation: hp.MaskEvaluation) -> np.ndarray:
    return evaluation.losses[..., None] if evaluation.logits is None else evaluation.logits


def _compare(what: str, actual: np.ndarray, expected: np.ndarray) -> str | None:
    difference, size = float(np.abs(actual - expected).max()), float(np.abs(expected).max())
    if difference <= TOLERANCE * max(size, 1e-3):
        return None
    return f"{what} differ by {difference:.2g}, of values up to {size:.2g}"


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
