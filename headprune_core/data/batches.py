"""Batches of model inputs, and a way to process a batch in parts if memory runs out.

Each batch records which examples it contains, so results do not depend on how examples were packed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from headprune_core.errors import HeadPruneError

from .tasks import TASKS, Task


@dataclass(frozen=True)
class Batch:
    """N examples of T tokens with U target tokens, padded on the right to the same length.

    Attributes:
        index: (N,), the numbers of the examples.
        inputs: keyword arguments of the model's forward pass.
        real: bool (N, T), False for padding; None for images.
        special: bool (N, T), True for special tokens of the tokenizer; None for images.
        decoder_real: bool (N, U), the same as `real` for the decoder inputs of an encoder-decoder, else None.
        decoder_special: bool (N, U), the same as `special` for the decoder inputs of an encoder-decoder, else None.
        targets: (N, U), tokens or classes of tokens to predict; None without them.
        predicted: bool (N, U), True where a prediction counts: False for padding and tokens without a label; None if there
            is one prediction per example.
        labels: (N,) class numbers, (N, C) zeros and ones for multi-label models, (N, C) numbers for regression, or None.
        task: the task of the model.
    """

    index: np.ndarray
    inputs: dict[str, Tensor]
    real: Tensor | None
    special: Tensor | None = None
    decoder_real: Tensor | None = None
    decoder_special: Tensor | None = None
    targets: Tensor | None = None
    predicted: Tensor | None = None
    labels: Tensor | None = None
    task: Task = TASKS["classification"]

    def __len__(self) -> int:
        return len(self.index)

    def queries(self, kind: str) -> Tensor | None:
        """Return which query tokens are real.

        Args:
            kind: kind of the attention row: "self", "encoder", "decoder" or "cross".

        Returns:
            bool (N, T) or (N, U), False for padding; None for images.
        """
        return self.decoder_real if kind in ("decoder", "cross") else self.real

    def words(self, kind: str) -> tuple[Tensor | None, Tensor | None]:
        """Return which query and key tokens are neither padding nor special tokens.

        Args:
            kind: kind of the attention row: "self", "encoder", "decoder" or "cross".

        Returns:
            bool (N, T) or (N, U) for the queries and for the keys; None and None for images.

        Raises:
            HeadPruneError: if an example has special tokens only.
        """
        if self.real is None:
            return None, None
        encoder, decoder = self.real & ~self.special, None
        if kind in ("decoder", "cross"):
            decoder = self.decoder_real & ~self.decoder_special
        queries, keys = (encoder if decoder is None else decoder), (decoder if kind == "decoder" else encoder)
        empty = (~queries.any(-1) | ~keys.any(-1)).nonzero().flatten()
        if len(empty):
            raise HeadPruneError(
                f"example {int(self.index[int(empty[0])])} consists of special tokens only, so it has no attention without "
                "them; remove the example or include special tokens"
            )
        return queries, keys

    def content(self) -> Iterator[Tensor | str]:
        """Iterate over everything that the model's predictions and token losses depend on.

        Yields:
            The name and then the value of each tensor, for hashing.
        """
        parts = self.inputs | {"targets": self.targets, "predicted": self.predicted}
        for name, value in sorted(parts.items()):
            if value is not None:
                yield name
                yield value

    def halves(self) -> tuple["Batch", "Batch"]:
        """Split the batch into two batches."""
        middle = len(self) // 2
        return tuple(self._part(part) for part in (slice(None, middle), slice(middle, None)))

    def _part(self, part: slice) -> "Batch":
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("inputs", "task")}
        sliced = {name: None if value is None else value[part] for name, value in values.items()}
        inputs = {name: value[part] for name, value in self.inputs.items()}
        return Batch(inputs=inputs, task=self.task, **sliced)


def in_parts(batch: Batch, work: Callable[[Batch], object]) -> Iterator[tuple[Batch, object]]:
    """Apply a function to a batch; if memory runs out, split the batch into halves and retry.

    Args:
        batch: the batch.
        work: function of a batch.

    Yields:
        Each batch that was processed, and the result of the function.

    Raises:
        HeadPruneError: if a single example does not fit in memory.
    """
    result, error = None, None
    try:
        result = work(batch)
    except (MemoryError, RuntimeError) as caught:
        if not out_of_memory(caught):
            raise
        error = (str(caught).splitlines() or ["out of memory"])[0][:100]
    if error is None:
        yield batch, result
        return
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if len(batch) == 1:
        length = "" if batch.real is None else f" of {int(batch.real.sum())} tokens"
        raise HeadPruneError(
            f"an example{length} does not fit in memory ({error}); use shorter texts, a smaller model or dtype='bfloat16'"
        )
    for half in batch.halves():
        yield from in_parts(half, work)


def out_of_memory(error: BaseException) -> bool:
    """Return True if an exception means that memory ran out, judging by its type and message.

    Args:
        error: the exception.
    """
    messages = ("out of memory", "not enough memory", "can't allocate memory", "Cannot allocate memory")
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(message in str(error) for message in messages)
