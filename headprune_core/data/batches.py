"""Examples as the model takes them: tokens or pixels, label numbers, and batches packed so that padding costs little.

Each batch remembers which examples it holds, so results never depend on how the examples were packed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from headprune_core.errors import HeadPruneError

BATCH_COST = {"cpu": 32}  # what one more batch costs, in padding tokens that would cost as much
GPU_BATCH_COST_TOKENS = 2048  # the same on a GPU, which small batches leave idle


@dataclass(frozen=True)
class Batch:
    """Some examples, padded on the right to one length: N examples of T tokens, with U target tokens.

    index: which examples. real (N, T): False on padding; None for images, which have none. special (N, T): marks of the
    tokenizer. decoder_real, decoder_special: the same for what an encoder-decoder's decoder reads. targets (N, U): the
    tokens to be predicted, predicted (N, U) False on their padding; None for classification. labels (N,).
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

    def __len__(self) -> int:
        return len(self.index)

    def queries(self, kind: str) -> Tensor | None:
        """Which query tokens of a row of that kind are real, (N, T) or (N, U)."""
        return self.decoder_real if kind in ("decoder", "cross") else self.real

    def words(self, kind: str) -> tuple[Tensor | None, Tensor | None]:
        """Which query and which key tokens of a row of that kind are real and no special tokens; None for images."""
        if self.real is None:
            return None, None
        encoder, decoder = self.real & ~self.special, None
        if kind in ("decoder", "cross"):
            decoder = self.decoder_real & ~self.decoder_special
        queries, keys = (encoder if decoder is None else decoder), (decoder if kind == "decoder" else encoder)
        silent = (~queries.any(-1) | ~keys.any(-1)).nonzero().flatten()
        if len(silent):
            raise HeadPruneError(
                f"example {int(self.index[int(silent[0])])} has no word beside special tokens, so without them it has no "
                "attention; leave it out, or keep special tokens in"
            )
        return queries, keys

    def content(self) -> Iterator[Tensor | str]:
        """All that a model's answers, and how right they are where it predicts tokens, depend on."""
        parts = self.inputs | {"targets": self.targets, "predicted": self.predicted}
        for name, value in sorted(parts.items()):
            if value is not None:
                yield name
                yield value

    def halves(self) -> tuple["Batch", "Batch"]:
        """The same examples in two batches."""
        middle = len(self) // 2
        return tuple(self._part(part) for part in (slice(None, middle), slice(middle, None)))

    def _part(self, part: slice) -> "Batch":
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "inputs"}
        cut = {name: None if value is None else value[part] for name, value in values.items()}
        return Batch(inputs={name: value[part] for name, value in self.inputs.items()}, **cut)


def in_parts(batch: Batch, work: Callable[[Batch], object]) -> Iterator[tuple[Batch, object]]:
    """(batch, work(batch)); where that does not fit in memory, for its halves, and so on."""
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
            f"one example{length} does not fit in memory ({error}); use shorter texts, a smaller model, or dtype='bfloat16'"
        )
    for half in batch.halves():
        yield from in_parts(half, work)


def out_of_memory(error: BaseException) -> bool:
    """Whether that is what went wrong, by the words of the device."""
    words = ("out of memory", "not enough memory", "can't allocate memory", "Cannot allocate memory")
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(word in str(error) for word in words)


