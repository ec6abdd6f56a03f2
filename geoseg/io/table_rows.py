"""Record batches as rows of an SQLite table."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geoseg.errors import InputError, ProductError
from geoseg.io.columns import GEOMETRY, absent_of, boxes_known, values_of
from geoseg.ops.boxes import SIDES, wkb_boxes
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
    if boxes_known(batch.schema):
        return batch, np.stack([values_of(batch.column(side)) for side in SIDES], axis=1)
    begins, wkb = bytes_of(batch.column(GEOMETRY))
    try:
        return batch, wkb_boxes(wkb, begins)
    except InputError:
        import shapely  # noqa: PLC0415 (what we trace never comes here)

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
    """
    names = [name for name in batch.schema.names if name != GEOMETRY]
    count, geometry = len(batch), batch.column(GEOMETRY)
    table = _Table(2 + len(names), count)
    table.kinds[:2] = NULL, BLOB
    table.absent[1] = absent_of(geometry)
    for place, name in enumerate(names, 2):
        table.fill(place, batch.column(name))
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

    def fill(self, at: int, column: pa.Array) -> None:
        column = _plain(column)
        self.absent[at] = absent_of(column)
        if pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
            self.kinds[at] = INTEGER
            self.numbers[at] = values_of(column)
        elif pa.types.is_floating(column.type):
            self.kinds[at] = REAL
            values = values_of(column).astype(np.float64)
            self.absent[at] |= np.isnan(values)  # SQLite knows no NaN
            self.numbers[at] = values.view(np.int64)
        else:
            self.kinds[at] = TEXT
            begins, text = bytes_of(column)
            used = text[begins[0] : begins[-1]]
            self.begins[at] = begins + (self._size - begins[0])
            self.texts.append(used)
            self._size += len(used)


def plain_type(name: str, kind: pa.DataType) -> pa.DataType:
    """The type of the values of column ``name``, those of a dictionary's, if it can be written.

    Raises:
        ProductError: GeoPackage does not know it.
    """
    types = pa.types
    if types.is_dictionary(kind):
        return plain_type(name, kind.value_type)
    if not (
        types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
        or types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind)
        or types.is_date(kind) or types.is_timestamp(kind)
    ):  # fmt: skip
        raise ProductError(
            f"column {name!r} is of {kind}; numbers, booleans, texts, dates and times can be written"
        )
    return kind


def _plain(column: pa.Array) -> pa.Array:
    """A column of whole numbers, booleans, floats or text."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(column.dictionary_decode())
    if pa.types.is_date(kind) or pa.types.is_null(kind):
        return column.cast(pa.string())
    if pa.types.is_timestamp(kind):
        import pyarrow.compute as pc  # noqa: PLC0415 (takes time to load, and times are rare)

        return pc.strftime(column.cast(pa.timestamp("ms")), _MOMENT)
    return column


def _heads(boxes: NDArray[np.float64], srs: int) -> NDArray[np.uint8]:
    """What GeoPackage wants before each WKB (OGC 12-128r17, 2.1.3), ``(n, 40)``."""
    heads = np.zeros(len(boxes), _HEAD)
    heads["magic"], heads["srs"] = b"GP", srs
    heads["flags"] = _LITTLE_FLAG | _BOX_FLAG | np.where(np.isnan(boxes[:, 0]), _EMPTY_FLAG, 0)
    heads["box"] = boxes[:, [0, 2, 1, 3]]
    return heads.view(np.uint8).reshape(len(boxes), _HEAD.itemsize)
