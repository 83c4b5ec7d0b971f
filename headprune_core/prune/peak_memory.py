"""The most memory that tensors take at once while some work is done, beyond what was there before.

On CUDA the allocator knows. Elsewhere every operator's results are watched: a storage counts from the operator that makes it
until the last tensor on it is gone. What an operator takes for itself and gives back (workspaces) is not seen there.
"""

import weakref
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def measure_peak_memory(work: Callable[[], object], held: Iterable[Tensor], device: torch.device) -> int:
    """Bytes that `work` takes at its peak; `held` are tensors that are there already (weights, inputs)."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with _Watch(held) as watch, torch.no_grad():
        work()
    return watch.most


class _Watch(TorchDispatchMode):
    """Counts the bytes of storages that are alive, in this thread alone."""

    def __init__(self, held: Iterable[Tensor]):
        super().__init__()
        self._known = {tensor.untyped_storage()._cdata for tensor in held}
        self._alive: dict[int, weakref.finalize] = {}
        self._now = self.most = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        results = operator(*args, **(kwargs or {}))
        for tensor in tree_leaves(results):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        self.most = max(self.most, self._now)
        return results

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._known and key not in self._alive:
            self._now += storage.nbytes()
            self._alive[key] = weakref.finalize(storage, self._forget, key, storage.nbytes())

    def _forget(self, key: int, size: int) -> None:
        del self._alive[key]
        self._now -= size
