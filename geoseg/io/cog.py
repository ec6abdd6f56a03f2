"""Cloud-optimised GeoTIFFs of classes, percents and quality, streamed from raster stores."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS

from geoseg.errors import ProductError
from geoseg.grid import GeoBox, Window, full_window
from geoseg.io.atomic import replacing
from geoseg.io.base import RasterReader
from geoseg.io.cog_layout import TEMPLATE, lay_out
from geoseg.io.cog_levels import TileFiles
from geoseg.io.environment import gdal_env
from geoseg.io.quality import QUALITY_BANDS, DistanceRaster
from geoseg.io.read_back import FAILURES, Written
from geoseg.legend import Legend

Tags = Mapping[str, str]

CONFIDENCE_NODATA = 255
SIDECAR = ".aux.xml"  # what GDAL appends to a raster's name, for what the raster cannot hold

_CACHE_MIB = 64  # GDAL keeps of decoded tiles: a row of them at 100,000 pixels' width


@dataclass(frozen=True, slots=True)
class _Layer:
    """What tells one product from the other."""

    descriptions: tuple[str, ...]
    """Of each band."""
    nodata: int | None
    overviews: Literal["majority", "average", "nearest"]
    """See :func:`geoseg.ops.overviews.reduce`."""
    known: NDArray[np.bool_] | None
    """Which of the 256 numbers may occur, nodata included; None for wider numbers: any."""
    names: str
    """What is known, for the message."""
    differences: bool
    """Whether those of neighbours are stored: good for percents (-14 %), bad for codes (+12 %)."""
    colors: Mapping[int, tuple[int, int, int, int]] | None = None
    dtype: str = "uint8"


def write_class_cog(
    store: RasterReader,
    grid: GeoBox,
    legend: Legend,
    path: str | Path,
    *,
    tags: Tags,
    blocksize: int = 512,
) -> NDArray[np.int64]:
    """Write ``store`` as a COG with the legend's palette and overviews by majority.

    Args:
        store: Class codes; read in strips of ``blocksize`` rows, never as a whole.
        grid: Where its pixels lie.
        legend: Gives palette and nodata.
        path: The GeoTIFF; replaced only when the new one is complete.
        tags: Provenance, kept as GDAL metadata in the file.
        blocksize: Side of an internal tile, in pixels; a multiple of 16.

    Returns:
        How often each of the 256 numbers occurs.

    Raises:
        ProductError: The store holds a code that the legend does not name, or the file cannot be
            written.
    """
    known = np.zeros(256, np.bool_)
    known[[*legend.values, legend.nodata]] = True
    layer = _Layer(
        descriptions=(legend.name,),
        nodata=legend.nodata,
        overviews="majority",
        known=known,
        names=f"legend {legend.name!r} has {', '.join(str(v) for v in legend.values)}",
        differences=False,
        colors=_palette(legend),
    )
    return _write([store], grid, path, layer, tags, blocksize)


def write_confidence_cog(
    store: RasterReader,
    grid: GeoBox,
    path: str | Path,
    *,
    tags: Tags,
    blocksize: int = 512,
) -> NDArray[np.int64]:
    """Write ``store`` (whole percent 0..100, 255 where there is none) as a COG.

    Arguments, result and errors are those of :func:`write_class_cog`; overviews are averages of
    what is not nodata.
    """
    return write_percent_cog([store], grid, path, ["confidence"], tags=tags, blocksize=blocksize)


def write_percent_cog(
    stores: Sequence[RasterReader],
    grid: GeoBox,
    path: str | Path,
    names: Sequence[str],
    *,
    tags: Tags,
    blocksize: int = 512,
) -> NDArray[np.int64]:
    """Write stores of whole percent as one COG, a band for each; see :func:`write_confidence_cog`.

    Args:
        stores: In the order of the bands.
        grid: Where their pixels lie.
        path: The GeoTIFF.
        names: What each band is called; "(percent)" is added.
        tags: Provenance.
        blocksize: Side of an internal tile, in pixels.

    Returns:
        How often each of the 256 numbers occurs, in all bands together.

    Raises:
        ProductError: A store holds something else, or the file cannot be written.
    """
    known = np.zeros(256, np.bool_)
    known[[*range(101), CONFIDENCE_NODATA]] = True
    layer = _Layer(
        descriptions=tuple(f"{name} (percent)" for name in names),
        nodata=CONFIDENCE_NODATA,
        overviews="average",
        known=known,
        names=f"{names[0]} is 0..100, or {CONFIDENCE_NODATA} where there is none",
        differences=True,
    )
    return _write(stores, grid, path, layer, tags, blocksize)


def write_quality_cog(
    observations: RasterReader,
    grid: GeoBox,
    path: str | Path,
    *,
    tags: Tags,
    least: int = 1,
    blocksize: int = 512,
) -> NDArray[np.int64]:
    """Write how often pixels were seen, and how far they are from those that were not, as a COG.

    Args:
        observations: Clear observations of each pixel; 255 is also more.
        grid: Where its pixels lie.
        path: The GeoTIFF.
        tags: Provenance.
        least: Observations that a pixel needs to be valid.
        blocksize: Side of an internal tile, in pixels.

    Returns:
        How often each of the 256 numbers occurs, in both bands together.

    Raises:
        ProductError: The store holds something else, or the file cannot be written.
    """
    layer = _Layer(
        descriptions=QUALITY_BANDS,
        nodata=None,  # 0 is what it says: not seen
        overviews="nearest",
        known=np.ones(256, np.bool_),
        names="any number may occur",
        differences=True,
    )
    distances = DistanceRaster(observations, full_window(grid).shape, least)
    return _write([observations, distances], grid, path, layer, tags, blocksize)


def write_count_cog(
    store: RasterReader,
    grid: GeoBox,
    path: str | Path,
    name: str,
    *,
    tags: Tags,
    blocksize: int = 512,
) -> NDArray[np.int64]:
    """Write a store of counts (255 is also more, 0 is nodata) as a COG; the band is called ``name``.

    Other arguments, result and errors are those of :func:`write_class_cog`; overviews show what is
    most frequent.
    """
    layer = _Layer(
        descriptions=(name,),
        nodata=0,
        overviews="majority",
        known=np.ones(256, np.bool_),
        names="any number may occur",
        differences=False,
    )
    return _write([store], grid, path, layer, tags, blocksize)


def write_number_cog(
    stores: Sequence[RasterReader],
    grid: GeoBox,
    path: str | Path,
    names: Sequence[str],
    *,
    tags: Tags,
    blocksize: int = 512,
) -> None:
    """Write stores of uint16 numbers, of which 0 is nodata, as one COG, a band for each.

    Overviews show what is most frequent. Arguments and errors are those of
    :func:`write_percent_cog`.
    """
    layer = _Layer(
        descriptions=tuple(names),
        nodata=0,
        overviews="majority",
        known=None,
        names="any number may occur",
        differences=False,
        dtype="uint16",
    )
    _write(stores, grid, path, layer, tags, blocksize)


def _palette(legend: Legend) -> dict[int, tuple[int, int, int, int]]:
    colors = {c.value: (*c.rgb, 255) for c in legend.classes}
    return {**dict.fromkeys(range(256), (0, 0, 0, 255)), **colors, legend.nodata: (0, 0, 0, 0)}


def _write(
    stores: Sequence[RasterReader],
    grid: GeoBox,
    path: str | Path,
    layer: _Layer,
    tags: Tags,
    blocksize: int,
) -> NDArray[np.int64]:
    path = Path(path)
    with replacing(path) as made, gdal_env(cache=_CACHE_MIB):
        written = Written()
        try:
            counts = _write_levels(stores, grid, made, layer, tags, blocksize, written)
            written.check(made)
        except (*FAILURES, OSError, ProductError) as error:
            room = shutil.disk_usage(path.parent).free / 1e6
            raise ProductError(
                f"{path}: cannot be written: {error} ({room:,.1f} MB are free there)"
            ) from error
        _move_sidecar(made, path)
    return counts


def _write_levels(
    stores: Sequence[RasterReader],
    grid: GeoBox,
    made: Path,
    layer: _Layer,
    tags: Tags,
    blocksize: int,
    written: Written,
) -> NDArray[np.int64]:
    from geoseg.ops.overviews import Pyramid, histogram, level_shapes  # noqa: PLC0415 (numba)

    shape, counts = full_window(grid).shape, np.zeros(256, np.int64)
    smaller = level_shapes(shape, blocksize)
    tiles = TileFiles(
        made.parent,
        [shape, *smaller],
        blocksize,
        differences=layer.differences,
        written=written,
    )
    with tiles:
        for band, store in enumerate(stores, 1):
            pyramid = Pyramid(shape, smaller, layer.overviews, layer.nodata)
            for window, values in _strips(store, shape, blocksize):
                if layer.known is not None:
                    counts += histogram(values)
                    _check(counts, layer.known, layer.names, window)
                tiles.add(band, [values, *pyramid.add(values)])
    _describe(made, grid, layer, tags, blocksize)
    lay_out(made, tiles.levels, made)
    for level in tiles.levels:
        level.path.unlink()
    return counts


def _describe(path: Path, grid: GeoBox, layer: _Layer, tags: Tags, blocksize: int) -> None:
    """A file without pixels, in which GDAL says all that there is to say of the raster."""
    height, width = full_window(grid).shape
    bands = len(layer.descriptions)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=bands,
        interleave="band" if bands > 1 else "pixel",
        dtype=layer.dtype,
        crs=_crs(grid),
        transform=grid.affine,
        nodata=layer.nodata,
        blockxsize=blocksize,
        blockysize=blocksize,
        compress="deflate",
        predictor=2 if layer.differences else 1,
        **TEMPLATE,
    ) as target:
        if layer.colors is not None:
            target.write_colormap(1, layer.colors)
        target.update_tags(**tags)
        for band, name in enumerate(layer.descriptions, 1):
            target.set_band_description(band, name)


def _strips(
    store: RasterReader, shape: tuple[int, int], rows: int
) -> Iterator[tuple[Window, NDArray[np.uint8]]]:
    height, width = shape
    for y0 in range(0, height, rows):
        window = Window(y0, 0, min(y0 + rows, height), width)
        yield window, store.read(window)


def _check(counts: NDArray[np.int64], known: NDArray[np.bool_], names: str, window: Window) -> None:
    strange = np.flatnonzero((counts > 0) & ~known)
    if strange.size:
        raise ProductError(
            f"rows {window.y0} to {window.y1} hold the number {strange[0]}, but {names}"
        )


def _crs(grid: GeoBox) -> CRS:
    if grid.crs is None:
        raise ProductError("a GeoTIFF needs a grid with a CRS; this one has none")
    return CRS.from_wkt(grid.crs.wkt)


def _move_sidecar(made: Path, path: Path) -> None:
    """Keep what GDAL could only write beside the file, and drop what described an older file."""
    fresh, old = (p.with_name(p.name + SIDECAR) for p in (made, path))
    old.unlink(missing_ok=True)
    if fresh.exists():
        shutil.move(fresh, old)
