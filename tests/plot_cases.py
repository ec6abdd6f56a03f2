"""A raster of loss and plots on it, in pixels, with what must come out, counted by shapely."""

import json
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from pyproj import Transformer
from rasters import write

CRS = "EPSG:32720"
AFFINE = Affine(10, 0, 500_000, 0, -10, 9_000_000)
SHAPE = (90, 130)


def loss_years(seed=0):
    """Blotches of loss in 2019..2022, as years since 2000."""
    rng = np.random.default_rng(seed)
    years = np.zeros(SHAPE, np.uint8)
    for _ in range(25):
        y, x = rng.integers(0, SHAPE[0] - 12), rng.integers(0, SHAPE[1] - 12)
        h, w = rng.integers(2, 12, 2)
        years[y : y + h, x : x + w] = rng.integers(19, 23)
    return years


def write_years(path: Path, years, **options):
    return Path(write(path, years, **({"transform": AFFINE, "crs": CRS} | options)))


def on_globe(shape, crs=CRS, affine=AFFINE):
    """A shape in pixels in longitude and latitude."""
    change = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)

    def moved(xy):
        x, y = affine.a * xy[:, 0] + affine.c, affine.e * xy[:, 1] + affine.f
        return np.column_stack(change.transform(x, y))

    return shapely.transform(shape, moved)


def write_plots(path: Path, shapes, properties=None):
    """GeoJSON of shapes in longitude and latitude, None for no geometry."""
    features = [
        {
            "type": "Feature",
            "properties": {} if properties is None else properties[n],
            "geometry": None if shape is None else shapely.geometry.mapping(shape),
        }
        for n, shape in enumerate(shapes)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def pixels_in(shape, where):
    """Pixels of ``where`` ``(y, x)`` in a shape in pixels, with fractions: one by one, by shapely."""
    rows, columns = np.nonzero(where)
    boxes = shapely.box(columns, rows, columns + 1, rows + 1)
    return float(shapely.area(shapely.intersection(boxes, shape)).sum())


def some_plots():
    """Plots in pixels: a square off the pixels, a triangle, one with a hole, two parts, slivers."""
    ring = shapely.box(10, 50, 40, 80) - shapely.box(20.3, 60.7, 30.9, 71.2)
    return [
        shapely.box(5.25, 3.5, 41.75, 33.125),
        shapely.Polygon([(50, 5), (101.3, 20.7), (60.2, 48.4)]),
        ring,
        shapely.MultiPolygon([shapely.box(60, 60, 70, 70), shapely.box(80.5, 60.5, 95, 85)]),
        shapely.Polygon([(100, 2), (101.1, 2), (126.7, 60), (125.9, 60)]),
    ]
