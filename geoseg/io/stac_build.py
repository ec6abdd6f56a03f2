"""A static STAC catalog of scenes that lie in a folder.

STAC 1.1 with the extensions eo 2.0, projection 2.0, raster 2.0 and file 2.1.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from odc.geo.crs import CRS

from geoseg.errors import SceneError
from geoseg.grid import GeoBox, full_window
from geoseg.io.atomic import write_bytes
from geoseg.io.footprint import footprint
from geoseg.io.grids import finest, pixel_sides
from geoseg.io.headers import Header, read_header
from geoseg.io.known import known_product, named_bands
from geoseg.io.names import MASK_NAMES, SENTINEL2, Sensor, common_name, date_from_tags, date_in
from geoseg.io.safe import safe_scene
from geoseg.io.scene_files import WHOLE, SceneFiles, sensor_of_files
from geoseg.scene import Scene

_HOME = "https://stac-extensions.github.io"
_EO, *_ALWAYS = (
    f"{_HOME}/{name}/schema.json"
    for name in ("eo/v2.0.0", "projection/v2.0.0", "raster/v2.0.0", "file/v2.1.0")
)
_ANY_TIME = {"start_datetime": "1900-01-01T00:00:00Z", "end_datetime": "9999-12-31T23:59:59Z"}
_TIME_TAGS = ("ACQUISITIONDATETIME", "ACQUISITION_DATETIME", "ACQUISITION_DATE", "DATE_ACQUIRED")
_CLOUD = re.compile(
    r"(?:Cloud_Coverage_Assessment>|CLOUD_COVER\"?\s*[=:]\s*\"?)\s*(-?\d+(?:\.\d+)?)"
)


@dataclass(frozen=True, slots=True)
class BuiltScene:
    """What was made of a scene: its item, or why there is none."""

    id: str
    item: dict[str, Any] | None
    problem: str | None = None


def build_item(scene: SceneFiles) -> BuiltScene:
    """The item of a scene with absolute paths; a scene that cannot be read has none."""
    try:
        grids, assets, taken, tags = _described(scene)
    except SceneError as error:
        return BuiltScene(scene.id, None, str(error))
    geometry, bbox = footprint(finest(grids))
    taken = taken or date_from_tags(tags, _TIME_TAGS) or _date_of_names(scene)
    time: dict[str, Any] = {"datetime": None, **_ANY_TIME}
    if taken is not None:
        time = {"datetime": taken.isoformat().replace("+00:00", "Z")}
    cloud = _cloud_cover(scene)
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": _extensions(cloud, assets),
        "id": scene.id,
        "geometry": geometry,
        "bbox": bbox,
        "properties": time | ({} if cloud is None else {"eo:cloud_cover": cloud}),
        "links": [],
        "assets": assets,
    }
    return BuiltScene(scene.id, item)


def write_catalog(
    folder: Path, items: Sequence[Mapping[str, Any]], *, name: str, title: str
) -> Path:
    """Write ``catalog.json`` and the items below it; addresses of files become relative.

    A catalog that is there already is replaced, its root last.

    Raises:
        ProductError: It cannot be written.
    """
    links = [_link("root", "./catalog.json")]
    for item in items:
        place = folder / item["id"] / f"{item['id']}.json"
        above = [_link("root", "../catalog.json"), _link("parent", "../catalog.json")]
        full = {**item, "links": above}
        full["assets"] = {key: _relative(asset, place) for key, asset in item["assets"].items()}
        write_bytes(place, _json(full))
        links.append(_link("item", f"./{item['id']}/{item['id']}.json", "application/geo+json"))
    catalog = {
        "type": "Catalog",
        "stac_version": "1.1.0",
        "id": name,
        "title": title,
        "description": f"{len(items)} scenes, catalogued by geoseg",
        "links": links,
    }
    path = folder / "catalog.json"
    write_bytes(path, _json(catalog))
    return path


def _described(
    scene: SceneFiles,
) -> tuple[list[GeoBox], dict[str, Any], datetime | None, Mapping[str, str]]:
    """Grids, assets, time and tags of a scene's files."""
    if scene.safe is not None:
        names = [name for code, name in SENTINEL2.items() if code in scene.files]
        known = safe_scene(scene.safe, names)
        assets = {key: _safe_asset(key, path, known) for key, path in scene.files.items()}
        return [band.grid for band in known.bands.values()], assets, known.acquired, {}
    headers = {key: read_header(path) for key, path in scene.files.items()}
    sensor = sensor_of_files(scene.id, headers)
    assets = {key: _asset(key, header, sensor) for key, header in headers.items()}
    first = next(iter(headers.values()))
    return [header.grid for header in headers.values()], assets, None, first.tags


