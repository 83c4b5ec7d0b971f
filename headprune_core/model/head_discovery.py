"""A model's trial run: is its attention one that we compute exactly, where are its heads, and what task does it do?

Tasks: "classification" (logits (N, C), from text or an image), "language" (logits (N, T, V), each position predicting the
next token) and "translation" (an encoder-decoder that writes a target text; logits (N, U, V) for its U tokens).
"""

import math

import torch
from torch import Tensor
from transformers import PreTrainedModel

from headprune_core.errors import HeadPruneError

from .attention_hooks import ATTENTION, AttentionHooks, unwatch_projection, use_hooks, watch_projection
from .forward_cost import Cost, count_cost
from .head_layout import HeadGrid, linear_layers
from .head_tracing import TraceRun, head_grid

TOKENS = 6  # of the trial text; its target, where there is one, has two less
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}  # of the largest logit; half precision: 0.05

EXPECTED = "expected a model for text or image classification, a causal language model, or one that translates text to text"


def find_heads(model: PreTrainedModel) -> tuple[HeadGrid, str, Cost]:
    """Switch `model` to our attention function, try it out, and return its head grid, its task and its cost.

    Raises HeadPruneError, naming the model and the reason, where heads cannot be found or attention would not be the
    model's own.
    """
    name = type(model).__name__
    if not model._can_set_attn_implementation():
        raise HeadPruneError(
            f"{name} computes attention in its own way, not through the Transformers attention interface, so its heads "
            "cannot be reached; choose a model of a family that does (BERT, RoBERTa, ELECTRA, GPT-2, LLaMA, T5, ViT, ...)"
        )
    inputs = sample_inputs(model)
    own = _own_logits(model, inputs)
    model.set_attn_implementation(ATTENTION)
    trial, logits = _tried(model, inputs)
    grid = head_grid(model, trial)
    task = _task(model, logits, grid)
    _check_same(name, own, logits)
    return grid, task, _ready(model, grid, trial)


def verify_layout(model: PreTrainedModel, grid: HeadGrid, task: str) -> Cost:
    """The same for a model whose grid and task are said, as after surgery; returns its cost.

    Raises HeadPruneError where the trial run shows another task, or rows and heads in another order or of another size.
    """
    model.set_attn_implementation(ATTENTION)
    trial, logits = _tried(model, sample_inputs(model))
    found = _task(model, logits, grid)
    if found != task:
        raise HeadPruneError(f"{type(model).__name__} does {found}; expected {task}")
    _check_calls(type(model).__name__, grid, trial)
    return _ready(model, grid, trial)


def _tried(model: PreTrainedModel, inputs: dict[str, Tensor]) -> tuple[TraceRun, Tensor | None]:
    """What happens in a run on `inputs`, and the logits."""
    trial, layers = TraceRun(), linear_layers(model)
    for layer in layers:
        watch_projection(layer)
    try:
        probe = AttentionHooks(on_attention=trial.on_attention, on_projection=trial.on_projection)
        with use_hooks(probe), torch.enable_grad():
            logits = _run(model, inputs)
    finally:
        for layer in layers:
            unwatch_projection(layer)
    return trial, None if logits is None else logits.detach()


def _ready(model: PreTrainedModel, grid: HeadGrid, trial: TraceRun) -> Cost:
    """Watch the projections from now on; what a forward pass costs."""
    for projection in {p.module for row in grid.rows for p in (row.q, row.k, row.v)}:
        watch_projection(projection)
    sizes = (None, None) if model.main_input_name == "pixel_values" else (TOKENS, TOKENS - 2)
    return count_cost(trial.linear_calls, trial.attention_calls, *sizes)


