"""Small rasters for tests."""

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.grid import full_window
from geoseg.io.reader import ScenePixels
from geoseg.scene import Band, Scene

UTM = "EPSG:32629"
NORTH_UP = Affine(10, 0, 500_000, 0, -10, 5_900_000)
SOUTH_UP = Affine(10, 0, 500_000, 0, 10, 5_800_000)
ROTATED = NORTH_UP @ Affine.rotation(25)
DEGREES = Affine(0.0001, 0, -9, 0, -0.0001, 53)


def write(
    path: Path,
    values: np.ndarray,
    *,
    transform: Affine = NORTH_UP,
    crs: str | None = UTM,
    nodata: float | None = None,
    mask: np.ndarray | None = None,
    tags: dict[str, str] | None = None,
    names: tuple[str, ...] = (),
    colors: tuple[rasterio.enums.ColorInterp, ...] = (),
    scales: tuple[float, ...] = (),
    offsets: tuple[float, ...] = (),
    **options: object,
) -> str:
    """Write ``(band, y, x)`` (or ``(y, x)``) to a GeoTIFF, and say where."""
    bands = values[None] if values.ndim == 2 else values
    count, height, width = bands.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width}
    profile |= {"dtype": bands.dtype, "nodata": nodata, "crs": crs, "transform": transform}
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", **(profile | options)) as file,
    ):
        file.write(bands)
        if colors:
            file.colorinterp = colors
        if names:
            file.descriptions = names
        if scales:
            file.scales, file.offsets = scales, offsets
        if tags:
            file.update_tags(**tags)
        if mask is not None:
            file.write_mask(mask)
    return str(path)


def grid_of(path: str) -> GeoBox:
    """The grid of a file."""
    with rasterio.open(path) as file:
        return GeoBox(file.shape, file.transform, file.crs.to_string())


def band_of(path: str, index: int = 1, **changes: object) -> Band:
    """A band of a file, as the file says it."""
    with rasterio.open(path) as file:
        said = {"dtype": file.dtypes[index - 1], "nodata": file.nodatavals[index - 1]}
    return Band(path, index, grid_of(path), **(said | changes))


def scene_of(masks=(), **bands):
    first = next(iter(bands.values()))
    return Scene("made", bands, first.grid, tuple(masks))


def read(scene, names=None, window=None):
    pixels = ScenePixels(scene)
    at = full_window(scene.grid) if window is None else window
    patch = pixels.read(names or list(scene.bands), at)
    pixels.close()
    return patch
