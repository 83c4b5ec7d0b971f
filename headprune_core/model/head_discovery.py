"""Verification of a model with one traced forward pass: its attention is computed exactly, its heads and task are known.

Tasks: "classification", "multi_label" and "regression" (logits (N, C), from text or an image), "token_classification"
(logits (N, T, C)), "language" (logits (N, T, V), each position predicting the next token) and "translation" (an
encoder-decoder that generates a target text; logits (N, U, V) for its U tokens).
"""

import math

import torch
from torch import Tensor
from transformers import PreTrainedModel

from headprune_core.errors import HeadPruneError

from .attention_hooks import ATTENTION, MASKED_ATTENTION, AttentionHooks, unwatch_projection, use_hooks, watch_projection
from .formats.config_checks import check_classes
from .formats.tasks import EXPECTED, check_supported, example_task
from .forward_cost import Cost, count_cost
from .head_layout import HeadGrid, linear_layers
from .head_tracing import TraceRun, head_grid, run_model

TOKENS = 6  # length of the sample text; a target has two tokens fewer
NO_PAD = -1  # padding token of classifiers without one: it matches no token, so they read the last token of an example
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}  # relative to the largest logit; half precision: 0.05


def find_heads(model: PreTrainedModel) -> tuple[HeadGrid, str, Cost]:
    """Switch a model to HeadPrune's attention function and locate its heads with one traced forward pass.

    Args:
        model: the Transformers model, on any device, the meta device included.

    Returns:
        Its head grid, its task and the cost of a forward pass.

    Raises:
        HeadPruneError: if the heads cannot be located or the attention function would change the model's logits.
    """
    name = type(model).__name__
    check_supported(name, *(base.__name__ for base in type(model).__mro__))
    _unify_outputs(model)
    if not model._can_set_attn_implementation():
        raise HeadPruneError(interface_needed(name))
    if getattr(model.config, "attention_type", None) == "block_sparse":
        raise HeadPruneError(
            f"{name} switches to block-sparse attention in long texts, which has no heads to mask; set attention_type to "
            "'original_full' in its configuration"
        )
    inputs = sample_inputs(model)
    own = _own_logits(model, inputs)
    _use_own_attention(model)
    trace, logits = _traced_forward(model, inputs)
    _check_lengths(name, trace, inputs)
    grid = head_grid(model, trace)
    _check_same(name, own, logits)
    task = _task(model, logits, grid)
    return grid, task, _watch_projections(model, grid, trace)


def _check_lengths(name: str, trace: TraceRun, inputs: dict[str, Tensor]) -> None:
    """Raise HeadPruneError if attention has other queries than the tokens, whose padding would be unknown (BLT)."""
    lengths = {ids.shape[1] for ids in inputs.values() if ids.dim() == 2}
    odd = {call.query.shape[2] for call in trace.attention_calls} - lengths
    if lengths and odd:
        raise HeadPruneError(
            f"{name} computes attention over {min(odd)} patches of a text of {TOKENS} tokens, so its heads cannot be scored "
            "by token; use a model whose attention reads tokens"
        )


def interface_needed(name: str) -> str:
    """Return the reason for which a class with its own attention code is refused.

    Args:
        name: name of the class.
    """
    return (
        f"{name} does not use the Transformers attention interface, so its heads cannot be accessed; use a model of another "
        "family (BERT, RoBERTa, ELECTRA, GPT-2, LLaMA, T5, ViT, ...)"
    )


def verify_layout(model: PreTrainedModel, grid: HeadGrid, task: str) -> Cost:
    """Verify a known head grid and task with one traced forward pass, for example after pruning.

    Args:
        model: the Transformers model.
        grid: its expected head grid.
        task: its expected task.

    Returns:
        The cost of a forward pass.

    Raises:
        HeadPruneError: if the traced task or head layout differs.
    """
    _unify_outputs(model)
    _use_own_attention(model)
    trace, logits = _traced_forward(model, sample_inputs(model))
    traced_task = _task(model, logits, grid)
    if traced_task != task:
        raise HeadPruneError(f"task of {type(model).__name__} must be {task}, got {traced_task}")
    _check_calls(type(model).__name__, grid, trace)
    return _watch_projections(model, grid, trace)


