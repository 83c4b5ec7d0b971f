"""Recovery fine-tuning: short training of a pruned model, on labels or by distillation from the unpruned model.

All weights of a copy are trained (`finetuning`) and evaluated before and after on a held-out evaluation set
(`finetuning_evaluation`). This module checks options, reports progress and translates errors.
"""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import datasets
import numpy as np
import torch

from headprune_core.data.batches import out_of_memory
from headprune_core.data.encoding import encode
from headprune_core.data.examples import overlap
from headprune_core.errors import Cancelled, HeadPruneError, HeadPruneWarning
from headprune_core.measure.evaluation import MaskEvaluation
from headprune_core.model.prunable_model import PrunableModel, runs_models
from headprune_core.model.trial_run import BATCHING

from .finetuning import copied, fine_tune, label_loss, teacher_loss
from .finetuning_evaluation import BeforeAfterEvaluator

OBJECTIVES = ("labels", "teacher")
LEARNING_RATE, TEMPERATURE = 2e-5, 1.0  # Chosen on the built-in model; see assets/docs/RECOVERY.md.
STEP_COST = {"labels": 3, "teacher": 4}  # Duration of a step in forward passes, for progress.
SMOOTHING = 10  # Number of steps whose mean loss is shown in progress notes.
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class Recovery:
    """Settings and results of a recovery fine-tuning run.

    Attributes:
        steps: optimizer steps made.
        planned: optimizer steps planned.
        examples: number of distinct training examples used.
        batch_size: examples per step.
        objective: "labels" or "teacher".
        learning_rate: peak learning rate.
        seconds: training time in seconds, without evaluation.
        loss: training loss of each step (steps,).
        before: evaluation of the pruned model before training, or None without an evaluation set. Its `agreement` and
            `correlation` compare with the teacher; they are NaN without one and for models that predict tokens.
        after: the same after training; None if training was cancelled.
    """

    steps: int
    planned: int
    examples: int
    batch_size: int
    objective: str
    learning_rate: float
    seconds: float
    loss: np.ndarray
    before: MaskEvaluation | None = None
    after: MaskEvaluation | None = None