def sample_inputs(model: PreTrainedModel) -> dict[str, Tensor]:
    """One small example of what the model reads."""
    config, device = model.config, model.device
    if model.main_input_name == "pixel_values":
        shape = image_shape(model)
        ramp = torch.linspace(-1, 1, math.prod(shape))
        return {"pixel_values": ramp.reshape(1, *shape).to(device, model.dtype)}
    if model.main_input_name != "input_ids":
        raise HeadPruneError(f"{type(model).__name__} reads {model.main_input_name}, not text or images; {EXPECTED}")
    special = {
        token
        for name in ("pad", "bos", "eos", "decoder_start")
        for token in _listed(getattr(config, f"{name}_token_id", None))
    }
    words = [i for i in range(model.get_input_embeddings().num_embeddings) if i not in special]
    ids = [words[i % len(words)] for i in range(3, 3 + TOKENS)]
    if config.is_encoder_decoder:  # its classifiers look for the end of the text
        ids[-1:] = _listed(config.eos_token_id)[:1] or ids[-1:]
    inputs = {"input_ids": torch.tensor([ids], device=device)}
    if config.is_encoder_decoder and model.can_generate():
        inputs["decoder_input_ids"] = inputs["input_ids"][:, : TOKENS - 2]
    return inputs


def image_shape(model: PreTrainedModel) -> tuple[int, int, int]:
    """(channels, height, width) of the images that a vision model reads."""
    config = getattr(model.config, "vision_config", model.config)
    size = config.image_size
    return (config.num_channels, *(size if isinstance(size, (tuple, list)) else (size, size)))


def _listed(token) -> list[int]:
    return token if isinstance(token, list) else [] if token is None else [token]


def _own_logits(model: PreTrainedModel, inputs: dict[str, Tensor]) -> Tensor | None:
    """What the model says with its own attention, to hold ours against; None where there are no numbers."""
    if model.device.type == "meta":
        return None
    model.set_attn_implementation("eager")
    with torch.no_grad():
        return _run(model, inputs)


def _run(model: PreTrainedModel, inputs: dict[str, Tensor]) -> Tensor | None:
    try:
        return getattr(model(**inputs), "logits", None)
    except HeadPruneError:
        raise
    except Exception as error:  # a model that wants other inputs fails in its own way
        reason = " ".join(str(error).split())[:120]
        raise HeadPruneError(
            f"{type(model).__name__} does not run on a text alone ({type(error).__name__}: {reason}); {EXPECTED}"
        ) from error


def _check_same(name: str, own: Tensor | None, logits: Tensor) -> None:
    if own is None:
        return
    difference, size = float((own - logits).abs().max()), float(own.abs().max())
    if difference > TOLERANCE.get(own.dtype, 0.05) * max(size, 1e-3):
        raise HeadPruneError(
            f"{name} has attention that differs from softmax attention (its logits change by {difference:.2g} of {size:.2g} "
            "on a short text), so its heads cannot be scored exactly; choose a model of another family"
        )


def _check_calls(name: str, grid: HeadGrid, trial: TraceRun) -> None:
    """The attention calls that were seen are those of the grid's layers; rows without heads call nothing."""
    rows = [grid.rows[number] for number in grid.layers]
    said = [(row.module, len(row.present), row.out.features.shape[1]) for row in rows if len(row.present)]
    found = [(call.module, *call.output.shape[2:]) for call in trial.attention_calls]
    if found != said:
        odd = next((i for i, (one, other) in enumerate(zip(found, said, strict=False)) if one != other), None)
        reason = f"{len(found)} attention calls, not {len(said)}"
        if odd is not None:
            reason = f"call {odd} has {found[odd][1]} heads of {found[odd][2]}, not {said[odd][1]} of {said[odd][2]}"
            if found[odd][0] is not said[odd][0]:
                reason = f"call {odd} is of another row"
        raise HeadPruneError(f"{name} does not attend as its grid of heads says ({reason}); expected the grid of this model")


def _task(model: PreTrainedModel, logits: Tensor | None, grid: HeadGrid) -> str:
    shape = None if logits is None else tuple(logits.shape)
    if shape is not None and len(shape) == 2 and shape[1] > 1:
        return "classification"
    if shape is not None and len(shape) == 3 and model.main_input_name == "input_ids":
        words = model.get_input_embeddings().num_embeddings
        if model.config.is_encoder_decoder and shape == (1, TOKENS - 2, words):
            return "translation"
        looks_back = all(getattr(row.module, "is_causal", True) for row in grid.rows)
        if looks_back and shape == (1, TOKENS, words):
            return "language"
    found = "no logits" if shape is None else f"logits of shape {shape}"
    raise HeadPruneError(
        f"{type(model).__name__} gives {found} for one example; expected (1, two or more classes), or (1, tokens, "
        "vocabulary) of a language model that looks only backwards or writes a target text"
    )
