"""Record batches as rows of an SQLite table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from geoseg.errors import InputError, ProductError
from geoseg.io.columns import GEOMETRY
from geoseg.ops.boxes import wkb_boxes
from geoseg.ops.sqlite_pages import BLOB, INTEGER, NULL, REAL, TEXT, Rows

_MOMENT = "%Y-%m-%dT%H:%M:%SZ"  # with milliseconds, as GeoPackage wants it
_EMPTY_FLAG, _BOX_FLAG, _LITTLE_FLAG = 16, 2, 1
_HEAD = np.dtype(
    [("magic", "S2"), ("version", "u1"), ("flags", "u1"), ("srs", "<i4"), ("box", "<f8", (4,))]
)
_Bytes = tuple[NDArray[np.int64], NDArray[np.uint8]]


def placed(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, NDArray[np.float64]]:
    """A batch whose geometries are little-endian WKB of two dimensions, and what they span.

    Whatever is of another kind is made so; heights are lost.

    Returns:
        The batch, and west, south, east, north of each geometry ``(n, 4)``; NaN where it is empty.
    """
    begins, wkb = bytes_of(batch.column(GEOMETRY))
    try:
        return batch, wkb_boxes(wkb, begins)
    except InputError:
        shapes = shapely.from_wkb(batch.column(GEOMETRY).to_numpy(zero_copy_only=False))
        plain = pa.array(shapely.to_wkb(shapely.force_2d(shapes), byte_order=1), pa.binary())
        at = batch.schema.get_field_index(GEOMETRY)
        field = batch.schema.field(at).with_type(pa.binary())
        begins, wkb = bytes_of(plain)
        return batch.set_column(at, field, plain), wkb_boxes(wkb, begins)


def bytes_of(column: pa.Array) -> _Bytes:
    """Where texts or blobs begin ``(n + 1,)``, and their bytes: not copied, not to be changed."""
    wide = pa.types.is_large_string(column.type) or pa.types.is_large_binary(column.type)
    _, places, data = column.buffers()
    if not len(column):
        return np.zeros(1, np.int64), np.frombuffer(b"", np.uint8)
    stored = np.frombuffer(places, np.int64 if wide else np.int32)
    begins = np.asarray(stored[column.offset : column.offset + len(column) + 1], np.int64)
    values = np.frombuffer(b"" if data is None else data, np.uint8)
    values.flags.writeable = False
    return begins, values


def rows_of(batch: pa.RecordBatch, boxes: NDArray[np.float64], *, first: int, srs: int) -> Rows:
    """Rows of a GeoPackage's feature table: the key, the geometry, then all other columns.

    Args:
        batch: Little-endian WKB of two dimensions in ``geometry``, and any attributes.
        boxes: Of the geometries, see :func:`placed`.
        first: Key of the first row.
        srs: Identifier of the CRS in the file.

    Raises:
        ProductError: A column has a type that GeoPackage does not know.
    """
    names = [name for name in batch.schema.names if name != GEOMETRY]
    count, geometry = len(batch), batch.column(GEOMETRY)
    table = _Table(2 + len(names), count)
    table.kinds[:2] = NULL, BLOB
    table.absent[1] = _absent(geometry)
    for place, name in enumerate(names, 2):
        table.fill(place, name, batch.column(name))
    begins, wkb = bytes_of(geometry)
    return Rows(
        first + np.arange(count),
        table.kinds,
        table.numbers,
        table.absent,
        table.begins,
        np.concatenate([np.zeros(0, np.uint8), *table.texts]),
        _heads(boxes, srs),
        begins,
        wkb,
    )


class _Table:
    """Columns that are being filled."""

    def __init__(self, columns: int, rows: int) -> None:
        self.kinds = np.zeros(columns, np.uint8)
        self.numbers = np.zeros((columns, rows), np.int64)
        self.absent = np.zeros((columns, rows), np.bool_)
        self.begins = np.zeros((columns, rows + 1), np.int64)
        self.texts: list[NDArray[np.uint8]] = []
        self._size = 0

    def fill(self, at: int, name: str, column: pa.Array) -> None:
        column = _plain(name, column)
        self.absent[at] = _absent(column)
        if pa.types.is_integer(column.type):
            self.kinds[at] = INTEGER
            self.numbers[at] = _values(column)
        elif pa.types.is_floating(column.type):
            self.kinds[at] = REAL
            values = _values(column).astype(np.float64)
            self.absent[at] |= np.isnan(values)  # SQLite knows no NaN
            self.numbers[at] = values.view(np.int64)
        else:
            self.kinds[at] = TEXT
            begins, text = bytes_of(column)
            used = text[begins[0] : begins[-1]]
            self.begins[at] = begins + (self._size - begins[0])
            self.texts.append(used)
            self._size += len(used)


def _plain(name: str, column: pa.Array) -> pa.Array:
    """A column of whole numbers, floats or text."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(name, column.dictionary_decode())
    if pa.types.is_boolean(kind):
        return column.cast(pa.uint8())
    if pa.types.is_date(kind):
        return column.cast(pa.string())
    if pa.types.is_timestamp(kind):
        return pc.strftime(column.cast(pa.timestamp("ms")), _MOMENT)
    if pa.types.is_null(kind):
        return column.cast(pa.string())
    texts = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (texts or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise ProductError(
            f"column {name!r} is of {kind}; numbers, booleans, texts, dates and times can be written"
        )
    return column


def _values(column: pa.Array) -> NDArray[Any]:
    values: NDArray[Any] = column.fill_null(0).to_numpy(zero_copy_only=False)
    return values


def _absent(column: pa.Array) -> NDArray[np.bool_]:
    if not column.null_count:
        return np.zeros(len(column), np.bool_)
    absent: NDArray[np.bool_] = column.is_null().to_numpy(zero_copy_only=False)
    return absent


def _heads(boxes: NDArray[np.float64], srs: int) -> NDArray[np.uint8]:
    """What GeoPackage wants before each WKB (OGC 12-128r17, 2.1.3), ``(n, 40)``."""
    heads = np.zeros(len(boxes), _HEAD)
    heads["magic"], heads["srs"] = b"GP", srs
    heads["flags"] = _LITTLE_FLAG | _BOX_FLAG | np.where(np.isnan(boxes[:, 0]), _EMPTY_FLAG, 0)
    heads["box"] = boxes[:, [0, 2, 1, 3]]
    return heads.view(np.uint8).reshape(len(boxes), _HEAD.itemsize)
