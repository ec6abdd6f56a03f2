"""Scenes whose every number says where it lies, for what moves them to other grids."""

import numpy as np
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasters import UTM, band_of, grid_of, write

from geoseg.grid import full_window
from geoseg.io.reader import ScenePixels
from geoseg.scene import Band, Scene


def on(grid, **more):
    """A scene of which only the grid matters."""
    return Scene("s", {"red": Band("s.tif", 1, grid, "uint8")}, grid, **more)


def scene_of(path, masks=(), **changes):
    band = band_of(path, **changes)
    return Scene("s", {"red": band}, band.grid, tuple(masks))


def read(scene):
    pixels = ScenePixels(scene)
    patch = pixels.read(["red"], full_window(scene.grid))
    pixels.close()
    return patch.values[0], patch.valid


def centres(grid, crs=None):
    """Where pixel centres lie, in the grid's own CRS or another, ``(x, y)``."""
    rows, cols = np.indices(grid.shape) + 0.5
    a = grid.affine
    x, y = a.a * cols + a.b * rows + a.c, a.d * cols + a.e * rows + a.f
    if crs is None:
        return x, y
    return Transformer.from_crs(str(grid.crs), crs, always_xy=True).transform(x, y)


def ramp(folder, transform, *, shape=(40, 50), crs=UTM):
    """A file whose every number says where it lies: easting and northing from its corner."""
    x, y = centres(GeoBox(shape, transform, crs))
    values = (x - transform.c) + 3 * (y - transform.f)
    return write(folder / "ramp.tif", values, transform=transform, crs=crs)


def expected_ramp(grid, path):
    source = grid_of(path)
    x, y = centres(grid, str(source.crs))
    if source.crs.geographic:
        middle = (source.affine @ (source.shape[1] / 2, 0))[0]
        x = middle + (x - middle + 180) % 360 - 180
    return (x - source.affine.c) + 3 * (y - source.affine.f)
