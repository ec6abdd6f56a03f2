"""Class rasters of anyone's get the names and colours of a legend; pixels stay as they are."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.shutil import copy as copy_raster

from geoseg.errors import ProductError
from geoseg.grid import blocks, full_window
from geoseg.io.atomic import replacing
from geoseg.io.class_raster import NO_CLASS, ClassRaster
from geoseg.io.environment import gdal_env
from geoseg.io.limits import open_raster
from geoseg.io.qml import write_class_qml, write_confidence_qml
from geoseg.io.qml_time import range_in
from geoseg.io.rat import write_rat
from geoseg.io.tiff_palette import Color, patch_palette
from geoseg.legend import Legend

PERCENT = "(percent)"
"""How the description of a band of percents ends."""

_DOUBTS = ("entropy", "disagreement")
_BLOCK = 2048


def counts_of(raster: str | Path) -> NDArray[np.int64]:
    """How often each code ``(256,)`` occurs in a class raster; nodata is not counted.

    Raises:
        SceneError: It is no class raster, or holds a number that is no code.
    """
    source = ClassRaster(raster)
    counts = np.zeros(257, np.int64)
    for window in blocks(full_window(source.grid).shape, _BLOCK):
        codes = source.read(window)
        counts += np.bincount((codes.ravel() - NO_CLASS).astype(np.int64), minlength=257)
    return counts[1:]


def percents_of(raster: str | Path) -> str | None:
    """What percents a raster has, as its first band is called; None where it has other numbers."""
    try:
        with open_raster(str(raster)) as source:
            name = (source.descriptions or (None,))[0] or ""
    except RasterioError:
        return None  # said by whoever opens it as a map
    return name.removesuffix(PERCENT).strip() or "percent" if name.endswith(PERCENT) else None


def style_percents(raster: Path, name: str) -> list[Path]:
    """Write the ramp of a raster of percents; returns what was written."""
    path = raster.with_suffix(".qml")
    write_confidence_qml(path, doubt=name in _DOUBTS, shown=range_in(path))
    return [path]


def style_classes(raster: Path, legend: Legend, counts: Sequence[int]) -> list[Path]:
    """Give a class raster palette, names, attribute table and QML of a legend.

    Each file appears whole or not at all. A palette is written into GeoTIFFs of bytes with one
    band only: without touching anything else where there is one already, else anew.

    Args:
        raster: The file.
        legend: Its nodata does not matter: the file's own stays.
        counts: Pixels of each code, indexed by code.

    Returns:
        What was written.

    Raises:
        ProductError: Something cannot be written.
    """
    with open_raster(str(raster)) as source:
        profile, nodata = source.profile, source.nodata
        held = _colormap(source)
        cog = source.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG"
    written = []
    if (profile["driver"], profile["dtype"], profile["count"]) == ("GTiff", "uint8", 1):
        colors = {c.value: c.rgb for c in legend.classes}
        if not _shows(held, colors):
            _write_palette(raster.resolve(), colors, profile, nodata, cog=cog)
            written.append(raster)
    hole = int(nodata) if nodata is not None and float(nodata).is_integer() else NO_CLASS
    shown = replace(legend, nodata=hole) if hole not in legend.values else legend
    written.append(write_rat(raster, shown, counts=counts))
    qml = raster.with_suffix(".qml")
    write_class_qml(qml, shown, shown=range_in(qml))
    return [*written, qml]


def _colormap(source: rasterio.DatasetReader) -> Mapping[int, Sequence[int]] | None:
    try:
        found: Mapping[int, Sequence[int]] = source.colormap(1)
    except ValueError:  # it has none
        return None
    return found


def _shows(held: Mapping[int, Sequence[int]] | None, colors: Mapping[int, Color]) -> bool:
    """Whether a palette has these colours, and no others."""
    if held is None:
        return False
    seen = {code: tuple(rgba[:3]) for code, rgba in held.items()}
    return all(seen.get(code, (0, 0, 0)) == colors.get(code, (0, 0, 0)) for code in range(256))


def _write_palette(
    raster: Path,
    colors: Mapping[int, Color],
    profile: Mapping[str, Any],
    nodata: float | None,
    *,
    cog: bool,
) -> None:
    with replacing(raster) as made:
        shutil.copy(raster, made)
        if patch_palette(made, colors):
            return
        table = {code: (*colors.get(code, (0, 0, 0)), 255) for code in range(256)}
        if nodata is not None and 0 <= nodata <= 255:
            table[int(nodata)] = (0, 0, 0, 0)
        try:
            with gdal_env(), rasterio.open(made, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as target:
                target.write_colormap(1, table)
            if cog:
                _as_cog(made, profile)
        except RasterioError as error:
            raise ProductError(f"{raster}: its palette cannot be written: {error}") from error


def _as_cog(made: Path, profile: Mapping[str, Any]) -> None:
    """Put a file in the order of a COG again; its own overviews are used."""
    again = made.with_name(f"again{made.suffix}")
    with gdal_env():
        copy_raster(
            made,
            again,
            driver="COG",
            COMPRESS=str(profile.get("compress", "none")),
            BLOCKSIZE=int(profile.get("blockxsize", 512)),
            OVERVIEW_RESAMPLING="MODE",
            BIGTIFF="IF_SAFER",
        )
    again.replace(made)
