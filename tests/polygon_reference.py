"""What polygons are compared with: GDAL's, by way of rasterio and shapely."""

import numpy as np
import rasterio.features
import shapely
import shapely.geometry
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy import ndimage

NORTH_UP = Affine(10, 0, 499980, 0, -10, 5300040)
SOUTH_UP = Affine(10, 0, 499980, 0, 10, 5300040)
ROTATED = Affine(7.3, 2.1, 499980.25, 1.9, -5.5, 5300040.75)
MIRRORED = Affine(-3, 0, 499980, 0, -2, 5300040)
OBLONG = Affine(30, 0, 0.1, 0, -0.7, 0.3)
TRANSFORMS = [NORTH_UP, SOUTH_UP, ROTATED, MIRRORED, OBLONG]


def grid_of(array, transform=NORTH_UP, crs="EPSG:32633"):
    return GeoBox(array.shape, transform, crs)


def geometries(table):
    return shapely.from_wkb(table["geometry"].to_numpy(zero_copy_only=False))


def gdal_polygons(array, transform, nodata, connectivity=4):
    """Geometries and codes of ``rasterio.features.shapes`` on the whole raster."""
    mask = None if nodata is None else array != nodata
    found = list(
        rasterio.features.shapes(array, mask, transform=transform, connectivity=connectivity)
    )
    made = [shapely.geometry.shape(geometry) for geometry, _ in found]
    return np.array(made, dtype=object), [int(code) for _, code in found]


def as_set(polygons, codes):
    """What is equal if geometries (whatever vertex they start at) and codes are."""
    return sorted(zip(shapely.to_wkb(shapely.normalize(polygons)), codes, strict=True))


def pixels_of(polygon, array, transform):
    """Which pixels of the raster a geometry covers, hashable."""
    inside = rasterio.features.rasterize([polygon], array.shape, transform=transform)
    return inside.astype(np.uint8).tobytes()


def realistic(shape, *, classes=6, seed=0):
    """A map with patches of all sizes, speckle and a wedge of nodata (0)."""
    rng = np.random.default_rng(seed)
    scores = [
        sum(
            size * ndimage.uniform_filter(rng.standard_normal(shape, np.float32), size)
            for size in (9, 27, 81)
        )
        for _ in range(classes)
    ]
    codes = np.argmax(scores, axis=0).astype(np.uint8) + 1
    rows, cols = np.indices(shape)
    codes[rows + 3 * cols < shape[0] // 2] = 0
    return codes
