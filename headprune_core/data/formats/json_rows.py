"""Rows of JSON documents and of JSON lines, bounded before a table is built, because each new name adds a column to all."""

import json
from itertools import islice

import pandas as pd

from ..limits import Limits, Progress, no_progress
from .text_decoding import numbered_lines

_VALUES = ("[", "{", ",")  # a document has at most as many values as it has of these characters, and one more


def read_json(text: str, limits: Limits) -> pd.DataFrame:
    """Read a JSON document: a list of objects or values, or an object with the values of each column.

    Args:
        text: the document.
        limits: the largest table that is read.

    Returns:
        The rows.

    Raises:
        HeadPruneError: if the table is too large.
        ValueError: if the text is no such document.
    """
    limits.check("cells", sum(map(text.count, _VALUES)))
    try:
        document = json.loads(text)
    except RecursionError:
        raise ValueError("its lists or objects are nested too deeply") from None
    if not isinstance(document, list | dict):
        raise ValueError("expected a list of objects")
    parts = document.values() if isinstance(document, dict) else document
    names: set = set()
    for part in parts:
        names.update(part if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ())
        limits.check("columns" if isinstance(document, list) else "rows", len(names), at_least=True)
    if isinstance(document, list):
        limits.check_table(len(document), len(names))
    else:
        limits.check_table(len(names), len(document))
    return pd.DataFrame(document)


def read_json_lines(
    text: str, limits: Limits, progress: Progress = no_progress
) -> tuple[pd.DataFrame, list[int], list[tuple[int, str]]]:
    """Read a text with one JSON object per line.

    Args:
        text: the text.
        limits: the largest table that is read.
        progress: called with (characters read, all characters, note).

    Returns:
        The objects, their line numbers, and (line number, what is wrong) of each line that contains none.

    Raises:
        HeadPruneError: if the table is too large.
    """
    records, rows, bad, names, done = [], [], [], set(), 0
    for number, line in numbered_lines(text):
        if not number & 1023:
            progress(done, len(text), "Reading rows")
        done += len(line) + 1
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            bad.append((number, f"invalid JSON at character {error.pos + 1}"))
            continue
        except (ValueError, RecursionError):  # a number of too many digits, or lists in lists
            bad.append((number, "a number that is too long, or lists that are nested too deeply"))
            continue
        if not isinstance(record, dict):
            bad.append((number, "no JSON object"))
            continue
        names.update(islice(record, limits.columns + 1))
        records.append(record)
        rows.append(number)
        limits.check_table(len(records), len(names))
    return pd.DataFrame(records), rows, bad
