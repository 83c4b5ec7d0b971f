"""Peak memory of tensors during a computation, excluding tensors that existed before.

On CUDA the allocator reports the peak. On other devices the results of all operators are tracked: a storage counts from the
operator that creates it until its last tensor is freed. Temporary workspaces inside an operator are not seen there.
"""

import weakref
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def measure_peak_memory(work: Callable[[], object], held: Iterable[Tensor], device: torch.device) -> int:
    """Return the peak memory of a computation in bytes.

    Args:
        work: computation to run once.
        held: tensors that exist already and do not count, such as weights and inputs.
        device: device of the computation.

    Returns:
        Peak bytes of tensors that `work` allocates.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with _Watch(held) as watch, torch.no_grad():
        work()
    return watch.peak


class _Watch(TorchDispatchMode):
    """Count the bytes of live storages in this thread."""

    def __init__(self, held: Iterable[Tensor]):
        super().__init__()
        self._known = {tensor.untyped_storage()._cdata for tensor in held}
        self._alive: dict[int, weakref.finalize] = {}
        self._current = self.peak = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        results = operator(*args, **(kwargs or {}))
        for tensor in tree_leaves(results):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        self.peak = max(self.peak, self._current)
        return results

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._known and key not in self._alive:
            self._current += storage.nbytes()
            self._alive[key] = weakref.finalize(storage, self._forget, key, storage.nbytes())

    def _forget(self, key: int, size: int) -> None:
        del self._alive[key]
        self._current -= size