def _safe_asset(code: str, path: str, scene: Scene) -> dict[str, Any]:
    header = read_header(path)
    name = SENTINEL2.get(code)
    if name is None:
        return _fields(header, ["data"], [_band("scl", None, header, 0)])
    band = scene.bands[name]
    numbers = {"raster:scale": band.scale, "raster:offset": band.offset, "nodata": band.nodata}
    entry = _band(code, name, header, 0) | numbers
    return _fields(header, ["data", "reflectance"], [entry])


def _asset(key: str, header: Header, sensor: Sensor | None) -> dict[str, Any]:
    """An asset by what its file says, and by what its product is known for."""
    known = {index: name for name, index in named_bands(header).items()}
    names = [name or known.get(i) for i, name in enumerate(header.names, 1)]
    entries = [_band(name or f"band{i}", name, header, i - 1) for i, name in enumerate(names, 1)]
    if key != WHOLE and not any(header.names):
        # Of a file that is one band, what follows in it is a mask or the like.
        name = common_name(key, sensor)
        entries[0] = _band(key, None if name in MASK_NAMES else name, header, 0)
    product = known_product(header.uri)
    if product is None or product.scale is None:
        return _fields(header, ["data"], entries)
    said = {"raster:scale": product.scale, "raster:offset": product.offset}
    if product.nodata is not None:
        said["nodata"] = product.nodata
    # What files say themselves goes first.
    entries = [entry if "raster:scale" in entry else said | entry for entry in entries]
    return _fields(header, ["data", "reflectance"], entries)


def _band(name: str, common: str | None, header: Header, at: int) -> dict[str, Any]:
    nodata = header.nodata[at]
    entry: dict[str, Any] = {"name": name, "data_type": header.dtypes[at]}
    if common is not None:
        entry["eo:common_name"] = common
    if nodata is not None:
        entry["nodata"] = "nan" if math.isnan(nodata) else nodata
    if (header.scales[at], header.offsets[at]) != (1.0, 0.0):
        entry |= {"raster:scale": header.scales[at], "raster:offset": header.offsets[at]}
    return entry


def _fields(header: Header, roles: list[str], bands: list[dict[str, Any]]) -> dict[str, Any]:
    path = Path(header.uri)
    kind = "image/jp2" if path.suffix.lower() == ".jp2" else "image/tiff; application=geotiff"
    code = _code(header.grid.crs)
    return {
        "href": str(path.absolute()),
        "type": kind if path.suffix.lower() not in (".vrt", ".img") else "image/x.gdal",
        "roles": roles,
        "bands": [band | {"raster:spatial_resolution": _metres(header.grid)} for band in bands],
        **code,
        "proj:shape": list(full_window(header.grid).shape),
        "proj:transform": [float(v) for v in tuple(header.grid.affine)[:6]],
        "file:size": path.stat().st_size,
    }


def _code(crs: CRS | None) -> dict[str, Any]:
    if crs is None:
        return {}
    return {"proj:code": f"EPSG:{crs.epsg}"} if crs.epsg else {"proj:wkt2": crs.wkt}


def _metres(grid: GeoBox) -> float:
    return round(min(pixel_sides(grid)), 4)


def _date_of_names(scene: SceneFiles) -> datetime | None:
    place = Path(scene.safe or next(iter(scene.files.values())))
    return next((d for t in (scene.id, place.stem, place.parent.name) if (d := date_in(t))), None)


def _cloud_cover(scene: SceneFiles) -> float | None:
    """What the product's own metadata say: MTD_MSIL2A.xml, or Landsat's MTL."""
    place = Path(scene.safe or Path(next(iter(scene.files.values()))).parent)
    pattern = "MTD_MSIL*.xml" if scene.safe else f"{scene.id}_MTL.*"
    for path in sorted(place.glob(pattern)):
        found = _CLOUD.search(path.read_text("utf-8", "replace"))
        if found and float(found[1]) >= 0:
            return round(float(found[1]), 4)
    return None


def _extensions(cloud: float | None, assets: Mapping[str, Any]) -> list[str]:
    """Extensions whose fields there are: eo is not valid without any of its own."""
    bands = [band for asset in assets.values() for band in asset["bands"]]
    has_eo = cloud is not None or any("eo:common_name" in band for band in bands)
    return [*([_EO] if has_eo else []), *_ALWAYS]


def _link(rel: str, href: str, kind: str = "application/json") -> dict[str, Any]:
    return {"rel": rel, "href": href, "type": kind}


def _relative(asset: Mapping[str, Any], item: Path) -> dict[str, Any]:
    href = os.path.relpath(asset["href"], item.parent.absolute())
    return {**asset, "href": Path(href).as_posix()}


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
