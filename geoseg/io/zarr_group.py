"""What places Zarr v2 arrays on a grid, for CF, GDAL and xarray, and how an empty one is described."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numcodecs  # type: ignore[import-untyped]  # publishes no types
import numpy as np
import zarr
from numpy.typing import NDArray

from geoseg.errors import ProductError
from geoseg.grid import GeoBox, full_window
from geoseg.io.atomic import replacing
from geoseg.io.made_once import write_folder

ZATTRS = ".zattrs"
_LEVEL = 3  # zstd: 1 is hardly faster on class maps, 9 hardly smaller


def compressor(*, checksum: bool = False) -> numcodecs.Zstd:
    """Of all chunks; those with a ``checksum`` are read by the same codec."""
    # Whether a frame ends in a checksum, it says itself: readers need not be told.
    return numcodecs.Zstd(level=_LEVEL, checksum=checksum)


def write_group(path: Path, grid: GeoBox) -> None:
    """All that places arrays; of scenes with the same shape and CRS, the library makes the first."""
    own = {f"spatial_ref/{ZATTRS}": json.dumps(grid_mapping(grid)).encode()}
    if grid.axis_aligned:
        own |= {f"{name}/0": centers.astype("<f8").tobytes() for name, centers, _ in _axes(grid)}
    key = "group", full_window(grid).shape, grid.crs, grid.axis_aligned
    write_folder(path, key, lambda made: _make_group(made, grid), own)


def _make_group(path: Path, grid: GeoBox) -> None:
    group = zarr.create_group(path, zarr_format=2, attributes={"Conventions": "CF-1.10"})
    group.create_array(
        "spatial_ref", shape=(), dtype="int32", fill_value=0, attributes=grid_mapping(grid)
    )
    if not grid.axis_aligned:
        return
    for name, centers, attributes in _axes(grid):
        axis = group.create_array(
            name,
            shape=centers.shape,
            chunks=centers.shape,
            dtype="float64",
            compressors=None,
            attributes={"_ARRAY_DIMENSIONS": [name], **attributes},
        )
        axis[:] = centers


def write_array(path: Path, grid: GeoBox, *, block: int, fill: int, name: str, dtype: str) -> None:
    """An empty array; of scenes that are alike, the library makes the first."""

    def make(made: Path) -> None:
        _make_array(made, grid, block=block, fill=fill, name=name, dtype=dtype)

    key = "array", full_window(grid).shape, grid.crs, block, fill, name, dtype
    write_folder(path, key, make)


def _make_array(path: Path, grid: GeoBox, *, block: int, fill: int, name: str, dtype: str) -> None:
    zarr.create_array(
        path,
        shape=full_window(grid).shape,
        chunks=(block, block),
        dtype=dtype,
        fill_value=fill,
        compressors=compressor(),
        zarr_format=2,
        attributes={
            "_ARRAY_DIMENSIONS": ["y", "x"],
            "grid_mapping": "spatial_ref",
            "long_name": name,
            "_CRS": _crs(grid),
        },
    )


def grid_mapping(grid: GeoBox) -> dict[str, Any]:
    """Attributes of ``spatial_ref``."""
    # "spatial_ref" and "GeoTransform" are what GDAL and rioxarray look for, the rest is CF.
    a, b, c, d, e, f = tuple(grid.affine)[:6]
    crs = _pyproj(grid)
    return {
        "_ARRAY_DIMENSIONS": [],
        **crs.to_cf(),
        "spatial_ref": crs.to_wkt(),
        "GeoTransform": " ".join(repr(float(v)) for v in (c, a, b, f, d, e)),
    }


def _crs(grid: GeoBox) -> dict[str, Any]:
    crs = _pyproj(grid)
    return {"wkt": crs.to_wkt(), "projjson": crs.to_json_dict()}


def _pyproj(grid: GeoBox) -> Any:
    if grid.crs is None:
        raise ProductError("a raster store needs a grid with a CRS; this one has none")
    return grid.crs.proj


def _axes(grid: GeoBox) -> list[tuple[str, NDArray[np.floating[Any]], Mapping[str, str]]]:
    height, width = full_window(grid).shape
    affine = grid.affine
    y = affine.f + (np.arange(height) + 0.5) * affine.e
    x = affine.c + (np.arange(width) + 0.5) * affine.a
    cf = {axis["axis"]: axis for axis in _pyproj(grid).cs_to_cf()}
    return [("y", y, cf.get("Y", {"axis": "Y"})), ("x", x, cf.get("X", {"axis": "X"}))]


def consolidate(path: Path) -> None:
    """Gather all metadata in ``.zmetadata``, which xarray asks for first."""
    with replacing(path / ".zmetadata") as made:
        made.write_text(gathered(path, indent=1), encoding="utf-8")


def gathered(path: Path, *, indent: int | None = None) -> str:
    """All metadata of a group as ``.zmetadata`` has them."""
    entries = {
        str(file.relative_to(path)): json.loads(file.read_bytes())
        for pattern in (".z*", "*/.z*")
        for file in sorted(path.glob(pattern))
        if file.name in {".zgroup", ".zarray", ZATTRS} and not file.parent.name.startswith(".")
    }
    return json.dumps({"metadata": entries, "zarr_consolidated_format": 1}, indent=indent)
