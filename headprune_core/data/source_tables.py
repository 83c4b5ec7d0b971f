"""Tables of examples from lists, DataFrames, files and the Hugging Face Hub; choosing columns and rows is left to others."""

import re
from pathlib import Path

import datasets
import pandas as pd

from headprune_core.errors import HeadPruneError

from .table_io import SUFFIXES, read_table


def read_source(source, subset: str | None, split: str) -> tuple[pd.DataFrame, tuple[str, ...] | None, bool]:
    """Read all rows of a source.

    Args:
        source: a pandas DataFrame, a list of texts or (text, label) pairs, a file, or a Hugging Face dataset ID.
        subset: subset (configuration) of a Hub dataset, or None.
        split: "calibration", "evaluation", or the name of a Hub dataset's own split.

    Returns:
        The table, the class names or None, and whether the rows still have to be divided into calibration and evaluation
        sets.

    Raises:
        HeadPruneError: if the source cannot be read.
    """
    if isinstance(source, pd.DataFrame):
        return source.rename(columns=str), None, True
    if isinstance(source, list | tuple):
        pairs = [(row, None) if isinstance(row, str) else row for row in source]
        if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
            raise HeadPruneError("list items must be strings or (text, label) pairs")
        table = pd.DataFrame(pairs, columns=["text", "label"])
        return (table.drop(columns="label") if table.label.isna().all() else table), None, True
    path = Path(str(source)).expanduser()
    if path.is_file():
        return read_table(path.name, path.read_bytes()), None, True
    if path.suffix.lower() in SUFFIXES or path.is_absolute() or str(source).startswith((".", "~")):
        kinds = ", ".join(SUFFIXES)
        raise HeadPruneError(f"file not found: {source}; use 'embedded', a file ({kinds}) or a Hub dataset ID")
    return _hub_table(str(source), subset, split)


def _hub_table(name: str, subset: str | None, split: str):
    try:
        available = datasets.get_dataset_split_names(name, subset)
        own = _own_split(available, split)
        rows = datasets.load_dataset(name, subset, split=own)
    except HeadPruneError:
        raise
    except Exception as error:  # errors of network, repository, subset and loader have no common base
        text = " ".join(str(error).split())
        if re.search("doesn't exist|not found|404|401", text, re.I):
            reason = f"dataset {name} not found on the Hub, or it is private; check the name or log in"
        elif "onfig name" in text or "BuilderConfig" in text:
            reason = f"dataset {name} has several subsets; choose one: {text[:160]}"
        else:
            reason = f"could not download dataset {name} ({text[:120]}); check the network, or upload a file"
        raise HeadPruneError(reason) from error
    names = {c: f.names for c, f in rows.features.items() if isinstance(f, datasets.ClassLabel)}
    return (
        rows.to_pandas(),
        tuple(next(iter(names.values()))) if len(names) == 1 else None,
        own != split and len(available) == 1,
    )


def _own_split(available: list[str], split: str) -> str:
    """A dataset's own name for `split`: calibration uses training rows, evaluation validation or test rows."""
    wanted = {"calibration": ("train",), "evaluation": ("validation", "test")}.get(split, ())
    matching = [name for name in (split, *wanted) if name in available]
    if matching or (len(available) == 1 and wanted):
        return (matching or available)[0]
    raise HeadPruneError(f"split must be one of {', '.join(available)}, got {split!r}")
