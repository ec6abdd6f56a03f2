"""Polygons of class rasters: from file to file, or of what is in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, overload

from geoseg.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from xarray import DataArray

    from geoseg.api.array_outlines import Outlines
    from geoseg.api.outlines import Outlined
    from geoseg.grid import GeoBox
    from geoseg.run.reporter import Reporter
    from geoseg.workflow.vector import VectorSettings

AnyPath = str | os.PathLike[str]


@overload
def vectorize(
    raster: AnyPath,
    out: AnyPath,
    *,
    legend: str | None = None,
    confidence: AnyPath | None = None,
    probabilities: AnyPath | None = None,
    workers: int | None = None,
    reporter: Reporter | None = None,
    **vector: Unpack[VectorSettings],
) -> Outlined: ...
@overload
def vectorize(
    raster: NDArray[Any] | DataArray,
    out: GeoBox | None = None,
    *,
    legend: str | None = None,
    **vector: Unpack[VectorSettings],
) -> Outlines: ...
def vectorize(
    raster: AnyPath | NDArray[Any] | DataArray,
    out: AnyPath | GeoBox | None = None,
    *,
    legend: str | None = None,
    confidence: AnyPath | None = None,
    probabilities: AnyPath | None = None,
    workers: int | None = None,
    reporter: Reporter | None = None,
    **vector: Unpack[VectorSettings],
) -> Outlined | Outlines:
    """Outline the classes of any raster of codes as polygons, exact across blocks.

    ``vectorize("classes.tif", "polygons.gpkg")`` goes from file to file, and
    ``vectorize(array, grid)`` gives polygons to go on with: as Arrow, as a GeoDataFrame, or
    written to a file later.

    Args:
        raster: A file (or its address, ``https://``, ``s3://``...) whose first band has codes
            0..255; or an array ``(y, x)`` of whole numbers,
            whose masked pixels have no class (``numpy.ma.masked_equal(array, 0)``); or an
            :class:`xarray.DataArray` that says where it lies (as rioxarray and odc-geo do).
        out: For a file, where to write: ``.gpkg``, ``.parquet``, ``.fgb`` or ``.pmtiles``. For an
            array, its grid, an :class:`odc.geo.geobox.GeoBox`.
        legend: Name of a known legend; the raster's own category names and palette without it.
        confidence: Percents on the same grid, for what is said of each polygon. Files only.
        probabilities: Percents on the same grid, a band for each class, called as it. Files only.
        workers: Worker processes; without it threads of this process, which is quicker. Files only.
        reporter: Told of progress; nobody is, without it. Files only.
        vector: What else is asked of polygons, as in the section ``output.vector`` of workflows:
            ``classes=["Water"]``, ``min_area="0.5 ha"``, ``simplify="8 m"``, ``smooth="corners"``...

    Returns:
        For a file, how many polygons were written, and what became of areas. For an array the
        polygons, a stream.

    Raises:
        InputError: The raster or a setting is wrong; nothing was written.
    """
    from geoseg.workflow.vector import vector_of  # noqa: PLC0415 (not everybody needs it)

    if not isinstance(raster, str | os.PathLike):
        if isinstance(out, str | os.PathLike):
            raise InputError("vectorize: give an array its grid: vectorize(array, grid).write(out)")
        if {confidence, probabilities, workers, reporter} != {None}:
            raise InputError("vectorize: confidence, probabilities, workers, reporter: files only")
        from geoseg.api.array_outlines import outline_array  # noqa: PLC0415 (numba and rasterio)

        return outline_array(raster, out, legend=legend, vector=vector_of(vector))
    if not isinstance(out, str | os.PathLike):
        raise InputError("vectorize: a raster file needs a file to write to")
    from geoseg.api.outlines import Beside, outline  # noqa: PLC0415 (numba and rasterio)

    beside = Beside(legend, *(None if p is None else Path(p) for p in (confidence, probabilities)))
    return outline(
        os.fspath(raster),
        Path(out),
        beside=beside,
        vector=vector_of(vector),
        workers=workers,
        reporter=reporter,
    )
