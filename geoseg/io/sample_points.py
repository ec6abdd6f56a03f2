"""Sample points as a GeoPackage that QGIS opens ready to be filled in, and read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from geoseg.grid import GeoBox
from geoseg.io.columns import GEOMETRY
from geoseg.io.geopackage import write_geopackage
from geoseg.io.qml import VERSION

LAYER = "sample"
POINT, STRATUM, NAME, REFERENCE = "point_id", "stratum", "class_name", "reference"

_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
_MARKER = {"name": "circle", "color": "255,255,255,0", "outline_color": "255,0,200,255",
           "outline_width": "0.6", "size": "4", "size_unit": "MM"}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class SamplePoints:
    """Pixels to look at, in the order in which they should be.

    Attributes:
        places: ``(point, 2)`` row and column.
        strata: ``(point,)`` code on the map.
        names: ``(point,)`` name of that class.
    """

    places: NDArray[np.int64]
    strata: NDArray[np.int64]
    names: Sequence[str]


def write_sample_points(
    path: Path,
    points: SamplePoints,
    grid: GeoBox,
    *,
    classes: Sequence[str],
    tags: dict[str, object],
) -> None:
    """Write points at pixel centres in the grid's CRS, with an empty column ``reference``.

    Args:
        path: A ``.gpkg``.
        points: Where.
        grid: Of the map.
        classes: What QGIS offers to choose from for ``reference``.
        tags: How the sample was drawn.

    Raises:
        ProductError: It cannot be written.
    """
    a, (rows, columns) = grid.affine, points.places.T + 0.5
    x, y = a.a * columns + a.b * rows + a.c, a.d * columns + a.e * rows + a.f
    count = len(points.places)
    schema = pa.schema(
        [
            pa.field(GEOMETRY, pa.binary(), nullable=False),
            pa.field(POINT, pa.int32()),
            pa.field(STRATUM, pa.int16()),
            pa.field(NAME, pa.string()),
            pa.field(REFERENCE, pa.string()),
        ],
        metadata={"geometry_type": "Point"},
    )
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array(shapely.to_wkb(shapely.points(x, y)), pa.binary()),
            pa.array(range(1, count + 1), pa.int32()),
            pa.array(points.strata, pa.int16()),
            pa.array(list(points.names), pa.string()),
            pa.nulls(count, pa.string()),
        ],
        schema=schema,
    )
    write_geopackage(
        path,
        {LAYER: [batch]},
        grid_crs=grid,
        styles={LAYER: _style(classes)},
        tags=tags,
        titles={LAYER: "Stratified random sample; fill in the column reference"},
    )


def _style(classes: Sequence[str]) -> str:
    """Rings that leave the pixel to be seen, all alike; a list of classes for ``reference``."""
    root = ET.Element("qgis", version=VERSION, styleCategories="AllStyleCategories")
    renderer = ET.SubElement(root, "renderer-v2", type="singleSymbol", symbollevels="0")
    symbols = ET.SubElement(renderer, "symbols")
    symbol = ET.SubElement(symbols, "symbol", name="0", type="marker", alpha="1")
    layer = ET.SubElement(symbol, "layer", {"class": "SimpleMarker", "enabled": "1"})
    options = ET.SubElement(layer, "Option", type="Map")
    for key, value in _MARKER.items():
        ET.SubElement(options, "Option", name=key, type="QString", value=value)
    fields = ET.SubElement(root, "fieldConfiguration")
    for name in (POINT, STRATUM, NAME):
        ET.SubElement(ET.SubElement(fields, "field", name=name), "editWidget", type="TextEdit")
    widget = ET.SubElement(ET.SubElement(fields, "field", name=REFERENCE), "editWidget")
    widget.set("type", "ValueMap")
    config = ET.SubElement(ET.SubElement(widget, "config"), "Option", type="Map")
    choices = ET.SubElement(config, "Option", type="List", name="map")
    for name in classes:
        choice = ET.SubElement(choices, "Option", type="Map")
        ET.SubElement(choice, "Option", name=name, type="QString", value=name)
    ET.indent(root)
    return _DOCTYPE + ET.tostring(root, encoding="unicode") + "\n"
