"""What geoseg has made as an xarray Dataset: a folder of products, an item, a raster, a Zarr group."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import odc.geo.xr
import xarray as xr

from geoseg.errors import GeosegError, InputError, SceneError
from geoseg.grid import GeoBox
from geoseg.io.cf import CONVENTIONS, GRID_MAPPING, decoded, is_flagged, percent_attributes
from geoseg.io.environment import is_remote
from geoseg.io.grids import same_grid
from geoseg.io.names import date_from_tags
from geoseg.io.raster_variable import RasterLook, look_at, variable_of
from geoseg.io.trust import objection
from geoseg.legend import LandClass, Legend

_SUFFIXES: Final = (".tif", ".tiff")
_DATES: Final = ("ACQUISITIONDATETIME",)
_ITEM: Final = "item.json"
_ZARR: Final = (".zgroup", ".zmetadata", "zarr.json")
_LEFT_OUT: Final = ("TIFFTAG_", "AREA_OR_POINT", "ACQUISITIONDATETIME", "UNITS", "OVR_")


@dataclass(frozen=True, slots=True)
class _Raster:
    """A raster of a product: what its variable is called, and what an item tells of it."""

    name: str
    uri: str
    legend: Legend | None = None


@dataclass(frozen=True, slots=True)
class _Product:
    """The rasters of a product, and what is said of all of them.

    ``span`` is when it was seen, first and last; None where nobody knows.
    """

    name: str
    rasters: tuple[_Raster, ...]
    span: tuple[datetime, datetime] | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


def open_product(product: str) -> xr.Dataset:
    """All rasters of a product as variables, whose pixels are read when they are asked for.

    Classes are codes with CF's flags; percents become shares of 1, other numbers floats, NaN where
    there is none.

    Raises:
        InputError: There is no such product, or nothing in it is a raster.
        SceneError: A raster cannot be opened.
        RemoteError: A server does not deliver it now.
    """
    path = Path(product)
    if is_remote(product):
        return _dataset(_single(product))
    if path.is_dir() and any((path / name).is_file() for name in _ZARR):
        return _from_zarr(path)
    if path.is_dir():
        return _dataset(_from_folder(path))
    if not path.is_file():
        raise InputError(f"{product}: no such file or folder")
    if path.suffix.lower() in {".json", ".geojson"}:
        return _dataset(_from_item(path))
    return _dataset(_single(product))


def is_product(folder: Path) -> bool:
    """Whether a folder is one that :func:`open_product` opens."""
    return any((folder / name).is_file() for name in (_ITEM, "classes.tif", *_ZARR))


def _single(uri: str) -> _Product:
    name = uri.rstrip("/").rpartition("/")[2].partition("?")[0].rpartition(".")[0] or "raster"
    return _Product(name, (_Raster("", uri),))


def _from_folder(folder: Path) -> _Product:
    if (folder / _ITEM).is_file():
        return _from_item(folder / _ITEM)
    rasters = sorted(one for one in folder.glob("*.tif") if one.is_file())
    if not (folder / "classes.tif").is_file():
        found = f"it has {len(rasters)} GeoTIFFs" if rasters else "nothing in it is a product"
        raise InputError(
            f"{folder}: has neither item.json nor classes.tif ({found}); wanted is a folder of "
            f"products, a STAC item, a GeoTIFF or a Zarr group"
        )
    return _Product(folder.name, tuple(_Raster(one.stem, str(one)) for one in rasters))


def _from_item(path: Path) -> _Product:
    """The rasters of a STAC item on this machine.

    Raises:
        InputError: It is no item, or has no rasters.
        SceneError: It points to where it may not.
    """
    try:
        item = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a STAC item: {error}") from error
    if not isinstance(item, dict) or not isinstance(item.get("assets"), dict):
        raise InputError(f"{path}: is no STAC item: it has no assets")
    rasters = tuple(
        _Raster(key, _address(path, key, str(asset["href"])), _item_legend(asset))
        for key, asset in item["assets"].items()
        if isinstance(asset, dict) and _is_raster(asset)
    )
    if not rasters:
        raise InputError(f"{path}: none of its assets is a GeoTIFF: {', '.join(item['assets'])}")
    properties = item.get("properties") or {}
    told = {"lineage": properties.get("processing:lineage")}
    attributes = {key: str(value) for key, value in told.items() if value}
    return _Product(str(item.get("id") or path.stem), rasters, _span(properties), attributes)


def _is_raster(asset: Mapping[str, Any]) -> bool:
    return str(asset.get("href", "")).partition("?")[0].lower().endswith(_SUFFIXES)


def _address(item: Path, key: str, href: str) -> str:
    href = href.removeprefix("file://")
    full = href if is_remote(href) else str(item.parent / href)
    why = objection(full, asked=str(item), local=True)
    if why is not None:
        raise SceneError(f"{item}: asset {key} is at {href[:200]}, {why}")
    return full


def _item_legend(asset: Mapping[str, Any]) -> Legend | None:
    """The classes of an asset; None where it has none, or some without a name."""
    bands = asset.get("bands") or [{}]
    listed = asset.get("classification:classes") or bands[0].get("classification:classes")
    if not listed:
        return None
    try:
        classes = tuple(
            LandClass(
                int(one["value"]),
                str(one.get("description") or one["name"]),
                f"#{str(one.get('color_hint') or '808080').lower()}",
            )
            for one in listed
        )
        title = str(asset.get("title") or "classes")
        name = title.partition("(")[2].rstrip(")") or title
        return Legend(name, classes, int(bands[0].get("nodata", -1)))
    except (KeyError, TypeError, ValueError, GeosegError):
        return None  # the file may know better


def _span(properties: Mapping[str, Any]) -> tuple[datetime, datetime] | None:
    moment = properties.get("datetime")
    said = (
        [moment, moment] if moment else [properties.get(f"{k}_datetime") for k in ("start", "end")]
    )
    try:
        first, last = (datetime.fromisoformat(str(one)).astimezone(UTC) for one in said)
    except ValueError:
        return None
    # That is how items say that nobody knows.
    return None if (first.year, last.year) == (1900, 9999) else (first, last)


def _dataset(product: _Product) -> xr.Dataset:
    looks = {raster: look_at(raster.uri) for raster in product.rasters}
    first = next(iter(looks))
    grid = looks[first].grid
    for raster, look in looks.items():
        if not same_grid(grid, look.grid):
            raise InputError(
                f"{raster.uri}: does not lie on the grid of {first.uri}; open each by itself"
            )
    coords = dict(odc.geo.xr.xr_coords(grid, GRID_MAPPING, dims=("y", "x")))
    variables: dict[str, xr.Variable] = {}
    for raster, look in looks.items():
        name = raster.name or _name(raster.uri, look)
        dims = ("class" if name == "probabilities" else f"{name}_band", "y", "x")
        variables[name] = variable_of(look, name, dims, legend=raster.legend)
        if look.header.count > 1:
            coords[dims[0]] = xr.DataArray(np.array(look.names, object), dims=dims[0])
    tags = looks[first].header.tags
    when = date_from_tags(tags, _DATES)
    span = product.span or ((when, when) if when is not None else None)
    raw = xr.Dataset(variables, coords, _provenance(product, tags, span))
    return _timed(decoded(raw), span)


def _name(uri: str, look: RasterLook) -> str:
    """What the variable of a single raster is called."""
    if look.legend is not None:
        return "classes"
    stem = uri.rstrip("/").rpartition("/")[2].partition("?")[0].rpartition(".")[0]
    return stem or "raster"


def _provenance(
    product: _Product, tags: Mapping[str, str], span: tuple[datetime, datetime] | None
) -> dict[str, str]:
    """What the files say of where they come from, by lower-case names, and how ACDD says times."""
    own = {key.lower(): value for key, value in tags.items() if not key.startswith(_LEFT_OUT)}
    known = {"Conventions": CONVENTIONS, "title": product.name, **product.attributes, **own}
    if "geoseg_version" in own:
        known["source"] = f"geoseg {own['geoseg_version']}"
    if span is not None:
        first, last = (one.isoformat().replace("+00:00", "Z") for one in span)
        known |= {"time_coverage_start": first, "time_coverage_end": last}
    return known


def _timed(dataset: xr.Dataset, span: tuple[datetime, datetime] | None) -> xr.Dataset:
    """With a coordinate ``time``, where all of it was seen at one moment."""
    if span is None or span[0] != span[1]:
        return dataset
    moment = np.datetime64(span[0].replace(tzinfo=None), "ns")
    return dataset.assign_coords(time=((), moment, {"standard_name": "time"}))


def _from_zarr(path: Path) -> xr.Dataset:
    try:
        # Each array's own metadata: on a disk as quick, and never out of date.
        raw = xr.open_zarr(path, chunks=None, decode_cf=False, consolidated=False)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: cannot be opened as a Zarr group: {error}") from error
    named = {word for one in raw.variables.values() for word in _referred(one.attrs)}
    named |= set(_referred(raw.attrs))
    raw = raw.set_coords([name for name in raw.data_vars if name in named])
    for name, variable in raw.variables.items():
        variable.encoding.pop("chunks", None)  # those of a copy are its own
        if is_flagged(variable):
            continue
        scale = variable.attrs.get("scale_factor")
        if variable.dtype == np.uint8 and scale is not None and np.isclose(scale, 0.01):
            # JSON has no float32: as wide as those of GeoTIFFs.
            variable.attrs.update(percent_attributes(str(variable.attrs.get("long_name", name))))
    return decoded(raw)


def _referred(attributes: Mapping[str, Any]) -> list[str]:
    """Variables that others name as their coordinates."""
    return [
        w for key in ("coordinates", "grid_mapping") for w in str(attributes.get(key, "")).split()
    ]


def grid_of(data: xr.Dataset | xr.DataArray) -> GeoBox | None:
    """Where the pixels of an array lie; None where it does not say so."""
    with warnings.catch_warnings():
        # Whose grid mapping is missing does not say so; that is enough.
        warnings.filterwarnings("ignore", "grid_mapping=", UserWarning)
        grid = data.odc.geobox
    return grid if isinstance(grid, GeoBox) and grid.crs is not None else None
