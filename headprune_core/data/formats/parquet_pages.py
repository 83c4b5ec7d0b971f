"""Sizes of the pages of a Parquet file, from the headers by which a reader allocates memory.

The summary at the end of a file may state smaller sizes than its pages have. Page headers are Thrift structures in the
compact protocol (https://github.com/apache/parquet-format, PageHeader).
"""

from dataclasses import dataclass

from headprune_core.errors import HeadPruneError

DELTA_BYTE_ARRAY = 7  # the encoding in which a text repeats the beginning of the one before it
_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(13)
_DATA, _DICTIONARY, _DATA_V2 = 5, 7, 8  # fields of PageHeader with the header of each kind of page
_DEPTH = 8  # of structures inside a page header


@dataclass
class Pages:
    """The pages of a column in one row group.

    Attributes:
        unpacked: bytes of all pages without compression.
        largest: bytes of the largest page, which no single value exceeds.
        values: number of values, repeated and missing ones included.
        repeats_beginnings: whether texts are encoded by the beginning of the one before.
    """

    unpacked: int = 0
    largest: int = 0
    values: int = 0
    repeats_beginnings: bool = False


def column_pages(data: memoryview, start: int, size: int) -> Pages:
    """Return the sizes of the pages of a column in one row group.

    Args:
        data: content of the file.
        start: position of the first page.
        size: bytes of the pages with their headers, as stored.

    Raises:
        HeadPruneError: if a header is damaged.
    """
    found, end = Pages(), start + size
    if not 0 <= start <= end <= len(data):
        raise HeadPruneError("a column lies outside the file; export the file again")
    position = start
    while position < end:
        try:
            header, position = _structure(data, position, 0)
            unpacked, stored = header[2], header[3]
            if unpacked < 0 or stored < 0:
                raise ValueError("negative size")
            page = header.get(_DATA) or header.get(_DATA_V2) or {}
            values = page.get(1, 0)
            encoding = page.get(2 if _DATA in header else 4)
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise HeadPruneError("the header of a page is damaged; export the file again") from error
        found.unpacked += unpacked
        found.largest = max(found.largest, unpacked)
        found.values += max(0, values)
        found.repeats_beginnings |= encoding == DELTA_BYTE_ARRAY
        position += stored
    return found


def _structure(data: memoryview, position: int, depth: int) -> tuple[dict, int]:
    """The integers and structures of a Thrift structure by field number, and the position behind it."""
    if depth > _DEPTH:
        raise ValueError("structures are nested too deeply")
    fields, number = {}, 0
    while True:
        kind = data[position] & 15
        delta, position = data[position] >> 4, position + 1
        if kind == _STOP:
            return fields, position
        if delta:
            number += delta
        else:
            number, position = _zigzag(data, position)
        fields[number], position = _value(data, position, kind, depth)


def _value(data: memoryview, position: int, kind: int, depth: int):
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, position
    if kind in (_I16, _I32, _I64):
        return _zigzag(data, position)
    if kind == _STRUCT:
        return _structure(data, position, depth + 1)
    if kind == _BINARY:
        length, position = _varint(data, position)
        return None, position + length
    if kind in (_BYTE, _DOUBLE):
        return None, position + (1 if kind == _BYTE else 8)
    raise ValueError(f"a page header has no field of type {kind}")


def _zigzag(data: memoryview, position: int) -> tuple[int, int]:
    value, position = _varint(data, position)
    return (value >> 1) ^ -(value & 1), position


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte, position = data[position], position + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")
