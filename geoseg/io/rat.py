"""What a GeoTIFF cannot hold: category names and the attribute table, in GDAL's ``.aux.xml``.

QGIS from 3.30 on reads the table, older ones and most other programs the names.
Source: https://gdal.org/en/stable/user/raster_data_model.html#raster-attribute-table
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from geoseg.errors import ProductError
from geoseg.io.atomic import write_bytes
from geoseg.io.cog import SIDECAR
from geoseg.legend import Legend

_INTEGER, _STRING = 0, 2  # GDALRATFieldType
_COUNT, _NAME, _MIN_MAX, _RED, _GREEN, _BLUE, _ALPHA = 1, 2, 5, 6, 7, 8, 9  # GDALRATFieldUsage

_COLUMNS = (
    ("Value", _INTEGER, _MIN_MAX),
    ("Class", _STRING, _NAME),
    ("Red", _INTEGER, _RED),
    ("Green", _INTEGER, _GREEN),
    ("Blue", _INTEGER, _BLUE),
    ("Alpha", _INTEGER, _ALPHA),
)


def write_rat(raster: str | Path, legend: Legend, *, counts: Sequence[int] | None = None) -> Path:
    """Write names and attribute table of ``legend`` beside ``raster``, for its first band.

    Args:
        raster: The GeoTIFF; what GDAL itself keeps in its ``.aux.xml`` stays.
        legend: One row a class; nodata gets none.
        counts: Pixels of each code, indexed by code; adds a column ``Count``.

    Returns:
        The path of the ``.aux.xml``.

    Raises:
        ProductError: It cannot be written, or one that is there cannot be read.
    """
    path = Path(f"{raster}{SIDECAR}")
    root = _existing(path)
    band = root.find("PAMRasterBand[@band='1']")
    if band is None:
        band = ET.SubElement(root, "PAMRasterBand", band="1")
    for tag in ("CategoryNames", "GDALRasterAttributeTable"):
        for old in band.findall(tag):
            band.remove(old)
    band.extend([_category_names(legend), _attribute_table(legend, counts)])
    ET.indent(root)
    write_bytes(path, ET.tostring(root, encoding="utf-8") + b"\n")
    return path


def _existing(path: Path) -> ET.Element:
    if not path.exists():
        return ET.Element("PAMDataset")
    try:
        return ET.fromstring(path.read_bytes())  # noqa: S314 - GDAL wrote it, here, just now
    except (OSError, ET.ParseError) as error:
        raise ProductError(f"{path}: cannot be read as GDAL's sidecar: {error}") from error


def _category_names(legend: Legend) -> ET.Element:
    """One name for every number from 0 on: GDAL counts them, so those between are empty."""
    names = {c.value: c.name for c in legend.classes}
    element = ET.Element("CategoryNames")
    for value in range(max(names) + 1):
        ET.SubElement(element, "Category").text = names.get(value, "")
    return element


def _attribute_table(legend: Legend, counts: Sequence[int] | None) -> ET.Element:
    table = ET.Element("GDALRasterAttributeTable", tableType="thematic")
    columns = [*_COLUMNS, ("Count", _INTEGER, _COUNT)] if counts is not None else _COLUMNS
    for index, (name, type_, usage) in enumerate(columns):
        field = ET.SubElement(table, "FieldDefn", index=str(index))
        ET.SubElement(field, "Name").text = name
        ET.SubElement(field, "Type").text = str(type_)
        ET.SubElement(field, "Usage").text = str(usage)
    for index, entry in enumerate(sorted(legend.classes, key=lambda c: c.value)):
        row = ET.SubElement(table, "Row", index=str(index))
        cells: list[object] = [entry.value, entry.name, *entry.rgb, 255]
        if counts is not None:
            # The table's integers have 32 bits; a larger count would be read as a negative one.
            cells.append(min(int(counts[entry.value]), 2**31 - 1))
        for cell in cells:
            ET.SubElement(row, "F").text = str(cell)
    return table
