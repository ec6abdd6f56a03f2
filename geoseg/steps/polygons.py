"""Finished polygons as Arrow record batches, with what an analyst wants to know of each."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geoseg.errors import InputError, ProductError
from geoseg.grid import GeoBox
from geoseg.io.columns import column_of, text_column
from geoseg.legend import Legend
from geoseg.ops.arcs import BlockArcs
from geoseg.ops.batches import ROWS, PolygonBatch, add_areas
from geoseg.ops.boxes import SIDES
from geoseg.ops.metric import Metric
from geoseg.ops.parting import PartedBlock, part_block
from geoseg.ops.polygonize import Connectivity, join, may_part
from geoseg.ops.topology.shaping import Shaping

_BYTES = 1 << 26
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)


@dataclass(frozen=True, slots=True)
class Least:
    """The smallest polygon that is kept: on the ground, and in pixels."""

    square_metres: float = 0.0
    pixels: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which polygons are made, and what becomes of their boundaries.

    Attributes:
        codes: Classes; all if empty.
        min_area: Square metres on the ground; smaller polygons are dropped, and counted.
        min_pixels: Polygons of fewer pixels are, too.
        least: The same for single classes, by code; whatever is said for all holds as well.
        shaping: How boundaries are simplified and smoothed; as they are if None.
        connectivity: 4: pixels that touch at a corner only are separate polygons, as in GDAL's
            default. 8: they are one feature, a multipolygon.
    """

    codes: tuple[int, ...] = ()
    min_area: float = 0.0
    connectivity: Connectivity = 4
    min_pixels: int = 0
    shaping: Shaping | None = None
    least: Mapping[int, Least] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.connectivity not in (4, 8):
            raise InputError(f"connectivity {self.connectivity} is neither 4 nor 8")
        if not self.min_area >= 0:
            raise InputError(f"min_area {self.min_area} m2 is not 0 or more")


