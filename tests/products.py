"""Made-up rasters and polygons for tests of what is written."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.features import shapes
from rasters import DEGREES, NORTH_UP, ROTATED, SOUTH_UP, UTM

from geoseg.grid import Window
from geoseg.legend import LandClass, Legend

LEGEND = Legend(
    "test cover",
    (
        LandClass(10, "Tree cover", "#006400"),
        LandClass(20, "Shrub & <co>", "#ffbb22"),
        LandClass(80, "Wässer", "#0064c8"),
    ),
    nodata=0,
)
LAEA = "+proj=laea +lat_0=10 +lon_0=20 +datum=WGS84 +units=m"

GRIDS = {
    "north-up": GeoBox((1100, 700), NORTH_UP, UTM),
    "south-up": GeoBox((130, 210), SOUTH_UP, UTM),
    "rotated": GeoBox((600, 700), ROTATED, UTM),
    "geographic": GeoBox((300, 200), DEGREES, "EPSG:4326"),
    "no-code": GeoBox((1, 900), Affine(0.1, 0, 7.7, 0, -0.1, 3.3), LAEA),
    "one-pixel": GeoBox((1, 1), NORTH_UP, UTM),
}


class ArrayStore:
    """A raster store in memory that remembers the largest window it was asked for."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.most = values, 0

    def write(self, window: Window, values: np.ndarray) -> None:
        self.values[window.slices] = values

    def read(self, window: Window) -> np.ndarray:
        self.most = max(self.most, window.shape[0] * window.shape[1])
        return self.values[window.slices].copy()


def class_map(shape: tuple[int, int], legend: Legend = LEGEND, seed: int = 0) -> np.ndarray:
    """Patches of some pixels, with a stripe of nodata at the left."""
    rng = np.random.default_rng(seed)
    coarse = rng.choice(np.array(legend.values, np.uint8), [-(-n // 7) for n in shape])
    codes = np.kron(coarse, np.ones((7, 7), np.uint8))[: shape[0], : shape[1]].copy()
    codes[:, : shape[1] // 6] = legend.nodata
    return codes


def percents(shape: tuple[int, int], seed: int = 1) -> np.ndarray:
    """Confidence with a stripe of nodata."""
    values = np.random.default_rng(seed).integers(0, 101, shape).astype(np.uint8)
    values[:, : shape[1] // 6] = 255
    return values


def polygons(codes: np.ndarray, grid: GeoBox, rows: int = 100) -> Iterator[pa.RecordBatch]:
    """The polygons of a class map, as the vectorizing part yields them."""
    affine = Affine(*tuple(grid.affine)[:6])
    found = [
        (shapely.geometry.shape(geometry), int(code))
        for geometry, code in shapes(codes, codes != LEGEND.nodata, transform=affine)
    ]
    names = {c.value: c.name for c in LEGEND.classes}
    for start in range(0, len(found), rows):
        part = list(enumerate(found))[start : start + rows]
        yield pa.record_batch(
            {
                "geometry": pa.array([shapely.to_wkb(s) for _, (s, _) in part], pa.binary()),
                "class_code": pa.array([code for _, (_, code) in part], pa.int16()),
                "class_name": pa.array([names[code] for _, (_, code) in part]),
                "area_m2": pa.array([s.area for _, (s, _) in part]),
                "area_ha": pa.array([s.area / 1e4 for _, (s, _) in part]),
                "perimeter_m": pa.array([s.length for _, (s, _) in part]),
                "pixels": pa.array([round(s.area / 100) for _, (s, _) in part], pa.int64()),
                "confidence_mean": pa.array(
                    [None if i % 5 == 0 else 50.5 for i, _ in part], pa.float32()
                ),
                "polygon_id": pa.array([f"{i:08x}" for i, _ in part]),
                "scene": pa.array(["S2_é"] * len(part)),
            }
        )
