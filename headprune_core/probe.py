"""One attention function for every architecture, and the per-call context it reads.

Transformers hands each supported model's queries, keys, values and mask to a registered function. Ours runs the
library's own SDPA attention and, when a `Probe` is active in the current context, multiplies each head's output (the
input of the output projection) by a gate and lets the probe look on. A forward hook on the q/k/v projections does the same
for their inputs and outputs. Nothing is stored on the model: a probe lives in a `ContextVar` for the length of one call,
so threads can use one shared model at once. What is computed from all this is decided elsewhere.

Shapes: N examples, T tokens, H heads, G key-value heads, D head size.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

ATTENTION = "headprune"


@dataclass(frozen=True)
class AttentionCall:
    """What one attention module was asked: query (N, H, T, D), key (N, G, S, D), and who may see whom."""

    module: nn.Module
    query: Tensor
    key: Tensor
    mask: Tensor | None  # boolean, True = may see, or additive; broadcasts to (N, H, T, S)
    scaling: float | None
    causal: bool  # no mask was given and the module looks only backwards


@dataclass(frozen=True)
class Probe:
    """What one call of the model puts in and takes out; the default does nothing.

    gates: attention module -> factor on its head outputs, broadcasting to (N, T, H, D).
    on_attention: called with every `AttentionCall`.
    on_projection: called with (projection, input, output); what it returns takes the output's place.
    """

    gates: Mapping[nn.Module, Tensor] = field(default_factory=dict)
    on_attention: Callable[[AttentionCall], None] | None = None
    on_projection: Callable[[nn.Module, Tensor, Tensor], Tensor] | None = None


_ACTIVE: ContextVar[Probe | None] = ContextVar("headprune_probe", default=None)


@contextmanager
def probing(probe: Probe) -> Iterator[None]:
    """Make `probe` the one that models called in this block answer to, in this thread alone."""
    token = _ACTIVE.set(probe)
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def attention(module, query, key, value, attention_mask, dropout=0.0, scaling=None, **kwargs):
    """The registered attention function: SDPA, then the gate. Returns ((N, T, H, D), None)."""
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        # A padding query may have no key at all to look at; let it see them all, or SDPA gives NaN.
        attention_mask = attention_mask | ~attention_mask.any(-1, keepdim=True)
    output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs)
    probe = _ACTIVE.get()
    if probe is None:
        return output, None
    if probe.on_attention is not None:
        looks_back = kwargs.get("is_causal")
        looks_back = getattr(module, "is_causal", True) if looks_back is None else looks_back
        causal = attention_mask is None and query.shape[2] > 1 and bool(looks_back)
        probe.on_attention(AttentionCall(module, query, key, attention_mask, scaling, causal))
    gate = probe.gates.get(module)
    return (output if gate is None else output * gate), None


def watch_projection(projection: nn.Module) -> None:
    """Let probes see what goes through `projection`; once is enough, however often its model is wrapped."""
    if _show_projection not in projection._forward_hooks.values():
        projection.register_forward_hook(_show_projection)


def _show_projection(projection, inputs, output):
    probe = _ACTIVE.get()
    if probe is None or probe.on_projection is None:
        return None
    return probe.on_projection(projection, inputs[0], output)


AttentionInterface.register(ATTENTION, attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
