"""Places in labels that somebody should look at, as a GeoPackage for QGIS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from odc.geo.crs import CRS
from pyproj import Transformer

from geoseg.errors import InputError
from geoseg.io.columns import GEOMETRY
from geoseg.io.geopackage import write_geopackage

LAYER = "places"


def check_places(path: Path) -> None:
    """Refuse what is no GeoPackage.

    Raises:
        InputError: It is none.
    """
    if path.suffix.lower() != ".gpkg":
        raise InputError(f"places: {path} does not end in .gpkg")


def write_places(
    path: Path,
    shapes: Sequence[shapely.Geometry],
    crs: Sequence[CRS],
    columns: Mapping[str, Sequence[str]],
    tags: Mapping[str, object] | None = None,
) -> int:
    """Write shapes as points and outlines alike, in longitude and latitude if they differ in CRS.

    Args:
        path: A ``.gpkg``.
        shapes: Of any kind; where they are.
        crs: Of each.
        columns: Texts about each.
        tags: Provenance, JSON-able.

    Raises:
        InputError: It is no GeoPackage.
        ProductError: It cannot be written.
    """
    check_places(path)
    different = list(dict.fromkeys(crs))
    target = different[0] if len(different) == 1 else CRS("EPSG:4326")  # none: no matter which
    moved = np.array(shapes, dtype=np.object_)
    for one in different:
        if one != target:
            which = np.array([c == one for c in crs])
            moved[which] = _moved(moved[which], one, target)
    batch = _batch(moved, columns)
    epsg = target.epsg
    text = f"EPSG:{epsg}" if epsg is not None else str(target.wkt)
    title = "What geoseg labels check found"
    written = write_geopackage(
        path, {LAYER: [batch]}, grid_crs=text, styles={}, tags=tags or {}, titles={LAYER: title}
    )
    return written[LAYER]


def _batch(shapes: NDArray[np.object_], columns: Mapping[str, Sequence[str]]) -> pa.RecordBatch:
    """Shapes and their texts as a table."""
    fields = [pa.field(GEOMETRY, pa.binary(), nullable=False)]
    fields += [pa.field(name, pa.string()) for name in columns]
    values = [pa.array(list(shapely.to_wkb(shapes)), pa.binary())]
    values += [pa.array(list(texts), pa.string()) for texts in columns.values()]
    schema = pa.schema(fields, metadata={"geometry_type": "Unknown"})
    return pa.RecordBatch.from_arrays(values, schema=schema)


def _moved(shapes: NDArray[np.object_], source: CRS, target: CRS) -> NDArray[np.object_]:
    change = Transformer.from_crs(source.proj, target.proj, always_xy=True)
    moved: NDArray[np.object_] = shapely.transform(
        shapes, lambda xy: np.column_stack(change.transform(xy[:, 0], xy[:, 1]))
    )
    return moved
