"""Cache of module outputs across forward passes.

When the same batch is evaluated under many masks, a module's output depends only on the batch and on the masks of the
attention modules before it. Outputs that a mask cannot change (embeddings, earlier layers, and the Q, K, V and attention
of the first changed layer) are reused instead of recomputed. Cached tensors keep their autograd graph, and hook calls
from inside a cached module are repeated. Choosing the masks and the batches is left to the callers.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import Tensor, nn

from .head_layout import HeadGrid, linear_layers, width


@dataclass(frozen=True)
class _CachedOutput:
    """A module's output with all that is needed to decide whether it can be reused."""

    rows: tuple[bytes, ...]  # masks of the attention calls before the end of the module
    output: object
    versions: tuple[int, ...]  # of its tensors; a later in-place change makes the entry invalid
    events: tuple[tuple, ...]  # hook calls inside the module


class ForwardCache:
    """Module outputs of the most recent forward passes over one batch.

    It keeps one output for every position in the forward pass. Evaluate masks in `cache_friendly_order` so that consecutive
    masks share as many first layers as possible.
    """

    def __init__(self):
        self.entries: dict[tuple, _CachedOutput] = {}


class CachedPass:
    """One forward pass under a mask that reads from and writes to a `ForwardCache`.

    Args:
        cache: outputs of earlier passes over the same batch.
        grid: head grid of the model.
        mask: bool (R, H), True = kept.
        hooks: the `AttentionHooks` of the pass.

    Attributes:
        calls: number of attention calls so far.
    """

    def __init__(self, cache: ForwardCache, grid: HeadGrid, mask: np.ndarray, hooks: object):
        self._cache, self._hooks = cache, hooks
        self._rows = tuple(mask[row].tobytes() for row in grid.layers)
        self._empty = tuple(not mask[row].any() for row in grid.layers)
        self._projections = tuple({p.module for p in (r.q, r.k, r.v)} for r in (grid.rows[row] for row in grid.layers))
        self._seen: Counter = Counter()
        self._events: list[tuple] = []
        self.calls = 0

    @property
    def finished(self) -> bool:
        """Whether all attention calls have been made."""
        return self.calls == len(self._rows)

    def is_unused(self, projection: nn.Module) -> bool:
        """Whether a module is a q, k or v projection of a layer whose heads are all masked.

        Args:
            projection: the module that is about to be called.
        """
        return not self.finished and self._empty[self.calls] and projection in self._projections[self.calls]

    def output_of(self, module: nn.Module, compute: Callable[[], object]):
        """Return the cached output of a module if the masks before it are unchanged, else compute and cache it.

        Args:
            module: the module that is called.
            compute: function that computes the output.
        """
        position = module, self.calls, self._seen[module, self.calls]
        self._seen[module, self.calls] += 1
        entry = self._cache.entries.get(position)
        if entry is not None and entry.rows == self._rows[: len(entry.rows)] and entry.versions == _versions(entry.output):
            self.calls = len(entry.rows)
            for event in entry.events:
                self.notify(*event)
            return entry.output
        before = len(self._events)
        output = compute()
        events = tuple(self._events[before:])
        self._cache.entries[position] = _CachedOutput(self._rows[: self.calls], output, _versions(output), events)
        return output

    def attention(self, module: nn.Module, compute: Callable[[], Tensor], zeros: Callable[[], Tensor]) -> Tensor:
        """Return the head outputs of the next attention call.

        Args:
            module: the attention module.
            compute: function that computes the (N, T, H, D) head outputs.
            zeros: function that returns zeros of that shape, used if all heads are masked.

        Returns:
            (N, T, H, D) head outputs before the gate.
        """
        output = zeros() if self._empty[self.calls] else self.output_of(module, compute)
        self.calls += 1
        return output

    def notify(self, callback: str, *arguments):
        """Call one of the hooks and record the call.

        Args:
            callback: name of the hook, "on_attention" or "on_projection".
            *arguments: arguments of the hook.

        Returns:
            The return value of the hook.
        """
        self._events.append((callback, *arguments))
        return getattr(self._hooks, callback)(*arguments)


_ACTIVE_PASS: ContextVar[CachedPass | None] = ContextVar("headprune_active_pass", default=None)


@contextmanager
def use_forward_cache(cache: ForwardCache | None, grid: HeadGrid, mask: np.ndarray, hooks: object) -> Iterator[None]:
    """Use and fill a cache in the forward pass of this block, in this thread only.

    Args:
        cache: outputs of earlier passes over the same batch; None disables caching.
        grid: head grid of the model.
        mask: bool (R, H), True = kept; the gates of `hooks` must apply the same mask.
        hooks: the `AttentionHooks` of the pass.
    """
    token = _ACTIVE_PASS.set(None if cache is None else CachedPass(cache, grid, mask, hooks))
    try:
        yield
    finally:
        _ACTIVE_PASS.reset(token)


def active_pass() -> CachedPass | None:
    """Return the cached pass of this thread, or None."""
    return _ACTIVE_PASS.get()


def cache_friendly_order(grid: HeadGrid, masks: np.ndarray) -> list[int]:
    """Order masks so that consecutive masks agree in as many first layers as possible.

    Args:
        grid: head grid of the model.
        masks: bool (M, R, H), True = kept.

    Returns:
        The M mask numbers in evaluation order, starting with the mask that keeps the most of the first layers.
    """
    by_call = masks[:, list(grid.layers)].reshape(len(masks), -1)
    return sorted(range(len(masks)), key=lambda m: by_call[m].tobytes(), reverse=True)


def enable_caching(model: nn.Module, grid: HeadGrid) -> None:
    """Let the layers, q/k/v projections and embeddings of a model use the active `CachedPass`.

    Without an active pass the modules work as before. Repeated calls have no further effect.

    Args:
        model: the Transformers model.
        grid: its head grid.
    """
    attentions = {row.module for row in grid.rows}
    holders = {module for module in model.modules() if not attentions.isdisjoint(module.modules())}
    layers = {m for parent in holders if isinstance(parent, nn.ModuleList) for m in parent if m in holders}
    projections = {p.module for row in grid.rows for p in (row.q, row.k, row.v)} & set(linear_layers(model))
    outer = {child for parent in holders - attentions for child in parent.children() if child not in holders}
    embeddings = {m for m in outer if any(isinstance(part, (nn.Embedding, nn.Conv2d)) for part in m.modules())}
    for module in (layers | projections | embeddings) - {model}:
        module.forward = partial(_forward, module)  # copied and pickled together with its module


def _forward(module: nn.Module, *args, **kwargs):
    cached_pass = _ACTIVE_PASS.get()
    if cached_pass is None:
        return type(module).forward(module, *args, **kwargs)
    if cached_pass.is_unused(module):
        return args[0].new_zeros(*args[0].shape[:-1], width(module)[1], dtype=module.weight.dtype)
    return cached_pass.output_of(module, lambda: type(module).forward(module, *args, **kwargs))


def _versions(output) -> tuple[int, ...]:
    """Version counters of the tensors of an output; in-place changes increase them."""
    if isinstance(output, Tensor):
        return (output._version,)
    return tuple(v for part in output for v in _versions(part)) if isinstance(output, (tuple, list)) else ()
