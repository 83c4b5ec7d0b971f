"""Tables of examples from lists, DataFrames, Datasets, files and the Hugging Face Hub; `columns` chooses from them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import datasets
import pandas as pd

from headprune_core.errors import HeadPruneError
from headprune_core.model.loading import has_hub_form

from .formats.delimited import Dialect, unique_names
from .formats.parquet import check_parquet_folder
from .formats.word_lines import WordLines
from .limits import Limits, Progress, local_limits, named_errors, no_progress
from .table_io import SUFFIXES, LeftOut, read_table


@dataclass(frozen=True)
class Source:
    """All rows of a source, before columns are chosen.

    Attributes:
        name: the file name, dataset ID or kind of the source.
        file_type: the extension without its dot, "hub" or "memory".
        table: the rows.
        rows: number of each row in the source, from 1.
        class_names: names of the classes by column, for columns that contain class numbers or lists of them.
        needs_split: whether the rows still have to be divided into calibration and evaluation sets.
        encoding: encoding of a text file, else None.
        dialect: how the values of a line are separated, for CSV and TSV files and files of one word per line, else None.
        left_out: damaged rows.
        guesses: (setting, sentence) of what is likely but not certain.
    """

    name: str
    file_type: str
    table: pd.DataFrame
    rows: list[int]
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    needs_split: bool = True
    encoding: str | None = None
    dialect: Dialect | WordLines | None = None
    left_out: tuple[LeftOut, ...] = ()
    guesses: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class HubDataset:
    """A dataset ID of the Hub, which is never taken for a file, a folder or a reader of the library.

    Attributes:
        name: the ID, owner/name.
    """

    name: str


def is_hub_dataset_id(name: str) -> bool:
    """Return True if `name` has the form owner/name.

    The library takes a single word such as "text" for a reader of all files in the working directory.

    Args:
        name: the ID.
    """
    return "/" in name and has_hub_form(name)


def read_source(
    source,
    subset: str | None,
    split: str,
    reading: Mapping,
    *,
    limits: Limits | None = None,
    progress: Progress = no_progress,
) -> Source:
    """Read all rows of a source.

    Args:
        source: a pandas DataFrame, a Dataset or DatasetDict, a list of texts or (text, label) pairs, a file (its path, or an
            open binary file with a name), a Hugging Face dataset ID, a HubDataset, or a Source, which is returned.
        subset: subset (configuration) of a Hub dataset, or None.
        split: "calibration", "evaluation", or the name of a dataset's own split.
        reading: encoding, delimiter, quoted, header and lines of `read_table`, None for those to be detected.
        limits: the largest table that is read; None for what the free memory holds.
        progress: called with (done, all, note) while a file is read.

    Returns:
        The rows and how they were read.

    Raises:
        HeadPruneError: if the source cannot be read, or is too large.
    """
    if isinstance(source, Source):
        return source
    limits = limits or local_limits()
    if isinstance(source, pd.DataFrame):
        with named_errors("the DataFrame"):
            limits.check("columns", source.shape[1])
        return _in_memory("DataFrame", source.set_axis(unique_names(list(map(str, source.columns))), axis=1))
    if isinstance(source, datasets.DatasetDict):
        own = _own_split(list(source), split)
        return _from_dataset("DatasetDict", source[own], "memory", limits, needs_split=own != split and len(source) == 1)
    if isinstance(source, datasets.Dataset):
        return _from_dataset("Dataset", source, "memory", limits, needs_split=True)
    if isinstance(source, HubDataset):
        return _hub_table(source.name, subset, split, limits, hub_address(source.name))
    if isinstance(source, pd.Series):
        source = source.to_list()
    if isinstance(source, Mapping):
        raise HeadPruneError("a dictionary cannot be read; pass pandas.DataFrame(dictionary) or a Dataset")
    if hasattr(source, "read") and isinstance(getattr(source, "name", None), str):
        data = source.getvalue() if hasattr(source, "getvalue") else source.read()
        return _from_file(Path(source.name).name, data, reading, limits, progress)
    if isinstance(source, list | tuple):
        return _in_memory("list", _list_table(source))
    if not isinstance(source, str | Path):
        raise HeadPruneError(
            f"the source must be a file, a Hub dataset ID, a Dataset, a DataFrame or a list, got {type(source).__name__}"
        )
    path = Path(source).expanduser()
    if path.is_file():
        try:
            with named_errors(path.name):
                limits.check("unpacked", path.stat().st_size)
            data = path.read_bytes()
        except OSError as error:
            raise HeadPruneError(f"cannot open {source}: {error.strerror}; choose a file that can be read") from error
        return _from_file(path.name, data, reading, limits, progress)
    if path.suffix.lower() in SUFFIXES or path.is_absolute() or str(source).startswith((".", "~")):
        kinds = ", ".join(SUFFIXES)
        raise HeadPruneError(f"file not found: {source}; use 'embedded', a file ({kinds}) or a Hub dataset ID")
    if path.is_dir():
        check_parquet_folder(path, limits)
    return _hub_table(str(source), subset, split, limits)


def _from_file(name: str, data: bytes, reading: Mapping, limits: Limits, progress: Progress) -> Source:
    found = read_table(name, data, **reading, limits=limits, progress=progress)
    known = {name: getattr(found, name) for name in ("encoding", "dialect", "left_out", "guesses")}
    return Source(name, found.file_type, found.frame, found.rows, **known)


def _in_memory(kind: str, table: pd.DataFrame) -> Source:
    return Source(kind, "memory", table, list(range(1, len(table) + 1)))


def _list_table(items) -> pd.DataFrame:
    if items and all(isinstance(item, Mapping) for item in items):
        raise HeadPruneError(
            "a list of dictionaries cannot be read; pass pandas.DataFrame(items) or Dataset.from_list(items)"
        )
    pairs = [(item, None) if isinstance(item, str) else item for item in items]
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise HeadPruneError("list items must be strings or (text, label) pairs")
    table = pd.DataFrame(pairs, columns=["text", "label"])
    return table.drop(columns="label") if table.label.isna().all() else table


def _from_dataset(name: str, rows: datasets.Dataset, file_type: str, limits: Limits, *, needs_split: bool) -> Source:
    stored = max(1, rows.data.num_rows)  # the rows before a selection
    with named_errors(name):
        limits.check_names(rows.column_names)
        limits.check("rows", len(rows))
        limits.check("unpacked", rows.data.nbytes * len(rows) // stored)
    elements = {name: getattr(feature, "feature", feature) for name, feature in rows.features.items()}
    classes = {name: tuple(e.names) for name, e in elements.items() if isinstance(e, datasets.ClassLabel)}
    table = rows.with_format(None).to_pandas()
    return Source(name, file_type, table, list(range(1, len(table) + 1)), classes, needs_split)


def hub_address(name: str) -> str:
    """Return the address of a Hub dataset; for its ID alone the library would read a folder of this name.

    Args:
        name: the ID, owner/name.

    Raises:
        HeadPruneError: if it has another form.
    """
    if not is_hub_dataset_id(name):
        raise HeadPruneError(f"the Hub dataset ID must have the form owner/name, got {name!r}")
    return f"hf://datasets/{name}"


def _hub_table(name: str, subset: str | None, split: str, limits: Limits, address: str | None = None) -> Source:
    """The rows of a dataset that the library finds; with an address, its files must lie on the Hub."""
    found = address or name
    try:
        if address is not None:
            check_hub_files(name, datasets.load_dataset_builder(address, subset))
        available = datasets.get_dataset_split_names(found, subset)
        own = _own_split(available, split)
        rows = datasets.load_dataset(found, subset, split=own)
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
    return _from_dataset(name, rows, "hub", limits, needs_split=own != split and len(available) == 1)


def check_hub_files(name: str, builder: datasets.DatasetBuilder) -> None:
    """Check that a dataset of the Hub reads no files elsewhere: the card of a dataset can name a path of this computer.

    Args:
        name: the dataset ID.
        builder: its builder, which has read nothing yet.

    Raises:
        HeadPruneError: if it names such a file.
    """
    files = [file for part in (builder.config.data_files or {}).values() for file in part]
    if not all(str(file).startswith("hf://") for file in files):
        raise HeadPruneError(f"dataset {name} names files outside its repository; choose another dataset")


def _own_split(available: list[str], split: str) -> str:
    """A dataset's own name for `split`: calibration uses training rows, evaluation validation or test rows."""
    wanted = {"calibration": ("train",), "evaluation": ("validation", "test")}.get(split, ())
    matching = [name for name in (split, *wanted) if name in available]
    if matching or (len(available) == 1 and wanted):
        return (matching or available)[0]
    raise HeadPruneError(f"split must be one of {', '.join(available)}, got {split!r}")
