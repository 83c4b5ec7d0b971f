"""Tokens of one text: as the tokenizer has them, and as text that can be read."""

from dataclasses import dataclass

from tokenizers import decoders
from transformers import PreTrainedTokenizerBase

from .token_patterns import Stream

UNDECODED = "\ufffd"  # what a decoder returns for bytes that are only a part of a character
LONGEST_CHARACTER = 4  # bytes of one character in UTF-8
SPACE_MARK = "\u2581"  # SentencePiece's mark for a space before a token


@dataclass(frozen=True)
class TextTokens:
    """T tokens of a text.

    Attributes:
        ids: (T,) numbers of the tokens.
        tokens: (T,) tokens as the tokenizer has them, such as "Ġlate" or "##ful"; "#7" without a tokenizer.
        surface: (T,) the same as readable text, such as " late" or "ful". If a character consists of several tokens, each
            has the character and its part, such as "😀 (1/2)".
        special: (T,) whether the token is a special token.
        segment: (T,) number of the text of a pair; all 0 for one text.
    """

    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    surface: tuple[str, ...]
    special: tuple[bool, ...]
    segment: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase | None, stream: Stream) -> "TextTokens":
        """Describe the tokens of the only example of a stream.

        Args:
            tokenizer: The tokenizer, or None.
            stream: The stream, of one example.
        """
        ids, special = stream.ids[0].tolist(), stream.special[0].tolist()
        if tokenizer is None:
            tokens = surface = [f"#{token}" for token in ids]
        else:
            found = tokenizer.convert_ids_to_tokens(ids)
            tokens = [f"#{i}" if token is None else str(token) for i, token in zip(ids, found, strict=True)]
            surface = surface_texts(tokenizer, ids, tokens, special)
        return cls(*map(tuple, (ids, tokens, surface, special, stream.segment[0].tolist())))


def surface_texts(tokenizer: PreTrainedTokenizerBase, ids: list[int], tokens: list[str], special: list[bool]) -> list[str]:
    """Return the readable text of each token.

    Args:
        tokenizer: The tokenizer.
        ids: Numbers of the tokens.
        tokens: The tokens as the tokenizer has them.
        special: Whether each token is a special token.
    """
    decoder = getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None)
    prefix = "##" if isinstance(decoder, decoders.WordPiece) else None
    texts: list[str] = []
    while len(texts) < len(ids):
        at = len(texts)
        if special[at]:
            texts.append(tokens[at])
            continue
        if prefix and tokens[at].startswith(prefix) and tokens[at] != prefix:
            texts.append(tokens[at][len(prefix) :])
            continue
        text = _decoded(tokenizer, ids[at : at + 1])
        if UNDECODED not in text:
            space = " " if tokens[at].startswith(SPACE_MARK) and not text.startswith(" ") else ""
            texts.append(space + text or tokens[at])
            continue
        texts += _parts_of_characters(tokenizer, ids[at : at + LONGEST_CHARACTER]) or [tokens[at]]
    return texts


def _parts_of_characters(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> list[str]:
    """Texts of the first tokens that together are complete characters; none if these bytes are no characters."""
    for count in range(2, len(ids) + 1):
        text = _decoded(tokenizer, ids[:count])
        if UNDECODED not in text:
            return [f"{text} ({part}/{count})" for part in range(1, count + 1)]
    return []


def _decoded(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    return tokenizer.decode(ids, clean_up_tokenization_spaces=False)
