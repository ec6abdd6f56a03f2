"""Small products of two dates and alerts, as they lie on disk, for the map in the browser."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from products import LEGEND, ArrayStore, class_map, percents, polygons
from rasters import write

from geoseg.io.cog import write_class_cog, write_confidence_cog
from geoseg.io.columns import attributes
from geoseg.io.geopackage import write_geopackage
from geoseg.io.product_item import Processing, class_asset, confidence_asset, write_item
from geoseg.io.qml import polygon_qml
from geoseg.io.rat import write_rat
from geoseg.legend import LandClass

GRID = GeoBox((280, 350), Affine(10, 0, 500_000, 0, -10, 5_900_000), "EPSG:32629")
LEVELS = (LandClass(2, "Low confidence", "#f4a3c0"), LandClass(3, "High confidence", "#dc6699"))


def write_product(folder: Path, day: str, *, seed: int = 0, grid: GeoBox = GRID) -> Path:
    """Classes, confidence, polygons, the scene and an item that names it."""
    shape = tuple(int(n) for n in grid.shape)
    codes = class_map(shape, seed=seed)
    place = folder / f"map-{day}"
    place.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    image = rng.integers(200, 2500, (3, *shape)).astype(np.uint16)
    options = {"transform": grid.affine, "crs": str(grid.crs), "nodata": 0}
    scene = write(folder / f"scene-{day}.tif", image, names=("red", "green", "blue"), **options)
    counts = write_class_cog(ArrayStore(codes), grid, LEGEND, place / "classes.tif", tags={})
    write_rat(place / "classes.tif", LEGEND, counts=[int(n) for n in counts])
    write_confidence_cog(ArrayStore(percents(shape, seed)), grid, place / "confidence.tif", tags={})
    batches = list(polygons(codes, grid))
    write_geopackage(
        place / "polygons.gpkg",
        {"land_use": iter(batches)},
        grid_crs=grid,
        styles={"land_use": polygon_qml(LEGEND.classes, attributes(batches[0].schema))},
        tags={},
        titles={"land_use": "Land use"},
    )
    assets = {
        "classes": class_asset(place / "classes.tif", grid, LEGEND),
        "confidence": confidence_asset(place / "confidence.tif", grid),
    }
    write_item(
        place / "item.json",
        item_id=f"map-{day}",
        grid=grid,
        assets=assets,
        acquired=None,
        processing=Processing({"geoseg": "0"}, "made up"),
        sources=[scene],
    )
    item = json.loads((place / "item.json").read_text())
    item["properties"] |= {"datetime": f"{day}T10:00:00Z"}
    (place / "item.json").write_text(json.dumps(item))
    return place


def alert_batch(count: int = 6, grid: GeoBox = GRID) -> pa.RecordBatch:
    """Squares of different sizes from the north-west on, each an alert of its own day."""
    x0, y0 = grid.affine.c, grid.affine.f
    shapes = [
        shapely.box(x0 + 400 * n + 200, y0 - 900, x0 + 400 * n + 300 + 30 * n, y0 - 700)
        for n in range(count)
    ]
    days = np.arange(count) * 10 + 19_000
    return pa.record_batch(
        {
            "geometry": pa.array([shapely.to_wkb(s) for s in shapes], pa.binary()),
            "class_code": pa.array([2 + n % 2 for n in range(count)], pa.int16()),
            "class_name": pa.array([LEVELS[n % 2].name for n in range(count)]),
            "alert_id": pa.array([f"2022-{n:03d}" for n in range(count)]),
            "start": pa.array(days.astype(np.int32), pa.int32()).cast(pa.date32()),
            "end": pa.array((days + 5).astype(np.int32), pa.int32()).cast(pa.date32()),
            "area_ha": pa.array([s.area / 1e4 for s in shapes]),
            "confidence_mean": pa.array([50.0 + 8 * n for n in range(count)]),
        }
    )


def write_alerts(path: Path, batch: pa.RecordBatch | None = None, grid: GeoBox = GRID) -> Path:
    batch = alert_batch() if batch is None else batch
    write_geopackage(
        path,
        {"alerts": iter([batch])},
        grid_crs=grid,
        styles={"alerts": polygon_qml(LEVELS, attributes(batch.schema))},
        tags={},
        titles={"alerts": "Alerts of forest loss"},
    )
    return path
