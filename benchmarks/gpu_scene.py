"""The scene of ``gpu.py``: geoseg's sample, repeated, as COGs of two codecs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import rasterio
from rasterio.shutil import copy as copy_raster

from geoseg.grid import GeoBox
from geoseg.io.sample import NODATA, OFFSET, SCALE, SampleSpec, write_sample
from geoseg.ops.synthetic import BANDS
from geoseg.scene import Band, Scene

CODECS = {"deflate": 6, "zstd": 9}
"""GDAL's names and levels (its defaults)."""

_TILE = 512


def make_scenes(folder: Path, *, repeat: int, quick: bool) -> dict[str, Scene]:
    """The same pixels by codec: ``repeat`` x ``repeat`` copies of one sample, without clouds."""
    side = 640 if quick else 2048
    spec = SampleSpec((side, side), clouds=False, swath_edge=False)
    with rasterio.open(write_sample(spec, folder / "sample", workers=8)) as sample:
        pixels, profile = sample.read(), sample.profile
    whole = repeat * side
    plain = folder / "plain.tif"
    profile.update(
        width=whole, height=whole, compress="none", predictor=1, blockxsize=_TILE, blockysize=_TILE
    )
    with rasterio.open(plain, "w", **profile) as out:
        for row in range(repeat):
            strip = np.concatenate([pixels] * repeat, axis=2)
            out.write(strip, window=((row * side, (row + 1) * side), (0, whole)))
    grid = GeoBox((whole, whole), spec.grid.affine, spec.grid.crs)
    found = {codec: _as_cog(plain, folder / f"{codec}.tif", codec, grid) for codec in CODECS}
    plain.unlink()
    return found


def _as_cog(plain: Path, path: Path, codec: str, grid: GeoBox) -> Scene:
    copy_raster(
        plain,
        path,
        driver="COG",
        compress=codec,
        level=CODECS[codec],
        predictor="YES",
        blocksize=_TILE,
        overviews="NONE",
        num_threads="ALL_CPUS",
    )
    bands = {
        name: Band(str(path), k, grid, "uint16", SCALE, OFFSET, NODATA)
        for k, name in enumerate(BANDS, start=1)
    }
    return Scene(f"gpu-{codec}", bands, grid, (), datetime(2024, 6, 15, tzinfo=UTC), "reflectance")
