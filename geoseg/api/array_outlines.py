"""Polygons of classes that are in memory: an array with its grid, or an xarray that knows its own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geoseg.api import fingerprint
from geoseg.api.outlines import all_classes, check_out, chosen_classes, known_legend, parse_wanted
from geoseg.api.polygons import Passing, write_polygons
from geoseg.errors import InputError
from geoseg.grid import GeoBox
from geoseg.legend import LandClass, Legend
from geoseg.run.resources import available_cores
from geoseg.steps.polygons import Polygons
from geoseg.steps.vectorize import vectorize_array

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

_NAME = "the array"


class Outlines:
    """Polygons that are made while they are asked for, once: keep what :meth:`read_all` gives.

    Attributes:
        schema: Of the batches; see :class:`geoseg.steps.polygons.Polygons` for the columns.
        grid: What the polygons lie on.
    """

    def __init__(self, polygons: Polygons, grid: GeoBox, classes: Sequence[LandClass]) -> None:
        self._polygons, self._classes = polygons, classes
        self.schema: pa.Schema = polygons.schema
        self.grid = grid

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Arrow record batches, with WKB in the column ``geometry``.

        Raises:
            RuntimeError: They have been asked for before.
        """
        return iter(self._polygons)

    def read_all(self) -> pa.Table:
        """All polygons as an Arrow table."""
        return self._polygons.read_all()

    def to_geopandas(self) -> GeoDataFrame:
        """All polygons as a GeoDataFrame."""
        import geopandas  # noqa: PLC0415 (half a second)
        import shapely  # noqa: PLC0415 (only here)

        table = self.read_all()
        geometry = shapely.from_wkb(table.column("geometry").to_numpy(zero_copy_only=False))
        frame = table.drop_columns(["geometry"]).to_pandas()
        crs = None if self.grid.crs is None else self.grid.crs.proj
        return geopandas.GeoDataFrame(frame, geometry=geometry, crs=crs)

    def write(self, path: str | os.PathLike[str]) -> int:
        """Write them as the suffix says, styled, as :func:`geoseg.vectorize` does with files.

        Returns:
            How many polygons were written.

        Raises:
            InputError: Nothing can be written under that name.
            ProductError: It cannot be written, or the grid has no CRS.
        """
        out = Path(path)
        check_out(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        with closing(Passing(self._polygons)) as passing:
            write_polygons(
                passing,
                out,
                grid=self.grid,
                classes=self._classes,
                tags={"software": fingerprint.software()},
                title=out.stem,
                styled="present",
            )
        return self._polygons.kept


def outline_array(
    array: Any,
    grid: GeoBox | None,
    *,
    legend: str | None,
    classes: tuple[str, ...],
    min_area: str | None,
    connectivity: int,
    workers: int | None,
) -> Outlines:
    """See :func:`geoseg.api.vectorize`."""
    values, grid, own = _placed(array, grid)
    known = None if legend is None else known_legend(legend)
    hole = known.nodata if own is None and known is not None else own
    unnamed = Legend(_NAME, all_classes(hole), -1 if hole is None else hole)
    names = unnamed if known is None else known
    chosen = chosen_classes(_NAME, names, classes)
    wanted = parse_wanted(tuple(c.value for c in chosen) if classes else (), min_area, connectivity)
    threads = workers or available_cores()
    polygons = vectorize_array(
        values, grid, legend=names, nodata=hole, wanted=wanted, threads=threads
    )
    others = [] if classes else [c for c in unnamed.classes if c.value not in names.values]
    return Outlines(polygons, grid, [*chosen, *others])


def _placed(array: Any, grid: GeoBox | None) -> tuple[NDArray[Any], GeoBox, int | None]:
    """The values ``(y, x)``, where they lie, and their nodata as far as an xarray says."""
    if not hasattr(array, "dims"):
        if grid is None:
            raise InputError(
                "an array does not say where it lies: vectorize(array, grid), "
                "with grid = odc.geo.geobox.GeoBox((height, width), affine, crs)"
            )
        return np.asanyarray(array), grid, None
    import odc.geo.xr  # noqa: F401, PLC0415 (teaches xarray where it lies)

    array = array.squeeze(drop=True)
    grid = array.odc.geobox if grid is None else grid
    if not isinstance(grid, GeoBox):
        raise InputError(
            f"the DataArray with dimensions {array.dims} does not say where it lies; "
            f"write its CRS (array.rio.write_crs or array.odc.assign_crs), or give a grid"
        )
    said = array.attrs.get(
        "_FillValue", array.attrs.get("nodata", array.encoding.get("_FillValue"))
    )
    nodata = None if said is None or np.isnan(said) else int(said)
    return np.asarray(array.values), grid, nodata
