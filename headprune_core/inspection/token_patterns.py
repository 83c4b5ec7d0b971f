"""Attention patterns: for each role of a head, the pairs of a query and a key that belong to it.

Shapes: N examples, T query tokens, S key tokens, K roles.
"""

import unicodedata
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from headprune_core.data.batches import Batch
from headprune_core.model.prunable_model import PrunableModel

from .distance_kernel import image_kernel, text_kernel

PATTERNS = ("previous", "next", "self", "first", "delimiter", "same_token", "induction", "segment", "local")
LOCAL_TOKENS, LOCAL_PATCHES = 3, 1  # largest distance that counts as local, in a text and in an image


@dataclass(frozen=True)
class Stream:
    """Tokens of one input of a model: of the text, of the decoder's text, or the patches of an image.

    Attributes:
        ids: (N, T) tokens; None for images.
        real: bool (N, T), False for padding.
        special: bool (N, T), True for special tokens, and for the positions of an image that are no patches.
        delimiter: bool (N, T), True for punctuation, line breaks and special tokens after the first position.
        segment: int (N, T), number of the part of a pair; all 0 for one text.
        grid: height and width of an image in patches; None for texts.
    """

    ids: Tensor | None
    real: Tensor
    special: Tensor
    delimiter: Tensor
    segment: Tensor
    grid: tuple[int, int] | None = None

    @property
    def positions(self) -> Tensor:
        """(T,) positions, or (T, 2) row and column of the patches of an image, -1 for its special positions."""
        size = self.real.shape[1]
        if self.grid is None:
            return torch.arange(size, device=self.real.device)
        height, width = self.grid
        patches = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"), -1).reshape(-1, 2)
        before = torch.full((size - len(patches), 2), -1)
        return torch.cat([before, patches]).to(self.real.device)


class Streams:
    """The streams of a batch.

    Args:
        model: The model, whose tokenizer says which tokens are punctuation.
        batch: The batch.
    """

    def __init__(self, model: PrunableModel, batch: Batch):
        self._model, self._batch = model, batch

    def of(self, kind: str) -> tuple[Stream, Stream]:
        """Return the streams of the queries and of the keys.

        Args:
            kind: Kind of the attention row: "self", "encoder", "decoder" or "cross".
        """
        queries = self.decoder if kind in ("decoder", "cross") else self.encoder
        return queries, self.decoder if kind == "decoder" else self.encoder

    @cached_property
    def encoder(self) -> Stream:
        """Tokens of the text, or patches of the image."""
        batch = self._batch
        if batch.real is None:
            return _image(self._model, batch)
        ids = batch.inputs["input_ids"]
        types = batch.inputs.get("token_type_ids")
        return self._stream(ids, batch.real, batch.special, types if types is not None and types.any() else None)

    @cached_property
    def decoder(self) -> Stream:
        """Tokens of the decoder's text."""
        batch = self._batch
        ids = batch.inputs.get("decoder_input_ids")
        if ids is None:  # the model itself shifts the text to the right
            text, start = batch.inputs["input_ids"], self._model.model.config.decoder_start_token_id
            ids = torch.cat([torch.full_like(text[:, :1], start), text[:, :-1]], dim=1)
        return self._stream(ids, batch.decoder_real, batch.decoder_special, None)

    def _stream(self, ids: Tensor, real: Tensor, special: Tensor, types: Tensor | None) -> Stream:
        later = torch.arange(ids.shape[1], device=ids.device) > 0
        delimiter = real & ((special & later) | _punctuation(self._model.tokenizer, ids))
        if types is None:  # the texts of a pair are separated by special tokens
            last = real.cumsum(1) == real.sum(1, keepdim=True)
            between = special & real & later & ~last
            types = (between.cumsum(1) > 0).long()
            types = types * (real & ~special & (types > 0)).any(1, keepdim=True)
        return Stream(ids, real, special & real, delimiter, types)


