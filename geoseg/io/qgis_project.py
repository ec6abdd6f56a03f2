"""A QGIS project that shows all products of a scene, styled and in order."""

from __future__ import annotations

import hashlib
import io
import os
import re
import zipfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree as ET

from geoseg.errors import ProductError
from geoseg.grid import GeoBox
from geoseg.io.atomic import write_bytes
from geoseg.io.qml import RASTER_ATTRIBUTES, VECTOR_ATTRIBUTES, VERSION, Style, at_time
from geoseg.io.qml_time import Shown, time_settings
from geoseg.io.staging import moves_apart, store_place

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that zip knows
DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"


@dataclass(frozen=True, slots=True)
class ProjectLayer:
    """One layer: what the tree calls it, where it lies, how it is drawn.

    ``table`` is the layer within a vector file; rasters have none. Neighbours with the same
    ``group`` share one. ``source`` may be anything that GDAL opens; paths of files are stored
    relative to the project. ``grid`` is the file's own, where it is not in the CRS of the map.
    ``shown`` is when the time slider shows it, always without it; where polygons have attributes
    with dates these tell, and ``shown`` is what the slider runs over.
    """

    name: str
    source: str
    style: Style
    table: str = ""
    group: str = ""
    checked: bool = True
    grid: GeoBox | None = None
    shown: Shown | None = None


def write_project(
    path: str | Path,
    layers: Sequence[ProjectLayer],
    *,
    grid: GeoBox,
    title: str,
    abstract: str = "",
    folded: Collection[str] = (),
    closed: Collection[str] = (),
) -> None:
    """Write a ``.qgz`` for QGIS 3.22 and newer.

    Args:
        path: The project; it may be moved together with the files it shows.
        layers: From the top of the map to its bottom.
        grid: Gives CRS and extent of the map.
        title: Of the window.
        abstract: Shown among the project's properties.
        folded: Groups that are closed and switched off as a whole: a tick shows all of one.
        closed: Groups that are closed, but shown.

    Raises:
        ProductError: There is no layer, no CRS, or it cannot be written.
    """
    path = Path(path)
    if not layers:
        raise ProductError(f"{path}: a project needs at least one layer")
    root = ET.Element("qgis", {"projectname": title, "version": VERSION})
    ET.SubElement(root, "homePath", path="")
    ET.SubElement(root, "title").text = title
    ET.SubElement(root, "projectCrs").append(_spatial_reference(grid))
    ids = [_identifier(i, layer) for i, layer in enumerate(layers)]
    root.append(_tree(path, layers, ids, folded, closed))
    root.append(_canvas(grid))
    maps = [_map_layer(path, layer, i, grid) for layer, i in zip(layers, ids, strict=True)]
    ET.SubElement(root, "projectlayers").extend(maps)
    root.append(_properties())
    times = time_settings([layer.shown for layer in layers if layer.shown is not None])
    if times is not None:
        root.append(times)
    metadata = ET.SubElement(root, "projectMetadata")
    ET.SubElement(metadata, "title").text = title
    ET.SubElement(metadata, "abstract").text = abstract
    view = ET.SubElement(root, "ProjectViewSettings", UseProjectScales="0", rotation="0")
    extent = ET.SubElement(view, "DefaultViewExtent", _extent(grid))
    extent.append(_spatial_reference(grid))
    ET.indent(root)
    text = DOCTYPE + ET.tostring(root, encoding="unicode") + "\n"
    write_bytes(path, zipped(f"{path.stem}.qgs", text.encode()))


def _identifier(index: int, layer: ProjectLayer) -> str:
    # QGIS replaces identifiers of 10 characters or fewer, and then finds no layer for its tree.
    plain = re.sub("[^A-Za-z0-9]+", "_", layer.name)
    text = f"{index} {layer.name} {Path(layer.source).name} {layer.table}"
    return f"{plain}_{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _tree(
    path: Path,
    layers: Sequence[ProjectLayer],
    ids: Sequence[str],
    folded: Collection[str],
    closed: Collection[str],
) -> ET.Element:
    root = ET.Element("layer-tree-group")
    numbered = list(zip(layers, ids, strict=True))
    for group, members in groupby(numbered, key=lambda pair: pair[0].group):
        parent = root
        if group:
            shut, still = group in folded, group in closed
            open_, on = _flag(not (shut or still)), _tick(not shut)
            attributes = {"name": group, "expanded": open_, "checked": on}
            parent = ET.SubElement(root, "layer-tree-group", attributes)
        for layer, identifier in members:
            ET.SubElement(
                parent,
                "layer-tree-layer",
                {
                    "id": identifier,
                    "name": layer.name,
                    "source": _source(path, layer),
                    "providerKey": _provider(layer),
                    "checked": _tick(layer.checked),
                    "expanded": _flag(layer.checked),
                },
            )
    return root


