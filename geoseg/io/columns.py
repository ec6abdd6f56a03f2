"""Polygons on their way to files: record batches, their columns, names and units."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geoseg.ops.boxes import SIDES

GEOMETRY = "geometry"
CLASS_CODE = "class_code"
CLASS_NAME = "class_name"


@dataclass(frozen=True, slots=True)
class Column:
    """How a person reads one attribute."""

    alias: str
    description: str
    unit: str = ""

    @property
    def label(self) -> str:
        """Alias and unit, for a table's head."""
        return f"{self.alias} ({self.unit})" if self.unit else self.alias


KNOWN: dict[str, Column] = {
    "polygon_id": Column("Polygon", "Stable identifier: the same polygon, the same name"),
    CLASS_CODE: Column("Code", "Code of the class, as in the class raster"),
    CLASS_NAME: Column("Class", "Name of the class"),
    "area_m2": Column("Area", "Area on the ellipsoid, counted from pixels", "m²"),
    "area_ha": Column("Area", "Area on the ellipsoid, counted from pixels", "ha"),
    "perimeter_m": Column("Perimeter", "Length of all rings on the ellipsoid", "m"),
    "pixels": Column("Pixels", "Number of pixels"),
    "confidence_mean": Column("Confidence", "Mean confidence of the pixels", "%"),
    "confidence_min": Column("Lowest confidence", "Lowest confidence of the pixels", "%"),
    "valid_share": Column("Observed", "Share of the pixels that have a confidence", "%"),
    "touches_edge": Column("At the edge", "Whether it is cut off by the edge of the raster"),
    "xmin": Column("West", "Least x of the geometry, in its CRS"),
    "ymin": Column("South", "Least y of the geometry, in its CRS"),
    "xmax": Column("East", "Greatest x of the geometry, in its CRS"),
    "ymax": Column("North", "Greatest y of the geometry, in its CRS"),
    "date": Column("Date", "Day of acquisition"),
    "scene": Column("Scene", "Identifier of the scene"),
    "from_code": Column("From code", "Code of the class on the earlier date"),
    "from_name": Column("From", "Name of the class on the earlier date"),
    "to_code": Column("To code", "Code of the class on the later date"),
    "to_name": Column("To", "Name of the class on the later date"),
    "date_from": Column("Earlier date", "Day on which the class was still the first"),
    "date_to": Column("Later date", "Day on which the class was the second"),
    "alert_id": Column("Alert", "Day, row and column where it began: the same while it grows"),
    "state": Column(
        "State code", "State of the pixel that is farthest, as in the raster of states"
    ),
    "state_name": Column("State", "State of the pixel that is farthest"),
    "start": Column("First detection", "Day of the first detection"),
    "end": Column("Last detection", "Day of the last detection"),
    "clear_before": Column("Last clear before", "Last clear day before the first detection"),
    "detections": Column("Detections", "Most detections of a pixel"),
    "confirmed_share": Column("Confirmed", "Share of the pixels that are confirmed", "%"),
    "merged": Column("Merged", "Alerts that it has swallowed, oldest first"),
    "split_from": Column("Split from", "Alert that it was part of"),
    "plot_id": Column("Plot", "Name of the plot, or the number of its row"),
    "risk_code": Column("Risk code", "0 none, 1 low, 2 high, 3 cannot be told"),
    "risk": Column("Risk", "By the rule in run.json and in the report"),
    "given_as": Column("Given as", "Outline, or point (then a circle of its area was looked at)"),
    "plot_ha": Column("Area", "Area on the ellipsoid; of a point as its file says", "ha"),
    "observed_share": Column("Observed", "Share of the plot where loss would have been seen", "%"),
    "forest_ha": Column("Forest", "Forest at the cut-off, by the map of it", "ha"),
    "loss_ha": Column("Loss", "Loss of forest since the cut-off", "ha"),
    "loss_share": Column("Loss share", "Loss since the cut-off, share of the plot", "%"),
    "confirmed_ha": Column("Confirmed", "Loss since the cut-off that its source confirmed", "ha"),
    "undated_ha": Column("Undated", "Loss that may be older, or not of forest", "ha"),
    "earlier_ha": Column("Earlier", "Loss until the cut-off", "ha"),
    "outside_ha": Column("Not forest", "Loss since the cut-off where no forest was", "ha"),
    "loss_after": Column("Forest until", "Last day before the first loss on which it still stood"),
    "loss_first": Column("First loss", "Day by which the first loss was seen"),
    "loss_last": Column("Last loss", "Day by which the last loss was seen"),
    "loss_years": Column("By year", "Hectares of loss by the year in which it was seen"),
    "evidence": Column("Evidence", "What shows the loss: layers, and names of polygons in them"),
    "notes": Column("Notes", "What is odd about the plot"),
    "zone": Column("Zone", "Name of the unit that areas are counted in"),
    "lake": Column("Lake", "Its name, or the identifier of its polygon"),
    "days": Column("Days", "Days on which its area is known"),
    "min_ha": Column("Least area", "Over all days", "ha"),
    "max_ha": Column("Greatest area", "Over all days", "ha"),
    "mean_ha": Column("Mean area", "Over all days", "ha"),
    "last_ha": Column("Last area", "On the last day on which it is known", "ha"),
    "last_date": Column("Last day", "On which its area is known"),
    "ProducerName": Column("Producer", "As the file of plots says"),
    "ProducerCountry": Column("Country", "As the file of plots says"),
    "ProductionPlace": Column("Place", "As the file of plots says"),
}

