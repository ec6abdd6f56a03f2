"""Polygons as GeoParquet 1.1 with a bounding box per row, for databases and notebooks.

Source: https://geoparquet.org/releases/v1.1.0/
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.errors import ProductError
from geoseg.grid import GeoBox
from geoseg.io.atomic import replacing
from geoseg.io.columns import GEOMETRY, SCHEMA, regroup, runs_counterclockwise
from geoseg.io.geopackage import crs_text
from geoseg.io.provenance import KEY, text_of
from geoseg.io.table_rows import bytes_of, placed
from geoseg.ops.boxes import SIDES

_BBOX = "bbox"
_TYPES = (
    "Unknown",
    "Point",
    "LineString",
    "Polygon",
    "MultiPoint",
    "MultiLineString",
    "MultiPolygon",
    "GeometryCollection",
)  # by their number in WKB
_BOX_TYPE = pa.struct([pa.field(side, pa.float64(), nullable=False) for side in SIDES])


def write_geoparquet(
    path: str | Path,
    batches: Iterable[pa.RecordBatch],
    *,
    grid_crs: GeoBox | str,
    tags: Mapping[str, object],
    rows_per_group: int = 16_384,
) -> int:
    """Write polygons, row group by row group.

    Args:
        path: The ``.parquet``; replaced only when the new one is complete.
        batches: With a WKB column ``geometry`` and any attributes; cut anew into row groups, so
            that the bytes do not depend on how they come.
        grid_crs: The CRS of the geometries: the grid they come from, or WKT or ``EPSG:n``.
        tags: Provenance, JSON-able; kept under the key ``geoseg``.
        rows_per_group: What is held in memory and written at once.

    Returns:
        Number of polygons.

    Raises:
        ProductError: It cannot be written.
    """
    crs = CRS.from_user_input(crs_text(grid_crs))
    groups = regroup(batches, rows_per_group)
    first = next(groups, None)
    schema = getattr(batches, "schema", SCHEMA) if first is None else first.schema
    with replacing(path) as made:
        try:
            with pq.ParquetWriter(
                made, _with_box(schema), compression="zstd", compression_level=6
            ) as writer:
                extent = _write_groups(writer, () if first is None else chain((first,), groups))
                # Extent and types are only known now; the footer is written last anyway.
                geo = json.dumps(_geo(crs, extent, schema), sort_keys=True)
                writer.add_key_value_metadata({"geo": geo, KEY: text_of(tags)})
        except pa.ArrowException as error:
            raise ProductError(f"{path}: cannot be written: {error}") from error
    return extent.rows


def _write_groups(writer: pq.ParquetWriter, groups: Iterable[pa.RecordBatch]) -> _Extent:
    extent = _Extent()
    for group in groups:
        writer.write_batch(_add_box(group, extent), row_group_size=group.num_rows)
    return extent


class _Extent:
    """What the file's metadata says of all geometries."""

    def __init__(self) -> None:
        self.box: NDArray[np.float64] = np.array([np.inf, np.inf, -np.inf, -np.inf])
        self.types: set[int] = set()
        self.rows = 0

    def add(self, geometry: pa.Array, boxes: NDArray[np.float64]) -> None:
        self.rows += len(boxes)
        begins, wkb = bytes_of(geometry)
        first = begins[:-1][np.diff(begins) > 0]
        self.types.update(np.unique(wkb[first + 1]).tolist())
        self.box[:2] = np.fmin(self.box[:2], np.fmin.reduce(boxes[:, :2]))
        self.box[2:] = np.fmax(self.box[2:], np.fmax.reduce(boxes[:, 2:]))


def _with_box(schema: pa.Schema) -> pa.Schema:
    """One column of boxes, instead of four of their sides."""
    fields = [field for field in schema if field.name not in SIDES]
    return pa.schema([*fields, pa.field(_BBOX, _BOX_TYPE, nullable=False)])


def _add_box(batch: pa.RecordBatch, extent: _Extent) -> pa.RecordBatch:
    batch, boxes = placed(batch)
    extent.add(batch.column(GEOMETRY), boxes)
    sides = [pa.array(side) for side in boxes.T.copy()]
    box = pa.StructArray.from_arrays(sides, fields=list(_BOX_TYPE))
    columns = [batch.column(name) for name in batch.schema.names if name not in SIDES]
    return pa.RecordBatch.from_arrays([*columns, box], schema=_with_box(batch.schema))


def _geo(crs: CRS, extent: _Extent, schema: pa.Schema) -> dict[str, Any]:
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": sorted(_TYPES[t] for t in extent.types),
        "crs": crs.to_json_dict(),
        "edges": "planar",
        "covering": {_BBOX: {side: [_BBOX, side] for side in SIDES}},
    }
    if runs_counterclockwise(schema):
        column["orientation"] = "counterclockwise"
    if extent.types:
        column["bbox"] = extent.box.tolist()
    return {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}