def _unify_outputs(model: PreTrainedModel) -> None:
    """Undo options of a configuration that add outputs which nothing here reads, or that return a tuple."""
    for config in {id(m.config): m.config for m in model.modules() if isinstance(m, PreTrainedModel)}.values():
        config.return_dict = True
        config.output_attentions = config.output_hidden_states = False


def _use_own_attention(model: PreTrainedModel) -> None:
    """Switch to HeadPrune's attention function; models without SDPA attention need a mask to know that they are causal."""
    model.set_attn_implementation(ATTENTION if model._supports_sdpa else MASKED_ATTENTION)


def _traced_forward(model: PreTrainedModel, inputs: dict[str, Tensor]) -> tuple[TraceRun, Tensor | None]:
    """The trace of a forward pass, and its logits."""
    trace, layers = TraceRun(), linear_layers(model)
    for layer in layers:
        watch_projection(layer)
    try:
        hooks = AttentionHooks(on_attention=trace.on_attention, on_projection=trace.on_projection)
        with use_hooks(hooks), torch.enable_grad():
            logits = run_model(model, inputs)
    finally:
        for layer in layers:
            unwatch_projection(layer)
    return trace, None if logits is None else logits.detach()


def _watch_projections(model: PreTrainedModel, grid: HeadGrid, trace: TraceRun) -> Cost:
    """Let hooks observe the q, k and v projections from now on; return the cost of a forward pass."""
    for projection in {p.module for row in grid.rows for p in (row.q, row.k, row.v)}:
        watch_projection(projection)
    sizes = (None, None) if model.main_input_name == "pixel_values" else (TOKENS, TOKENS - 2)
    return count_cost(trace.linear_calls, trace.attention_calls, *sizes)


def sample_inputs(model: PreTrainedModel) -> dict[str, Tensor]:
    """Return one small example of valid model inputs.

    Args:
        model: the Transformers model.

    Returns:
        Keyword arguments of the model's forward pass, with a batch size of 1.

    Raises:
        HeadPruneError: if the model reads neither text nor images.
    """
    config, device = model.config, model.device
    if model.main_input_name == "pixel_values":
        shape = image_shape(model)
        ramp = torch.linspace(-1, 1, math.prod(shape))
        return {"pixel_values": ramp.reshape(1, *shape).to(device, model.dtype)}
    if model.main_input_name != "input_ids":
        raise HeadPruneError(
            f"{type(model).__name__} reads {model.main_input_name}, not input_ids or pixel_values; {EXPECTED}"
        )
    special = {
        token
        for name in ("pad", "bos", "eos", "decoder_start")
        for token in _listed(getattr(config, f"{name}_token_id", None))
    }
    ordinary = [i for i in range(_vocabulary(model)) if i not in special]
    ids = [ordinary[i % len(ordinary)] for i in range(3, 3 + TOKENS)]
    if config.is_encoder_decoder:  # its classifiers need an end-of-sequence token
        ids[-1:] = _listed(getattr(config, "eos_token_id", None))[:1] or ids[-1:]
    inputs = {"input_ids": torch.tensor([ids], device=device)}
    if config.is_encoder_decoder and model.can_generate():
        inputs["decoder_input_ids"] = inputs["input_ids"][:, : TOKENS - 2]
    return inputs


def _vocabulary(model: PreTrainedModel) -> int:
    """Number of tokens of a model with one table of token embeddings."""
    try:
        return model.get_input_embeddings().num_embeddings
    except (AttributeError, NotImplementedError) as error:
        raise HeadPruneError(f"{type(model).__name__} has no single table of token embeddings; {EXPECTED}") from error


def image_shape(model: PreTrainedModel) -> tuple[int, int, int]:
    """Return (channels, height, width) of the images that a vision model expects.

    Args:
        model: the Transformers model.

    Raises:
        HeadPruneError: if the model takes images of any size, as convolutional networks do.
    """
    config = getattr(model.config, "vision_config", model.config)
    size, channels = (getattr(config, name, None) for name in ("image_size", "num_channels"))
    if size is None or channels is None:
        raise HeadPruneError(
            f"the configuration of {type(model).__name__} has no image_size and num_channels, as a vision transformer has; "
            "use a model such as ViT or DeiT"
        )
    return (channels, *(size if isinstance(size, (tuple, list)) else (size, size)))


