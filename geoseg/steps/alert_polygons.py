"""Polygons of alerts with what is known of each region: dates, state, where it came from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geoseg.io.columns import CLASS_CODE, CLASS_NAME
from geoseg.ops.alerts.encoding import LEVELS
from geoseg.ops.alerts.lineage import REGION, Regions
from geoseg.ops.alerts.rules import STATE_NAMES
from geoseg.ops.regions import REGION as FEATURE
from geoseg.steps.polygons import Polygons

LEVEL_NAMES = {2: "Low confidence", 3: "High confidence", 4: "Highest confidence"}
_LEFT_OUT = ("polygon_id", CLASS_CODE, CLASS_NAME, "valid_share")


class AlertPolygons:
    """Outlines of all alerts, each with its region; to be iterated over once.

    To the columns of :class:`geoseg.steps.polygons.Polygons` come ``alert_id``, ``state`` and its
    name, ``start`` and ``end`` (first and last detection), ``clear_before``, ``detections``,
    ``confirmed_share`` and, where it has a history, ``merged`` and ``split_from``.
    """

    def __init__(self, polygons: Polygons, regions: Regions) -> None:
        self._polygons, self._regions = polygons, regions
        self._rows = _rows(polygons, regions)
        empty = pa.RecordBatch.from_pylist([], polygons.schema)
        self.schema = self._with_regions(empty).schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """The batches."""
        for batch in self._polygons:
            yield self._with_regions(batch)

    def _with_regions(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        ids = batch.column("polygon_id").to_pylist()
        at = np.array([self._rows[i] for i in ids], np.int64)
        table: NDArray[np.void] = self._regions.table[at] if len(at) else np.zeros(0, REGION)
        name = self._regions.name
        levels = LEVELS[table["state"]]
        pixels = batch.column("pixels").to_numpy()
        columns = {
            CLASS_CODE: pa.array(levels.astype(np.int16)),
            CLASS_NAME: pa.array([LEVEL_NAMES[int(n)] for n in levels], pa.string()),
            "alert_id": pa.array([name(int(k)) for k in table["name"]], pa.string()),
            "state": pa.array(table["state"].astype(np.int16)),
            "state_name": pa.array([STATE_NAMES[int(n)] for n in table["state"]], pa.string()),
            "start": _days(table["first"]),
            "end": _days(table["last"]),
            "clear_before": _days(table["before"]),
            "detections": pa.array(table["detections"].astype(np.int32)),
            "confirmed_share": pa.array(100.0 * table["confirmed"] / np.maximum(pixels, 1)),
            "merged": pa.array(
                [", ".join(map(name, self._regions.merged[k])) or None for k in at], pa.string()
            ),
            "split_from": pa.array(
                [name(int(k)) or None for k in table["split_from"]], pa.string()
            ),
        }
        kept = [n for n in batch.schema.names if n not in _LEFT_OUT]
        fields = [batch.schema.field(n) for n in kept]
        schema = pa.schema(
            [fields[0], *(pa.field(n, c.type) for n, c in columns.items()), *fields[1:]],
            batch.schema.metadata,
        )
        first, *others = (batch.column(n) for n in kept)
        return pa.RecordBatch.from_arrays([first, *columns.values(), *others], schema=schema)


def _rows(polygons: Polygons, regions: Regions) -> dict[str, int]:
    """The row of each region, by the name that its polygon has."""
    features = np.zeros(len(regions.table), FEATURE)
    features["code"] = 1
    features["first"] = regions.table["pixel"]
    return {name: row for row, name in enumerate(polygons.ids(features).to_pylist())}


def _days(days: NDArray[np.uint16]) -> pa.Array:
    """Dates of days since 1970, null for 0."""
    return pa.array(days.astype(np.int32), pa.int32(), mask=days == 0).cast(pa.date32())