SCHEMA = pa.schema(
    [
        pa.field(GEOMETRY, pa.binary(), nullable=False),
        pa.field(CLASS_CODE, pa.int16()),
        pa.field(CLASS_NAME, pa.string()),
        pa.field("area_m2", pa.float64()),
        pa.field("area_ha", pa.float64()),
        pa.field("perimeter_m", pa.float64()),
        pa.field("pixels", pa.int64()),
        pa.field("confidence_mean", pa.float64()),
        pa.field("confidence_min", pa.uint8()),
        pa.field("valid_share", pa.float64()),
        pa.field("polygon_id", pa.string()),
        pa.field("touches_edge", pa.bool_()),
        *(pa.field(side, pa.float64()) for side in SIDES),
    ]
)
"""What a layer without a single polygon looks like; others are as their batches say."""


def geometry_type(schema: pa.Schema) -> str:
    """``Polygon`` or ``MultiPolygon``, as the metadata of the batches says."""
    return str((schema.metadata or {}).get(b"geometry_type", b"Polygon").decode())


def runs_counterclockwise(schema: pa.Schema) -> bool:
    """Whether the metadata of the batches says that exteriors do, and holes clockwise."""
    return (schema.metadata or {}).get(b"orientation") == b"counterclockwise"


def boxes_known(schema: pa.Schema) -> bool:
    """Whether batches have columns of sides that are those of the geometries, by their metadata.

    Metadata goes on where columns are left out: both must be there.
    """
    said = (schema.metadata or {}).get(b"boxes") == b"columns"
    return said and set(SIDES) <= set(schema.names)


def describe(name: str) -> Column:
    """How to show column ``name``; unknown ones show as they are called."""
    return KNOWN.get(name, Column(name, ""))


def attributes(schema: pa.Schema) -> tuple[str, ...]:
    """Names of all columns but the geometry."""
    return tuple(name for name in schema.names if name != GEOMETRY)


def column_of(values: NDArray[Any], absent: NDArray[np.bool_] | None = None) -> pa.Array:
    """Numbers or booleans ``(n,)`` as Arrow has them, not copied if they need not be.

    Unlike ``pa.array``, this does not load pandas to see whether they are of pandas.

    Args:
        values: Those of what is absent may be anything.
        absent: ``(n,)`` which are null; none without it.
    """
    kind, count = pa.from_numpy_dtype(values.dtype), len(values)
    stored = _bits(values) if values.dtype == np.bool_ else np.ascontiguousarray(values)
    known = None if absent is None or not absent.any() else pa.py_buffer(_bits(~absent))
    return pa.Array.from_buffers(kind, count, [known, pa.py_buffer(stored)])


def text_column(texts: Sequence[str | None], index: NDArray[np.integer[Any]]) -> pa.Array:
    """For each number of ``index`` ``(n,)`` its text; null where that is None."""
    stored = [b"" if text is None else text.encode() for text in texts]
    size = np.array([len(text) for text in stored], np.int32)[index]
    ends = np.zeros(len(index) + 1, np.int32)
    np.cumsum(size, out=ends[1:])
    # A text for each row, with zeros after it that are then left out.
    padded = np.array(stored, np.bytes_)
    wide = padded[index].view(np.uint8).reshape(len(index), padded.itemsize)
    text = wide[np.arange(wide.shape[1]) < size[:, None]]
    absent = np.array([text is None for text in texts], np.bool_)[index]
    known = pa.py_buffer(_bits(~absent)) if absent.any() else None
    buffers = [known, pa.py_buffer(ends), pa.py_buffer(text)]
    return pa.Array.from_buffers(pa.string(), len(index), buffers)


def values_of(column: pa.Array) -> NDArray[Any]:
    """Numbers or booleans of an array ``(n,)``; what is absent may be anything.

    Numbers are not copied, and not to be changed. Loads no pandas, as ``to_numpy`` does.
    """
    begin, stop = column.offset, column.offset + len(column)
    stored = column.buffers()[1]
    if pa.types.is_boolean(column.type):
        return _flags(stored, begin, stop)
    kind = np.dtype(column.type.to_pandas_dtype())
    return np.frombuffer(stored, kind, stop)[begin:] if stop > begin else np.empty(0, kind)


def absent_of(column: pa.Array) -> NDArray[np.bool_]:
    """Which values of an array are null ``(n,)``."""
    known = column.buffers()[0]
    if not column.null_count or known is None:
        return np.full(len(column), bool(column.null_count))
    return ~_flags(known, column.offset, column.offset + len(column))


def _flags(bits: pa.Buffer, begin: int, stop: int) -> NDArray[np.bool_]:
    flags = np.unpackbits(np.frombuffer(bits, np.uint8), count=stop, bitorder="little")
    return flags[begin:].view(np.bool_)


def _bits(flags: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.packbits(flags, bitorder="little")


def regroup(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """The same polygons in batches of ``rows``: bytes must not depend on how they were computed."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        held.append(batch)
        count += batch.num_rows
        while count >= rows:
            table = pa.Table.from_batches(held)
            yield _one_batch(table.slice(0, rows))
            held, count = table.slice(rows).to_batches(), count - rows
    if count:
        yield _one_batch(pa.Table.from_batches(held))


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    return table.combine_chunks().to_batches()[0]
