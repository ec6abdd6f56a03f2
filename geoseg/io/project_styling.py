"""A QGIS project of ours shows its layers in other styles; one that somebody has saved is left alone."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

from geoseg.errors import ProductError
from geoseg.io.atomic import write_bytes
from geoseg.io.qgis_project import DOCTYPE, zipped
from geoseg.io.qml import VERSION, Style

Source = tuple[Path, str]
"""A file, resolved, and the layer in it; rasters have none."""


def restyle_project(path: Path, styles: Mapping[Source, Style]) -> bool | None:
    """Give the layers of a project other styles; what else it says of them stays.

    Args:
        path: A ``.qgz``.
        styles: By what they are of.

    Returns:
        Whether it was changed; None where somebody has saved it with QGIS: then it is theirs.

    Raises:
        ProductError: It cannot be read or written.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            (name,) = [n for n in archive.namelist() if n.endswith(".qgs")]
            text = archive.read(name).decode("utf-8")
        root = ET.fromstring(text[text.index("<qgis") :])  # noqa: S314 (beside our products; no entity is resolved)
    except (OSError, ValueError, zipfile.BadZipFile, ET.ParseError) as error:
        raise ProductError(f"{path}: cannot be read as a QGIS project: {error}") from error
    if root.get("version") != VERSION:
        return None
    changed = False
    for layer in root.iterfind("projectlayers/maplayer"):
        style = styles.get(_source(path, layer.findtext("datasource", "")))
        changed = (style is not None and _put(layer, style)) or changed
    if changed:
        ET.indent(root)
        made = DOCTYPE + ET.tostring(root, encoding="unicode") + "\n"
        write_bytes(path, zipped(name, made.encode()))
    return changed


def _source(project: Path, said: str) -> Source:
    file, _, options = said.partition("|")
    return (project.parent / file).resolve(), options.removeprefix("layername=")


def _put(layer: ET.Element, style: Style) -> bool:
    """Replace each part of a style that the layer has by the new one."""
    before = ET.tostring(layer)
    for part in style:
        for old in layer.findall(part.tag):
            layer.remove(old)
    layer.extend(style)
    return ET.tostring(layer) != before
