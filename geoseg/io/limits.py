"""What is refused of a raster file before it is read: devices, web services, bombs, stray VRTs."""

from __future__ import annotations

import os
import stat
from functools import lru_cache
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import numpy as np
from rasterio.env import ensure_env
from rasterio.io import DatasetReader

from geoseg.errors import SceneError
from geoseg.io.environment import gdal_env, gdal_path, is_remote
from geoseg.io.trust import objection

MOST_PIXELS: Final = 2**40
"""Of one band: a million times a million."""
MOST_BANDS: Final = 4096
LARGEST_BLOCK: Final = 2**29
"""Bytes that one tile or strip may have once it is decoded."""
LARGEST_VRT: Final = 2**26
"""Bytes of a VRT's own text."""
DEEPEST_VRT: Final = 8

REFUSED: Final = frozenset(
    {
        # Descriptions of web services, and of what lies there: they connect to what they name.
        "DAAS", "EEDA", "EEDAI", "HTTP", "KMLSUPEROVERLAY", "NGW", "OGCAPI", "PLMOSAIC",
        "PostGISRaster", "STACIT", "STACTA", "WCS", "WMS", "WMTS",
        # Indexes of files anywhere, the memory of this process, and caches written where they say.
        "DERIVED", "ESRIC", "GTI", "MEM", "MRF", "Memory", "Rasterlite",
    }
)  # fmt: skip
"""Drivers of GDAL that open more than the file they are given."""

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)
_LOOK = 4096
_SUBDATASETS = ("NETCDF:", "HDF5:", "HDF4:", "GTIFF_DIR:", "GPKG:")


@ensure_env  # type: ignore[untyped-decorator]  # rasterio is untyped
def open_raster(uri: str, *, sharing: bool = True, overview: int | None = None) -> DatasetReader:
    """Open a raster of somebody's, or one of its overviews; the place for all files not our own.

    Raises:
        SceneError: It is no file, or a VRT that points to where it may not.
        RasterioError: It cannot be opened.
    """
    if is_remote(uri) or Path(uri).exists():  # of what has vanished since, GDAL says so
        check_file(uri)
    path = gdal_path(uri)
    virtual = not is_remote(path) and _is_vrt(Path(path))
    if virtual:
        check_vrt(Path(path))
    # rasterio.open() takes the name of one driver only; its own class takes a choice of them.
    options = {} if overview is None else {"overview_level": overview}
    return DatasetReader(path, driver=list(_drivers(virtual=virtual)), sharing=sharing, **options)


