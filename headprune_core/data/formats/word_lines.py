"""Files with one word and its tag per line and empty lines between sentences, as CoNLL shared tasks publish them.

The word is in the first column and the tag in the last one. Whether a text file is one is decided by its content.
"""

import re
from collections import Counter
from dataclasses import dataclass

from headprune_core.errors import HeadPruneError

from ..limits import Limits, Progress, local_limits, no_progress
from .text_decoding import numbered_lines

SUFFIXES = (".conll", ".bio", ".iob")
MAX_BAD = 0.1  # share of malformed lines from which a text is no such file
_DOCUMENT = "-DOCSTART-"
_ENTITY_TAG = re.compile(r"O|[BIESLUM]-\S+")
_GUESS = ("lines", "Each line is a word with its tag, and empty lines separate sentences.")


@dataclass(frozen=True)
class WordLines:
    """How a line is separated into a word and its tag.

    Attributes:
        columns: number of columns; the word is in the first one, the tag in the last one.
        tabs: whether tabs separate them, else spaces.
        dropped: number of lines of document marks (-DOCSTART-) and comments, which are not read.
        lines: what a line contains, as the argument `lines` of `plan_examples`.
    """

    columns: int
    tabs: bool
    dropped: int = 0
    lines: str = "words"

    def describe(self) -> str:
        """Describe the lines in words."""
        columns = f"in column 1 and its tag in column {self.columns} of {self.columns}"
        dropped = f", {self.dropped:,} lines of comments or document marks dropped" if self.dropped else ""
        return f"one word per line, the word {columns}, separated by {'tabs' if self.tabs else 'spaces'}{dropped}"


@dataclass(frozen=True)
class Sentences:
    """The sentences of a file.

    Attributes:
        layout: how they were read.
        words: the words of each sentence.
        tags: their tags.
        rows: number of the first line of each sentence, from 1.
        bad: (line number, what is wrong) of the malformed line of each sentence that is left out.
        guesses: (setting, sentence) of what is likely but not certain.
    """

    layout: WordLines
    words: list[list[str]]
    tags: list[list[str]]
    rows: list[int]
    bad: list[tuple[int, str]]
    guesses: list[tuple[str, str]]


def read_word_lines(
    text: str,
    *,
    known_names: frozenset[str] = frozenset(),
    certain: bool = False,
    limits: Limits | None = None,
    progress: Progress = no_progress,
) -> Sentences | None:
    r"""Read a text with one word and its tag per line.

    Args:
        text: the text; lines end in \n, \r\n or \r. Lines of a document mark (-DOCSTART-) and comments are dropped.
        known_names: names that only the header of a table has, in lower case.
        certain: whether the text is known to be of this form.
        limits: the largest table that is read; None for what the free memory holds.
        progress: called with (characters read, all characters, note).

    Returns:
        The sentences; None if the text is of another form, or if nothing but its form suggests that it is.

    Raises:
        HeadPruneError: if the text is known to be of this form and is not, if its first column contains word numbers, or if
            it is too large.
    """
    limits, filled, tabbed, done, cells, split = limits or local_limits(), 0, 0, 0, 0, []
    for _, line in numbered_lines(text):
        if line.strip() and not line.startswith("#"):
            filled, tabbed = filled + 1, tabbed + ("\t" in line)
            if 2 * filled > limits.cells:  # a word and its tag in each line
                if not certain:
                    return None
                limits.check("cells", 2 * filled, at_least=True)
    tabs = 2 * tabbed > filled
    for number, line in numbered_lines(text):
        if not number & 1023:
            progress(done, len(text), "Reading lines")
        done += len(line) + 1
        row = _columns(line, tabs)
        cells += len(row)
        if cells > limits.cells and not certain:
            return None
        limits.check("cells", cells, at_least=True)
        split.append((number, row))
    width = Counter(len(row) for _, row in split if row and row[0] != _DOCUMENT).most_common(1)
    width = width[0][0] if width else 0
    groups = _groups(split, width)
    rows = [row for group in groups for _, row in group]
    bad = sum(len(row) != width for row in rows)
    if not rows or width < 2 or bad > MAX_BAD * len(rows):
        if not certain:
            return None
        raise HeadPruneError(
            "each line must have a word and its tag, separated by a tab or spaces, with an empty line between sentences"
        )
    good = [kept for group in groups if (kept := [row for _, row in group if len(row) == width])]
    likely = certain or _likely(good, known_names)
    if not likely:
        return None
    if _are_numbered(good):
        raise HeadPruneError(
            "its first column contains word numbers, as in CoNLL-U; write the word in the first column, the tag in the last"
        )
    dropped = sum(bool(row) for _, row in split) - len(rows)
    found = Sentences(WordLines(width, tabs, dropped), [], [], [], [], [] if certain or likely == "certain" else [_GUESS])
    for group in groups:
        wrong = next(((number, len(row)) for number, row in group if len(row) != width), None)
        if wrong is not None:
            found.bad.append((wrong[0], f"{wrong[1]} {'value' if wrong[1] == 1 else 'values'} in a line, expected {width}"))
            continue
        found.words.append([row[0] for _, row in group])
        found.tags.append([row[-1] for _, row in group])
        found.rows.append(group[0][0])
    return found


def _columns(line: str, tabs: bool) -> list[str]:
    if not line.strip():
        return []
    return [cell.strip(" ") for cell in line.rstrip(" \t").split("\t")] if tabs else re.split(r"[ \t]+", line.strip(" \t"))


def _groups(split: list[tuple[int, list[str]]], width: int) -> list[list[tuple[int, list[str]]]]:
    """The lines of each sentence, without comments and document marks; a line with an empty word or tag has no columns."""
    groups: list[list[tuple[int, list[str]]]] = [[]]
    for number, row in split:
        if not row:
            groups.append([])
        elif row[0] != _DOCUMENT and not (row[0].startswith("#") and len(row) != width):
            groups[-1].append((number, row if row[0] and row[-1] else []))
    return [group for group in groups if group]


def _likely(sentences: list[list[list[str]]], known_names: frozenset[str]) -> str | None:
    """Return "certain" if all tags are those of entities; "guess" if sentences of few tags are separated by empty lines."""
    rows = [row for sentence in sentences for row in sentence]
    tags = {row[-1] for row in rows}
    if any(re.search(r"\s", row[0]) for row in rows):
        return None
    if all(map(_ENTITY_TAG.fullmatch, tags)) and tags != {"O"}:
        return "certain"
    several = len(sentences) > 1 and len(rows) >= 2 * len(sentences) and rows[0][-1].casefold() not in known_names
    return "guess" if several and len(tags) <= len(rows) / 2 else None


def _are_numbered(sentences: list[list[list[str]]]) -> bool:
    firsts = [[row[0] for row in sentence if re.fullmatch(r"\d+", row[0])] for sentence in sentences]
    counted = all(numbers in (list(map(str, range(start, start + len(numbers)))) for start in (0, 1)) for numbers in firsts)
    return counted and all(firsts) and max(map(len, firsts)) > 1
