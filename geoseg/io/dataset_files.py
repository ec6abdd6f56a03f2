"""Which files a raster's pixels come from: sources of a VRT, masks beside it, the archive around it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from geoseg.io.environment import gdal_env, is_remote

GDAL = str(rasterio.__gdal_version__)
"""The version of GDAL that rasters are read with; rasterio's own does not tell."""

_ASIDE = (".aux.xml", ".ovr")
"""What GDAL lists, too, and no pixel comes from: statistics, and copies for looking at. What else
an ``.aux.xml`` says (scale, nodata, where it lies) is part of the scene."""

_ARCHIVES = ("/vsizip/", "/vsitar/", "/vsigzip/", "/vsi7z/", "/vsirar/")


def dataset_files(uri: str) -> list[str]:
    """``uri`` and all other files whose pixels it shows, each once, its own first.

    A file in an archive on this machine is the archive. What is remote, or cannot be opened, is
    only itself: whoever reads it will say what is wrong with it.
    """
    archive = _archive(uri)
    if archive is not None:
        return [archive]
    if is_remote(uri):
        return [uri]
    found = {uri: None}
    waiting = [uri]
    while waiting:
        for file in _listed(waiting.pop()):
            if file not in found:
                found[file] = None
                waiting += [file] if file.lower().endswith(".vrt") else []
    return list(found)


def _listed(uri: str) -> Iterator[str]:
    try:
        with gdal_env(), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(uri) as dataset:
                listed = list(dataset.files)
    except RasterioError:
        return
    for file in listed:
        if not file.lower().endswith(_ASIDE) and Path(file).absolute() != Path(uri).absolute():
            yield _archive(file) or file


def _archive(uri: str) -> str | None:
    """The archive on this machine that a file lies in."""
    prefix = next((p for p in _ARCHIVES if uri.startswith(p)), None)
    if prefix is None:
        return None
    path = uri.removeprefix(prefix)
    if path.startswith("{"):
        path = path[1:].partition("}")[0]
    for place in (Path(path), *Path(path).parents):
        if place.is_file():
            return str(place)
    return None
