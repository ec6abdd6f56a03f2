"""Styles that products bring, read again: from the file beside a raster, from within a GeoPackage."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as ET

from geoseg.errors import ProductError
from geoseg.io.qml import Style


def style_beside(raster: Path) -> Style:
    """The style in the ``.qml`` beside a file.

    Raises:
        ProductError: There is none, or it cannot be read.
    """
    path = raster.with_suffix(".qml")
    try:
        return style_of(path.read_text("utf-8"))
    except (OSError, ValueError, ET.ParseError) as error:
        raise ProductError(f"{path}: cannot be read as a style: {error}") from error


def style_within(packed: Path, layer: str) -> Style:
    """The style that rules a layer of a GeoPackage.

    Raises:
        ProductError: There is none, or it cannot be read.
    """
    try:
        uri = f"{packed.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            row = connection.execute(
                "SELECT styleQML FROM layer_styles WHERE f_table_name = ? "
                "ORDER BY useAsDefault DESC, id DESC",
                (layer,),
            ).fetchone()
        return style_of(row[0])
    except (sqlite3.Error, TypeError, ValueError, ET.ParseError) as error:
        raise ProductError(f"{packed}: layer {layer} has no style: {error}") from error


def styles_within(packed: Path) -> dict[str, tuple[str, Style]]:
    """Titles and styles of the layers of a GeoPackage that have one, by table.

    Raises:
        ProductError: It cannot be read.
    """
    try:
        uri = f"{packed.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            rows = connection.execute(
                "SELECT table_name, coalesce(nullif(description, ''), identifier, table_name) "
                "FROM gpkg_contents WHERE data_type = 'features' AND table_name IN "
                "(SELECT f_table_name FROM layer_styles) ORDER BY table_name"
            ).fetchall()
    except sqlite3.Error as error:
        raise ProductError(f"{packed}: cannot be read: {error}") from error
    return {str(table): (str(title), style_within(packed, table)) for table, title in rows}


def style_of(qml: str) -> Style:
    """The parts of a QML text."""
    return list(ET.fromstring(qml[qml.index("<qgis") :]))  # noqa: S314 (of our own products)
