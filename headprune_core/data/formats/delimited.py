"""Rows of delimited text: the delimiter, the use of quotes and the header are detected, and what is ambiguous is an error.

Every candidate is tried on the whole text with Python's csv module. A candidate fits if all rows have equally many values.
Rows are counted first, and kept only of the candidates that fit.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from headprune_core.errors import HeadPruneError

from ..limits import Limits, Progress, local_limits, no_progress

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
MAX_BAD = 0.1  # share of malformed rows from which a text is misread rather than damaged
_LONG_NAME = 40  # characters; a longer value in the first row is text, not the name of a column
_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?")


@dataclass(frozen=True)
class Dialect:
    """How the values of a row are separated.

    Attributes:
        delimiter: the character between values; an empty string if each row is one value.
        quoted: whether values in double quotes may contain delimiters and line breaks; otherwise quotes are ordinary text.
        header: whether the first row has the names of the columns.
    """

    delimiter: str
    quoted: bool
    header: bool

    def describe(self) -> str:
        """Describe the dialect in words, as in "comma between values, quotes enclose values, names in the first row"."""
        between = f"{_name(self.delimiter)} between values" if self.delimiter else "one column"
        quotes = "quotes enclose values" if self.quoted else "quotes are ordinary text"
        return f"{between}, {quotes}, {'names in the first row' if self.header else 'no header'}"


@dataclass(frozen=True)
class Rows:
    """Rows of delimited text.

    Attributes:
        dialect: how they were read.
        names: names of the columns; "column 1", "column 2", … without a header.
        values: values of each row, as many as there are names.
        lines: line number of each row in the text, from 1.
        bad: (line number, what is wrong) of each malformed row, which is not among the others.
        guesses: (setting, sentence) of what is likely but not certain; settings are delimiter, quoted and header.
    """

    dialect: Dialect
    names: list[str]
    values: list[list[str]]
    lines: list[int]
    bad: list[tuple[int, str]]
    guesses: list[tuple[str, str]]


@dataclass(frozen=True)
class _Parse:
    """The text read with one delimiter, with or without quotes.

    by: the character by which values are separated, for a text of one column that has no delimiter. count: number of rows.
    width: the usual number of values in a row. cells: number of values. bad: number of rows of another width.
    """

    text: str
    delimiter: str
    quoted: bool
    by: str
    count: int
    width: int
    cells: int
    bad: int

    @cached_property
    def _rows(self) -> list[tuple[int, list[str]]]:
        return list(_rows(self.text, self.by, self.quoted))

    @cached_property
    def values(self) -> list[list[str]]:
        return [row for _, row in self._rows]

    @cached_property
    def lines(self) -> list[int]:
        return [line for line, _ in self._rows]


def read_delimited(
    text: str,
    *,
    usual: str,
    known_names: frozenset[str] = frozenset(),
    delimiter: str | None = None,
    quoted: bool | None = None,
    header: bool | None = None,
    limits: Limits | None = None,
    progress: Progress = no_progress,
) -> Rows:
    r"""Read delimited text.

    Args:
        text: the text; lines end in \n, \r\n or \r.
        usual: the delimiter that the file extension promises, preferred if it fits.
        known_names: names that only a header has, in lower case.
        delimiter: the delimiter; None to detect it. An empty string makes each line one value.
        quoted: whether double quotes enclose values; None to detect it.
        header: whether the first row has the names of the columns; None to detect it.
        limits: the largest table that is read; None for what the free memory holds.
        progress: called with (dialects tried, all dialects, note).

    Returns:
        The rows and the dialect.

    Raises:
        HeadPruneError: if no dialect fits or if several do, with the choices, or if the table is too large.
    """
    declared = re.match(r"sep=(.)\r?\n?", text)
    skipped = 0
    if declared:  # as spreadsheet programs write it
        text, skipped = text[declared.end() :], 1
        delimiter = declared[1] if delimiter is None else delimiter
    limits = limits or local_limits()
    parses = _parses(text, delimiter, quoted, limits, progress)
    parse, guesses = _best(parses, usual if delimiter is None else delimiter, limits)
    first = [value.strip() for value in parse.values[0]]
    if header is None:
        header, sure = _has_header(parse, first, known_names)
        if not sure:
            said = "The first row is taken as column names" if header else "The first row is taken as data, not as names"
            guesses.append(("header", f"{said}: {', '.join(first)[:100]}."))
    names = unique_names(first) if header else [f"column {number + 1}" for number in range(parse.width)]
    start = 1 if header else 0
    good, bad = [], []
    for line, row in list(zip(parse.lines, parse.values, strict=True))[start:]:
        if len(row) == len(names):
            good.append((line + skipped, row))
        else:
            plural = "value" if len(row) == 1 else "values"
            bad.append((line + skipped, f"{len(row)} {plural}, expected {len(names)}"))
    if len(bad) > max(1, MAX_BAD * len(parse.values)):
        raise HeadPruneError(
            f"{len(bad)} of {len(parse.values)} rows do not have {len(names)} values (the first is line {bad[0][0]}: "
            f"{bad[0][1]}); enclose text that contains the delimiter in quotes, or name the delimiter"
        )
    lines, values = [line for line, _ in good], [row for _, row in good]
    return Rows(Dialect(parse.delimiter, parse.quoted, header), names, values, lines, bad, guesses)


def _parses(text: str, delimiter: str | None, quoted: bool | None, limits: Limits, progress: Progress) -> list[_Parse]:
    """The text read in every dialect that is possible."""
    delimiters, quotes = DELIMITERS if delimiter is None else (delimiter,), (True, False) if quoted is None else (quoted,)
    dialects = [(one, enclosing) for one in delimiters for enclosing in quotes]
    found = []
    for number, (one, enclosing) in enumerate(dialects):

        def report(number=number) -> None:
            progress(number, len(dialects), "Detecting the delimiter")

        parse = _counted(text, one, enclosing, limits, report)
        if parse is not None and parse.count > limits.rows and '"' not in text:  # the same rows in every dialect
            limits.check("rows", parse.count, at_least=True)
        if parse is not None:
            found.append(parse)
    return found


def _counted(text: str, delimiter: str, quoted: bool, limits: Limits, report) -> _Parse | None:
    """The numbers of rows and values in one dialect; None if quotes do not pair up.

    Counting stops where the table becomes too large.
    """
    by = delimiter or "\x1f"  # without a delimiter each line is one value; a character that no text contains stands for it
    first = re.search(r"[\r\n]", text)
    width = text.count(by, 0, first.start() if first else len(text)) + 1
    if width > limits.columns and not (quoted and text.find('"', 0, first.start() if first else len(text)) >= 0):
        return _Parse(text, delimiter, quoted, by, 1, width, width, 0)
    widths: Counter[int] = Counter()
    count = cells = 0
    try:
        for _, row in _rows(text, by, quoted):
            if not count & 4095:
                report()
            count += 1
            cells += len(row)
            widths[len(row)] += 1
            if count > limits.rows or cells > limits.cells or (count == 1 and len(row) > limits.columns):
                break
    except csv.Error:
        return None
    width, usual = widths.most_common(1)[0] if count else (0, 0)
    return _Parse(text, delimiter, quoted, by, count, width, cells, count - usual)


def _rows(text: str, by: str, quoted: bool) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, each with its line number."""
    options = {"delimiter": by, "strict": True}
    if quoted:
        options |= {"quotechar": '"', "doublequote": True}
    else:
        options |= {"quoting": csv.QUOTE_NONE, "quotechar": None}
    reader, last = csv.reader(io.StringIO(text, newline=""), **options), 0
    for row in reader:
        if len(row) > 1 or any(value.strip() for value in row):
            yield last + 1, row
        last = reader.line_num


