"""An xarray of bands as a scene: what its bands are called, what its numbers mean, where it lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import odc.geo.xr
import xarray as xr

from geoseg.errors import InputError, ModelError, SceneError
from geoseg.grid import GeoBox
from geoseg.io.names import common_names, stand_in
from geoseg.io.product_dataset import grid_of
from geoseg.models.base import ModelCard
from geoseg.run.lazily import stacked
from geoseg.scene import Band, Scene, Units

NAME: Final = "the array"
_CHUNK: Final = 1024
"""Rows and columns of a chunk where an array has none."""

_NODATA: Final = ("_FillValue", "nodata", "missing_value")


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the numbers of an array mean, where it does not say so itself: see :class:`Band`."""

    units: Units | None = None
    scale: float | None = None
    offset: float | None = None


@dataclass(frozen=True, slots=True)
class ArrayScene:
    """Bands of an array in the order in which a model wants them.

    Attributes:
        scene: Names, numbers and grid; its bands have no files.
        pixels: Dask array ``(band, y, x)``.
        dims: Of rows and of columns.
        coords: Where pixels lie, and whatever else is told of all bands alike.
    """

    scene: Scene
    pixels: Any
    dims: tuple[str, str]
    coords: dict[Any, xr.DataArray]


def array_scene(
    data: xr.DataArray | xr.Dataset, card: ModelCard, *, bands: Sequence[str], numbers: Numbers
) -> ArrayScene:
    """The bands that a model needs, from an array with a band dimension or a dataset of bands.

    Raises:
        InputError: It does not say where it lies, or has dimensions beside bands, rows, columns.
        SceneError: It lacks a band, or its bands have no names.
    """
    grid, dims = placed(data)
    keys, listed = _bands(data, dims)
    names = _names(data, keys, bands)
    picked = [listed[names.index(name)] for name in _chosen(card, names)]
    said = {
        wanted: _band(one, index, grid, numbers)
        for index, (wanted, one) in enumerate(zip(card.bands, picked, strict=True), 1)
    }
    scene = Scene(NAME, said, grid, units=numbers.units or _units(data, list(said.values())))
    _check_units(card, scene)
    coords = {
        name: coord
        for name, coord in data.coords.items()
        if set(coord.dims) <= set(dims) and name not in {"band", "bands"}
    }
    coords["spatial_ref"] = odc.geo.xr.xr_coords(grid, "spatial_ref", dims=dims)["spatial_ref"]
    return ArrayScene(scene, _stacked(picked, dims), dims, coords)


def placed(data: xr.DataArray | xr.Dataset) -> tuple[GeoBox, tuple[str, str]]:
    """Where the pixels of an array lie, and the dimensions of its rows and columns.

    Raises:
        InputError: It does not say so.
    """
    grid = grid_of(data)
    dims = None if grid is None else data.odc.spatial_dims
    if grid is None or dims is None:
        raise InputError(
            f"{NAME} with dimensions {', '.join(map(str, data.dims)) or 'none'} does not say "
            f"where it lies: it needs evenly spaced coordinates of rows and columns, and a CRS "
            f"(array.odc.assign_crs('EPSG:...') or array.rio.write_crs('EPSG:...'))"
        )
    return grid, (str(dims[0]), str(dims[1]))


def _bands(
    data: xr.DataArray | xr.Dataset, dims: tuple[str, str]
) -> tuple[list[str], list[xr.DataArray]]:
    """What the array calls its bands, and each of them ``(y, x)``."""
    if isinstance(data, xr.Dataset):
        there = {str(n): v for n, v in data.data_vars.items() if set(dims) <= set(v.dims)}
        for name, variable in there.items():
            _check_dims(variable, dims, 2, f"variable {name}")
        return list(there), list(there.values())
    _check_dims(data, dims, 3, NAME)
    others = [dim for dim in data.dims if dim not in dims]
    if not others:
        return ["1" if data.name is None else str(data.name)], [data]
    (dim,) = others
    labels = data[dim].values if dim in data.coords else range(1, data.sizes[dim] + 1)
    return [str(one) for one in labels], [data.isel({dim: i}) for i in range(len(labels))]