def _listed(token) -> list[int]:
    return token if isinstance(token, list) else [] if token is None else [token]


def _own_logits(model: PreTrainedModel, inputs: dict[str, Tensor]) -> Tensor | None:
    """Logits with the model's own attention, for comparison; None on the meta device."""
    if model.device.type == "meta":
        return None
    model.set_attn_implementation("eager")
    with torch.no_grad():
        return run_model(model, inputs)


def _check_same(name: str, own: Tensor | None, logits: Tensor | None) -> None:
    if own is None or logits is None:
        return
    difference, size = float((own - logits).abs().max()), float(own.abs().max())
    if difference > TOLERANCE.get(own.dtype, 0.05) * max(size, 1e-3):
        raise HeadPruneError(
            f"{name} does not use standard softmax attention (max. logit difference {difference:.2g}, logits up to "
            f"{size:.2g}, on a sample text), so its heads cannot be scored exactly; use a model of another family"
        )


def _check_calls(name: str, grid: HeadGrid, trace: TraceRun) -> None:
    """Raise HeadPruneError unless the attention calls are those of the grid; rows without heads make no call."""
    rows = [grid.rows[number] for number in grid.layers]
    expected = [(row.module, len(row.present), row.out.features.shape[1]) for row in rows if len(row.present)]
    traced = [(call.module, *call.output.shape[2:]) for call in trace.attention_calls]
    if traced != expected:
        odd = next((i for i, pair in enumerate(zip(traced, expected, strict=False)) if pair[0] != pair[1]), None)
        reason = f"{len(traced)} attention calls, expected {len(expected)}"
        if odd is not None:
            (module, heads, size), (row, row_heads, row_size) = traced[odd], expected[odd]
            reason = f"call {odd} has {heads} heads of size {size}, expected {row_heads} of size {row_size}"
            if module is not row:
                reason = f"call {odd} belongs to another row"
        raise HeadPruneError(
            f"the attention calls of {name} do not match its HeadGrid ({reason}); pass the grid of this model"
        )


@torch.no_grad()
def _reads_forward(model: PreTrainedModel, logits: Tensor) -> bool:
    """Whether another last token leaves the logits of the tokens before it unchanged; False on the meta device."""
    inputs = sample_inputs(model)
    inputs["input_ids"][:, -1] = inputs["input_ids"][:, 0]
    changed = None if model.device.type == "meta" else run_model(model, inputs)
    return changed is not None and torch.allclose(changed[:, :-1], logits[:, :-1], rtol=1e-4, atol=1e-5)


def _task(model: PreTrainedModel, logits: Tensor | None, grid: HeadGrid) -> str:
    shape = None if logits is None else tuple(logits.shape)
    if shape is not None and len(shape) == 2 and (shape[1] > 1 or example_task(model.config) != "classification"):
        check_classes(f"the configuration of {type(model).__name__}", model.config.id2label, shape[1])
        return example_task(model.config)
    if shape is not None and len(shape) == 3 and model.main_input_name == "input_ids":
        named = any(base.__name__.endswith("ForTokenClassification") for base in type(model).__mro__)
        if named and shape == (1, TOKENS, model.config.num_labels):
            return "token_classification"
        vocabulary = model.get_input_embeddings().num_embeddings
        if model.config.is_encoder_decoder and shape == (1, TOKENS - 2, vocabulary):
            return "translation"
        causal = all(getattr(row.module, "is_causal", True) for row in grid.rows)
        if shape == (1, TOKENS, vocabulary):
            if causal or _reads_forward(model, logits):
                return "language"
            raise HeadPruneError(
                f"{type(model).__name__} predicts tokens from both sides, as masked language models do; {EXPECTED}"
            )
    found = "no logits" if shape is None else f"logits of shape {shape}"
    raise HeadPruneError(
        f"{type(model).__name__} returns {found} for one example; expected (1, two or more classes), (1, outputs) "
        "with the problem_type regression or multi_label_classification, (1, tokens, classes) from a token classifier, or "
        "(1, tokens, vocabulary) from a causal or sequence-to-sequence language model"
    )
