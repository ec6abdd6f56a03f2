"""Writing classes and confidence as COGs: as geoseg does it, and with GDAL's COG driver, in turns.

    python benchmarks/cogs.py PRODUCTS [--sides 5490 10980] [--turns 3]

``PRODUCTS`` is the folder of a run; its ``classes.tif`` and ``confidence.tif`` are mirrored until
they fill a square of so many pixels, which lies in memory. Printed are seconds on the wall, CPU
seconds of all threads, nanoseconds of CPU a pixel, and bytes; the least of all turns. GDAL's driver
gets what geoseg gave it before: a plain GeoTIFF, written in strips, and read back in the end.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.shutil import copy
from rasterio.windows import Window as RasterWindow

from geoseg.grid import Window
from geoseg.io.cog import write_class_cog, write_confidence_cog
from geoseg.io.environment import gdal_env
from geoseg.legend import LandClass, Legend

Raster = NDArray[np.uint8]
_ROWS = 512


@dataclass(frozen=True, slots=True)
class Held:
    """A raster in memory, read as from a store."""

    values: Raster

    def read(self, window: Window) -> Raster:
        """A part of it."""
        return self.values[window.slices].copy()


def fill(path: Path, side: int) -> tuple[Raster, int]:
    """The first band, mirrored until it fills a square; and its nodata."""
    with rasterio.open(path) as source:
        values, nodata = source.read(1), int(source.nodata)
    both = np.concatenate([values, values[::-1]])
    both = np.concatenate([both, both[:, ::-1]], axis=1)
    times = [-(-side // n) for n in both.shape]
    return np.ascontiguousarray(np.tile(both, times)[:side, :side]), nodata


def by_driver(values: Raster, nodata: int, path: Path, *, classes: bool) -> None:
    """With GDAL's COG driver."""
    plain, side = path.with_name("plain.tif"), len(values)
    profile = {"driver": "GTiff", "height": side, "width": side, "count": 1, "dtype": "uint8"}
    profile |= {"nodata": nodata, "tiled": True, "blockxsize": _ROWS, "blockysize": _ROWS}
    profile |= {"compress": "zstd", "zstd_level": 1, "num_threads": 2, "crs": "EPSG:32629"}
    with gdal_env(cache=64), rasterio.Env(GDAL_NUM_THREADS="2"):
        with rasterio.open(plain, "w", **profile, transform=Affine(10, 0, 0, 0, -10, 0)) as target:
            for row in range(0, side, _ROWS):
                strip = values[row : row + _ROWS]
                np.bincount(strip.ravel(), minlength=256)
                target.write(strip, 1, window=RasterWindow(0, row, side, len(strip)))
        copy(
            plain,
            path,
            driver="COG",
            COMPRESS="DEFLATE",
            LEVEL=6,
            PREDICTOR="NO" if classes else "STANDARD",
            BLOCKSIZE=_ROWS,
            OVERVIEWS="IGNORE_EXISTING",
            OVERVIEW_RESAMPLING="MODE" if classes else "AVERAGE",
            NUM_THREADS="2",
        )
        with rasterio.open(path) as made:
            levels = len(made.overviews(1))
        for level in (None, *range(levels)):
            options = {} if level is None else {"OVERVIEW_LEVEL": level}
            with rasterio.open(path, NUM_THREADS="2", **options) as source:
                for row in range(0, source.height, _ROWS):
                    rows = min(_ROWS, source.height - row)
                    source.read(1, window=RasterWindow(0, row, source.width, rows))


def by_geoseg(values: Raster, nodata: int, path: Path, *, classes: bool) -> None:
    """As products are written."""
    grid = GeoBox(values.shape, Affine(10, 0, 0, 0, -10, 0), "EPSG:32629")
    if not classes:
        write_confidence_cog(Held(values), grid, path, tags={})
        return
    codes = [code for code in range(256) if code != nodata]
    legend = Legend("any", tuple(LandClass(c, f"class {c}", f"#{c:06x}") for c in codes), nodata)
    write_class_cog(Held(values), grid, legend, path, tags={})


def measured(write: Callable[[Path], None], turns: int) -> tuple[float, float, int]:
    """Seconds on the wall and of CPU, the least of all turns, and bytes."""
    found = []
    for _ in range(turns):
        with tempfile.TemporaryDirectory(prefix="cogs-") as folder:
            path = Path(folder, "made.tif")
            wall, cpu = time.perf_counter(), time.process_time()
            write(path)
            found.append((time.perf_counter() - wall, time.process_time() - cpu))
            size = path.stat().st_size
    return min(w for w, _ in found), min(c for _, c in found), size


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("products", type=Path)
    parser.add_argument("--sides", type=int, nargs="+", default=[5490, 10980])
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    by_geoseg(
        np.zeros((1100, 1100), np.uint8), 255, Path(tempfile.mkdtemp(), "a.tif"), classes=True
    )
    print(f"{'':26}{'wall s':>8}{'CPU s':>8}{'ns a px':>9}{'bytes':>12}")
    for side in args.sides:
        for name in ("classes", "confidence"):
            values, nodata = fill(args.products / f"{name}.tif", side)
            for way, write in (("driver", by_driver), ("geoseg", by_geoseg)):

                def once(path: Path, write: Callable[..., None] = write) -> None:
                    write(values, nodata, path, classes=name == "classes")  # noqa: B023 (at once)

                wall, cpu, size = measured(once, args.turns)
                each = cpu / values.size * 1e9
                print(f"{side:6} {name:11}{way:8}{wall:8.2f}{cpu:8.2f}{each:9.1f}{size:12,}")


if __name__ == "__main__":
    main()
