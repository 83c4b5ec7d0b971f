"""One attention function for all architectures, and the hooks that observe and gate it.

Transformers passes the queries, keys, values and mask of each supported model to a registered function. `attention` runs
the library's SDPA attention, or an explicit softmax if SDPA cannot compute it (soft caps, sinks). Active `AttentionHooks`
observe each attention call and multiply each head's output (the input of the output projection) by a gate; hooks on the
q, k and v projections observe their inputs and outputs. Hooks live in a `ContextVar` for the length of one call, so
several threads can share a model. Computing scores from the observed tensors is left to the callers.

Shapes: N examples, T query tokens, S key tokens, H heads, G key-value heads, D head size.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import create_position_bias_mask, sdpa_attention_forward
from transformers.masking_utils import eager_mask, sdpa_mask

from headprune_core.errors import HeadPruneError

from .forward_cache import active_pass

ATTENTION = "headprune"
MASKED_ATTENTION = "headprune_masked"  # the same, with a mask even if a causal one would do
HEADS_LEFT = "headprune_heads_left"  # attribute of a pruned attention module: the original numbers of its remaining heads
# Arguments of some models' attention that neither SDPA nor the explicit softmax below implements.
UNSUPPORTED_ATTENTION = {
    "sinks": "a special form of attention sinks",
    "indices": "sparse attention",
    "block_indices": "sparse attention",
}


@dataclass(frozen=True, eq=False)
class AttentionCall:
    """Inputs and output of one attention call.

    Attributes:
        module: the attention module.
        query: (N, H, T, D).
        key: (N, G, S, D).
        value: (N, G, S, D).
        mask: boolean (True = visible) or additive mask that broadcasts to (N, H, T, S), or None.
        scale: factor on the dot products of queries and keys.
        causal: whether a causal mask applies because the module is causal and no mask was given.
        softcap: bound of the logits' soft capping, or None.
        sinks: (H,), one additional logit per query whose probability is discarded, or None.
        output: (N, T, H, D) before the gate, or None before the call is computed.
    """

    module: nn.Module
    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    scale: float
    causal: bool
    softcap: float | None = None
    sinks: Tensor | None = None
    output: Tensor | None = None

    @property
    def plain(self) -> bool:
        """Whether the attention is softmax(scale q k' + mask), without soft capping and sinks."""
        return self.softcap is None and self.sinks is None

    def probabilities(self, start: int = 0, stop: int | None = None) -> tuple[Tensor, Tensor]:
        """Compute the attention probabilities of a range of query tokens.

        Args:
            start: first query token.
            stop: end of the range; None for the last token.

        Returns:
            (N, H, t, S) probabilities of the t tokens in float32 or higher precision, and (N, H, t, S) booleans, True if
            the query can see the key.
        """
        query = self.query[:, :, start:stop]
        key = self.key.repeat_interleave(query.shape[1] // self.key.shape[1], dim=1)
        precise = torch.promote_types(query.dtype, torch.float32)
        scores = self.scale * (query @ key.transpose(-1, -2)).to(precise)
        if self.softcap is not None:
            scores = self.softcap * torch.tanh(scores / self.softcap)
        if self.mask is not None:
            mask = self.mask[:, :, start:stop] if self.mask.shape[2] > 1 else self.mask
            scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        if self.causal:
            row = torch.arange(start, start + scores.shape[2], device=scores.device)
            scores = scores.masked_fill(torch.arange(scores.shape[3], device=scores.device) > row[:, None], -torch.inf)
        seen = scores > torch.finfo(scores.dtype).min / 2
        if self.sinks is None:
            return scores.softmax(-1), seen
        sinks = self.sinks.to(scores.dtype).reshape(1, -1, 1, 1).expand(*scores.shape[:3], 1)
        return torch.cat([scores, sinks], dim=-1).softmax(-1)[..., :-1], seen

    def attend(self) -> Tensor:
        """Compute the (N, T, H, D) head outputs by an explicit softmax."""
        value = self.value.repeat_interleave(self.query.shape[1] // self.value.shape[1], dim=1)
        return (self.probabilities()[0].to(value.dtype) @ value).transpose(1, 2)


@dataclass(frozen=True)
class AttentionHooks:
    """Gates and callbacks for the forward passes of a model; the default does nothing.

    Attributes:
        gates: attention module -> factor on its head outputs, which broadcasts to (N, T, H, D).
        on_attention: called with every `AttentionCall`, including its output.
        on_projection: called with (projection, input, output) of the q, k and v projections; its return value replaces the
            output.
    """

    gates: Mapping[nn.Module, Tensor] = field(default_factory=dict)
    on_attention: Callable[[AttentionCall], None] | None = None
    on_projection: Callable[[nn.Module, Tensor, Tensor], Tensor] | None = None


_ACTIVE_HOOKS: ContextVar[AttentionHooks | None] = ContextVar("headprune_hooks", default=None)


@contextmanager
def use_hooks(hooks: AttentionHooks) -> Iterator[None]:
    """Activate hooks for the forward passes in this block, in this thread only.

    Args:
        hooks: gates and callbacks of the forward passes.
    """
    token = _ACTIVE_HOOKS.set(hooks)
    try:
        yield
    finally:
        _ACTIVE_HOOKS.reset(token)


def attention(module, query, key, value, attention_mask, dropout=0.0, scaling=None, position_bias=None, **kwargs):
    """Compute softmax attention and apply the active gate; the function registered with Transformers.

    Args:
        module: the attention module.
        query: (N, H, T, D).
        key: (N, G, S, D).
        value: (N, G, S, D).
        attention_mask: boolean or additive mask that broadcasts to (N, H, T, S), or None.
        dropout: ignored; models are in eval mode.
        scaling: factor on the dot products; None for 1 / sqrt(D).
        position_bias: additive bias (1, H, T, S) of T5, or None.
        **kwargs: further options of the library: is_causal, softcap, s_aux (sinks).

    Returns:
        (N, T, H, D) gated head outputs, and None in place of the attention probabilities.

    Raises:
        HeadPruneError: if the model uses an attention option that cannot be computed exactly.
    """
    unsupported = next((kind for name, kind in UNSUPPORTED_ATTENTION.items() if kwargs.get(name) is not None), None)
    if unsupported is not None:
        raise HeadPruneError(f"{type(module).__name__} uses {unsupported}, which HeadPrune cannot score exactly")
    is_causal = kwargs.get("is_causal")
    is_causal = bool(getattr(module, "is_causal", True) if is_causal is None else is_causal)
    causal = attention_mask is None and query.shape[2] > 1 and is_causal
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        # Fully masked (padding) query rows would make softmax return NaN, so unmask them.
        attention_mask = attention_mask | ~attention_mask.any(-1, keepdim=True)
    remaining = getattr(module, HEADS_LEFT, None)
    if position_bias is not None:
        if remaining is not None and position_bias.shape[1] > query.shape[1]:  # a bias of all layers, for all original heads
            position_bias = position_bias[:, list(remaining)]
        attention_mask, causal = create_position_bias_mask(position_bias, attention_mask, causal, query, key), False
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    # Rotary embeddings leave queries and keys in a higher precision than values. On the CPU everything is float32, because
    # the backward kernel is very slow in bfloat16 and attention needs few FLOPs.
    dtype = value.dtype
    common = torch.float32 if dtype == torch.bfloat16 and query.device.type == "cpu" else dtype
    query, key, value = query.to(common), key.to(common), value.to(common)
    if attention_mask is not None and attention_mask.is_floating_point():
        attention_mask = attention_mask.to(common)
    call = AttentionCall(
        module, query, key, value, attention_mask, scale, causal, kwargs.get("softcap"), kwargs.get("s_aux")
    )
    cached_pass, hooks = active_pass(), _ACTIVE_HOOKS.get()

    def compute() -> Tensor:
        if remaining == ():
            return value.new_zeros(_shape(call))
        output = _attend(call)
        if hooks is not None and hooks.on_attention is not None:
            _notify(hooks, "on_attention", replace(call, output=output))
        return output

    if cached_pass is None:
        output = compute()
    else:
        output = cached_pass.attention(module, compute, lambda: value.new_zeros(_shape(call)))
    gate = None if hooks is None else hooks.gates.get(module)
    return (output if gate is None else output * gate).to(dtype), None


def _notify(hooks: AttentionHooks, callback: str, *arguments):
    """Call one of the callbacks, through the active cached pass if there is one, which records the call."""
    cached_pass = active_pass()
    return getattr(hooks, callback)(*arguments) if cached_pass is None else cached_pass.notify(callback, *arguments)


def _shape(call: AttentionCall) -> tuple[int, ...]:
    """(N, T, H, D) of the head outputs."""
    examples, heads, tokens, _ = call.query.shape
    return examples, tokens, heads, call.value.shape[-1]


def _attend(call: AttentionCall) -> Tensor:
    """(N, T, H, D) head outputs."""
    device = call.query.device
    casts = device.type != "meta" and torch.is_autocast_enabled(device.type)
    with torch.autocast(device.type, enabled=False) if casts else nullcontext():  # no automatic casts here
        return _softmax_attention(call) if call.plain else call.attend()


def _softmax_attention(call: AttentionCall) -> Tensor:
    """The library's SDPA attention, (N, T, H, D)."""
    arguments = call.module, call.query, call.key, call.value, call.mask
    return sdpa_attention_forward(*arguments, scaling=call.scale, is_causal=call.causal)[0]


def watch_projection(projection: nn.Module) -> None:
    """Let hooks observe the inputs and outputs of a linear layer; repeated calls have no further effect.

    Args:
        projection: the linear layer.
    """
    if _report_projection not in projection._forward_hooks.values():
        projection.register_forward_hook(_report_projection)


def unwatch_projection(projection: nn.Module) -> None:
    """Undo `watch_projection`.

    Args:
        projection: the linear layer.
    """
    for key, hook in list(projection._forward_hooks.items()):
        if hook is _report_projection:
            del projection._forward_hooks[key]


def _report_projection(projection, inputs, output):
    hooks = _ACTIVE_HOOKS.get()
    if hooks is None or hooks.on_projection is None:
        return None
    return _notify(hooks, "on_projection", projection, inputs[0], output)


AttentionInterface.register(ATTENTION, attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
AttentionInterface.register(MASKED_ATTENTION, attention)
AttentionMaskInterface.register(MASKED_ATTENTION, eager_mask)
