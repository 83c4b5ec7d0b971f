"""Recovery: a short fine-tune of a pruned model, which lets the heads that are left take over what the others did.

All weights of a copy are trained (`fine_tuning.py`), on labels or on the answers of the unpruned model, its teacher. What
that is worth is measured on examples that training never saw.
"""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import datasets
import numpy as np
import torch

from headprune_core.data.batches import out_of_memory
from headprune_core.data.encoding import encode
from headprune_core.data.examples import overlap
from headprune_core.errors import Cancelled, HeadPruneError, HeadPruneWarning
from headprune_core.measure.evaluation import MaskEvaluation
from headprune_core.model.prunable_model import PrunableModel

from .finetuning import copied, fine_tune, label_loss, teacher_loss
from .finetuning_evaluation import BeforeAfterEvaluator

OBJECTIVES = ("labels", "teacher")
LEARNING_RATE, TEMPERATURE = 2e-5, 1.0  # of those tried on the embedded model: assets/docs/RECOVERY.md
UPDATE = {"labels": 3, "teacher": 4}  # forward passes that take as long as one update
SMOOTH = 10  # updates whose mean loss is shown
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class Recovery:
    """What a fine-tune took and gave.

    steps: updates made, of `planned`. examples: how many were learned from, `batch_size` a step. objective: "labels" or
    "teacher". rate: the highest learning rate. seconds: of training alone. loss (steps,): of each update. before, after: the
    pruned model on the examples it is judged by, its agreement and correlation being those with the teacher (nan without
    one, and where tokens are predicted); None where there are none.
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
    """A copy of `model`, pruned or not, after `steps` updates of all its weights on `examples`; and what that gave.

    `model` is left as it is; the copy has its heads, name, tokenizer and precision. objective: "labels" (where tokens are
    predicted: the text's next ones, or the target's), or "teacher": the answers of `teacher`, the unpruned model, without
    labels. evaluation: examples to judge by, before and after; ones without labels need a teacher to agree with. dtype
    "bfloat16": the matrix products of training in that precision, weights and updates as loaded.

    `progress` counts forward passes, an update as three (four with a teacher). When it raises Cancelled, the exception
    carries (model so far, Recovery without `after`) as `.partial`; None before the first update. Warns (HeadPruneWarning)
    where examples to judge by are also learned from. Raises HeadPruneError for options and models that do not fit, a loss
    that is no finite number, and what does not fit in memory.
    """
    _check_options(steps, batch_size, learning_rate, objective, dtype)
    _check_models(model, objective, teacher)
    encoded = encode(model, examples)
    if objective == "labels" and model.task == "classification" and encoded.labels is None:
        raise HeadPruneError("the examples have no labels to learn; give a label column, or use objective 'teacher'")
    judge = BeforeAfterEvaluator(model, evaluation, teacher, batch_size)
    shared = 0 if evaluation is None else overlap(examples, evaluation)
    if shared:
        seen = f"{shared} of {len(evaluation)} examples to judge by are learned from as well"
        warnings.warn(f"{seen}, so the gain looks larger than it is; use others", HeadPruneWarning, stacklevel=2)
    update, total = UPDATE[objective], UPDATE[objective] * steps + 2 * judge.passes
    losses, sizes, took = [], [], [0.0]

    def report(done: int, note: str) -> None:
        if progress is not None:
            progress(done, total, note)

    def after(loss: float, size: int) -> None:
        losses.append(loss)
        sizes.append(size)
        took.append(time.perf_counter() - started)
        report(judge.passes + update * len(losses), f"Recovering: loss {np.mean(losses[-SMOOTH:]):.2f}")

    def outcome(judged: MaskEvaluation | None) -> Recovery:
        learned = min(sum(sizes), len(encoded))  # an epoch has every example once
        how = steps, learned, batch_size, objective, learning_rate, took[-1], np.array(losses)
        return Recovery(len(losses), *how, before, judged)

    try:
        before = judge.of(model, lambda done: report(done, "Measuring accuracy before"))
        report(judge.passes, "Recovering")
        tuned = copied(model)
        value = label_loss if objective == "labels" else teacher_loss(teacher.in_precision(dtype), TEMPERATURE)
        started = time.perf_counter()
        options = {"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed, "dtype": dtype}
        fine_tune(tuned, encoded, value, **options, after=after)
        done = total - judge.passes
        return tuned, outcome(judge.of(tuned, lambda more: report(done + more, "Measuring accuracy after")))
    except Cancelled as stop:
        stop.partial = (tuned, outcome(None)) if losses else None
        raise
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        size = sum(p.numel() * p.element_size() for p in model.model.parameters()) / 2**20
        raise HeadPruneError(
            f"recovery in batches of {batch_size} does not fit in memory (the copy, its gradients and their two averages "
            f"take {4 * size:.0f} MB beside the batch); choose smaller batches or shorter texts"
        ) from error


def _check_options(steps: int, batch_size: int, learning_rate: float, objective: str, dtype: str | None) -> None:
    if steps < 1:
        raise HeadPruneError(f"{steps} updates were asked for; expected at least 1")
    if batch_size < 1:
        raise HeadPruneError(f"the batch size is {batch_size}; expected at least 1")
    if not 0 < learning_rate < 1:
        raise HeadPruneError(f"the rate is {learning_rate:g}; expected a small number above 0, such as {LEARNING_RATE:g}")
    if objective not in OBJECTIVES:
        raise HeadPruneError(f"objective {objective!r} is not known; expected one of {', '.join(OBJECTIVES)}")
    if dtype not in (None, "float32", "bfloat16"):
        raise HeadPruneError(f"dtype is {dtype!r}; expected None, 'float32' or 'bfloat16'")


def _check_models(model: PrunableModel, objective: str, teacher: PrunableModel | None) -> None:
    if model.device.type == "meta":
        raise HeadPruneError("the model is on the meta device and cannot be trained; expected loaded weights")
    half = next((p.dtype for p in model.model.parameters() if p.dtype in (torch.float16, torch.bfloat16)), None)
    if half is not None:
        raise HeadPruneError(
            f"the model is in {str(half)[6:]}, in which small updates are lost; load it in float32, and use "
            "dtype='bfloat16' for speed"
        )
    if teacher is None:
        if objective == "teacher":
            raise HeadPruneError("objective 'teacher' was given without a teacher; expected the unpruned model")
    elif _described(teacher) != _described(model):
        raise HeadPruneError(
            f"the teacher is {_described(teacher)}, the model {_described(model)}; expected the model from before heads "
            "were removed"
        )
    elif teacher.device != model.device:
        raise HeadPruneError(
            f"the teacher is on {teacher.device}, the model on {model.device}; expected one device for both"
        )


def _described(model: PrunableModel) -> str:
    rows, heads = model.grid.shape
    answers = ", ".join(model.labels) or f"{model.cost.logits} tokens"
    return f"{type(model.model).__name__} with {rows} x {heads} heads and the answers {answers}"