class Polygons:
    """A stream of polygons, to be iterated over once.

    Yields :class:`pyarrow.RecordBatch` of 65,536 polygons or 64 MiB of geometry, at least one
    batch even if there are no polygons. The rows, their order (that of the last pixel of each
    polygon, row by row) and the batches depend on no block: the same raster gives the same bytes.

    ========================  =================================================================
    geometry                  WKB in the CRS of the grid: polygons, or multipolygons where
                              ``connectivity`` is 8; exteriors run counterclockwise
    class_code, class_name    int16 and text; no name where the legend has none
    area_m2, area_ha          on the ellipsoid: summed over pixels, right to about 1e-6
    perimeter_m               on the ellipsoid, along all rings
    pixels                    int64
    confidence_mean           percent; null where no pixel has a confidence
    confidence_min            percent, uint8; null where no pixel has a confidence
    valid_share               percent of the pixels that have a confidence; null where none has
    polygon_id                16 hex digits; from the grid, the first pixel and the class
    touches_edge              whether it has a pixel at the edge of the raster
    xmin, ymin, xmax, ymax    what the geometry spans, in the CRS of the grid
    ========================  =================================================================

    On a grid without CRS areas and lengths are those of the plane.

    Attributes:
        schema: Of the batches; its metadata has ``geometry_type``, ``orientation`` and ``boxes``.
        kept: Polygons yielded so far.
        dropped: Polygons so far that were smaller than what is wanted.
        dropped_area_m2: What they cover.
        written: For each class code so far, the square metres that its polygons have in pixels
            (as in ``area_m2``) and in their geometries, which shaping may have changed.
    """

    def __init__(
        self,
        traced: Iterable[BlockArcs],
        grid: GeoBox,
        metric: Metric,
        *,
        legend: Legend | None = None,
        wanted: Wanted | None = None,
    ) -> None:
        self._traced, self._grid, self._metric = traced, grid, metric
        self._wanted = wanted or Wanted()
        self._names = {c.value: c.name for c in legend.classes} if legend else {}
        self._salt = _fingerprint(grid)
        self.schema = _schema(grid, self._wanted.connectivity)
        self.kept = self.dropped = 0
        self.dropped_area_m2 = 0.0
        self._balance: dict[int, tuple[int, int]] = {}
        self._begun = False

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Join, and yield what is finished.

        Raises:
            BlockError: A block is missing, damaged or of another raster.
            RuntimeError: This has been iterated over before.
        """
        if self._begun:
            raise RuntimeError("polygons are a stream: iterate once, or keep what read_all() gives")
        self._begun = True
        wanted = self._wanted
        parts = may_part(wanted.connectivity, wanted.shaping)
        joined = join(
            _part_ahead(self._traced) if parts else self._traced,
            self._grid.affine,
            self._metric,
            connectivity=wanted.connectivity,
            choose=self._choose,
            shaping=wanted.shaping,
        )
        for batch in _rebatch((self._record_batch(b) for b in joined), self.schema):
            self.kept += batch.num_rows
            yield batch

    @property
    def written(self) -> dict[int, tuple[float, float]]:
        """See the class."""
        unit = self._metric.unit
        return {code: (a * unit, b * unit) for code, (a, b) in sorted(self._balance.items())}

    def read_all(self) -> pa.Table:
        """All polygons at once."""
        return pa.Table.from_batches(list(self), self.schema)

    def _choose(self, features: NDArray[np.void]) -> NDArray[np.bool_]:
        wanted = self._wanted
        in_class = np.ones(len(features), np.bool_)
        if wanted.codes:
            in_class = np.isin(features["code"], wanted.codes)
        area = features["area"] * self._metric.unit
        small = (area < wanted.min_area) | (features["pixels"] < wanted.min_pixels)
        for code, least in wanted.least.items():
            below = (area < least.square_metres) | (features["pixels"] < least.pixels)
            small |= below & (features["code"] == code)
        small &= in_class
        self.dropped += int(np.count_nonzero(small))
        self.dropped_area_m2 += float(area[small].sum())
        return in_class & ~small

    def _record_batch(self, batch: PolygonBatch) -> pa.RecordBatch:
        features = batch.features
        add_areas(self._balance, batch)
        area = features["area"] * self._metric.unit
        with np.errstate(invalid="ignore"):
            confidence = features["confidence"] / features["measured"]
        unseen = features["measured"] == 0
        columns = [
            _binary(batch),
            column_of(features["code"]),
            self._class_names(features["code"]),
            column_of(area),
            column_of(area / 1e4),
            column_of(batch.perimeter),
            column_of(features["pixels"]),
            column_of(confidence, unseen),
            column_of(features["confidence_min"], unseen),
            column_of(features["measured"] * 100 / features["pixels"], unseen),
            self.ids(features),
            column_of(features["edge"]),
            *(column_of(side) for side in batch.boxes),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _class_names(self, codes: NDArray[np.int16]) -> pa.Array:
        least, greatest = (int(codes.min()), int(codes.max())) if len(codes) else (0, 0)
        names = [self._names.get(code) for code in range(least, greatest + 1)]
        return text_column(names, codes - least)

    def ids(self, features: NDArray[np.void]) -> pa.Array:
        """Names of polygons: different for all of a grid, as every step can be undone.

        Args:
            features: With ``code`` and ``first``, as in :data:`geoseg.ops.regions.REGION`.
        """
        code = features["code"].astype(np.uint16).astype(np.uint64)
        key = (features["first"].astype(np.uint64) << np.uint64(16)) | code
        mixed = _mix(_mix(key) ^ self._salt)
        digits = mixed.astype(">u8").view(np.uint8).reshape(-1, 8)
        text = np.stack([_HEX[digits >> 4], _HEX[digits & 15]], -1).reshape(-1)
        offsets = np.arange(len(mixed) + 1, dtype=np.int32) * 16
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(text)]
        return pa.Array.from_buffers(pa.string(), len(mixed), buffers)


def _part_ahead(traced: Iterable[BlockArcs]) -> Iterator[PartedBlock]:
    """Part blocks on a thread of their own, while those before them are joined."""
    with ThreadPoolExecutor(1, thread_name_prefix="part") as pool:
        waiting: deque[Future[PartedBlock]] = deque()
        for block in traced:
            waiting.append(pool.submit(part_block, block))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _schema(grid: GeoBox, connectivity: Connectivity) -> pa.Schema:
    crs = {} if grid.crs is None else {"crs": grid.crs.proj.to_json_dict()}
    geometry = {
        "ARROW:extension:name": "geoarrow.wkb",
        "ARROW:extension:metadata": json.dumps(crs),
    }
    return pa.schema(
        [
            pa.field("geometry", pa.binary(), nullable=False, metadata=geometry),
            pa.field("class_code", pa.int16(), nullable=False),
            pa.field("class_name", pa.string()),
            pa.field("area_m2", pa.float64(), nullable=False),
            pa.field("area_ha", pa.float64(), nullable=False),
            pa.field("perimeter_m", pa.float64(), nullable=False),
            pa.field("pixels", pa.int64(), nullable=False),
            pa.field("confidence_mean", pa.float64()),
            pa.field("confidence_min", pa.uint8()),
            pa.field("valid_share", pa.float64()),
            pa.field("polygon_id", pa.string(), nullable=False),
            pa.field("touches_edge", pa.bool_(), nullable=False),
            *(pa.field(side, pa.float64(), nullable=False) for side in SIDES),
        ],
        {
            "geometry_type": "Polygon" if connectivity == 4 else "MultiPolygon",
            "orientation": "counterclockwise",
            "boxes": "columns",
        },
    )


def _binary(batch: PolygonBatch) -> pa.Array:
    if len(batch.wkb) > np.iinfo(np.int32).max:
        raise ProductError(
            f"a polygon of {len(batch.wkb)} bytes is too large for GeoPackage and GeoParquet; "
            f"write fewer classes, or cut the raster"
        )
    offsets = pa.py_buffer(batch.offsets.astype(np.int32))
    buffers = [None, offsets, pa.py_buffer(batch.wkb)]
    return pa.Array.from_buffers(pa.binary(), len(batch.features), buffers)


def _rebatch(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Cut the stream by rows and bytes alone, wherever the batches began."""
    parts: list[pa.RecordBatch] = []
    rows = size = yielded = 0
    for batch in batches:
        ends = np.frombuffer(batch.column(0).buffers()[1], np.int32, len(batch) + 1)
        begin = 0
        while begin < len(batch):
            room = int(np.searchsorted(ends, _BYTES - size + int(ends[begin]), "right")) - 1
            stop = min(len(batch), begin + ROWS - rows, max(room, begin + (rows == 0)))
            if stop > begin:
                parts.append(batch.slice(begin, stop - begin))
            rows, size, begin = rows + stop - begin, size + int(ends[stop] - ends[begin]), stop
            if stop < len(batch):
                yield _concatenate(parts, schema)
                yielded, parts, rows, size = yielded + 1, [], 0, 0
    if rows or not yielded:
        yield _concatenate(parts, schema)


def _concatenate(parts: list[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    if len(parts) == 1:
        return parts[0]
    table = pa.Table.from_batches(parts, schema).combine_chunks()
    batches = table.to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema)


def _fingerprint(grid: GeoBox) -> np.uint64:
    """Eight bytes that stand for a grid."""
    crs = "" if grid.crs is None else str(grid.crs)
    text = repr((crs, tuple(float(v) for v in grid.affine[:6]), tuple(grid.shape)))
    return np.uint64(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))


def _mix(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele et al. 2014): scatters keys, one to one."""
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))
