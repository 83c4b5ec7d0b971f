"""The tokens at given positions, such as attention sinks, and their names."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from headprune_core.model.prunable_model import PrunableModel

from .token_patterns import Stream


def tokens_at(positions: Tensor, keys: Sequence[Stream]) -> Tensor:
    """Return the tokens at some positions.

    Args:
        positions: int (N, R, H).
        keys: Stream of the keys of each row.

    Returns:
        int (N, R, H); -1 for images.
    """
    if keys[0].ids is None:
        return torch.full_like(positions, -1)
    return torch.stack([stream.ids.gather(1, positions[:, row]) for row, stream in enumerate(keys)], dim=1)


def token_names(model: PrunableModel, tokens: np.ndarray) -> np.ndarray:
    """Return tokens as the tokenizer writes them.

    Args:
        model: The model, whose tokenizer is used.
        tokens: int of any shape.

    Returns:
        Names of the same shape: "token 7" without a tokenizer that knows it, and "" for -1.
    """
    names = {-1: ""}
    for token in set(tokens.ravel().tolist()) - {-1}:
        known = model.tokenizer is not None and token < len(model.tokenizer)
        names[token] = model.tokenizer.convert_ids_to_tokens(token) if known else f"token {token}"
    return np.vectorize(names.get, otypes=[object])(tokens)
