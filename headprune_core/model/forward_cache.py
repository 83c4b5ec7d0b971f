"""Forward passes that repeat nothing: what the masks cannot have changed since the last pass is recalled, not computed.

What a module gives is determined by the batch and by the masks of the attention calls that ended before it did. So a model
run many times on one batch under different masks need not repeat its embeddings, nor the layers below the first changed row,
nor that row's queries, keys, values and attention: only what follows the gate. A `ForwardCache` keeps one answer for every
place of the forward pass; masks taken in `cache_friendly_order` then find most of what they share there, a trie walked depth first.

Recalled tensors carry their graph, so gradients flow through them, and what a probe would have seen inside a recalled
module it is told again. A pass belongs to its thread, as a probe does: the model itself is not touched.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import MethodType

import numpy as np
from torch import Tensor, nn

from .head_layout import HeadGrid, linear_layers, width


@dataclass(frozen=True)
class _Kept:
    """What a module gave, the masks by then, the tensors' versions (none may be written to since), what a probe saw."""

    rows: tuple[bytes, ...]
    output: object
    versions: tuple[int, ...]
    events: tuple[tuple, ...]


class ForwardCache:
    """What the last passes over one batch gave, place by place."""

    def __init__(self):
        self.kept: dict[tuple, _Kept] = {}


class CachedPass:
    """One forward pass with a memory: the masks by attention call, and how many calls there have been."""

    def __init__(self, recall: ForwardCache, grid: HeadGrid, mask: np.ndarray, probe: object):
        self._recall, self._probe = recall, probe
        self._rows = tuple(mask[row].tobytes() for row in grid.layers)
        self._empty = tuple(not mask[row].any() for row in grid.layers)
        self._projections = tuple({p.module for p in (r.q, r.k, r.v)} for r in (grid.rows[row] for row in grid.layers))
        self._seen: Counter = Counter()
        self._events: list[tuple] = []
        self.calls = 0

    @property
    def over(self) -> bool:
        """Whether all attention calls have been made."""
        return self.calls == len(self._rows)

    def idle(self, projection: nn.Module) -> bool:
        """Whether this is a projection of a row that has no head left."""
        return not self.over and self._empty[self.calls] and projection in self._projections[self.calls]

    def answer(self, module: nn.Module, work: Callable[[], object]):
        """What `module` gave here when all masks by then were the same; else work(), which is kept."""
        place = module, self.calls, self._seen[module, self.calls]
        self._seen[module, self.calls] += 1
        kept = self._recall.kept.get(place)
        if kept is not None and kept.rows == self._rows[: len(kept.rows)] and kept.versions == _versions(kept.output):
            self.calls = len(kept.rows)
            for event in kept.events:
                self.tell(*event)
            return kept.output
        before = len(self._events)
        output = work()
        events = tuple(self._events[before:])
        self._recall.kept[place] = _Kept(self._rows[: self.calls], output, _versions(output), events)
        return output

    def attention(self, module: nn.Module, work: Callable[[], Tensor], nothing: Callable[[], Tensor]) -> Tensor:
        """The heads' outputs of the next attention call: recalled, work(), or nothing() where no head is left."""
        output = nothing() if self._empty[self.calls] else self.answer(module, work)
        self.calls += 1
        return output

    def tell(self, callback: str, *what):
        """Tell the probe, and remember that it was told."""
        self._events.append((callback, *what))
        return getattr(self._probe, callback)(*what)


_ACTIVE_PASS: ContextVar[CachedPass | None] = ContextVar("headprune_active_pass", default=None)


@contextmanager
def use_forward_cache(recall: ForwardCache | None, grid: HeadGrid, mask: np.ndarray, probe: object) -> Iterator[None]:
    """Let the forward pass in this block, under `mask` (R, H) and `probe`, use and fill `recall`; None: nothing is kept."""
    token = _ACTIVE_PASS.set(None if recall is None else CachedPass(recall, grid, mask, probe))
    try:
        yield
    finally:
        _ACTIVE_PASS.reset(token)


def active_pass() -> CachedPass | None:
    """The pass that is on in this thread, if any."""
    return _ACTIVE_PASS.get()


def cache_friendly_order(grid: HeadGrid, masks: np.ndarray) -> list[int]:
    """The order of masks (M, R, H) in which neighbours agree in as many first layers as can be, the fullest first."""
    by_call = masks[:, list(grid.layers)].reshape(len(masks), -1)
    return sorted(range(len(masks)), key=lambda m: by_call[m].tobytes(), reverse=True)


def enable_caching(model: nn.Module, grid: HeadGrid) -> None:
    """Let layers, q/k/v projections and embeddings of `model` answer from memory while a pass is on; once is enough."""
    attentions = {row.module for row in grid.rows}
    holders = {module for module in model.modules() if not attentions.isdisjoint(module.modules())}
    layers = {m for parent in holders if isinstance(parent, nn.ModuleList) for m in parent if m in holders}
    projections = {p.module for row in grid.rows for p in (row.q, row.k, row.v)} & set(linear_layers(model))
    around = {child for parent in holders - attentions for child in parent.children() if child not in holders}
    first = {m for m in around if any(isinstance(part, (nn.Embedding, nn.Conv2d)) for part in m.modules())}
    for module in (layers | projections | first) - {model}:
        module.forward = MethodType(_forward, module)  # a method: in a deep copy it belongs to the copy


def _forward(module: nn.Module, *args, **kwargs):
    now = _ACTIVE_PASS.get()
    if now is None:
        return type(module).forward(module, *args, **kwargs)
    if now.idle(module):
        return args[0].new_zeros(*args[0].shape[:-1], width(module)[1], dtype=module.weight.dtype)
    return now.answer(module, lambda: type(module).forward(module, *args, **kwargs))


def _versions(output) -> tuple[int, ...]:
    """How often each tensor of an output has been written to."""
    if isinstance(output, Tensor):
        return (output._version,)
    return tuple(v for part in output for v in _versions(part)) if isinstance(output, (tuple, list)) else ()
