"""A QGIS project of ours shows its layers in other styles; one that somebody has saved is left alone."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree as ET

from geoseg.io.atomic import write_bytes
from geoseg.io.qgis_project import DOCTYPE, zipped
from geoseg.io.qml import VERSION, Style

Source = tuple[Path, str]
"""A file, resolved, and the layer in it; rasters have none."""

Outcome = Literal["changed", "same", "theirs", "unreadable"]
"""What became of a project; ``theirs`` has been saved with QGIS by somebody."""


def restyle_project(path: Path, styles: Mapping[Source, Style]) -> Outcome:
    """Give the layers of a project other styles; what else it says of them stays.

    Args:
        path: A ``.qgz``.
        styles: By what they are of.

    Returns:
        What became of it: ``same`` where it shows none of them, or shows them so already.

    Raises:
        ProductError: It cannot be written.
    """
    try:
        name, text = _read(path)
        root = ET.fromstring(text[text.index("<qgis") :])  # noqa: S314 (beside our products; no entity is resolved)
    except (OSError, ValueError, zipfile.BadZipFile, ET.ParseError):
        return "unreadable"
    layers = [
        (layer, style)
        for layer in root.iterfind("projectlayers/maplayer")
        if (style := styles.get(_source(path, layer.findtext("datasource", "")))) is not None
    ]
    if layers and root.get("version") != VERSION:
        return "theirs"
    for layer, style in layers:
        _put(layer, style)
    ET.indent(root)
    made = DOCTYPE + ET.tostring(root, encoding="unicode") + "\n"
    if not layers or made == text:
        return "same"
    write_bytes(path, zipped(name, made.encode()))
    return "changed"


def _read(path: Path) -> tuple[str, str]:
    """Name and text of the project in the archive."""
    with zipfile.ZipFile(path) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".qgs")]
        return name, archive.read(name).decode("utf-8")


def _source(project: Path, said: str) -> Source:
    file, _, options = said.partition("|")
    return (project.parent / file).resolve(), options.removeprefix("layername=")


def _put(layer: ET.Element, style: Style) -> None:
    """Replace each part of a style that the layer has by the new one."""
    for part in style:
        for old in layer.findall(part.tag):
            layer.remove(old)
    layer.extend(style)