class TokenPatterns:
    """Roles of the heads of one attention call, as boolean matrices of queries and keys.

    Args:
        queries: Stream of the queries.
        keys: Stream of the keys.
        crosses: Whether queries and keys are different texts, so that positions cannot be compared.
    """

    def __init__(self, queries: Stream, keys: Stream, crosses: bool = False):
        self.queries, self.keys, self.crosses = queries, keys, crosses
        self._block: tuple[tuple[int, int], Tensor] | None = None

    def block(self, start: int, stop: int) -> Tensor:
        """Return the patterns of some queries.

        Args:
            start: First query.
            stop: End of the range.

        Returns:
            bool (N, T, S, K), in the order of PATTERNS. A role that does not exist for the inputs has no pairs.
        """
        if self._block is None or self._block[0] != (start, stop):
            found = self._patterns(start, stop)
            shape = (len(self.queries.real), stop - start, self.keys.real.shape[1])
            nothing = torch.zeros((), dtype=torch.bool, device=self.keys.real.device)
            parts = [(found.get(name, nothing) & self.keys.real[:, None, :]).expand(shape) for name in PATTERNS]
            self._block = (start, stop), torch.stack(parts, dim=-1)
        return self._block[1]

    def kernel(self, attention: Tensor, start: int) -> Tensor | None:
        """Sum attention (N, H, t, S) of the queries from `start` on by distance; None if positions cannot be compared."""
        if self.crosses:
            return None
        if self.queries.grid is None:
            return text_kernel(attention, start)
        return image_kernel(attention, start, self.queries.positions)

    def _patterns(self, start: int, stop: int) -> dict[str, Tensor]:
        """The pairs of each role that exists, broadcastable to (N, T, S)."""
        first = torch.arange(self.keys.real.shape[1], device=self.keys.real.device)[None, None] == 0
        if self.queries.grid is not None:
            positions = self.queries.positions
            steps = (positions[start:stop, None] - positions).abs().amax(-1)
            patch = positions[:, 0] >= 0
            near = (steps <= LOCAL_PATCHES) & patch[start:stop, None] & patch
            return {"self": (steps == 0) & near, "first": first, "local": near}
        found = {"first": first, "delimiter": self.keys.delimiter[:, None]}
        word = ~self.queries.special[:, start:stop, None] & ~self.keys.special[:, None]
        same = (self.queries.ids[:, start:stop, None] == self.keys.ids[:, None]) & word
        after = torch.nn.functional.pad(same, (1, 0))[..., :-1]  # the key follows a key that is the query's token
        if self.crosses:
            return found | {"same_token": same, "induction": after}
        position = torch.arange(self.keys.real.shape[1], device=self.keys.real.device)
        offset = (position[start:stop, None] - position)[None]  # how far the key lies before the query
        found |= {"previous": offset == 1, "next": offset == -1, "self": offset == 0, "local": offset.abs() <= LOCAL_TOKENS}
        found |= {"same_token": same & (offset != 0), "induction": after & (offset > 0)}
        pair = (self.queries.segment > 0).any(1)[:, None, None]
        return found | {"segment": (self.queries.segment[:, start:stop, None] == self.keys.segment[:, None]) & pair}


def _punctuation(tokenizer: PreTrainedTokenizerBase | None, ids: Tensor) -> Tensor:
    """True for tokens that are punctuation or line breaks, of the shape of `ids`."""
    if tokenizer is None:
        return torch.zeros_like(ids, dtype=torch.bool)
    known = [token for token in ids.unique().tolist() if token < len(tokenizer)]
    marks = [token for token in known if _is_punctuation(tokenizer.decode([token]))]
    return torch.isin(ids, torch.tensor(marks, dtype=ids.dtype, device=ids.device))


def _is_punctuation(text: str) -> bool:
    bare = text.strip()
    return all(unicodedata.category(sign).startswith("P") for sign in bare) if bare else "\n" in text


def _image(model: PrunableModel, batch: Batch) -> Stream:
    pixels, config = batch.inputs["pixel_values"], model.model.config
    patch = config.patch_size if isinstance(config.patch_size, (tuple, list)) else (config.patch_size,) * 2
    height, width = pixels.shape[-2] // patch[0], pixels.shape[-1] // patch[1]
    size = height * width + _positions_before_patches(model)
    real = torch.ones(len(batch), size, dtype=torch.bool, device=pixels.device)
    special = (torch.arange(size, device=pixels.device) < size - height * width).expand_as(real)
    nothing = torch.zeros_like(real)
    return Stream(None, real, special, nothing, nothing.long(), (height, width))


def _positions_before_patches(model: PrunableModel) -> int:
    """Number of class and distillation tokens of an image model."""
    names = ("cls_token", "distillation_token")
    return sum(name.rpartition(".")[2] in names for name, _ in model.model.named_parameters())