def _best(parses: list[_Parse], usual: str, limits: Limits) -> tuple[_Parse, list[tuple[str, str]]]:
    """The parse that fits, and what about it is a guess."""
    if not parses:
        raise HeadPruneError(
            "its double quotes do not pair up, or a value is longer than 131,072 characters; read quotes as ordinary text "
            "(quoted=False), or shorten the value"
        )
    if not any(parse.count for parse in parses):
        raise HeadPruneError("it has no rows; at least 1 is needed")
    parses = [parse for parse in parses if parse.count]
    wide = [parse for parse in parses if parse.width > 1]
    fewest = min(parse.bad / parse.count for parse in wide or parses)
    fitting = [parse for parse in wide or parses if parse.bad / parse.count == fewest <= MAX_BAD]
    if not fitting:
        tried = {parse.delimiter: f"{parse.bad} of {parse.count} rows differ by {_name(parse.delimiter)}" for parse in wide}
        raise HeadPruneError(
            f"no delimiter gives all rows equally many values ({'; '.join(tried.values())}); enclose text that contains the "
            "delimiter in quotes, or name the delimiter"
        )
    delimiters = list(dict.fromkeys(parse.delimiter for parse in fitting))
    if len(delimiters) == 1 or not wide:
        for parse in fitting:
            limits.check("columns", parse.width)
            limits.check("rows", parse.count, at_least=True)
            limits.check("cells", parse.cells, at_least=True)
    if not wide:
        return _one_column(fitting, usual)
    if len(delimiters) > 1:
        raise HeadPruneError(
            f"its delimiter is ambiguous: {' and '.join(map(_name, delimiters))} give all rows equally many values; name "
            "the delimiter"
        )
    guesses = [] if delimiters[0] == usual else [("delimiter", f"The delimiter is the {_name(delimiters[0])}.")]
    parse, more = _by_quotes(fitting)
    return parse, guesses + more


