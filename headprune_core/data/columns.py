"""Text and label columns of tables: those with usual names are certain, others are guesses, and several are an error."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from headprune_core.errors import HeadPruneError

from .formats.list_cells import column_lists
from .labels import binary_labels
from .model_labels import ModelLabels
from .tasks import TAGS, WORDS

MAX_CLASSES = 20  # distinct values from which a column of any other name is no label column
_FREE_TEXT = 12  # mean characters of a value from which a column is free text
_SAMPLE = 1_000  # rows that may decide what a column is not, before all are read
_PAIRS = (
    ("text", "text_pair"),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("question", "passage"),
    ("question", "document"),
    ("query", "document"),
    ("query", "passage"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("sentence_a", "sentence_b"),
    ("sentence_1", "sentence_2"),
    ("claim", "evidence"),
)
_TEXT = ("text", "sentence", "content", "review", "tweet", "comment", "document", "body", "message", "utterance", "title")
_TEXT += tuple(name for pair in _PAIRS for name in pair if name not in ("text", "sentence", "document"))
_LABEL = ("label", "labels", "gold_label", "target", "class", "category", "sentiment", "airline_sentiment")
_LIKELY_LABEL = (
    "stars",
    "rating",
    "emotion",
    "intent",
    "polarity",
    "topic",
    "stance",
    "toxicity",
    "is_duplicate",
    "annotation",
)
_LIKELY_LABEL += ("coarse_label", "fine_label", "label_text", "label_name", "score", "similarity", "similarity_score")
_LISTS = ("emotions", "topics", "categories", "tags", "genres", "classes")  # likely label columns if they contain lists
_TAGS = (*TAGS, "ner", "tag", "chunk_tags", "upos", "pos")
HEADER_NAMES = frozenset(_TEXT + _LABEL + _LIKELY_LABEL + ("id", "idx", "index", "guid", "tokens", "ner_tags", "pos_tags"))


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a table that contain the examples.

    Attributes:
        text: column of the text, or of lists of words.
        pair: column of the second text of a pair, or None.
        label: column of the label, of lists of labels, or of the tags of the words; several columns if there is one of zeros
            and ones for each label; or None.
        words: whether the text is given as lists of words.
    """

    text: str
    pair: str | None = None
    label: str | tuple[str, ...] | None = None
    words: bool = False


def guess_columns(
    table: pd.DataFrame,
    text: str | None = None,
    pair: str | bool | None = None,
    label: str | bool | Sequence[str] | None = None,
    model: ModelLabels | None = None,
) -> tuple[Columns, list[tuple[str, str]]]:
    """Find the text, text pair and label columns of a table.

    Args:
        table: the table.
        text: name of the text column; None to find it.
        pair: name of the column with the second text of a pair; None to find it if the text column has to be found, False
            for single texts.
        label: name of the label column, or names of columns of zeros and ones; None to find it, False for examples without
            labels.
        model: the labels of the model, or None if they are not known.

    Returns:
        The names of the columns, and (setting, sentence) for each that is a guess or is left unused.

    Raises:
        HeadPruneError: if a named column does not exist, or if a column is ambiguous or contains no text.
    """
    available = list(table.columns)
    label = tuple(label) if isinstance(label, list | tuple) else label
    for name in (text, pair or None, *(label if isinstance(label, tuple) else [label or None])):
        if name is not None and name not in available:
            raise HeadPruneError(f"column {name!r} not found; the table has the columns {', '.join(available)}")
    repeated = [name for name in available if re.fullmatch(r".+ \(\d+\)", name) and name.rsplit(" (", 1)[0] in available]
    guesses: list[tuple[str, str]] = []
    lists = {name: rows for name in available if (rows := column_lists(table[name])) is not None}
    words = [name for name, rows in lists.items() if _are_words(table[name], rows)]
    strings = [name for name in available if _is_text(table[name]) and (name not in lists or _plain(name) in _TEXT)]
    tagger = None if model is None else model.task == "token_classification"
    if text is None:
        text = _find_words(words, lists, strings, tagger)
        found_pair = None
        if text is None:
            text, found_pair = _find_texts(table, strings, label or None, guesses)
        pair = found_pair if pair is None else pair
    in_words = text in words
    if text not in strings and not in_words and not _is_text(table[text]):
        raise HeadPruneError(f"column {text!r} must contain text, got {table[text].dtype} values")
    if label is None and in_words and tagger is not False:
        label = _find_tags(lists, text, guesses)
    if label is None and tagger:
        guesses.append(("label_column", "No column has a tag for each word: examples are read without labels."))
    elif label is None:
        label = _find_label_columns(table, {text, pair}, model) or _find_label(table, {text, pair}, lists, guesses)
    if isinstance(label, str) and _is_label_of(label, table, model):
        label = (label,)
    named = label if isinstance(label, tuple) else (label or None,)
    used = {text, pair or None, *named}
    for name in repeated:
        if (first := name.rsplit(" (", 1)[0]) in used and name not in used:
            raise HeadPruneError(f"two columns are named {first!r}; rename one, or name the columns to use")
    if pair is None and not in_words:
        unused = [name for name in strings if name not in used and _mean_length(table[name]) >= _FREE_TEXT]
        if unused:
            guesses.append(("text_pair_column", f"Not used: the text of {_and(unused)}. Name it to read pairs of texts."))
    return Columns(text, pair or None, label or None, in_words), guesses


