"""Polygons of classes that are in memory: an array with its grid, or an xarray that knows its own."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geoseg.api import fingerprint
from geoseg.api.machine import BLOCK
from geoseg.api.minimum import UnitJob, reassign
from geoseg.api.outlines import check_classes, check_out, known_legend
from geoseg.api.outlining import outlining
from geoseg.api.polygons import Passing, write_polygons
from geoseg.api.sources import CodeSource
from geoseg.errors import InputError
from geoseg.grid import GeoBox, Window, blocks
from geoseg.io.class_raster import unnamed_class
from geoseg.io.provenance import Provenance
from geoseg.io.vector import Theme
from geoseg.legend import LandClass, Legend
from geoseg.ops.mmu.rules import MinimumUnit
from geoseg.ops.regions import NODATA, as_codes
from geoseg.run.base import Job
from geoseg.run.reporter import Silent
from geoseg.run.resources import available_cores
from geoseg.run.threads import each_block
from geoseg.steps.polygons import Polygons
from geoseg.steps.vectorize import vectorize_array, vectorize_windows
from geoseg.workflow.vector import Vector

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

_NAME = "the array"


class Outlines:
    """Polygons that are made while they are asked for, once: keep what :meth:`read_all` gives.

    Attributes:
        schema: Of the batches; see :class:`geoseg.steps.polygons.Polygons` for the columns.
        grid: What the polygons lie on.
    """

    def __init__(
        self,
        polygons: Polygons,
        grid: GeoBox,
        classes: Sequence[LandClass],
        themes: Sequence[Theme] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._polygons, self._classes, self._themes = polygons, classes, themes
        self._origin = Provenance("polygons", [], settings or {}, fingerprint.software())
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
                tags=self._origin.document(),
                title=out.stem,
                themes=self._themes,
                styled="present",
            )
        return self._polygons.kept


def outline_array(
    array: Any, grid: GeoBox | None, *, legend: str | None, vector: Vector
) -> Outlines:
    """See :func:`geoseg.api.vectorize`."""
    values, grid, own = _placed(array, grid)
    known = _own_legend(array) if legend is None else known_legend(legend)
    hole = known.nodata if own is None and known is not None else own
    nobodys = tuple(unnamed_class(code) for code in range(256) if code != hole)
    names = known or Legend(_NAME, nobodys, -1 if hole is None else hole)
    for key, spoken in vector.class_names().items():
        check_classes(_NAME, names, spoken, key)
    if vector.merge_by == "probability":
        raise InputError("merge_by: probability needs rasters in files; in memory there is border")
    chosen = names.select(vector.classes)
    others = [] if vector.classes else [c for c in nobodys if c.value not in names.values]
    plan = outlining(vector, names, grid, title="polygons")
    threads = available_cores()
    polygons = vectorize_array(
        values, grid, legend=names, nodata=hole, wanted=plan.wanted, threads=threads
    )
    room = None
    if plan.unit is not None:
        room = Path(tempfile.mkdtemp(prefix="geoseg-units-"))
        codes = _reassigned(values, hole, grid, plan.unit, room)
        polygons = vectorize_windows(
            codes.open().read,
            grid,
            legend=names,
            nodata=codes.nodata,
            wanted=plan.wanted,
            threads=threads,
        )
    settings = vector.model_dump(mode="json", exclude={"formats"})
    made = Outlines(polygons, grid, [*chosen, *others], plan.themes, settings)
    if room is not None:
        weakref.finalize(polygons, shutil.rmtree, room, ignore_errors=True)
    return made


@dataclass(frozen=True, slots=True)
class _Codes:
    """Class codes in memory. Implements :class:`geoseg.api.sources.CodeSource`."""

    values: NDArray[np.int16]
    nodata: int | None = int(NODATA)

    def open(self) -> _Codes:
        return self

    def read(self, window: Window) -> NDArray[np.int16]:
        return self.values[window.slices]


def _reassigned(
    values: NDArray[Any], hole: int | None, grid: GeoBox, unit: MinimumUnit, room: Path
) -> CodeSource:
    """The codes after small regions have gone to their neighbours; they lie in ``room``."""
    windows = tuple(blocks((int(grid.shape[0]), int(grid.shape[1])), BLOCK))
    source = _Codes(as_codes(values, hole))
    job = UnitJob("unit", "survey", source, grid, room / "unit", unit, 0, BLOCK)

    def run(stage: Job, name: str) -> None:
        with closing(stage.open()) as work:
            for _ in each_block(work, windows, name=name, reporter=Silent()):
                pass

    try:
        return reassign(run, job, windows)[0]
    except BaseException:
        shutil.rmtree(room, ignore_errors=True)
        raise


def _own_legend(array: Any) -> Legend | None:
    """The legend of an xarray that has one, as those of :func:`geoseg.open` do."""
    if not hasattr(array, "attrs"):
        return None
    from geoseg.io.cf import is_flagged, legend_of  # noqa: PLC0415 (xarray, which is there then)

    return legend_of(array.attrs) if is_flagged(array) else None


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
