"""Maps of forest with known clearings, as files with dates."""

from dataclasses import replace
from datetime import UTC, date, datetime, time
from pathlib import Path

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from rasters import write

from geoseg.io.dated_map import DatedMap
from geoseg.legend import LandClass, Legend

LEGEND = Legend(
    "cover",
    (LandClass(1, "Trees", "#358221"), LandClass(2, "Grass", "#a7d282"), LandClass(9, "Cloud", "#ffffff")),
    nodata=0,
)  # fmt: skip
AFFINE = Affine(20, 0, 500_000, 0, -20, 9_100_000)
CRS = "EPSG:32720"


def grid_of(shape: tuple[int, int]) -> GeoBox:
    return GeoBox(shape, AFFINE, CRS)


def write_map(
    folder: Path,
    day: date,
    lost: np.ndarray,
    clear: np.ndarray,
    sure: np.ndarray,
    *,
    scene: str = "",
) -> DatedMap:
    """A map on which ``lost`` ``(y, x)`` is grass; ``sure`` in percent; nothing where not clear."""
    name = scene or f"scene-{day}"
    codes = np.where(clear, np.where(lost, 2, 1), 0).astype(np.uint8)
    percents = np.where(clear, sure, 255).astype(np.uint8)
    place = folder / name / str(day)
    options = {"transform": AFFINE, "crs": CRS}
    classes = Path(write(place / "classes.tif", codes, nodata=0, **options))
    confidence = Path(write(place / "confidence.tif", percents, nodata=255, **options))
    when = datetime.combine(day, time(10), UTC)
    return DatedMap(name, classes, when, confidence, None, grid_of(lost.shape), LEGEND)


def series(
    folder: Path, days: list[date], *, shape=(20, 27), seed=0, cloud=0.4, noise=0.05
) -> list[DatedMap]:
    """Maps of clearings that grow from some days on, under clouds, with false classes."""
    rng = np.random.default_rng(seed)
    begin = rng.integers(0, 2 * len(days), size=(-(-shape[0] // 5), -(-shape[1] // 5)))
    begin = np.kron(begin, np.ones((5, 5), int))[: shape[0], : shape[1]]
    maps = []
    for step, day in enumerate(days):
        lost = (begin <= step) ^ (rng.random(shape) < noise)
        sure = rng.integers(55, 100, shape)
        maps.append(write_map(folder, day, lost, rng.random(shape) >= cloud, sure))
    return maps


def renamed(dated: DatedMap, name: str) -> DatedMap:
    return replace(dated, id=name)