def _are_words(column: pd.Series, lists: list[list | None]) -> bool:
    """Whether lists contain words: text literals of lists do so only in a column of a usual name."""
    if _is_text(column) and _plain(column.name) not in WORDS:
        return False
    return all(isinstance(word, str) for row in lists if row for word in row) and any(lists)


def _find_words(words, lists, strings, tagger: bool | None) -> str | None:
    """The column of lists of words by its usual name, if the model tags words, or if there are tags or no other text."""
    by_name = {_plain(name): name for name in reversed(words)}
    found = next((by_name[name] for name in (*WORDS, *_TEXT) if name in by_name), None)
    tagged = any(_plain(name) in _TAGS and name != found for name in lists)
    texts = [name for name in strings if _plain(name) in _TEXT]
    return found if tagger or (tagged and tagger is None) or not texts else None


def _find_tags(lists, text: str, guesses) -> str | None:
    """The column of the tags of words by its usual name."""
    by_name = {_plain(name): name for name in reversed(list(lists)) if name != text}
    found = [by_name[name] for name in _TAGS if name in by_name]
    if len(found) > 1:
        guesses.append(("label_column", f"The tags are taken from column {found[0]!r}, not from {_and(found[1:])}."))
    return found[0] if found else None


def _is_label_of(name: str, table, model: ModelLabels | None) -> bool:
    """Whether a column of zeros and ones is named as one label of a multi-label model."""
    known = model is not None and model.task == "multi_label" and _plain(name) in map(_plain, model.names)
    return known and binary_labels(table[name]) is not None


def _find_label_columns(table, texts, model: ModelLabels | None) -> tuple[str, ...] | None:
    """The columns named as the labels of a multi-label model, one of zeros and ones for each."""
    if model is None or model.task != "multi_label":
        return None
    exact, loose = set(table.columns) - texts, {_plain(name): name for name in table.columns if name not in texts}
    columns = [name if name in exact else loose.get(_plain(name)) for name in model.names]
    found = [name for name in columns if name is not None and binary_labels(table[name]) is not None]
    usual = [name for name in table.columns if name not in (*texts, *found) and _plain(name) in _LABEL[:2]]
    if not found or len(set(found)) < len(found):
        return None
    if len(found) < len(columns) and not usual:
        missing = [name for name, column in zip(model.names, columns, strict=True) if column not in found]
        raise HeadPruneError(
            f"the columns {_and(found)} are named as labels of the model, but no column of zeros and ones is named "
            f"{_and(missing[:5])}; name columns with label_column (a label without one is absent), or none with "
            "label_column=False"
        )
    if len(found) == len(columns) and usual:
        raise HeadPruneError(
            f"the labels may be in the column {usual[0]!r} or in the columns {_and(found)}; name them with label_column"
        )
    return tuple(found) if len(found) == len(columns) else None


