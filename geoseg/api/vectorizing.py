"""Polygons of class rasters: from file to file, or of what is in memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from geoseg.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from xarray import DataArray

    from geoseg.api.array_outlines import Outlines
    from geoseg.grid import GeoBox
    from geoseg.run.reporter import Reporter


@overload
def vectorize(
    raster: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    legend: str | None = None,
    classes: Sequence[str] = (),
    min_area: str | None = None,
    connectivity: int = 4,
    workers: int | None = None,
    reporter: Reporter | None = None,
) -> int: ...
@overload
def vectorize(
    raster: NDArray[Any] | DataArray,
    out: GeoBox | None = None,
    *,
    legend: str | None = None,
    classes: Sequence[str] = (),
    min_area: str | None = None,
    connectivity: int = 4,
    workers: int | None = None,
) -> Outlines: ...
def vectorize(
    raster: str | os.PathLike[str] | NDArray[Any] | DataArray,
    out: str | os.PathLike[str] | GeoBox | None = None,
    *,
    legend: str | None = None,
    classes: Sequence[str] = (),
    min_area: str | None = None,
    connectivity: int = 4,
    workers: int | None = None,
    reporter: Reporter | None = None,
) -> int | Outlines:
    """Outline the classes of any raster of codes as polygons, exact across blocks.

    ``vectorize("classes.tif", "polygons.gpkg")`` goes from file to file, and
    ``vectorize(array, grid)`` gives polygons to go on with: as Arrow, as a GeoDataFrame, or
    written to a file later.

    Args:
        raster: A file whose first band has codes 0..255; or an array ``(y, x)`` of whole numbers,
            whose masked pixels have no class (``numpy.ma.masked_equal(array, 0)``); or an :class:`xarray.DataArray` that says where it lies (as rioxarray and odc-geo do).
        out: For a file, where to write: ``.gpkg``, ``.parquet``, ``.fgb`` or ``.pmtiles``. For an
            array, its grid, an :class:`odc.geo.geobox.GeoBox`.
        legend: Name of a known legend; the raster's own category names and palette without it.
        classes: Names of the classes to outline; all without it.
        min_area: Leave out smaller polygons, e.g. ``"0.5 ha"``.
        connectivity: 4 or 8: whether pixels that only touch at a corner belong together.
        workers: For a file, worker processes on a cluster of their own; without it threads of this
            process, one a core, which is quicker. For an array, threads.
        reporter: For a file, told of progress; nobody is, without it.

    Returns:
        For a file, how many polygons were written. For an array the polygons, a stream.

    Raises:
        InputError: The raster or a setting is wrong; nothing was written.
    """
    if isinstance(raster, str | os.PathLike):
        if not isinstance(out, str | os.PathLike):
            raise InputError("vectorize: a raster file needs a file to write to")
        from geoseg.api.outlines import outline  # noqa: PLC0415 (numba and rasterio)

        return outline(
            Path(raster),
            Path(out),
            legend=legend,
            classes=tuple(classes),
            min_area=min_area,
            connectivity=connectivity,
            workers=workers,
            reporter=reporter,
        )
    if isinstance(out, str | os.PathLike):
        raise InputError(
            "vectorize: an array needs a grid; then: vectorize(array, grid).write(out)"
        )
    from geoseg.api.array_outlines import outline_array  # noqa: PLC0415 (numba and rasterio)

    return outline_array(
        raster,
        out,
        legend=legend,
        classes=tuple(classes),
        min_area=min_area,
        connectivity=connectivity,
        workers=workers,
    )
