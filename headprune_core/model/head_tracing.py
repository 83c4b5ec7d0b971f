"""Location of heads by automatic differentiation instead of module names.

A traced forward pass detaches the output of every linear layer. The outputs for which a head's query, key or value has a
gradient are then exactly the features that produce it, whatever the layer is called and however q, k and v are laid out:
side by side (GPT-2, ModernBERT), interleaved (GPT-NeoX), shared by a group (LLaMA), before rotary embeddings and norms
(Qwen3). The next layer that receives the head outputs is the output projection.
"""

import traceback
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from headprune_core.errors import HeadPruneError

from .attention_hooks import AttentionCall
from .formats.tasks import EXPECTED
from .head_layout import AttentionRow, HeadGrid, Projection

PACKAGE = Path(__file__).resolve().parents[1]
NEARBY_CALLS = 16  # linear calls before and after an attention call that are searched for its projections


@dataclass(frozen=True, eq=False)
class LinearCall:
    """One call of a linear layer in the traced forward pass.

    Attributes:
        module: the linear layer.
        x: its input.
        y: its output, detached from the graph.
    """

    module: nn.Module
    x: Tensor
    y: Tensor


@dataclass
class TraceRun:
    """The linear and attention calls of a traced forward pass, in order.

    `on_projection` and `on_attention` are the callbacks of `AttentionHooks`.

    Attributes:
        events: `LinearCall`s and `AttentionCall`s.
    """

    events: list = field(default_factory=list)

    def on_projection(self, module: nn.Module, x: Tensor, y: object) -> object:
        """Record a call of a linear layer.

        Args:
            module: the linear layer.
            x: its input.
            y: its output.

        Returns:
            The output, detached from the graph; outputs of other kinds, such as a router's tuple, are unchanged.
        """
        if not isinstance(y, Tensor):
            return y
        detached = y.detach().requires_grad_()
        self.events.append(LinearCall(module, x, detached))
        return detached.clone()  # some models write to the output, which is not allowed for a leaf tensor

    def on_attention(self, call: AttentionCall) -> None:
        """Record an attention call.

        Args:
            call: the call.
        """
        self.events.append(call)

    @property
    def attention_calls(self) -> list[AttentionCall]:
        """The attention calls in order."""
        return [event for event in self.events if isinstance(event, AttentionCall)]

    @property
    def linear_calls(self) -> list[LinearCall]:
        """The calls of linear layers in order."""
        return [event for event in self.events if isinstance(event, LinearCall)]


def run_model(model: PreTrainedModel, inputs: dict[str, Tensor]) -> Tensor | None:
    """Return the logits of sample inputs, or None if the model returns none.

    Args:
        model: the Transformers model.
        inputs: keyword arguments of its forward pass.

    Raises:
        HeadPruneError: if the forward pass fails.
    """
    try:
        return getattr(model(**inputs), "logits", None)
    except HeadPruneError:
        raise
    except Exception as error:  # a model that expects other inputs may raise anything
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        name = type(model).__name__
        if _raised_in_headprune(error):
            raise HeadPruneError(
                f"HeadPrune cannot follow the forward pass of {name} ({reason}); this is a limit of HeadPrune, not a "
                "fault of the model: report it, or use a model of another family"
            ) from error
        raise HeadPruneError(f"{name} failed on a sample text ({reason}); {EXPECTED}") from error


def _raised_in_headprune(error: Exception) -> bool:
    """Whether an exception comes from HeadPrune's attention function or hooks, or from PyTorch called by them."""
    ours = False
    frames = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)][1:]  # without the caller of the model
    for code in frames:
        folder, passes_through = Path(code.co_filename).parents, code.co_name == "_forward"  # of the cached forward pass
        if PACKAGE in folder:
            ours = ours or not passes_through
        elif not any(path.name == "torch" or path.name == "integrations" for path in folder):
            ours = False
    return ours


def head_grid(model: PreTrainedModel, trace: TraceRun) -> HeadGrid:
    """Derive the head grid of a model from a traced forward pass.

    Args:
        model: the Transformers model.
        trace: the recorded calls.

    Returns:
        The head grid.

    Raises:
        HeadPruneError: if the heads cannot be located; the message has the name of the model and the reason.
    """
    name = type(model).__name__
    calls = trace.attention_calls
    if not calls:
        raise HeadPruneError(
            f"{name} does not call its attention through the Transformers attention interface, so its heads cannot be "
            "accessed; use a model whose layers do"
        )
    paths = {module: path for path, module in model.named_modules()}
    order = list(dict.fromkeys(call.module for call in calls))
    first = {call.module: i for i, call in reversed(list(enumerate(trace.events))) if isinstance(call, AttentionCall)}
    known: dict = {}
    rows = tuple(_row(f"{name}: {paths[m]}", paths[m], trace.events, first[m], known) for m in order)
    if getattr(model.config, "is_encoder_decoder", False):
        decoder = model.get_decoder()
        inside = set(decoder.modules())
        rows = tuple(_with_kind(row, trace.events, row.module in inside) for row in rows)
    heads = Counter(row.heads for row in rows)
    if len(heads) > 1:
        raise HeadPruneError(f"{name} must have the same number of heads in every layer, got {sorted(heads)}")
    return HeadGrid(rows, tuple(order.index(call.module) for call in calls))