def _find_texts(table, strings, label, guesses) -> tuple[str, str | None]:
    """The text column and, if it belongs to a usual pair, the column of the second text."""
    by_name = {_plain(name): name for name in reversed(strings) if name != label}
    pairs = [(by_name[one], by_name[other]) for one, other in _PAIRS if one in by_name and other in by_name]
    if len(pairs) > 1:
        choices = ", ".join(f"{one!r} and {other!r}" for one, other in pairs)
        raise HeadPruneError(
            f"several pairs of text columns are possible: {choices}; name two with text_column and text_pair_column"
        )
    if pairs:
        return pairs[0]
    usual = [by_name[name] for name in _TEXT if name in by_name]
    rest: list[str] = []
    if not usual:
        rest = [name for name in strings if name != label and _plain(name) not in _LABEL + _LIKELY_LABEL]
        rest = [name for name in rest if not _has_few_values(table[name]) and not _is_number(table[name])] or rest
    if not usual and len(rest) != 1:
        raise HeadPruneError(f"no text column found in {', '.join(table.columns)}; name one with text_column")
    if len(usual) > 1 and _plain(usual[0]) != "text":
        guesses.append(("text_column", f"The text is taken from column {usual[0]!r}, not from {_and(usual[1:])}."))
    elif not usual:
        guesses.append(("text_column", f"The text is taken from column {rest[0]!r}, the only one that contains text."))
    return (usual or rest)[0], None


def _find_label(table, texts, lists, guesses) -> str | None:
    """The label column by its usual name, else the only column with few distinct values; None if there is none."""
    by_name = {_plain(name): name for name in reversed(table.columns) if name not in texts}
    usual = [by_name[name] for name in _LABEL if name in by_name]
    likely = [by_name[name] for name in _LIKELY_LABEL if name in by_name]
    likely += [by_name[name] for name in _LISTS if by_name.get(name) in lists]
    if usual and _plain(usual[0]) in _LABEL[:2]:
        if len(usual) > 1:
            guesses.append(("label_column", f"The labels are taken from column {usual[0]!r}, not from {_and(usual[1:])}."))
        return usual[0]
    few = (name for name in table if name not in texts and name not in lists and _has_few_values(table[name]))
    found = usual or likely or list(few)
    if len(found) > 1:
        sets = all(binary_labels(table[name]) is not None for name in found)
        raise HeadPruneError(
            f"several columns may contain the labels: {', '.join(found)}; name one with label_column"
            f"{' (several for a multi-label model)' if sets else ''}, or none with label_column=False"
        )
    if found and not usual:
        reason = "by its name" if likely else "the only column with few distinct values"
        guesses.append(("label_column", f"The labels are taken from column {found[0]!r}, {reason}."))
    return found[0] if found else None


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip()).casefold()


def _is_text(column: pd.Series) -> bool:
    return pd.api.types.is_string_dtype(column.dropna().infer_objects())


def _is_number(column: pd.Series) -> bool:
    if len(column) > _SAMPLE and not _is_number(column.iloc[:_SAMPLE]):
        return False
    values = column.dropna().astype(str).str.replace(",", ".")  # also decimal commas
    return pd.to_numeric(values, errors="coerce").notna().all()


def _mean_length(column: pd.Series) -> float:
    return column.fillna("").astype(str).str.len().mean()


def _has_few_values(column: pd.Series) -> bool:
    if len(column) > _SAMPLE and _filled(column.iloc[:_SAMPLE]).nunique() > MAX_CLASSES:
        return False
    values = _filled(column)
    distinct = values.nunique()
    return 2 <= distinct <= min(MAX_CLASSES, len(values) / 2) and values.str.len().mean() < 2 * _FREE_TEXT


def _filled(column: pd.Series) -> pd.Series:
    values = column.dropna().astype(str)
    return values[values.str.strip() != ""]


def _and(names: list[str]) -> str:
    return " and ".join(map(repr, names))
