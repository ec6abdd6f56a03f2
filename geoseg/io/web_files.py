"""Polygons for the web: FlatGeobuf to be fetched by place, PMTiles to be drawn as a map."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from math import ceil, floor, log2
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyogrio
from numpy.typing import NDArray
from pyproj import Transformer

from geoseg.errors import ProductError
from geoseg.grid import GeoBox
from geoseg.io.atomic import replacing, write_bytes
from geoseg.io.columns import CLASS_CODE, GEOMETRY, SCHEMA, geometry_type
from geoseg.io.gdal_failures import FAILURES
from geoseg.io.geopackage import crs_text
from geoseg.io.pmtiles import add_metadata, without_tiles
from geoseg.io.provenance import KEY, text_of
from geoseg.legend import LandClass
from geoseg.ops.boxes import SIDES

_AROUND = 40_075_016.685578488  # metres of the equator, and of a Web Mercator map
_RADIUS = _AROUND / (2 * np.pi)
_FARTHEST = 85.051128779806604  # degrees north where that map ends
_TILE = 256  # screen pixels along a tile
_COARSER = 2  # levels; a tile counts in 4096ths, so that a pixel is still four units wide
_DEEPEST = 22
_FAT = ("area_m2", "pixels", "valid_share", *SIDES)  # what tiles do without
_MOST_BYTES = 2_000_000  # of a tile before GDAL leaves polygons out of it
COLOR = "color"
_Floats = NDArray[np.float64]


def write_flatgeobuf(
    path: str | Path,
    batches: Iterable[pa.RecordBatch],
    *,
    layer: str,
    grid_crs: GeoBox | str,
    tags: Mapping[str, object],
    title: str,
) -> int:
    """Write polygons as FlatGeobuf with its packed R-tree; their order is that of the tree.

    Args:
        path: The ``.fgb``; replaced only when the new one is complete.
        batches: With a WKB column ``geometry`` and any attributes.
        layer: Name of the layer.
        grid_crs: The CRS of the geometries: the grid they come from, or WKT or ``EPSG:n``.
        tags: Provenance, JSON-able; kept as the item ``geoseg`` of the metadata.
        title: What the layer shows.

    Returns:
        Number of polygons.

    Raises:
        ProductError: It cannot be written.
    """
    return _write(
        path,
        _Stream(batches),
        layer,
        driver="FlatGeobuf",
        crs=crs_text(grid_crs),
        layer_options={"SPATIAL_INDEX": "YES", "TITLE": title},
        layer_metadata={KEY: text_of(tags)},
    )


def write_pmtiles(
    path: str | Path,
    batches: Iterable[pa.RecordBatch],
    *,
    layer: str,
    grid: GeoBox,
    classes: Sequence[LandClass],
    tags: Mapping[str, object],
    title: str,
    zooms: tuple[int, int] | None = None,
) -> int:
    """Write polygons as vector tiles of the usual web map (EPSG:3857), in one PMTiles archive.

    Attributes are those of the batches but for what tiles can do without, and ``color``, which a
    map can paint with: ``["get", "color"]``. GDAL clips each polygon at each level, which takes
    about half a millisecond per polygon; tiles of more than 2 MB lose their smallest polygons.

    Args:
        path: The ``.pmtiles``; replaced only when the new one is complete.
        batches: With a WKB column ``geometry`` and any attributes.
        layer: Name of the layer in the tiles.
        grid: What the polygons were made of.
        classes: Colours by ``class_code``.
        tags: Provenance, JSON-able; kept as the item ``geoseg`` of the metadata.
        title: Name of the archive.
        zooms: Lowest and highest level; those of :func:`zoom_levels` if None.

    Returns:
        Number of polygons.

    Raises:
        ProductError: It cannot be written, or the grid has no CRS.
    """
    crs = crs_text(grid)
    lowest, highest = zoom_levels(grid) if zooms is None else zooms
    options = {
        "NAME": title,
        "MINZOOM": str(lowest),
        "MAXZOOM": str(highest),
        "MAX_SIZE": str(_MOST_BYTES),
    }
    stream = _Stream(_for_tiles(batches, classes))
    if stream.empty:
        write_bytes(path, without_tiles(layer, title, (lowest, highest), {KEY: tags}))
        return 0
    return _write(
        path,
        stream,
        layer,
        driver="PMTiles",
        crs=crs,
        dataset_options=options,
        finish=lambda made: add_metadata(made, {KEY: tags}),
    )


def zoom_levels(grid: GeoBox) -> tuple[int, int]:
    """The level at which a grid fits into a tile, and that at which four units make a pixel."""
    height, width = grid.shape
    rows = np.array([0.0, 0.0, height, height, height / 2])
    cols = np.array([0.0, width, 0.0, width, width / 2])
    here, down, right = (_on_web_map(grid, rows + i, cols + j) for i, j in ((0, 0), (1, 0), (0, 1)))
    steps = np.hypot(*(np.stack([down, right]) - here).transpose(2, 0, 1))
    # What lies beyond the end of the map is moved to there, and may have no size.
    steps = steps[np.isfinite(steps) & (steps > 0)]
    extent = max(*np.ptp(here[np.isfinite(here).all(axis=1)], axis=0), 1.0)
    lowest = min(max(floor(log2(_AROUND / extent)), 0), _DEEPEST)
    highest = ceil(log2(_AROUND / (_TILE * float(steps.min())))) - _COARSER
    return lowest, min(max(highest, lowest), _DEEPEST)


def _on_web_map(grid: GeoBox, rows: _Floats, cols: _Floats) -> _Floats:
    """Web Mercator metres ``(n, 2)`` of lattice points."""
    a = grid.affine
    to_degrees = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(a.a * cols + a.b * rows + a.c, a.d * cols + a.e * rows + a.f)
    lat = np.clip(lat, -_FARTHEST, _FARTHEST)
    return np.stack([np.radians(lon), np.arctanh(np.sin(np.radians(lat)))], axis=1) * _RADIUS


class _Stream:
    """Batches as Arrow wants them: of one schema that is known before the first one."""

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        iterator = (batch for batch in batches if len(batch))
        first = next(iterator, None)
        head = () if first is None else (first,)
        self.empty = first is None
        self.schema = getattr(batches, "schema", SCHEMA) if first is None else first.schema
        self.rows = 0
        self.failure: Exception | None = None
        self._batches = chain(head, iterator)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._batches:
                self.rows += batch.num_rows
                yield batch
        except Exception as error:
            self.failure = error
            raise


def _write(
    path: str | Path,
    stream: _Stream,
    layer: str,
    *,
    finish: Callable[[Path], None] | None = None,
    **options: Any,
) -> int:
    with replacing(path) as made:
        try:
            pyogrio.write_arrow(
                pa.RecordBatchReader.from_batches(stream.schema, stream),
                made,
                layer=layer,
                geometry_name=GEOMETRY,
                geometry_type=geometry_type(stream.schema),
                **options,
            )
        except (*FAILURES, RuntimeError) as error:
            # Arrow turns what goes wrong while it asks for a batch into words of its own.
            if stream.failure is not None:
                raise stream.failure from error
            raise ProductError(f"{path}: cannot be written: {error}") from error
        if finish is not None:
            finish(made)
    return stream.rows


def _for_tiles(
    batches: Iterable[pa.RecordBatch], classes: Sequence[LandClass]
) -> Iterator[pa.RecordBatch]:
    colors = {c.value: c.color for c in classes}
    for batch in batches:
        names = [name for name in batch.schema.names if name not in _FAT]
        codes, index = np.unique(batch.column(CLASS_CODE).to_numpy(), return_inverse=True)
        color = pa.array([colors.get(int(code)) for code in codes], pa.string()).take(index)
        slim = batch.select(names)
        schema = slim.schema.append(pa.field(COLOR, pa.string()))
        yield pa.RecordBatch.from_arrays([*slim.columns, color], schema=schema)
