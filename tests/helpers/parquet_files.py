"""Parquet files that state other sizes than they have."""

import io

import pyarrow as pa
import pyarrow.parquet as pq


def parquet(columns: dict, **options) -> bytes:
    """Content of a Parquet file."""
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, **options)
    return file.getvalue()


def lying(data: bytes, **false: int) -> bytes:
    """The file with other numbers in its summary: `num_rows` and `unpacked` (bytes of all columns)."""
    meta = pq.ParquetFile(io.BytesIO(data)).metadata
    group = meta.row_group(0)
    columns = [group.column(number).total_uncompressed_size for number in range(meta.num_columns)]
    true = {"num_rows": [meta.num_rows], "unpacked": [group.total_byte_size, *columns]}
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    summary = data[start:]
    for name, number in false.items():
        for value in {*true[name]}:
            found = _varint(2 * value)
            assert found in summary
            summary = summary.replace(found, _varint(2 * number, len(found)))
    return data[:start] + summary


def same_text(text: str, count: int) -> pa.DictionaryArray:
    """A column with one text in all rows, which is stored once."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), [text])


def _varint(value: int, length: int = 0) -> bytes:
    parts = []
    while value or not parts or len(parts) < length:
        parts.append(value & 127)
        value >>= 7
    return bytes(part | 128 for part in parts[:-1]) + bytes(parts[-1:])