def _map_layer(path: Path, layer: ProjectLayer, identifier: str, grid: GeoBox) -> ET.Element:
    if layer.table:
        kind = {"type": "vector", "geometry": "Polygon", "wkbType": "Polygon", **VECTOR_ATTRIBUTES}
    else:
        kind = {"type": "raster", **RASTER_ATTRIBUTES}
    element = ET.Element("maplayer", {**kind, "styleCategories": "AllStyleCategories"})
    for tag, text in (
        ("id", identifier),
        ("datasource", _source(path, layer)),
        ("layername", layer.name),
        ("provider", _provider(layer)),
    ):
        ET.SubElement(element, tag).text = text
    if layer.table:
        element[-1].set("encoding", "UTF-8")
    ET.SubElement(element, "srs").append(_spatial_reference(layer.grid or grid))
    manager = ET.SubElement(element, "map-layer-style-manager", current="default")
    ET.SubElement(manager, "map-layer-style", name="default")
    timed = layer.table and any(part.tag == "temporal" for part in layer.style)
    element.extend(layer.style if timed else at_time(layer.style, layer.shown))
    return element


def _tick(on: bool) -> str:  # noqa: FBT001 (private)
    return "Qt::Checked" if on else "Qt::Unchecked"


def _flag(on: bool) -> str:  # noqa: FBT001 (private)
    return "1" if on else "0"


def _source(path: Path, layer: ProjectLayer) -> str:
    source = layer.source
    # /vsizip/..., https://..., ZARR:"..." are no paths: they stay as they are.
    if Path(source).exists() and moves_apart(path, Path(source).absolute()):
        place = store_place(Path(source).absolute())
        source = source if place is None else f"/vsis3/{place.bucket}/{place.key}"
    elif Path(source).exists():
        relative = os.path.relpath(Path(source).resolve(), path.parent.resolve())
        source = Path(relative).as_posix()
        source = source if source.startswith("../") else f"./{source}"
    return f"{source}|layername={layer.table}" if layer.table else source


def _provider(layer: ProjectLayer) -> str:
    return "ogr" if layer.table else "gdal"


def _canvas(grid: GeoBox) -> ET.Element:
    """Where the window looks when the project opens."""
    canvas = ET.Element("mapcanvas", name="theMapCanvas", annotationsVisible="1")
    extent = ET.SubElement(canvas, "extent")
    for corner, value in _extent(grid).items():
        ET.SubElement(extent, corner).text = value
    ET.SubElement(canvas, "rotation").text = "0"
    ET.SubElement(canvas, "destinationsrs").append(_spatial_reference(grid))
    return canvas


def _extent(grid: GeoBox) -> dict[str, str]:
    box = grid.boundingbox
    corners = {"xmin": box.left, "ymin": box.bottom, "xmax": box.right, "ymax": box.top}
    return {name: repr(float(value)) for name, value in corners.items()}


def _spatial_reference(grid: GeoBox) -> ET.Element:
    if grid.crs is None:
        raise ProductError("a QGIS project needs a grid with a CRS; this one has none")
    element = ET.Element("spatialrefsys")
    entries = {"wkt": grid.crs.wkt, "description": grid.crs.proj.name}
    if grid.crs.epsg is not None:
        entries |= {"srid": str(grid.crs.epsg), "authid": f"EPSG:{grid.crs.epsg}"}
    entries["geographicflag"] = str(bool(grid.crs.geographic)).lower()
    for tag, text in entries.items():
        ET.SubElement(element, tag).text = text
    return element


def _properties() -> ET.Element:
    properties = ET.Element("properties")
    paths = ET.SubElement(properties, "Paths")
    ET.SubElement(paths, "Absolute", type="bool").text = "false"
    reference = ET.SubElement(properties, "SpatialRefSys")
    ET.SubElement(reference, "ProjectionsEnabled", type="int").text = "1"
    return properties


def zipped(name: str, data: bytes) -> bytes:
    """A ``.qgz`` with one file; the same data give the same bytes."""
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, data)
    return buffer.getvalue()