def _check_dims(data: xr.DataArray, dims: tuple[str, str], most: int, what: str) -> None:
    if data.ndim <= most:
        return
    others = [str(dim) for dim in data.dims if dim not in dims]
    raise InputError(
        f"{what} has the dimensions {', '.join(map(str, data.dims))}; wanted are "
        f"{'bands, ' if most == 3 else ''}rows and columns, and time: take one of the others "
        f"(.isel({others[0]}=0))"
    )


def _names(
    data: xr.DataArray | xr.Dataset, keys: list[str], given: Sequence[str]
) -> list[str | None]:
    """Common names of all bands, None where nothing says one."""
    if given:
        if len(given) != len(keys):
            raise SceneError(f"bands: {len(given)} names; {NAME} has {len(keys)} bands")
        return list(given)
    told = common_names(keys)
    if any(told) or isinstance(data, xr.Dataset):
        return told
    # rioxarray counts bands from 1, and keeps there what the file calls all that it has.
    described = data.attrs.get("long_name", ())
    listed = [described] if isinstance(described, str) else list(described)
    numbers = [int(key) for key in keys if key.isdecimal() and 1 <= int(key) <= len(listed)]
    whole = len(numbers) == len(keys)
    return common_names([listed[number - 1] for number in numbers]) if whole else told


def _chosen(card: ModelCard, names: list[str | None]) -> list[str]:
    """The band to read for each that the model wants."""
    there = [name for name in names if name is not None]
    found = [stand_in(band, there, NAME) for band in card.bands]
    missing = [band for band, other in zip(card.bands, found, strict=True) if other is None]
    if missing:
        has = f"it has {', '.join(there)}" if there else "none of its bands has a name"
        raise SceneError(
            f"{NAME}: no band {', '.join(missing)}, which model {card.name} needs; {has}: name "
            f"all {len(names)} of them in their order, predict(bands=['blue', 'green', ...])"
        )
    return [name for name in found if name is not None]


def _band(one: xr.DataArray, index: int, grid: GeoBox, numbers: Numbers) -> Band:
    """What one band says of its numbers; what was decoded already says nothing any more."""
    said = one.attrs
    if one.dtype.kind not in "uif":
        raise SceneError(f"{NAME}: band {index} holds {one.dtype}; wanted are numbers")
    nodata = next((said[key] for key in _NODATA if said.get(key) is not None), None)
    scale = said.get("scale_factor", 1.0) if numbers.scale is None else numbers.scale
    offset = said.get("add_offset", 0.0) if numbers.offset is None else numbers.offset
    return Band(
        "",
        index,
        grid,
        str(one.dtype),
        float(scale),
        float(offset),
        None if nodata is None else float(np.atleast_1d(nodata)[0]),
    )


def _units(data: xr.DataArray | xr.Dataset, bands: Sequence[Band]) -> Units | None:
    """As an attribute says; or numbers as stored, where they can be nothing else."""
    said = data.attrs.get("units")
    if said == "reflectance":
        return "reflectance"
    plain = all(b.dtype == "uint8" and (b.scale, b.offset) == (1.0, 0.0) for b in bands)
    return "dn" if said == "dn" or plain else None


def _check_units(card: ModelCard, scene: Scene) -> None:
    """Refuse numbers of another meaning than the model's."""
    scaled = any((band.scale, band.offset) != (1.0, 0.0) for band in scene.bands.values())
    if card.units == scene.units or (card.units == "dn" and scene.units is None and not scaled):
        return
    if card.units == "dn":
        raise ModelError(
            f"{NAME}: its numbers are scaled, and model {card.name} needs them as stored: "
            f"predict(units='dn', scale=1, offset=0), or take a model for reflectance"
        )
    found = "what its numbers mean is not known" if scene.units is None else "its numbers are dn"
    raise ModelError(
        f"{NAME}: {found}, and model {card.name} needs reflectance (0..1): "
        f"predict(units='reflectance'), with scale=0.0001 and offset=0 for reflectance x 10000"
    )


def _stacked(picked: Sequence[xr.DataArray], dims: tuple[str, str]) -> Any:
    """Bands as one Dask array, of a dtype that holds all of them."""
    sizes = dict.fromkeys(dims, _CHUNK)
    chunked = [one if one.chunks else one.chunk(sizes) for one in picked]
    return stacked([one.transpose(*dims).data for one in chunked])
