"""The scene of ``gpu.py``: geoseg's sample, repeated, as COGs of two codecs."""

from __future__ import annotations

from collections.abc import Sequence
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


def make_scenes(
    folder: Path, *, repeat: int, quick: bool, codecs: Sequence[str] = tuple(CODECS)
) -> dict[str, Scene]:
    """The same pixels by codec: ``repeat`` x ``repeat`` copies of one sample, without clouds.

    Those that an earlier run has left in ``folder`` are taken as they are.
    """
    side = 640 if quick else 2048
    spec = SampleSpec((side, side), clouds=False, swath_edge=False)
    files = {codec: folder / f"{codec}.tif" for codec in codecs}
    if all(path.exists() for path in files.values()):
        with rasterio.open(files[codecs[0]]) as left:
            grid = GeoBox(left.shape, spec.grid.affine, spec.grid.crs)
        return {codec: _scene(codec, path, grid) for codec, path in files.items()}
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
    for codec, path in files.items():
        _as_cog(plain, path, codec)
    plain.unlink()
    return {codec: _scene(codec, path, grid) for codec, path in files.items()}


def _as_cog(plain: Path, path: Path, codec: str) -> None:
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


def _scene(codec: str, path: Path, grid: GeoBox) -> Scene:
    bands = {
        name: Band(str(path), k, grid, "uint16", SCALE, OFFSET, NODATA)
        for k, name in enumerate(BANDS, start=1)
    }
    return Scene(f"gpu-{codec}", bands, grid, (), datetime(2024, 6, 15, tzinfo=UTC), "reflectance")