def check_file(uri: str) -> None:
    """Refuse local files that are none: reading them may never end.

    Raises:
        SceneError: It is a pipe, a device or a socket, or cannot be looked at.
    """
    if is_remote(uri):
        return
    try:
        mode = Path(uri).stat().st_mode
    except FileNotFoundError:
        raise SceneError(f"{uri}: no such file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SceneError(f"{uri}: cannot be opened: {reason}") from error
    for is_kind, what in _KINDS:
        if is_kind(mode) or (what == "a device" and os.path.realpath(uri).startswith("/proc/")):
            raise SceneError(f"{uri}: is {what}, not a file")
    if not os.access(uri, os.R_OK):
        raise SceneError(f"{uri}: may not be read by this user (permission denied)")


def check_header(uri: str, dataset: DatasetReader) -> None:
    """Refuse what would fill the memory, by its header alone.

    Raises:
        SceneError: It has too many pixels or bands, or tiles that are too large; or it keeps its
            overviews elsewhere.
    """
    height, width = dataset.shape
    if height * width > MOST_PIXELS:
        raise SceneError(
            f"{uri}: says it has {height} x {width} pixels, more than {MOST_PIXELS:.1e}; if that "
            f"is no mistake, cut it into several files"
        )
    if dataset.count > MOST_BANDS:
        raise SceneError(f"{uri}: says it has {dataset.count} bands, more than {MOST_BANDS}")
    if dataset.count == 0:
        return
    rows, cols = dataset.block_shapes[0]
    together = dataset.count if dataset.profile.get("interleave") == "pixel" else 1
    size = rows * cols * together * np.dtype(_numpy(dataset.dtypes[0])).itemsize
    if size > LARGEST_BLOCK and dataset.driver in ("GTiff", "COG", "netCDF", "HDF5", "Zarr"):
        raise SceneError(
            f"{uri}: its tiles of {rows} x {cols} pixels take {size / 1e9:.1f} GB each in memory; "
            f"write it anew in smaller ones (gdal_translate -co TILED=YES in.tif out.tif)"
        )
    elsewhere = dataset.tags(ns="OVERVIEWS").get("OVERVIEW_FILE", "")
    if elsewhere and not elsewhere.startswith(":::BASE:::"):
        raise SceneError(
            f"{uri}: says that its overviews are in {elsewhere}; take that out "
            f"(gdal_translate in.tif out.tif)"
        )


def _numpy(dtype: str) -> str:
    return {"complex_int16": "int32"}.get(dtype, dtype)


@lru_cache(maxsize=2)
def _drivers(*, virtual: bool) -> tuple[str, ...]:
    """All drivers but those that open more than a file."""
    with gdal_env() as env:
        there = env.drivers()
    return tuple(sorted(set(there) - REFUSED - (set() if virtual else {"VRT"})))


def _is_vrt(path: Path) -> bool:
    """Whether GDAL would take a file for a VRT."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return b"<VRTDataset" in file.read(_LOOK)


def check_vrt(path: Path) -> None:
    """Refuse a VRT that runs code, or reads what is neither a raster nor public.

    Raises:
        SceneError: Says what it points to.
    """
    real, found = os.path.realpath(path), path.stat()
    _check_vrt(str(path), real, (found.st_mtime_ns, found.st_size), 0)


@lru_cache(maxsize=4096)
def _check_vrt(name: str, path: str, _state: tuple[int, int], depth: int) -> None:
    if depth > DEEPEST_VRT:
        raise SceneError(f"{name}: VRTs within VRTs, more than {DEEPEST_VRT} deep")
    if Path(path).stat().st_size > LARGEST_VRT:
        raise SceneError(f"{name}: a VRT of more than {LARGEST_VRT // 2**20} MB")
    _check_text(name, Path(path).read_bytes(), Path(path).parent, depth)


def _check_text(name: str, text: bytes | str, folder: Path, depth: int) -> None:
    try:
        # Entities are expat's: bombs are refused since 2.4.1, external ones never resolved.
        root = ET.fromstring(text)  # noqa: S314
    except (ET.ParseError, ValueError, LookupError) as error:
        raise SceneError(f"{name}: not a VRT that can be read ({error})") from error
    for element in root.iter():
        said = (element.text or "").strip()
        python = element.tag == "PixelFunctionLanguage" and said.lower() == "python"
        if python or (element.tag == "PixelFunctionCode" and said):
            raise SceneError(f"{name}: has a pixel function in Python, and code is not run")
        if element.tag in ("SourceFilename", "SourceDataset"):
            _check_source(name, said, element, folder, depth)
    for band in root.iter("VRTRasterBand"):
        if band.get("subClass") == "VRTRawRasterBand":
            for element in band.findall("SourceFilename"):
                _check_raw(name, (element.text or "").strip(), element, folder)


def _check_source(name: str, said: str, element: ET.Element, folder: Path, depth: int) -> None:
    if said.startswith("<"):
        if depth >= DEEPEST_VRT:
            raise SceneError(f"{name}: VRTs within VRTs, more than {DEEPEST_VRT} deep")
        _check_text(name, said, folder, depth + 1)
        return
    plain = said.removeprefix("vrt://").partition("?")[0] if said.startswith("vrt://") else said
    for prefix in _SUBDATASETS:
        if plain.upper().startswith(prefix):
            plain = _file_of(plain[len(prefix) :])
    why = objection(plain, asked="", local=True)
    if why is not None:
        raise SceneError(f"{name}: one of its sources is {said[:120]}, {why}")
    if is_remote(plain):
        return
    path = folder / plain if element.get("relativeToVRT") == "1" else Path(plain)
    try:
        found = path.stat()
    except (OSError, ValueError):
        return  # GDAL says what is missing, once it is needed
    _check_kind(name, path)
    if _is_vrt(path):
        state = found.st_mtime_ns, found.st_size
        _check_vrt(name, os.path.realpath(path), state, depth + 1)


def _check_kind(name: str, path: Path) -> None:
    try:
        check_file(str(path))
    except SceneError as error:
        raise SceneError(f"{name}: one of its sources cannot be read: {error}") from error


def _file_of(subdataset: str) -> str:
    """The file in what GDAL calls ``"a.nc":variable``, ``a.nc:variable`` or ``1:a.tif``."""
    if subdataset.startswith('"'):
        return subdataset[1:].partition('"')[0]
    head, _, tail = subdataset.partition(":")
    return tail if head.isdigit() else head


def _check_raw(name: str, said: str, element: ET.Element, folder: Path) -> None:
    """A raw band shows the bytes of any file as pixels: it must lie with the VRT."""
    path = folder / said if element.get("relativeToVRT") == "1" else Path(said)
    if not os.path.realpath(path).startswith(os.path.realpath(folder) + os.sep):
        raise SceneError(
            f"{name}: shows the bytes of {said[:120]} as pixels, which lies outside of its folder"
        )