def _row(where: str, path: str, events: list, at: int, known: dict) -> AttentionRow:
    """The row of the attention call events[at]; `known` caches the layouts of identical layers."""
    call = events[at]
    before = [event for event in events[max(0, at - NEARBY_CALLS) : at] if isinstance(event, LinearCall)]
    sources = {part: _source(where, part, getattr(call, name), before) for part, name in zip("qkv", _INPUTS, strict=True)}
    after = [event for event in events[at + 1 : at + 1 + NEARBY_CALLS] if isinstance(event, LinearCall)]
    out = next((event for event in after if event.x.requires_grad and _depends(event.x, call.output)), None)
    if out is None or out.x.shape[-1] != call.output.shape[2] * call.output.shape[3]:
        raise HeadPruneError(
            f"{where} has no output projection: no linear layer of matching width receives the head outputs"
        )
    shapes = [(p.module.__class__, tuple(p.y.shape)) for p in (*sources.values(), out)]
    shared = tuple(p.module is sources["q"].module for p in sources.values())
    signature = (type(call.module), call.query.shape, call.key.shape, call.value.shape, *shapes, shared)
    if signature not in known:
        layout = {p: _outputs(where, getattr(call, n), sources[p].y) for p, n in zip("qkv", _INPUTS, strict=True)}
        known[signature] = layout | {"out": _inputs(where, call.output, out.x)}
    modules = {part: source.module for part, source in sources.items()} | {"out": out.module}
    return AttentionRow(path, call.module, **{p: Projection(modules[p], known[signature][p]) for p in modules})


_INPUTS = ("query", "key", "value")


def _source(where: str, part: str, tensor: Tensor, before: list[LinearCall]) -> LinearCall:
    """The only linear call that `tensor` depends on."""
    sources = [call for call in before if tensor.requires_grad and _depends(tensor, call.y)]
    if len(sources) != 1:
        number = "no linear layer" if not sources else f"{len(sources)} linear layers"
        raise HeadPruneError(f"{where} computes its {part} from {number}; expected one linear layer for each of q, k and v")
    return sources[0]


def _depends(result: Tensor, source: Tensor) -> bool:
    return _gradient(result, source) is not None


def _gradient(result: Tensor, source: Tensor) -> Tensor | None:
    """The gradient of a fixed random combination of `result`, in which gradients cannot cancel by chance."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(result.shape, generator=generator, dtype=torch.float32).to(result.device, result.dtype)
    if not result.requires_grad:
        return None
    return torch.autograd.grad(result, source, weights, retain_graph=True, allow_unused=True)[0]


def _outputs(where: str, heads: Tensor, y: Tensor) -> np.ndarray:
    """(heads, size), the features of y (1, T, features) that each head of `heads` (1, heads, T, size) depends on."""
    count, size = heads.shape[1], heads.shape[3]
    if y.device.type == "meta":
        if y.shape[-1] != count * size:
            raise HeadPruneError(
                f"{where} has q, k and v in one layer, whose layout needs weights; load the model with weights"
            )
        return np.arange(count * size).reshape(count, size)
    strength = torch.stack([_gradient(heads[:, h], y).abs().sum((0, 1)).float() for h in range(count)])
    # A norm over all heads (OLMo 2) gives each feature a small gradient for every head, so assign it to the strongest one.
    owner = torch.where(strength.sum(0) > 0, strength.argmax(0), -1).cpu().numpy()
    features = [np.flatnonzero(owner == h) for h in range(count)]
    if any(len(f) != size for f in features):
        raise HeadPruneError(
            f"{where} must have {size} separate features of a linear layer for each of its {count} heads, but "
            "its heads share features"
        )
    return np.stack(features)


def _inputs(where: str, output: Tensor, x: Tensor) -> np.ndarray:
    """(heads, size), the features of x (1, T, heads * size) that come from each head of `output` (1, T, heads, size)."""
    count, size = output.shape[2:]
    features = np.arange(count * size).reshape(count, size)
    if x.device.type != "meta":
        for h, block in enumerate(features):
            gradient = _gradient(x[..., torch.as_tensor(block, device=x.device)], output)
            heads = gradient.abs().sum((0, 1, 3)).nonzero().flatten().tolist()
            if heads != [h]:
                raise HeadPruneError(
                    f"{where} combines its heads before the output projection; expected separate inputs for each head"
                )
    return features


def _with_kind(row: AttentionRow, events: list, in_decoder: bool) -> AttentionRow:
    """The row with its kind; cross-attention computes keys and queries from different inputs."""
    inputs = {event.module: event.x for event in reversed(events) if isinstance(event, LinearCall)}
    crosses = inputs[row.q.module] is not inputs[row.k.module]
    kind = ("cross" if crosses else "decoder") if in_decoder else "encoder"
    return replace(row, kind=kind)
