"""One attention function for every architecture, and the per-call context it reads.

Transformers hands each supported model's queries, keys, values and mask to a registered function. Ours runs the
library's own SDPA attention, or the explicit softmax where SDPA cannot say it (soft caps, sinks). When a `AttentionHooks` is active
in the current context it sees each call, and each head's output (the input of the output projection) is multiplied by a
gate. A forward hook on the q/k/v projections does the same for their inputs and outputs. Nothing is stored on the model: a
probe lives in a `ContextVar` for the length of one call, so threads can use one shared model at once. What is computed
from all this is decided elsewhere.

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
from transformers.masking_utils import sdpa_mask

from headprune_core.errors import HeadPruneError

from .forward_cache import active_pass

ATTENTION = "headprune"
HEADS_LEFT = "headprune_heads_left"  # surgery says so on an attention module: the original numbers of its heads
# What some models ask of attention that neither SDPA nor the explicit softmax below does.
UNSUPPORTED_ATTENTION = {
    "sinks": "attention sinks of its own kind",
    "indices": "sparse attention",
    "block_indices": "sparse attention",
}


@dataclass(frozen=True, eq=False)
class AttentionCall:
    """What one attention module was asked, query (N, H, T, D) and key (N, G, S, D), and what it answered."""

    module: nn.Module
    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None  # boolean, True = may see, or additive; broadcasts to (N, H, T, S)
    scale: float
    causal: bool  # no mask was given and the module looks only backwards
    softcap: float | None = None
    sinks: Tensor | None = None  # (H,), one more logit in every row, whose probability goes nowhere
    output: Tensor | None = None  # (N, T, H, D), before the gate

    @property
    def plain(self) -> bool:
        """Whether this is softmax(scale q k' + mask), no more."""
        return self.softcap is None and self.sinks is None

    def probabilities(self, start: int = 0, stop: int | None = None) -> tuple[Tensor, Tensor]:
        """Attention of query rows start to stop, (N, H, t, S) in float32 or better, and which keys each may see."""
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
        """(N, T, H, D) head outputs from the explicit softmax."""
        value = self.value.repeat_interleave(self.query.shape[1] // self.value.shape[1], dim=1)
        return (self.probabilities()[0].to(value.dtype) @ value).transpose(1, 2)


@dataclass(frozen=True)
class AttentionHooks:
    """What one call of the model puts in and takes out; the default does nothing.

    gates: attention module -> factor on its head outputs, broadcasting to (N, T, H, D).
    on_attention: called with every `AttentionCall`, its output included.
    on_projection: called with (projection, input, output); what it returns takes the output's place.
    """

    gates: Mapping[nn.Module, Tensor] = field(default_factory=dict)
    on_attention: Callable[[AttentionCall], None] | None = None
    on_projection: Callable[[nn.Module, Tensor, Tensor], Tensor] | None = None


_ACTIVE_HOOKS: ContextVar[AttentionHooks | None] = ContextVar("headprune_probe", default=None)


@contextmanager
def use_hooks(probe: AttentionHooks) -> Iterator[None]:
    """Make `probe` the one that models called in this block answer to, in this thread alone."""
    token = _ACTIVE_HOOKS.set(probe)
    try:
        yield
    finally:
        _ACTIVE_HOOKS.reset(token)


def attention(module, query, key, value, attention_mask, dropout=0.0, scaling=None, position_bias=None, **kwargs):
    """The registered attention function: softmax attention, then the gate. Returns ((N, T, H, D), None)."""
    strange = next((kind for name, kind in UNSUPPORTED_ATTENTION.items() if kwargs.get(name) is not None), None)
    if strange is not None:
        raise HeadPruneError(f"{type(module).__name__} uses {strange}, which HeadPrune cannot score exactly")
    looks_back = kwargs.get("is_causal")
    looks_back = bool(getattr(module, "is_causal", True) if looks_back is None else looks_back)
    causal = attention_mask is None and query.shape[2] > 1 and looks_back
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        # A padding query may have no key at all to look at; let it see them all, or softmax gives NaN.
        attention_mask = attention_mask | ~attention_mask.any(-1, keepdim=True)
    left = getattr(module, HEADS_LEFT, None)
    if position_bias is not None:
        if left is not None and position_bias.shape[1] > 1:  # one for all heads of the model, handed from row to row
            position_bias = position_bias[:, list(left)]
        attention_mask, causal = create_position_bias_mask(position_bias, attention_mask, causal, query, key), False
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    # rotations leave queries and keys more exact than values; on the CPU all is float32, its kernel differentiating bfloat16
    # very slowly, and there is little arithmetic in attention
    dtype = value.dtype
    common = torch.float32 if dtype == torch.bfloat16 and query.device.type == "cpu" else dtype
    query, key, value = query.to(common), key.to(common), value.to(common)
    if attention_mask is not None and attention_mask.is_floating_point():
        attention_mask = attention_mask.to(common)
    call = AttentionCall(
        module, query, key, value, attention_mask, scale, causal, kwargs.get("softcap"), kwargs.get("s_aux")
    )
    now, probe = active_pass(), _ACTIVE_HOOKS.get()

    def work() -> Tensor:
        if left == ():
            return value.new_zeros(_shape(call))
        output = _attend(call)
        if probe is not None and probe.on_attention is not None:
            _tell(probe, "on_attention", replace(call, output=output))
        return output

    output = work() if now is None else now.attention(module, work, lambda: value.new_zeros(_shape(call)))
    gate = None if probe is None else probe.gates.get(module)
    return (output if gate is None else output * gate).to(dtype), None


def _tell(probe: AttentionHooks, callback: str, *what):
    """Call one of the probe's callbacks; a pass remembers that it was called."""
    now = active_pass()
    return getattr(probe, callback)(*what) if now is None else now.tell(callback, *what)


def _shape(call: AttentionCall) -> tuple[int, ...]:
    """(N, T, H, D) of the heads' outputs."""
    examples, heads, tokens, _ = call.query.shape
    return examples, tokens, heads, call.value.shape[-1]


def _attend(call: AttentionCall) -> Tensor:
    """(N, T, H, D) head outputs."""
    device = call.query.device
    casts = device.type != "meta" and torch.is_autocast_enabled(device.type)
    with torch.autocast(device.type, enabled=False) if casts else nullcontext():  # nothing is cast by itself in here
        return _softmax_attention(call) if call.plain else call.attend()


def _softmax_attention(call: AttentionCall) -> Tensor:
    """The library's SDPA attention, (N, T, H, D)."""
    arguments = call.module, call.query, call.key, call.value, call.mask
    return sdpa_attention_forward(*arguments, scaling=call.scale, is_causal=call.causal)[0]


def watch_projection(projection: nn.Module) -> None:
    """Let probes see what goes through `projection`; once is enough, however often its model is wrapped."""
    if _show_projection not in projection._forward_hooks.values():
        projection.register_forward_hook(_show_projection)


def unwatch_projection(projection: nn.Module) -> None:
    """Undo `watch_projection`."""
    for key, hook in list(projection._forward_hooks.items()):
        if hook is _show_projection:
            del projection._forward_hooks[key]


def _show_projection(projection, inputs, output):
    probe = _ACTIVE_HOOKS.get()
    if probe is None or probe.on_projection is None:
        return None
    return _tell(probe, "on_projection", projection, inputs[0], output)


AttentionInterface.register(ATTENTION, attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
