"""Class rasters of anyone's: codes, grid, and whatever names and colours they bring."""

from __future__ import annotations

import colorsys
import threading
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from geoseg.errors import SceneError
from geoseg.grid import GeoBox, Window
from geoseg.io.headers import read_header
from geoseg.legend import LandClass, Legend

_SIDECAR = ".aux.xml"
_GOLDEN_ANGLE = 0.618034  # hues this far apart never come close to one another


class ClassRaster:
    """The first band of a raster file as class codes 0..255. Implements ``RasterStore.read``.

    Safe to call from several threads. Codes out of range are found while reading.

    Raises:
        SceneError: It cannot be opened, has no CRS, or holds no whole numbers.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        header = read_header(str(path))
        if np.dtype(header.dtypes[0]).kind not in "ui":
            raise SceneError(
                f"{path}: its first band is {header.dtypes[0]}, not class codes 0..255"
            )
        self.grid: GeoBox = header.grid
        with rasterio.open(path) as source:
            self.nodata = None if source.nodata is None else int(source.nodata)
        if self.nodata is not None and not 0 <= self.nodata <= 255:
            raise SceneError(f"{path}: nodata {self.nodata} is not within 0..255, as codes are")
        self._local = threading.local()

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Codes of a window.

        Raises:
            SceneError: It cannot be read, or holds a number that is no code.
        """
        try:
            if not hasattr(self._local, "source"):
                self._local.source = rasterio.open(self.path, sharing=False)
            values = self._local.source.read(1, window=RasterWindow.from_slices(*window.slices))
        except RasterioError as error:
            raise SceneError(f"{self.path}: cannot read {window}: {error}") from error
        if values.dtype != np.uint8 and (values.min() < 0 or values.max() > 255):
            strange = values[(values < 0) | (values > 255)][0]
            raise SceneError(f"{self.path}: {window} holds {strange}; class codes are 0..255")
        return np.asarray(values, np.uint8)

    def write(self, window: Window, values: NDArray[np.uint8]) -> None:  # noqa: ARG002 (protocol)
        """Files of others are never written."""
        raise SceneError(f"{self.path}: is only read, {window} cannot be written")


def read_legend(path: Path) -> Legend:
    """Names from category names or the attribute table, colours from the palette.

    Every code gets an entry; what the file does not say is called "Class 7" and gets a colour of
    its own. Codes that do not occur may be left out by whoever draws them.

    Raises:
        SceneError: The file cannot be opened.
    """
    try:
        with rasterio.open(path) as source:
            nodata = 255 if source.nodata is None else int(source.nodata)
            palette = _palette(source)
    except RasterioError as error:
        raise SceneError(f"{path}: cannot be opened: {error}") from error
    names = _names(path)
    taken: set[str] = set()
    classes = []
    for code in range(256):
        if code == nodata:
            continue
        name = names.get(code, f"Class {code}")
        name = name if name not in taken else f"{name} ({code})"
        taken.add(name)
        classes.append(LandClass(code, name, palette.get(code, _color(code))))
    return Legend(path.stem, tuple(classes), nodata)


def _palette(source: rasterio.DatasetReader) -> dict[int, str]:
    try:
        colors = source.colormap(1)
    except ValueError:  # it has none
        return {}
    drawn = {code: f"#{r:02x}{g:02x}{b:02x}" for code, (r, g, b, a) in colors.items() if a}
    # Palettes are padded with black to 256 entries.
    return {code: color for code, color in drawn.items() if color != "#000000" or code < 2}


def _names(path: Path) -> Mapping[int, str]:
    """What GDAL keeps beside a raster; rasterio does not hand it out."""
    try:
        root = ET.parse(f"{path}{_SIDECAR}").getroot()  # noqa: S314 (expat knows no network)
    except (OSError, ET.ParseError):
        return {}
    band = root.find("PAMRasterBand[@band='1']")
    if band is None:
        return {}
    table = band.find("GDALRasterAttributeTable")
    names = {} if table is None else _from_table(table)
    categories = band.findall("CategoryNames/Category")
    return names or {i: c.text for i, c in enumerate(categories) if c.text}


def _from_table(table: ET.Element) -> dict[int, str]:
    """Code and name of each row: usages 5 (MinMax) and 2 (Name) of GDAL's attribute tables."""
    usages = [field.findtext("Usage", "0") for field in table.findall("FieldDefn")]
    if "5" not in usages or "2" not in usages:
        return {}
    at_code, at_name = usages.index("5"), usages.index("2")
    names = {}
    for row in table.findall("Row"):
        cells = [cell.text or "" for cell in row.findall("F")]
        if len(cells) == len(usages) and cells[at_code].lstrip("-").isdigit() and cells[at_name]:
            names[int(cells[at_code])] = cells[at_name]
    return names


def _color(code: int) -> str:
    hue = code * _GOLDEN_ANGLE % 1.0
    r, g, b = colorsys.hsv_to_rgb(hue, 0.55 + 0.15 * (code % 3), 0.9 - 0.15 * (code % 2))
    return f"#{int(r * 255):02x}{int(g * 255):02x}{int(b * 255):02x}"
