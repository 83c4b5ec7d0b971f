"""Unpadded model inputs of a dataset, and how they are packed into batches with little padding."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from headprune_core.errors import HeadPruneError

from .batches import Batch
from .tasks import IGNORED, TASKS, Task

BATCH_COST = {"cpu": 32}  # overhead of one extra batch, expressed in equivalent padding tokens
GPU_BATCH_COST_TOKENS = 2048  # same, for GPUs, where small batches underuse the device


@dataclass(frozen=True)
class Encoded:
    """Unpadded model inputs of N examples.

    Attributes:
        inputs: for each example "input_ids" (with "token_type_ids" or "target_ids" and "decoder_input_ids" if the model
            needs them) or "pixel_values"; for a token classifier also "labels", -100 where no prediction counts.
        labels: class number of each example, or its C numbers (see `Batch.labels`), or None.
        truncated: number of texts that were truncated.
        longest: length of the longest text before truncation, in tokens.
        pad: padding token.
        two_streams: whether the model is an encoder-decoder; its decoder receives the text if there are no targets.
        predicts_next: whether the model is a causal language model.
        special: special tokens.
        batching: "padded", "equal lengths" or "single", the batches that the model computes exactly.
        task: the task of the model.
        tags_known: whether the "labels" of a token classifier are its targets; else they only say which tokens count.
    """

    inputs: list[dict]
    labels: list[int] | list[list[float]] | None
    truncated: int
    longest: int
    pad: int
    two_streams: bool = False
    predicts_next: bool = False
    special: frozenset[int] = frozenset()
    batching: str = "padded"
    task: Task = TASKS["classification"]
    tags_known: bool = False

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def labeled(self) -> bool:
        """Whether there is something to predict: labels, tags, or the tokens of a text."""
        return self.labels is not None or self.tags_known or self.task.generates

    @property
    def lengths(self) -> np.ndarray:
        """(N,) number of tokens of each example, including its target; 1 for an image."""
        return np.array([len(row.get("input_ids", (0,))) + len(row.get("target_ids", ())) for row in self.inputs])

    def batches(self, batch_size: int, device: torch.device, *, token_limit: int | None = None) -> Iterator[Batch]:
        """Iterate over all examples in batches with little padding, longest examples first.

        Args:
            batch_size: maximum number of examples per batch.
            device: device of the tensors.
            token_limit: maximum number of tokens per batch, padding included, except for batches of one example; None for
                no limit.

        Yields:
            The batches.
        """
        for index in self.packed(batch_size, token_limit, device):
            yield self.batch(index, device)

    def packed(self, batch_size: int, token_limit: int | None, device: torch.device) -> list[np.ndarray]:
        """Return the numbers of the examples of each batch, as `batches` uses them.

        Args:
            batch_size: maximum number of examples per batch.
            token_limit: maximum number of tokens per batch, or None.
            device: device, which determines the overhead of a batch.
        """
        options = token_limit, BATCH_COST.get(device.type, GPU_BATCH_COST_TOKENS)
        if self.batching == "padded":
            return packed(self.lengths, batch_size, *options)
        groups: dict[tuple[int, int], list[int]] = {}
        for number, row in enumerate(self.inputs):
            groups.setdefault((len(row.get("input_ids", ())), len(row.get("target_ids", ()))), []).append(number)
        batch_size = 1 if self.batching == "single" else batch_size
        members = (np.array(groups[lengths]) for lengths in sorted(groups, reverse=True))
        return [part[index] for part in members for index in packed(self.lengths[part], batch_size, *options)]

    def batch(self, index: np.ndarray, device: torch.device) -> Batch:
        """Return some examples as one batch.

        Args:
            index: numbers of the examples.
            device: device of the tensors.
        """
        rows = [self.inputs[i] for i in index]
        labels = None if self.labels is None else torch.tensor([self.labels[i] for i in index], device=device)
        if "pixel_values" in rows[0]:
            pixels = torch.tensor(np.stack([row["pixel_values"] for row in rows]), device=device)
            return Batch(index, {"pixel_values": pixels}, None, labels=labels, task=self.task)
        ids, real = self._padded([row["input_ids"] for row in rows], device)
        inputs = {"input_ids": ids, "attention_mask": real.long()}
        if "token_type_ids" in rows[0]:
            inputs["token_type_ids"], _ = self._padded([row["token_type_ids"] for row in rows], device, pad=0)
        batch = Batch(index, inputs, real, self._special(ids), labels=labels, task=self.task)
        if "labels" in rows[0]:
            targets, _ = self._padded([row["labels"] for row in rows], device, pad=IGNORED)
            batch = replace(batch, targets=targets if self.tags_known else None, predicted=targets != IGNORED)
        if self.predicts_next:
            return replace(batch, targets=ids[:, 1:], predicted=real[:, 1:])
        if "target_ids" in rows[0]:
            targets, predicted = self._padded([row["target_ids"] for row in rows], device)
            shifted, _ = self._padded([row["decoder_input_ids"] for row in rows], device)
            inputs["decoder_input_ids"] = shifted
            decoder = {"decoder_real": predicted, "decoder_special": self._special(shifted)}
            return replace(batch, targets=targets, predicted=predicted, **decoder)
        if self.two_streams:  # the model itself shifts the text to the right
            shifted = torch.cat([torch.ones_like(ids[:, :1], dtype=torch.bool), self._special(ids)[:, :-1]], dim=1)
            return replace(batch, decoder_real=real, decoder_special=shifted)
        return batch

    def _padded(self, rows: list[list[int]], device: torch.device, pad: int | None = None) -> tuple[Tensor, Tensor]:
        """The rows as one tensor (N, longest), and bool (N, longest), False for padding."""
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
    """Pack examples into batches with the minimum total of padded tokens and batch overhead, by dynamic programming.

    Args:
        lengths: (N,) number of tokens of each example.
        batch_size: maximum number of examples per batch.
        token_limit: maximum number of tokens per batch, padding included, except for batches of one example; None for no
            limit.
        batch_cost: overhead of a batch, in tokens.

    Returns:
        The example numbers of each batch, longest examples first.

    Raises:
        HeadPruneError: if batch_size is less than 1.
    """
    if batch_size < 1:
        raise HeadPruneError(f"batch_size must be at least 1, got {batch_size}")
    order = np.argsort(-lengths, kind="stable")
    sorted_lengths = lengths[order]
    least, breaks = np.zeros(len(order) + 1), np.zeros(len(order) + 1, int)
    for end in range(1, len(order) + 1):
        starts = np.arange(max(0, end - batch_size), end)
        padded = (end - starts) * sorted_lengths[starts]
        if token_limit is not None:
            fits = (padded <= token_limit) | (starts == end - 1)
            starts, padded = starts[fits], padded[fits]
        costs = least[starts] + padded + batch_cost
        best = int(costs.argmin())
        least[end], breaks[end] = costs[best], starts[best]
    ends = [len(order)]
    while ends[-1] > 0:
        ends.append(int(breaks[ends[-1]]))
    return [order[start:end] for end, start in zip(ends[-2::-1], ends[:0:-1], strict=True)]