def _one_column(fitting: list[_Parse], usual: str) -> tuple[_Parse, list[tuple[str, str]]]:
    """The parse of a text whose rows are one value each."""
    by_usual = [parse for parse in fitting if parse.delimiter == usual]
    if by_usual:
        parse, guesses = _by_quotes(by_usual)
        return replace(parse, delimiter=""), guesses
    parse, guesses = _by_quotes([parse for parse in fitting if parse.delimiter == fitting[0].delimiter])
    if usual in parse.values[0][0]:
        raise HeadPruneError(
            f"most rows have one value, but the first has several, separated by a {_name(usual)}; give all as many"
        )
    said = f"Each row is one value, although some contain a {_name(usual)}."
    return replace(parse, delimiter=""), [("delimiter", said), *guesses]


def _by_quotes(fitting: list[_Parse]) -> tuple[_Parse, list[tuple[str, str]]]:
    """Choose between quotes that enclose values and quotes that are ordinary text; the delimiter is the same."""
    enclosed = next((parse for parse in fitting if parse.quoted), None)
    literal = next((parse for parse in fitting if not parse.quoted), None)
    if enclosed is None or literal is None or enclosed.values == literal.values:
        return enclosed or literal, []
    if len(enclosed.values) != len(literal.values):
        raise HeadPruneError(
            f"its double quotes are ambiguous: they enclose values of {len(enclosed.values)} rows, or are ordinary text in "
            f"{len(literal.values)} rows; say which (quoted=True or quoted=False)"
        )
    needed, columns = True, zip(zip(*enclosed.values, strict=False), zip(*literal.values, strict=False), strict=False)
    for inside, written in columns:
        changed = [one != other for one, other in zip(inside, written, strict=True)]
        all_of_them = all(flag or _NUMBER.fullmatch(text) or not text for flag, text in zip(changed, written, strict=True))
        needed &= all_of_them or all('"' in text for flag, text in zip(changed, inside, strict=True) if flag)
    if needed:  # as programs write them: around all texts, or around those that contain quotes
        return enclosed, []
    count = sum(one != other for one, other in zip(enclosed.values, literal.values, strict=True))
    if enclosed.delimiter == "\t":
        return literal, [("quoted", f"Double quotes are ordinary text ({count} rows have values between quotes).")]
    return enclosed, [("quoted", f"The double quotes around values were removed ({count} rows).")]


def _name(delimiter: str) -> str:
    return DELIMITERS.get(delimiter, repr(delimiter))


def _has_header(parse: _Parse, first: list[str], known_names: frozenset[str]) -> tuple[bool, bool]:
    """Whether the first row has names, and whether that is certain."""
    if any(value.casefold() in known_names for value in first):
        return True, True
    if any(not value or _NUMBER.fullmatch(value) or len(value) > _LONG_NAME for value in first) or len(set(first)) < len(
        first
    ):
        return False, True
    below = [row for row in parse.values[1:] if len(row) == len(first)]
    columns = list(zip(*below, strict=True)) if below else []
    if any(first[i] in (value.strip() for value in column) for i, column in enumerate(columns)):
        return False, True
    numeric = any(all(_NUMBER.fullmatch(value.strip()) for value in column) for column in columns)
    return True, numeric


def unique_names(names: list[str]) -> list[str]:
    """Names of columns; a repeated name gets a number, so that no column is lost."""
    seen, unique = Counter(), []
    for number, name in enumerate(names):
        name = name or f"column {number + 1}"
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return unique
