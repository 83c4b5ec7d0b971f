"""Rows of a Parquet file under limits that hold even if its headers state wrong sizes.

Columns and rows are checked in the summary, then the sizes of all pages. Texts are stored once and referred to by number, so
that a small page can contain a large column: those columns are measured in this form before they are read.
"""

import io
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headprune_core.errors import HeadPruneError

from ..limits import Limits, Progress, named_errors, no_progress
from .parquet_pages import column_pages

BATCH = 4096  # rows that are read at a time, between two progress reports
_NODES = 4  # schema nodes of a column at most: nested columns have several
_INDEX = r"__index_level_\d+__"  # columns in which pandas keeps row numbers
_SIZES = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}


def read_parquet(data: bytes, limits: Limits, progress: Progress = no_progress) -> pd.DataFrame:
    """Read the rows of a Parquet file.

    Args:
        data: content of the file.
        limits: the largest table that is read.
        progress: called with (rows read, all rows, note).

    Returns:
        The rows.

    Raises:
        HeadPruneError: if the table is too large or damaged.
    """
    batch = check_parquet(data, limits, progress)
    file, batches, done = _opened(data, limits), [], 0
    total = file.metadata.num_rows
    for part in file.iter_batches(batch, use_threads=False):
        done += len(part)
        progress(min(done, total), total, "Reading rows")
        limits.check("rows", done, at_least=True)
        batches.append(part)
    table = pa.Table.from_batches(batches, file.schema_arrow)
    for number, column in enumerate(table.columns):
        if pa.types.is_dictionary(column.type) and _is_text(column.type.value_type):  # categories are read as texts
            table = table.set_column(number, table.field(number).name, column.cast(column.type.value_type))
    limits.check("unpacked", table.nbytes)
    frame = table.to_pandas(ignore_metadata=True)
    return frame.loc[:, ~frame.columns.astype(str).str.fullmatch(_INDEX)]


def check_parquet(data: bytes, limits: Limits, progress: Progress = no_progress) -> int:
    """Check the size of a Parquet file before it is read.

    Args:
        data: content of the file.
        limits: the largest table that is read.
        progress: called with (columns measured, all columns, note).

    Returns:
        The number of rows that can be read at a time.

    Raises:
        HeadPruneError: if the table is too large or damaged.
    """
    file = _opened(data, limits)
    meta, schema = file.metadata, file.schema
    limits.check_names(file.schema_arrow.names)
    limits.check_table(meta.num_rows, max(1, meta.num_columns))
    groups = [meta.row_group(number) for number in range(meta.num_row_groups)]
    limits.check("unpacked", sum(group.total_byte_size for group in groups))
    unpacked = cells = 0
    batch, stored_once, plain = BATCH, [], []
    content = memoryview(data)
    for number in range(meta.num_columns):
        progress(number, meta.num_columns, "Measuring columns")
        column = schema.column(number)
        values = 0
        for group in groups:
            chunk = group.column(number)
            start = chunk.data_page_offset
            if chunk.has_dictionary_page and chunk.dictionary_page_offset:
                start = min(start, chunk.dictionary_page_offset)
            pages = column_pages(content, start, chunk.total_compressed_size)
            unpacked += pages.unpacked
            values += pages.values
            if pages.values * pages.largest <= limits.unpacked or chunk.physical_type != "BYTE_ARRAY":
                continue
            if pages.repeats_beginnings and column.max_repetition_level:
                raise HeadPruneError(
                    f"the size of the lists in {column.path[:80]!r} is not known from their encoding (DELTA_BYTE_ARRAY); "
                    "export the file with another encoding"
                )
            (plain if pages.repeats_beginnings else stored_once).append(column.path)
            if pages.repeats_beginnings:  # no text is longer than the largest page
                batch = max(1, min(batch, limits.unpacked // pages.largest))
        cells += values
        limits.check("cells", cells)
        size = column.length if column.physical_type == "FIXED_LEN_BYTE_ARRAY" else _SIZES.get(column.physical_type, 0)
        limits.check("unpacked", max(unpacked, values * size))
    for paths, as_numbers in ((stored_once, True), (plain, False)):
        if paths:
            _check_texts(data, list(dict.fromkeys(paths)), as_numbers, batch, limits, progress)
    return batch


def check_parquet_folder(folder: Path, limits: Limits) -> None:
    """Check the Parquet files of a folder.

    Args:
        folder: the folder.
        limits: the largest table that is read from one file.

    Raises:
        HeadPruneError: if a file is too large or damaged.
    """
    for file in sorted(folder.rglob("*.parquet")):
        try:
            with named_errors(file.name):
                limits.check("unpacked", file.stat().st_size)
                check_parquet(file.read_bytes(), limits)
        except (OSError, pa.ArrowException) as error:
            raise HeadPruneError(f"{file.name} cannot be read as parquet: {' '.join(str(error).split())[:160]}") from error


def _opened(data: bytes, limits: Limits, read_dictionary: list[str] | None = None) -> pq.ParquetFile:
    nodes = max(100_000, _NODES * limits.columns)
    try:
        return pq.ParquetFile(
            io.BytesIO(data), read_dictionary=read_dictionary, pre_buffer=False, thrift_container_size_limit=nodes
        )
    except OSError as error:
        if "size limit" in str(error).lower() or "MaxMessageSize" in str(error):
            raise HeadPruneError(
                f"its list of columns or row groups is too long, at most {limits.columns:,} columns can be read; delete "
                f"columns that are not needed{limits.advice}"
            ) from error
        raise


def _check_texts(data: bytes, paths: list[str], as_numbers: bool, batch: int, limits: Limits, progress: Progress) -> None:
    """Check the size of columns of texts; `as_numbers` reads each different text once, and the numbers that refer to it."""
    file, size, done = _opened(data, limits, paths if as_numbers else None), 0, 0
    for part in file.iter_batches(batch, columns=paths, use_threads=False):
        done += len(part)
        progress(min(done, file.metadata.num_rows), file.metadata.num_rows, "Measuring texts")
        for texts in (leaf for column in part.columns for leaf in _leaves(column)):
            different = texts.dictionary if isinstance(texts, pa.DictionaryArray) else texts
            lengths = pc.cast(pc.binary_length(different), pa.int64())
            limits.check("cell", pc.max(lengths).as_py() or 0)
            size += pc.sum(lengths if different is texts else pc.take(lengths, texts.indices)).as_py() or 0
        limits.check("unpacked", size, at_least=True)


def _leaves(column: pa.Array) -> list[pa.Array]:
    """The texts in a column, which may consist of lists or structures."""
    if isinstance(column, pa.StructArray):
        return [leaf for part in column.flatten() for leaf in _leaves(part)]
    if isinstance(column, pa.MapArray):
        return _leaves(column.keys) + _leaves(column.items)
    if pa.types.is_nested(column.type):
        return _leaves(column.flatten())
    kind = column.type.value_type if isinstance(column, pa.DictionaryArray) else column.type
    return [column] if _is_text(kind) else []


def _is_text(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_binary, pa.types.is_large_string))
