"""Tables of land use: areas by class and unit, land accounts, and what became of what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from geoseg.grid import GeoBox
from geoseg.io.geopackage import crs_text
from geoseg.io.qml import outline_style, polygon_document
from geoseg.io.tables import Layer, write_polygon_tables, write_tables
from geoseg.io.zones import Zones
from geoseg.legend import Legend
from geoseg.ops.land_accounts import accounts
from geoseg.steps.land_use import Pair, Tally

UNSEEN = "Not observed"
"""Takes part in accounts like a class, so that they add up."""

_OUTLINE = (60, 60, 60)  # drawn as three fifths of it, nearly black
_DIGITS = 6  # of hectares: a hundredth of a square metre
_AREAS = pa.schema(
    [
        ("period", pa.string()),
        ("zone", pa.string()),
        ("class_code", pa.int64()),
        ("class_name", pa.string()),
        ("area_ha", pa.float64()),
        ("percent", pa.float64()),
    ]
)
_HECTARES = ("opening_ha", "additions_ha", "reductions_ha", "net_ha", "closing_ha", "stable_ha")
_ACCOUNTS = pa.schema(
    [
        ("from_period", pa.string()),
        ("to_period", pa.string()),
        ("zone", pa.string()),
        ("class_code", pa.int64()),
        ("class_name", pa.string()),
        *((name, pa.float64()) for name in _HECTARES),
    ]
)
_MATRIX = pa.schema(
    [
        ("from_period", pa.string()),
        ("to_period", pa.string()),
        ("zone", pa.string()),
        ("from_class", pa.string()),
        ("to_class", pa.string()),
        ("area_ha", pa.float64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Tables:
    """See :class:`geoseg.api.land_use.LandUseResult`."""

    areas: pa.Table
    accounts: pa.Table
    matrix: pa.Table


class LandTables:
    """Sums up what blocks have counted.

    Attributes:
        periods: Their names.
        pairs: Periods that are compared: each with the next, and the first with the last.
        changes: Counts that change between periods, as single periods and as the rule say.
        filled: Counts that were filled.
    """

    def __init__(self, zones: Zones, legend: Legend, periods: tuple[str, ...]) -> None:
        self._zones, self.periods = zones.names, periods
        self._codes: list[int | None] = [*legend.values, None]
        self._names = [*legend.names, UNSEEN]
        last = len(periods) - 1
        pairs = [(number, number + 1) for number in range(last)]
        self.pairs: tuple[Pair, ...] = (*pairs, *([(0, last)] if last > 1 else []))
        kinds = len(self._names)
        self._areas = np.zeros((len(zones.names), len(periods), kinds), np.int64)
        self._matrices = np.zeros((len(zones.names), len(self.pairs), kinds, kinds), np.int64)
        self.changes, self.filled = (0, 0), 0

    def add(self, tally: Tally) -> None:
        """Take what a block has counted."""
        for zone, areas in tally.areas.items():
            self._areas[zone] += areas
        for zone, matrices in tally.matrices.items():
            self._matrices[zone] += matrices
        self.changes = self.changes[0] + tally.changes[0], self.changes[1] + tally.changes[1]
        self.filled += tally.filled

    def finish(self, hectares: float) -> Tables:
        """The tables; ``hectares`` are those of one count."""
        return Tables(
            _table(self._area_rows(hectares), _AREAS),
            _table(self._account_rows(hectares), _ACCOUNTS),
            _table(self._matrix_rows(hectares), _MATRIX),
        )

    def _area_rows(self, hectares: float) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        for number, period in enumerate(self.periods):
            for zone, name in enumerate(self._zones):
                counts = self._areas[zone, number]
                total = int(counts.sum())
                for code, label, count in zip(self._codes, self._names, counts, strict=True):
                    share = round(100 * int(count) / total, 4) if total else 0.0
                    area = round(int(count) * hectares, _DIGITS)
                    rows.append((period, name, code, label, area, share))
        return rows

    def _account_rows(self, hectares: float) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        for number, (before, after) in enumerate(self.pairs):
            for zone, name in enumerate(self._zones):
                head = self.periods[before], self.periods[after], name
                found = accounts(self._matrices[zone, number])
                for code, label, one in zip(self._codes, self._names, found, strict=True):
                    numbers = (
                        one.opening, one.additions, one.reductions, one.net, one.closing, one.stable,
                    )  # fmt: skip
                    areas = (round(int(n) * hectares, _DIGITS) for n in numbers)
                    rows.append((*head, code, label, *areas))
        return rows

    def _matrix_rows(self, hectares: float) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        for number, (before, after) in enumerate(self.pairs):
            for zone, name in enumerate(self._zones):
                head = self.periods[before], self.periods[after], name
                matrix = self._matrices[zone, number]
                for source, target in np.argwhere(matrix):
                    area = round(int(matrix[source, target]) * hectares, _DIGITS)
                    rows.append((*head, self._names[source], self._names[target], area))
        return rows


def _table(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else ([] for _ in schema)
    arrays = [pa.array(list(c), f.type) for c, f in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def write_land_tables(
    folder: Path, tables: Tables, grid: GeoBox, zones: Zones, origin: Mapping[str, object]
) -> dict[str, Path]:
    """CSV and Parquet of each table, and all of them with the units as a GeoPackage.

    ``origin`` is what they say of where they come from.
    """
    named = {"areas": tables.areas, "accounts": tables.accounts, "changes": tables.matrix}
    made = write_tables(folder, named, origin)
    path = folder / "land_use.gpkg"
    shapes, crs = zones.shapes, "" if zones.crs is None else str(zones.crs.proj.to_wkt())
    if zones.crs is None:
        shapes, crs = _outline(grid), crs_text(grid)
    write_polygon_tables(
        path,
        Layer(
            "zones",
            "Units that areas are counted in",
            polygon_document(outline_style(_OUTLINE, ["zone"], name="zone", alpha=0)),
        ),
        shapes,
        pa.table({"zone": pa.array(zones.names, pa.string())}),
        named,
        crs=crs,
        tags=origin,
    )
    return made | {"geopackage": path}


def _outline(grid: GeoBox) -> NDArray[np.object_]:
    height, width = (int(n) for n in grid.shape)
    corners = ((0, 0), (width, 0), (width, height), (0, height))
    outline = np.empty(1, object)
    outline[0] = shapely.Polygon([grid.affine @ corner for corner in corners])
    return outline