@runs_models
def recover(
    model: PrunableModel,
    examples: datasets.Dataset,
    *,
    steps: int,
    batch_size: int = 32,
    learning_rate: float = LEARNING_RATE,
    objective: str = "labels",
    teacher: PrunableModel | None = None,
    evaluation: datasets.Dataset | None = None,
    dtype: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[PrunableModel, Recovery]:
    """Fine-tune a copy of a pruned model and evaluate it before and after.

    `model` is not changed; the copy has the same heads, name, tokenizer and precision. A HeadPruneWarning is issued if
    evaluation examples are also in the training set. If `progress` raises Cancelled, the exception carries (model so far,
    Recovery without `after`) as `.partial`, or None before the first step.

    Args:
        model: model to fine-tune, in float32 or float64.
        examples: training set.
        steps: number of optimizer steps.
        batch_size: examples per step.
        learning_rate: peak learning rate.
        objective: "labels" trains on labels (for models that predict tokens, on the next tokens or the target); "teacher"
            distills from `teacher` and needs no labels.
        teacher: the unpruned model.
        evaluation: evaluation set; without labels, a teacher is needed to measure agreement.
        dtype: "bfloat16" for matrix products in that precision; weights and optimizer steps keep the loaded precision.
        seed: seed of the order of the examples.
        progress: called as progress(done, total, note), counted in forward passes; a step counts as three (with a teacher
            four).

    Returns:
        The fine-tuned copy and the result of the run.

    Raises:
        HeadPruneError: if options or models do not fit, the loss is not finite, or memory is too small.

    Example:
        >>> tuned, result = recover(pruned, training, steps=100, evaluation=evaluation)
    """
    _check_options(steps, batch_size, learning_rate, objective, dtype)
    _check_models(model, objective, teacher)
    encoded = encode(model, examples)
    if teacher is not None:  # it runs on the same batches
        encoded = replace(encoded, batching=max(model.batching, teacher.batching, key=BATCHING.index))
    if objective == "labels" and not encoded.labeled:
        raise HeadPruneError("the training set has no labels; add a label column, or use objective 'teacher'")
    evaluator = BeforeAfterEvaluator(model, evaluation, teacher, batch_size)
    shared = 0 if evaluation is None else overlap(examples, evaluation)
    if shared:
        warnings.warn(
            f"{shared} of {len(evaluation)} evaluation examples are also in the training set, so the gain is overestimated; "
            "use a held-out evaluation set",
            HeadPruneWarning,
            stacklevel=2,
        )
    step_cost, total = STEP_COST[objective], STEP_COST[objective] * steps + 2 * evaluator.passes
    losses, sizes, seconds = [], [], [0.0]

    def report(done: int, note: str) -> None:
        if progress is not None:
            progress(done, total, note)

    def after(loss: float, size: int) -> None:
        losses.append(loss)
        sizes.append(size)
        seconds.append(time.perf_counter() - started)
        note = f"Fine-tuning: step {len(losses)} of {steps}, loss {np.mean(losses[-SMOOTHING:]):.2f}"
        report(evaluator.passes + step_cost * len(losses), note)

    def result(evaluated: MaskEvaluation | None) -> Recovery:
        used = min(sum(sizes), len(encoded))  # Each epoch contains every example once.
        settings = steps, used, batch_size, objective, learning_rate, seconds[-1], np.array(losses)
        return Recovery(len(losses), *settings, before, evaluated)

    try:
        before = evaluator.of(model, lambda done: report(done, "Evaluating before fine-tuning"))
        report(evaluator.passes, "Fine-tuning")
        tuned = copied(model)
        value = label_loss if objective == "labels" else teacher_loss(teacher.in_precision(dtype), TEMPERATURE)
        started = time.perf_counter()
        options = {"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed, "dtype": dtype}
        fine_tune(tuned, encoded, value, **options, after=after)
        done = total - evaluator.passes
        return tuned, result(evaluator.of(tuned, lambda more: report(done + more, "Evaluating after fine-tuning")))
    except Cancelled as stop:
        stop.partial = (tuned, result(None)) if losses else None
        raise
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        size = sum(p.numel() * p.element_size() for p in model.model.parameters()) / 2**20
        raise HeadPruneError(
            f"fine-tuning with batch size {batch_size} does not fit in memory (the copy, its gradients and optimizer state "
            f"take {4 * size:.0f} MiB in addition to the batch); use a smaller batch size or shorter examples"
        ) from error


def _check_options(steps: int, batch_size: int, learning_rate: float, objective: str, dtype: str | None) -> None:
    if steps < 1:
        raise HeadPruneError(f"steps must be at least 1, got {steps}")
    if batch_size < 1:
        raise HeadPruneError(f"batch_size must be at least 1, got {batch_size}")
    if not 0 < learning_rate < 1:
        raise HeadPruneError(
            f"learning_rate must be a small positive number such as {LEARNING_RATE:g}, got {learning_rate:g}"
        )
    if objective not in OBJECTIVES:
        raise HeadPruneError(f"objective must be one of {', '.join(OBJECTIVES)}, got {objective!r}")
    if dtype not in (None, "float32", "bfloat16"):
        raise HeadPruneError(f"dtype must be None, 'float32' or 'bfloat16', got {dtype!r}")


def _check_models(model: PrunableModel, objective: str, teacher: PrunableModel | None) -> None:
    if model.device.type == "meta":
        raise HeadPruneError("the model is on the meta device and cannot be trained; load its weights first")
    half = next((p.dtype for p in model.model.parameters() if p.dtype in (torch.float16, torch.bfloat16)), None)
    if half is not None:
        raise HeadPruneError(
            f"the model must be in float32 to be fine-tuned, got {str(half)[6:]}, in which small weight changes are lost; "
            "load it in float32, and use dtype='bfloat16' for speed"
        )
    if teacher is None:
        if objective == "teacher":
            raise HeadPruneError("objective 'teacher' needs a teacher; pass the unpruned model")
    elif _described(teacher) != _described(model):
        raise HeadPruneError(
            f"the teacher must be the unpruned form of the model, got {_described(teacher)} for {_described(model)}"
        )
    elif teacher.device != model.device:
        raise HeadPruneError(f"teacher and model must be on one device, got {teacher.device} and {model.device}")


def _described(model: PrunableModel) -> str:
    rows, heads = model.grid.shape
    count = model.model.config.num_labels
    outputs = f"classes {', '.join(model.labels)}" if model.labels else f"{model.cost.logits} tokens"
    outputs = f"{count} outputs" if model.task == "regression" else outputs
    return f"{type(model.model).__name__} with {rows} x {heads} heads and {outputs}"
