"""Checked plots as GeoPackage, GeoJSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import shapely
from shapely.geometry.base import BaseGeometry

from geoseg.io.atomic import write_bytes
from geoseg.io.columns import GEOMETRY, describe
from geoseg.io.geopackage import write_geopackage
from geoseg.io.plot_files import TRACES
from geoseg.io.qml import polygon_qml
from geoseg.legend import LandClass

LAYER: Final = "plots"
DECIMALS: Final = 6
"""Of degrees in GeoJSON: 0.1 m."""

RISKS: Final = (
    LandClass(0, "none", "#1b9e77"),
    LandClass(1, "low", "#f0c75e"),
    LandClass(2, "high", "#b0104a"),
    LandClass(3, "cannot be told", "#8d8d99"),
)
"""Colours that read alike with any colour vision: they differ in lightness, too."""

_TYPES: Final[Mapping[str, pa.DataType]] = {
    "plot_id": pa.string(),
    "risk_code": pa.int16(),
    "risk": pa.string(),
    "given_as": pa.string(),
    **dict.fromkeys(
        (
            "plot_ha", "observed_share", "forest_ha", "loss_ha", "loss_share", "confirmed_ha",
            "undated_ha", "earlier_ha", "outside_ha",
        ),
        pa.float64(),
    ),
    "loss_after": pa.string(),
    "loss_first": pa.string(),
    "loss_last": pa.string(),
    "loss_years": pa.string(),
    "confidence_mean": pa.float64(),
    "evidence": pa.string(),
    "notes": pa.string(),
    **dict.fromkeys(TRACES, pa.string()),
}  # fmt: skip
COLUMNS: Final = tuple(_TYPES)


@dataclass(frozen=True, slots=True, eq=False)
class PlotRow:
    """A plot as it is written.

    Attributes:
        values: By column; what is missing is null.
        shape: Polygons in longitude and latitude that were looked at, None where there are none.
        point: What it was given as, if it was a point.
    """

    values: Mapping[str, Any]
    shape: BaseGeometry | None
    point: BaseGeometry | None


def write_plot_csv(path: Path, rows: Sequence[PlotRow]) -> None:
    """A table for spreadsheets, in UTF-8 with a mark that says so, as they expect it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(row.values.get(name)) for name in COLUMNS])
    write_bytes(path, b"\xef\xbb\xbf" + text.getvalue().encode())


def _cell(value: Any) -> Any:
    """Texts that a spreadsheet would take for a formula are kept from being one."""
    if isinstance(value, str) and value[:1] in "=+-@\t":
        return f"'{value}"
    return "" if value is None else value


def write_plot_gpkg(path: Path, rows: Sequence[PlotRow], tags: Mapping[str, object]) -> None:
    """One styled layer, coloured by risk, in longitude and latitude.

    Raises:
        ProductError: It cannot be written.
    """
    shapes = [None if row.shape is None else _multi(row.shape) for row in rows]
    columns = [pa.array([_wkb(shape) for shape in shapes], pa.binary())]
    columns += [pa.array([row.values.get(n) for row in rows], kind) for n, kind in _TYPES.items()]
    fields = [pa.field(GEOMETRY, pa.binary())]
    fields += [pa.field(name, kind) for name, kind in _TYPES.items()]
    schema = pa.schema(fields, {"geometry_type": "MultiPolygon"})
    batch = pa.RecordBatch.from_arrays(columns, schema=schema)
    write_geopackage(
        path,
        {LAYER: [batch]},
        grid_crs="EPSG:4326",
        styles={LAYER: polygon_qml(RISKS, COLUMNS, by=("risk_code", "risk"))},
        tags=tags,
        titles={LAYER: "Plots by risk"},
    )


def _wkb(shape: BaseGeometry | None) -> bytes:
    # What has no outline has an empty one: readers know what to do with it.
    return bytes(shapely.to_wkb(shapely.MultiPolygon() if shape is None else shape, byte_order=1))


def _multi(shape: BaseGeometry) -> BaseGeometry:
    return shapely.MultiPolygon(list(shapely.get_parts(shape)))


def write_plot_geojson(path: Path, rows: Sequence[PlotRow]) -> None:
    """GeoJSON (RFC 7946): WGS84, longitude first, six decimals, exteriors counterclockwise.

    A plot that was given as a point is one. Beside the columns of the table each has what TRACES
    reads (``ProducerName``, ``ProducerCountry``, ``ProductionPlace``, and for points ``Area`` in
    hectares), as far as the file of plots says it.
    """
    features = ",\n".join(_feature(row) for row in rows)
    text = f'{{"type": "FeatureCollection", "features": [\n{features}\n]}}\n'
    write_bytes(path, text.encode())


def _feature(row: PlotRow) -> str:
    known = {name: row.values.get(name) for name in COLUMNS}
    properties: dict[str, Any] = {n: known[n] for n in TRACES if known[n]}
    if row.point is not None and known["plot_ha"]:
        properties["Area"] = round(float(known["plot_ha"]), 4)
    properties |= {name: value for name, value in known.items() if name not in TRACES}
    told = json.dumps(properties, ensure_ascii=False, allow_nan=False)
    shape = geojson_geometry(row.shape if row.point is None else row.point)
    return f'{{"type": "Feature", "properties": {told}, "geometry": {shape}}}'


def geojson_geometry(shape: BaseGeometry | None) -> str:
    """The text of a geometry; each coordinate has six decimals, zeros at the end as well."""
    if shape is None or shape.is_empty:
        return "null"
    if shape.geom_type in {"Point", "MultiPoint"}:
        return f'{{"type": "Point", "coordinates": {_pair(shapely.get_coordinates(shape)[0])}}}'
    # Rounding must not make outlines cross themselves.
    fine = shapely.set_precision(shape, 10.0**-DECIMALS)
    fine = shape if fine.is_empty else fine
    parts = [_rings(p) for p in shapely.get_parts(shapely.orient_polygons(fine))]
    if len(parts) == 1:
        return f'{{"type": "Polygon", "coordinates": {parts[0]}}}'
    return f'{{"type": "MultiPolygon", "coordinates": [{", ".join(parts)}]}}'


def _rings(polygon: BaseGeometry) -> str:
    rings = (shapely.get_coordinates(ring) for ring in shapely.get_rings(polygon))
    return f"[{', '.join('[' + ', '.join(map(_pair, xy)) + ']' for xy in rings)}]"


def _pair(xy: Any) -> str:
    # -0.000000 is no number that anyone wants to read.
    x, y = (float(v) + 0.0 for v in np.round(xy, DECIMALS))
    return f"[{x:.{DECIMALS}f}, {y:.{DECIMALS}f}]"


def shown_columns(rows: Sequence[PlotRow], wanted: Sequence[str]) -> list[tuple[str, str]]:
    """Those of ``wanted`` in which any row has something, with what stands above them."""
    filled = [n for n in wanted if any(row.values.get(n) not in (None, "") for row in rows)]
    return [(name, describe(name).label) for name in filled]
