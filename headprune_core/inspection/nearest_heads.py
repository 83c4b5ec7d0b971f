"""Distances of heads by their attention, and the nearest heads of a head.

The distance of two heads is the Jensen-Shannon distance of their attention rows: the square root of the divergence in bits,
0 for equal rows and 1 for rows without a common key (Endres and Schindelin 2003; heads by this distance: Clark et al. 2019,
arXiv 1906.04341, section 6). It is averaged over the query tokens that see at least two keys, then over examples.

Only heads of one population that see the same keys have a distance: not an encoder's self-attention and cross-attention,
not full attention and a sliding window. A row that several layers share has the mean attention of these layers.

Each batch takes one forward pass. In memory are the queries and keys of one batch in all layers, and the attention of all
layers for one block of query rows of one example: 2**20 probabilities. Time grows with the square of the number of heads,
examples, query tokens and keys: pass fewer examples if a model has many heads.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace

import datasets
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from headprune_core.arguments import whole_number
from headprune_core.data.batches import Batch, in_parts
from headprune_core.data.encoding import encode
from headprune_core.errors import HeadPruneError
from headprune_core.model.attention_hooks import AttentionCall, AttentionHooks, use_hooks
from headprune_core.model.forward_cost import token_limit
from headprune_core.model.head_layout import HeadGrid
from headprune_core.model.packed_linear import FrozenLinear
from headprune_core.model.prunable_model import PrunableModel, runs_models

from .head_traits import populations
from .token_patterns import Streams

BLOCK_ELEMENTS = 2**20  # maximum number of probabilities of all layers in memory at a time
_TINY = 1e-300  # added to probabilities, so that the logarithm of 0 does not occur


@dataclass(frozen=True)
class HeadDistances:
    """Distances of all pairs of heads.

    Attributes:
        grid: The HeadGrid of the model.
        matrix: (R * H, R * H), distances from 0 to 1 in the order of rows and heads; nan for heads that are not comparable.
        settings: Number of examples and precision.
    """

    grid: HeadGrid
    matrix: np.ndarray
    settings: dict

    def nearest(self, row: int, head: int, count: int = 5) -> pd.DataFrame:
        """Return the heads that are nearest to a head.

        Args:
            row: Row of the head.
            head: Number of the head.
            count: Number of heads to return, at most.

        Returns:
            row, head and distance of the nearest heads, nearest first; fewer than `count` if fewer are comparable.

        Raises:
            HeadPruneError: If there is no such head or the count is no whole number of at least 1.
        """
        rows, heads = self.grid.shape
        if not (0 <= row < rows and 0 <= head < heads):
            raise HeadPruneError(
                f"the model has no head {head} in row {row}; rows are 0 to {rows - 1}, heads 0 to {heads - 1}"
            )
        own = row * heads + head
        distances = self.matrix[own]
        others = np.flatnonzero(np.isfinite(distances) & (np.arange(distances.size) != own))
        others = others[np.argsort(distances[others], kind="stable")][: whole_number("count", count, 1)]
        return pd.DataFrame({"row": others // heads, "head": others % heads, "distance": distances[others]})


@runs_models
def head_distances(
    model: PrunableModel,
    examples: datasets.Dataset,
    *,
    batch_size: int = 32,
    dtype: str | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> HeadDistances:
    """Compute the distances of all pairs of heads by their attention.

    Args:
        model: An unpruned model.
        examples: Examples, with or without labels.
        batch_size: Maximum batch size; it does not affect the distances.
        dtype: Precision of matrix multiplications, "float32" or "bfloat16"; None uses the model's dtype.
        progress: Called as progress(done, total, note) before each example; raise `Cancelled` in it to stop.

    Returns:
        The distances.

    Raises:
        HeadPruneError: If an example is invalid, the model is pruned, or attention is not finite.

    Example:
        >>> head_distances(model, examples).nearest(row=1, head=8)
    """
    model.grid.check_unpruned("comparing heads")
    encoded, traced = encode(model, examples), model.in_precision(dtype)
    sums, done = _Distances(model), 0
    for full_batch in encoded.batches(batch_size, model.device, token_limit=token_limit(model, dtype)):
        for batch, (calls, streams) in in_parts(full_batch, lambda batch: _attention_calls(traced, batch)):
            for example in range(len(batch)):
                if progress is not None:
                    progress(done, len(encoded), "Comparing heads")
                sums.add(calls, streams, example, int(batch.index[example]))
                done += 1
    if progress is not None:
        progress(done, len(encoded), "Comparing heads")
    settings = {"examples": len(encoded), "dtype": dtype or str(model.model.dtype)[6:]}
    return HeadDistances(model.grid, sums.matrix(), settings)


def _attention_calls(model: PrunableModel, batch: Batch) -> tuple[list[list[AttentionCall]], Streams]:
    """The attention calls of each row without values and outputs, and the streams of the batch."""
    found = defaultdict(list)

    def on_attention(call: AttentionCall) -> None:
        found[call.module].append(replace(call, value=call.value[..., :0], output=None))

    with use_hooks(AttentionHooks(on_attention=on_attention)), torch.no_grad(), FrozenLinear(model.packed):
        model.logits(batch.inputs)
    return [found[row.module] for row in model.grid.rows], Streams(model, batch)


class _Distances:
    """Sums of distances over examples, for each group of rows that may be comparable."""

    def __init__(self, model: PrunableModel):
        self._grid, (rows, heads) = model.grid, model.grid.shape
        self._groups = defaultdict(list)
        for number, (row, population) in enumerate(zip(model.grid.rows, populations(model), strict=True)):
            self._groups[row.kind, population].append(number)
        self._sums = np.zeros((rows * heads,) * 2)
        self._examples = np.zeros(self._sums.shape, int)
        self._comparable = np.ones((rows, rows), bool)

    @torch.no_grad()
    def add(self, calls: list[list[AttentionCall]], streams: Streams, example: int, number: int) -> None:
        """Add one example of a batch, which has this number in the dataset."""
        heads = self._grid.shape[1]
        for (kind, _), rows in self._groups.items():
            queries, keys = (stream.real[example] for stream in streams.of(kind))
            members = [[_only(call, example) for call in calls[row]] for row in rows]
            step, count = max(1, BLOCK_ELEMENTS // (len(rows) * heads * len(keys))), 0
            total = torch.zeros(len(rows) * heads, len(rows) * heads, dtype=torch.float64, device=keys.device)
            for wanted in queries.nonzero().flatten().split(step):
                attention, seen = self._block(members, rows, wanted, keys, number)
                chooses = seen.sum(-1) > 1
                total += _pairwise(attention[:, chooses][..., seen.any(0)])
                count += int(chooses.sum())
            if count:
                place = (heads * np.repeat(rows, heads) + np.tile(np.arange(heads), len(rows)))[:, None]
                self._sums[place, place.T] += (total / count).cpu().numpy()
                self._examples[place, place.T] += 1

    def _block(self, members, rows: list[int], wanted: Tensor, keys: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """Attention (heads of all rows, t, S) of some queries, and which keys (t, S) the queries of the first row see."""
        start, stop = int(wanted[0]), int(wanted[-1]) + 1
        parts, patterns = [], []
        for row, calls in zip(rows, members, strict=True):
            found = [call.probabilities(start, stop) for call in calls]
            seen = found[0][1][0][:, wanted - start][..., keys]
            attention = torch.stack([values[0].double() for values, _ in found]).mean(0)[:, wanted - start][..., keys]
            if not bool(torch.isfinite(attention).all()):
                head = int((~torch.isfinite(attention)).flatten(1).any(1).nonzero()[0])
                raise HeadPruneError(
                    f"the attention of head {head} in row {self._grid.row_labels[row]} is not finite for example {number}; "
                    "check the model's weights, or load it with dtype='float32'"
                )
            if not torch.equal(seen, seen[:1].expand_as(seen)):
                raise HeadPruneError("heads of one layer can see different tokens, so their attention cannot be compared")
            parts.append(attention)
            patterns.append(seen[0])
        for place, row in enumerate(rows):
            for other in range(place):
                if not torch.equal(patterns[place], patterns[other]):
                    self._comparable[row, rows[other]] = self._comparable[rows[other], row] = False
        attention = torch.cat(parts)
        return attention / attention.sum(-1, keepdim=True), patterns[0]  # with sinks, the total is below 1

    def matrix(self) -> np.ndarray:
        """Mean distances, nan where heads are not comparable."""
        heads = self._grid.shape[1]
        known = (self._examples > 0) & np.kron(self._comparable, np.ones((heads, heads), bool))
        found = np.divide(self._sums, self._examples, out=np.full(known.shape, np.nan), where=known)
        np.fill_diagonal(found, 0.0)
        return found


def _only(call: AttentionCall, example: int) -> AttentionCall:
    """The same call for one example of the batch."""
    part = slice(example, example + 1)
    mask = call.mask if call.mask is None or len(call.mask) == 1 else call.mask[part]
    return replace(call, query=call.query[part], key=call.key[part], value=call.value[part], mask=mask)


def _pairwise(attention: Tensor) -> Tensor:
    """Sums (M, M) over query rows of the Jensen-Shannon distances of attention (M, t, S), which sums to 1 over keys.

    With p and q the two rows and s = p + q, the divergence is 1 + (sum p log p + sum q log q - sum s log s) / 2 bits.
    """
    attention = attention + _TINY
    size = len(attention)
    single = (attention * attention.log2()).sum(-1)
    total = attention.new_zeros(size, size)
    both, logs = torch.empty_like(attention), torch.empty_like(attention)  # allocated once: they are filled for every head
    for first in range(size - 1):
        s = torch.add(attention[first + 1 :], attention[first], out=both[first + 1 :])
        together = torch.einsum("mts,mts->mt", s, torch.log2(s, out=logs[first + 1 :]))
        divergence = 1 + (single[first + 1 :] + single[first] - together) / 2
        total[first, first + 1 :] = divergence.clamp(min=0, max=1).sqrt().sum(-1)
    return total + total.T
