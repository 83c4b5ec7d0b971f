"""Text of a file's bytes: byte order marks and UTF-8 are certain, every other encoding is a guess that is stated.

Bytes that are not UTF-8 in a file that otherwise is become lone surrogates, so that readers can leave out their rows.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

from charset_normalizer import from_bytes

from headprune_core.errors import HeadPruneError

# The names in order of preference; all are told apart by charset-normalizer on a few lines of text.
OLDER_ENCODINGS = ("gb18030", "cp932", "cp1251", "cp1252", "cp949", "big5")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is its beginning
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BAD = re.compile("[\udc80-\udcff]")
_WIDE = re.compile(r"[^\x00-\x7f]")
_END = re.compile(r"\r\n|\n|\r")
_TIE = 0.05  # difference of charset-normalizer's measure of mess up to which two encodings are equally likely
_JAPANESE = 0.2  # share of hiragana among the letters beyond ASCII from which a text is Japanese
_SURE = 4  # valid multibyte characters per invalid byte from which a file is UTF-8


@dataclass(frozen=True)
class DecodedText:
    """Text of a file.

    Attributes:
        text: the text, without a byte order mark; bytes that are not UTF-8 are lone surrogates.
        encoding: name of the encoding, as Python knows it.
        certain: False if the encoding is a guess.
    """

    text: str
    encoding: str
    certain: bool


def decode(data: bytes, encoding: str | None = None) -> DecodedText:
    """Decode the content of a text file.

    Args:
        data: the content.
        encoding: name of the encoding; None to detect it.

    Returns:
        The text and its encoding.

    Raises:
        HeadPruneError: if the encoding is unknown, does not fit, or cannot be detected; the first invalid byte is named.
    """
    if encoding is not None:
        return DecodedText(_strictly(data, encoding), encoding, certain=True)
    marked = next((name for mark, name in _MARKS if data.startswith(mark)), None) or _unmarked_wide(data)
    if marked is not None:
        return DecodedText(_strictly(data, marked), marked, certain=True)
    if b"\0" in data:
        raise _binary()
    text = data.decode("utf-8", "surrogateescape")
    bad = len(_BAD.findall(text)) if has_bad_bytes(text) else 0
    if not bad or len(_WIDE.findall(text)) - bad >= _SURE * bad:
        return DecodedText(text, "utf-8", certain=True)
    found = list(from_bytes(data, cp_isolation=list(OLDER_ENCODINGS)))
    if not found:
        start = len(_BAD.split(text, maxsplit=1)[0].encode())
        raise HeadPruneError(
            f"its encoding cannot be detected, and byte {start} (0x{data[start]:02x}) is not UTF-8; save the file as UTF-8 "
            "or name its encoding"
        )
    likely = [one for one in found if one.chaos < found[0].chaos + _TIE]
    japanese = [one for one in likely if one.encoding == "cp932" and _kana_share(str(one)) > _JAPANESE]
    if len(likely) > 1 and not japanese:
        choices = " or ".join(one.encoding for one in likely)
        raise HeadPruneError(f"its encoding is ambiguous: {choices}; save the file as UTF-8 or name its encoding")
    encoding = (japanese or likely)[0].encoding
    return DecodedText(data.decode(encoding), encoding, certain=False)


def numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    r"""Yield the lines of a text with their numbers, from 1; lines end in \n, \r\n or \r.

    Args:
        text: the text.
    """
    start = number = 0
    for number, end in enumerate(_END.finditer(text), 1):
        yield number, text[start : end.start()]
        start = end.end()
    yield number + 1, text[start:]


def has_bad_bytes(text: str) -> bool:
    """Return whether decoded text has bytes that are not UTF-8.

    Args:
        text: text or part of a text from `decode`.
    """
    return _BAD.search(text) is not None


def _kana_share(text: str) -> float:
    beyond = [character for character in text if ord(character) > 127]
    return sum("\u3040" <= character <= "\u309f" for character in beyond) / max(1, len(beyond))


def _strictly(data: bytes, encoding: str) -> str:
    try:
        text = data.decode(encoding)
    except LookupError:
        raise HeadPruneError(f"encoding {encoding!r} is unknown; use a name such as utf-8, cp1252 or gb18030") from None
    except UnicodeError as error:
        start = getattr(error, "start", 0)
        raise HeadPruneError(
            f"it is not {encoding}: byte {start} (0x{data[start]:02x}) is invalid; choose another encoding"
        ) from error
    if "\0" in text:
        raise _binary()
    return text.removeprefix("\ufeff")


def _binary() -> HeadPruneError:
    return HeadPruneError("it looks like binary data, not plain text; choose a text file")


def _unmarked_wide(data: bytes) -> str | None:
    """UTF-16 or UTF-32 without a mark, by the zero bytes of its ASCII characters."""
    sample = data[:4096]
    if len(sample) >= 8 and len(data) % 4 == 0 and sample.count(0) >= len(sample) * 0.6:
        return "utf-32-be" if sample[0] == 0 else "utf-32-le"
    if len(data) % 2 or b"\0" not in sample:
        return None
    high, low = sample[::2].count(0), sample[1::2].count(0)
    if max(high, low) < len(sample) * 0.2 or min(high, low) > 0:
        return None
    return "utf-16-be" if high > low else "utf-16-le"