@dataclass(frozen=True)
class Encoded:
    """Unpadded model inputs by example, their label numbers (or None), and how many texts had to be cut.

    inputs: "input_ids" (and "token_type_ids"; "target_ids" with "decoder_input_ids") or "pixel_values" of each example.
    """

    inputs: list[dict]
    labels: list[int] | None
    cut: int
    longest: int  # tokens, before cutting
    pad: int
    two_streams: bool = False  # an encoder-decoder, whose decoder reads the text too where there are no targets
    predicts_next: bool = False  # a causal language model
    special: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def lengths(self) -> np.ndarray:
        """(N,) tokens of each example, its target's included; 1 for an image."""
        return np.array([len(row.get("input_ids", (0,))) + len(row.get("target_ids", ())) for row in self.inputs])

    def batches(self, batch_size: int, device: torch.device, *, token_limit: int | None = None) -> Iterator[Batch]:
        """All examples, longest first, in batches of up to `batch_size` that waste little on padding.

        No batch has more than token_limit tokens, padding included, unless one example alone has.
        """
        for index in self.packed(batch_size, token_limit, device):
            yield self.batch(index, device)

    def packed(self, batch_size: int, token_limit: int | None, device: torch.device) -> list[np.ndarray]:
        """Which examples make which batch."""
        return packed(self.lengths, batch_size, token_limit, BATCH_COST.get(device.type, GPU_BATCH_COST_TOKENS))

    def batch(self, index: np.ndarray, device: torch.device) -> Batch:
        """The examples of those numbers as one batch."""
        rows = [self.inputs[i] for i in index]
        labels = None if self.labels is None else torch.tensor([self.labels[i] for i in index], device=device)
        if "pixel_values" in rows[0]:
            pixels = torch.tensor(np.stack([row["pixel_values"] for row in rows]), device=device)
            return Batch(index, {"pixel_values": pixels}, None, labels=labels)
        ids, real = self._padded([row["input_ids"] for row in rows], device)
        inputs = {"input_ids": ids, "attention_mask": real.long()}
        if "token_type_ids" in rows[0]:
            inputs["token_type_ids"], _ = self._padded([row["token_type_ids"] for row in rows], device, pad=0)
        batch = Batch(index, inputs, real, self._special(ids), labels=labels)
        if self.predicts_next:
            return replace(batch, targets=ids[:, 1:], predicted=real[:, 1:])
        if "target_ids" in rows[0]:
            targets, predicted = self._padded([row["target_ids"] for row in rows], device)
            shifted, _ = self._padded([row["decoder_input_ids"] for row in rows], device)
            inputs["decoder_input_ids"] = shifted
            decoder = {"decoder_real": predicted, "decoder_special": self._special(shifted)}
            return replace(batch, targets=targets, predicted=predicted, **decoder)
        if self.two_streams:  # the model shifts the text right by itself
            shifted = torch.cat([torch.ones_like(ids[:, :1], dtype=torch.bool), self._special(ids)[:, :-1]], dim=1)
            return replace(batch, decoder_real=real, decoder_special=shifted)
        return batch

    def _padded(self, rows: list[list[int]], device: torch.device, pad: int | None = None) -> tuple[Tensor, Tensor]:
        """Rows as one tensor (N, longest), and which of its places are real."""
        longest = max(map(len, rows))
        pad = self.pad if pad is None else pad
        values = torch.tensor([list(row) + [pad] * (longest - len(row)) for row in rows], device=device)
        lengths = torch.tensor([len(row) for row in rows], device=device)
        return values, torch.arange(longest, device=device) < lengths[:, None]

    def _special(self, ids: Tensor) -> Tensor:
        return torch.isin(ids, torch.tensor(sorted(self.special), dtype=ids.dtype, device=ids.device))


def packed(
    lengths: np.ndarray, batch_size: int, token_limit: int | None = None, batch_cost: int = BATCH_COST["cpu"]
) -> list[np.ndarray]:
    """Example numbers by batch, longest first, such that padding, and batch_cost for every batch, add up to the least."""
    if batch_size < 1:
        raise HeadPruneError(f"the batch size is {batch_size}; expected at least 1")
    order = np.argsort(-lengths, kind="stable")
    long = lengths[order]
    least, cuts = np.zeros(len(order) + 1), np.zeros(len(order) + 1, int)
    for end in range(1, len(order) + 1):
        starts = np.arange(max(0, end - batch_size), end)
        padded = (end - starts) * long[starts]
        if token_limit is not None:
            fits = (padded <= token_limit) | (starts == end - 1)
            starts, padded = starts[fits], padded[fits]
        costs = least[starts] + padded + batch_cost
        best = int(costs.argmin())
        least[end], cuts[end] = costs[best], starts[best]
    ends = [len(order)]
    while ends[-1] > 0:
        ends.append(int(cuts[ends[-1]]))
    return [order[start:end] for end, start in zip(ends[-2::-1], ends[:0:-1], strict=True)]
