"""Names and colours that anyone's class raster brings: attribute tables, category names, palette."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import rasterio

_NAME, _MIN_MAX, _MIN = "2", "5", "3"  # GDALRATFieldUsage
_CHANNELS = ("6", "7", "8")  # GDALRATFieldUsage of red, green, blue
_TEXT = "2"  # GDALRATFieldType
_CODE_COLUMNS = ("value", "code", "class_code")
_NAME_COLUMNS = ("class_name", "class_names", "classname", "class", "land_cover", "name", "label")

Cells = Sequence[object]


@dataclass(frozen=True, slots=True)
class Labels:
    """What a file says of its codes; both may lack any of them."""

    names: Mapping[int, str]
    colors: Mapping[int, str]


def read_labels(path: Path, source: rasterio.DatasetReader) -> Labels:
    """Attribute table beside or inside the file first, then category names, and the palette.

    The order is that of QGIS. Tables that cannot be read are as good as none.
    """
    band = _pam_band(path)
    table = _attribute_table(band) or _dbase_table(path) or Labels({}, {})
    names = {**_category_names(band), **table.names}
    return Labels(names, {**_palette(source, names), **table.colors})


def _pam_band(path: Path) -> ET.Element | None:
    """What GDAL keeps of the first band beside a raster, or in a virtual one."""
    for file, tag in ((f"{path}.aux.xml", "PAMRasterBand"), (path, "VRTRasterBand")):
        if tag == "VRTRasterBand" and path.suffix != ".vrt":
            continue
        with suppress(OSError, ET.ParseError):
            band = ET.parse(file).getroot().find(f"{tag}[@band='1']")  # noqa: S314 (no network)
            if band is not None:
                return band
    return None


def _category_names(band: ET.Element | None) -> dict[int, str]:
    """One name for each number from 0 on; those between are empty."""
    categories = [] if band is None else band.findall("CategoryNames/Category")
    return {i: c.text.strip() for i, c in enumerate(categories) if c.text and c.text.strip()}


def _attribute_table(band: ET.Element | None) -> Labels | None:
    table = None if band is None else band.find("GDALRasterAttributeTable")
    if table is None:
        return None
    fields = table.findall("FieldDefn")
    titles = [field.findtext("Name", "") for field in fields]
    usages = [field.findtext("Usage", "0") for field in fields]
    texts = [field.findtext("Type", "") == _TEXT for field in fields]
    rows = [[cell.text or "" for cell in row.findall("F")] for row in table.findall("Row")]
    code = _first(usages, (_MIN_MAX, _MIN))
    name = _first(usages, (_NAME,))
    return _labels(
        [row for row in rows if len(row) == len(fields)],
        _titled(titles, _CODE_COLUMNS) if code is None else code,
        _name_column(titles, texts) if name is None else name,
        [_first(usages, (usage,)) for usage in _CHANNELS],
    )


def _dbase_table(path: Path) -> Labels | None:
    """The table that ArcGIS writes beside a raster."""
    file = Path(f"{path}.vat.dbf")
    if not file.is_file():
        return None
    import pyogrio  # noqa: PLC0415 (brings pandas; such tables are rare)
    from pyogrio.errors import DataLayerError, DataSourceError  # noqa: PLC0415 (pyogrio, for tables only)

    try:
        meta, _, _, columns = pyogrio.raw.read(file, read_geometry=False)
    except (DataSourceError, DataLayerError):
        return None
    titles = [str(title) for title in meta["fields"]]
    return _labels(
        list(zip(*columns, strict=True)),
        _titled(titles, _CODE_COLUMNS),
        _name_column(titles, [column.dtype.kind == "O" for column in columns]),
        [_titled(titles, (color,)) for color in ("red", "green", "blue")],
    )


def _labels(
    rows: Sequence[Cells], code: int | None, name: int | None, channels: Sequence[int | None]
) -> Labels | None:
    """Names and colours by code; None where no column says which code a row is of."""
    if code is None:
        return None
    numbered = [(int(n), row) for row in rows if (n := _number(row[code])) is not None]
    names = {} if name is None else {n: str(row[name] or "").strip() for n, row in numbered}
    return Labels({n: text for n, text in names.items() if text}, _colors(numbered, channels))


def _colors(rows: Sequence[tuple[int, Cells]], channels: Sequence[int | None]) -> dict[int, str]:
    """From numbers of 0..255, or of 0..1 as ArcGIS has them."""
    at = [channel for channel in channels if channel is not None]
    found = {code: [_number(row[i]) for i in at] for code, row in rows}
    values = [value for rgb in found.values() for value in rgb if value is not None]
    if len(at) < 3 or not values or not 0 <= min(values) <= max(values) <= 255:
        return {}
    scale = 255 if max(values) <= 1 else 1
    return {
        code: "#" + "".join(f"{round(value * scale):02x}" for value in rgb if value is not None)
        for code, rgb in found.items()
        if None not in rgb
    }


def _palette(source: rasterio.DatasetReader, names: Mapping[int, str]) -> dict[int, str]:
    try:
        colors = source.colormap(1)
    except ValueError:  # it has none
        return {}
    drawn = {code: f"#{r:02x}{g:02x}{b:02x}" for code, (r, g, b, a) in colors.items() if a}
    # Files pad palettes with black at their end: there it means something only if it has a name.
    last = max((code for code, color in drawn.items() if color != "#000000"), default=0)
    return {code: color for code, color in drawn.items() if code <= max(1, last) or code in names}


def _first(usages: Sequence[str], wanted: Sequence[str]) -> int | None:
    return next((usages.index(usage) for usage in wanted if usage in usages), None)


def _titled(titles: Sequence[str], wanted: Sequence[str]) -> int | None:
    known = [title.casefold() for title in titles]
    return next((known.index(title) for title in wanted if title in known), None)


def _name_column(titles: Sequence[str], texts: Sequence[bool]) -> int | None:
    """The column that is called so, else the first one of text."""
    called = _titled(titles, _NAME_COLUMNS)
    if called is not None and texts[called]:
        return called
    return next((i for i, text in enumerate(texts) if text), None)


def _number(cell: Any) -> float | None:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return None
