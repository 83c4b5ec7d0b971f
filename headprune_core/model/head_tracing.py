"""Heads found by following what flows, not by names.

Around each attention call the trial run cuts the graph at every linear layer. What a head's query, key or value still has
a gradient to are then the very outputs of the very layer that make it, whatever that layer is called and however q, k and
v are laid out in it: side by side (GPT-2, ModernBERT), interleaved (GPT-NeoX), shared by a group (LLaMA), behind rotations
and norms (Qwen3). The layer that next takes the heads' outputs in is the output projection.
"""

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from headprune_core.errors import HeadPruneError

from .attention_hooks import AttentionCall
from .head_layout import AttentionRow, HeadGrid, Projection

NEAR = 16  # linear calls before (after) an attention call among which its projections are looked for


@dataclass(frozen=True, eq=False)
class LinearCall:
    """One call of a linear layer in the trial run; y was cut off from what made it."""

    module: nn.Module
    x: Tensor
    y: Tensor


@dataclass
class TraceRun:
    """What happened in a trial run, in order. Its two methods are a probe's callbacks."""

    events: list = field(default_factory=list)

    def on_projection(self, module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        cut = y.detach().requires_grad_()
        self.events.append(LinearCall(module, x, cut))
        return cut.clone()  # a leaf may not be written to, and some models do

    def on_attention(self, call: AttentionCall) -> None:
        self.events.append(call)

    @property
    def attention_calls(self) -> list[AttentionCall]:
        return [event for event in self.events if isinstance(event, AttentionCall)]

    @property
    def linear_calls(self) -> list[LinearCall]:
        return [event for event in self.events if isinstance(event, LinearCall)]


def head_grid(model: PreTrainedModel, trial: TraceRun) -> HeadGrid:
    """The head grid that a trial run of `model` shows; HeadPruneError, by name and reason, where it shows none."""
    name = type(model).__name__
    calls = trial.attention_calls
    if not calls:
        raise HeadPruneError(
            f"{name} ran without calling its attention through the Transformers attention interface, so its heads cannot be "
            "reached; choose a model whose layers use it"
        )
    paths = {module: path for path, module in model.named_modules()}
    order = list(dict.fromkeys(call.module for call in calls))
    first = {call.module: i for i, call in reversed(list(enumerate(trial.events))) if isinstance(call, AttentionCall)}
    known: dict = {}
    rows = tuple(_row(f"{name}: {paths[m]}", paths[m], trial.events, first[m], known) for m in order)
    if getattr(model.config, "is_encoder_decoder", False):
        decoder = model.get_decoder()
        inside = set(decoder.modules())
        rows = tuple(_with_kind(row, trial.events, row.module in inside) for row in rows)
    heads = Counter(row.heads for row in rows)
    if len(heads) > 1:
        raise HeadPruneError(f"{name} has rows of {sorted(heads)} heads; expected the same number of heads in every row")
    return HeadGrid(rows, tuple(order.index(call.module) for call in calls))


def _row(where: str, path: str, events: list, at: int, known: dict) -> AttentionRow:
    """The row of the attention call events[at]; `known` keeps layouts of layers that are alike."""
    call = events[at]
    before = [event for event in events[max(0, at - NEAR) : at] if isinstance(event, LinearCall)]
    sources = {part: _source(where, part, getattr(call, name), before) for part, name in zip("qkv", _INPUTS, strict=True)}
    after = [event for event in events[at + 1 : at + 1 + NEAR] if isinstance(event, LinearCall)]
    out = next((event for event in after if event.x.requires_grad and _depends(event.x, call.output)), None)
    if out is None or out.x.shape[-1] != call.output.shape[2] * call.output.shape[3]:
        raise HeadPruneError(
            f"{where} hands its heads' outputs to no linear layer of their width; expected an output projection"
        )
    shapes = [(p.module.__class__, tuple(p.y.shape)) for p in (*sources.values(), out)]
    shared = tuple(p.module is sources["q"].module for p in sources.values())
    alike = (type(call.module), call.query.shape, call.key.shape, call.value.shape, *shapes, shared)
    if alike not in known:
        layout = {p: _outputs(where, getattr(call, n), sources[p].y) for p, n in zip("qkv", _INPUTS, strict=True)}
        known[alike] = layout | {"out": _inputs(where, call.output, out.x)}
    modules = {part: source.module for part, source in sources.items()} | {"out": out.module}
    return AttentionRow(path, call.module, **{p: Projection(modules[p], known[alike][p]) for p in modules})


_INPUTS = ("query", "key", "value")


def _source(where: str, part: str, tensor: Tensor, before: list[LinearCall]) -> LinearCall:
    """The one linear call that `tensor` was made from."""
    found = [call for call in before if tensor.requires_grad and _depends(tensor, call.y)]
    if len(found) != 1:
        number = "no linear layer" if not found else f"{len(found)} linear layers"
        raise HeadPruneError(f"{where} makes its {part} from {number}; expected one linear layer for each of q, k and v")
    return found[0]


def _depends(result: Tensor, source: Tensor) -> bool:
    return _gradient(result, source) is not None


def _gradient(result: Tensor, source: Tensor) -> Tensor | None:
    """The gradient of a fixed random mix of `result`, by which what merely cancels does not go unseen."""
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(result.shape, generator=generator, dtype=torch.float32).to(result.device, result.dtype)
    if not result.requires_grad:
        return None
    return torch.autograd.grad(result, source, mix, retain_graph=True, allow_unused=True)[0]


def _outputs(where: str, heads: Tensor, y: Tensor) -> np.ndarray:
    """Which features of y (1, T, features) each head of `heads` (1, heads, T, size) is made of."""
    count, size = heads.shape[1], heads.shape[3]
    if y.device.type == "meta":
        if y.shape[-1] != count * size:
            raise HeadPruneError(f"{where} has q, k and v in one layer, whose layout shows only with weights; load them")
        return np.arange(count * size).reshape(count, size)
    pull = torch.stack([_gradient(heads[:, h], y).abs().sum((0, 1)).float() for h in range(count)])
    # a norm over all heads (OLMo 2) lets every feature touch every head a little: each belongs where it weighs most
    owner = torch.where(pull.sum(0) > 0, pull.argmax(0), -1).cpu().numpy()
    features = [np.flatnonzero(owner == h) for h in range(count)]
    if any(len(f) != size for f in features):
        raise HeadPruneError(
            f"{where} does not give each of its {count} heads {size} features of a linear layer of its own; expected blocks "
            "that can be told apart"
        )
    return np.stack(features)


def _inputs(where: str, output: Tensor, x: Tensor) -> np.ndarray:
    """Which features of x (1, T, heads * size) come from each head of `output` (1, T, heads, size)."""
    count, size = output.shape[2:]
    features = np.arange(count * size).reshape(count, size)
    if x.device.type != "meta":
        for h, block in enumerate(features):
            gradient = _gradient(x[..., torch.as_tensor(block, device=x.device)], output)
            heads = gradient.abs().sum((0, 1, 3)).nonzero().flatten().tolist()
            if heads != [h]:
                raise HeadPruneError(
                    f"{where} mixes its heads before the output projection; expected each head to have inputs of its own"
                )
    return features


def _with_kind(row: AttentionRow, events: list, in_decoder: bool) -> AttentionRow:
    """Cross attention reads its keys from another stream than its queries."""
    inputs = {event.module: event.x for event in reversed(events) if isinstance(event, LinearCall)}
    crosses = inputs[row.q.module] is not inputs[row.k.module]
    kind = ("cross" if crosses else "decoder") if in_decoder else "encoder"
    return replace(row, kind=kind)
