"""What was made from a scene, as a STAC 1.1 item; written last, so that it stands for "finished".

Extensions: projection 2.0, raster 2.0, classification 1.1, file 2.1, processing 1.2, version 1.2.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import sqrt
from pathlib import Path
from typing import Any

import pystac

from geoseg.errors import ProductError
from geoseg.grid import GeoBox, full_window
from geoseg.io.atomic import write_bytes
from geoseg.io.cog import CONFIDENCE_NODATA
from geoseg.io.footprint import footprint
from geoseg.io.quality import QUALITY_BANDS
from geoseg.io.staging import address, moves_apart
from geoseg.legend import Legend
from geoseg.redaction import without_secrets

_HOME = "https://stac-extensions.github.io"
VERSION = f"{_HOME}/version/v1.2.0/schema.json"
EXTENSIONS = tuple(
    f"{_HOME}/{name}/schema.json"
    for name in (
        "projection/v2.0.0",
        "raster/v2.0.0",
        "classification/v1.1.0",
        "file/v2.1.0",
        "processing/v1.2.0",
    )
)
MEDIA_TYPES = {
    ".tif": str(pystac.MediaType.COG),
    ".gpkg": str(pystac.MediaType.GEOPACKAGE),
    ".parquet": "application/vnd.apache.parquet",
    ".geojson": str(pystac.MediaType.GEOJSON),
    ".qgz": "application/x-qgis-project",
    ".qml": "application/xml",
    ".xml": "application/xml",
    ".png": str(pystac.MediaType.PNG),
    ".json": str(pystac.MediaType.JSON),
    ".html": str(pystac.MediaType.HTML),
    ".zarr": "application/vnd+zarr",
}
# When nobody knows: STAC wants an interval then, and this one leaves nothing out.
ANY_TIME = ("1900-01-01T00:00:00Z", "9999-12-31T23:59:59Z")
MEMBERSHIP = ("root", "parent", "collection")
_LEVEL = "L4"  # results of a model, not measured
SHORT = 12  # digits of a fingerprint that tell versions apart
_SHA2_256 = "1220"  # multihash: the code of SHA-256 and its length in bytes

Acquired = datetime | tuple[datetime, datetime] | None


@dataclass(frozen=True, slots=True)
class ItemAsset:
    """One product: its file, what it is for, and fields of its own (JSON-able)."""

    path: Path
    title: str
    roles: tuple[str, ...] = ("data",)
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Processing:
    """What made the products: name and version of each software, and one sentence about how.

    ``properties`` are further ones of the item, JSON-able. ``version`` is the fingerprint of all that
    the products depend on: other inputs, models, settings or code make another version of them.
    """

    software: Mapping[str, str]
    lineage: str
    properties: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""


def class_asset(path: str | Path, grid: GeoBox, legend: Legend) -> ItemAsset:
    """The class raster, with its legend."""
    classes = classes_field(legend)
    fields = {"classification:classes": classes, "bands": [_band("classes", legend.nodata, grid)]}
    return ItemAsset(Path(path), f"Classes ({legend.name})", ("data", "classification"), fields)


def classes_field(legend: Legend) -> list[dict[str, Any]]:
    """What the classification extension calls classes."""
    return [
        {
            "value": c.value,
            "name": _slug(c.name),
            "description": c.name,
            "color_hint": c.color[1:].upper(),
        }
        for c in legend.classes
    ]


def confidence_asset(path: str | Path, grid: GeoBox) -> ItemAsset:
    """The confidence raster."""
    return percent_asset(path, grid, ["confidence"], "Confidence", "confidence")


def percent_asset(
    path: str | Path, grid: GeoBox, bands: Sequence[str], title: str, role: str
) -> ItemAsset:
    """A raster of percents, by the names of its bands."""
    entries = [{**_band(name, CONFIDENCE_NODATA, grid), "unit": "%"} for name in bands]
    return ItemAsset(Path(path), title, ("data", role), {"bands": entries})


def quality_asset(path: str | Path, grid: GeoBox) -> ItemAsset:
    """The raster of quality; it has no nodata."""
    bands = [_band(name, None, grid) for name in QUALITY_BANDS]
    return ItemAsset(Path(path), "Quality", ("data", "quality"), {"bands": bands})


def count_asset(path: str | Path, grid: GeoBox, name: str, title: str) -> ItemAsset:
    """A raster of counts, in which 0 is nodata."""
    return ItemAsset(Path(path), title, ("data", name), {"bands": [_band(name, 0, grid)]})


def number_asset(
    path: str | Path, grid: GeoBox, bands: Sequence[str], title: str, role: str
) -> ItemAsset:
    """A raster of uint16 numbers, in which 0 is nodata, by the names of its bands."""
    entries = [_band(name, 0, grid) | {"data_type": "uint16"} for name in bands]
    return ItemAsset(Path(path), title, ("data", role), {"bands": entries})


def write_item(
    path: str | Path,
    *,
    item_id: str,
    grid: GeoBox,
    assets: Mapping[str, ItemAsset],
    acquired: Acquired,
    processing: Processing,
    sources: Sequence[str] = (),
    collection: tuple[str, str] | None = None,
) -> None:
    """Write the item of one scene's products.

    Args:
        path: The ``.json``.
        item_id: Unique within the collection.
        grid: Of the rasters; gives footprint and projection.
        assets: Products by key; their files must be there, as sizes and checksums are taken.
        acquired: One moment, first and last of several, or None where nobody knows. Naive times
            are taken as UTC.
        processing: What made them.
        sources: What they were made from: paths or addresses, kept as ``derived_from`` links
            without passwords and signatures.
        collection: Identifier and file name of the collection that the item belongs to.

    Raises:
        ProductError: A product is missing, or the item cannot be written.
    """
    path = Path(path)
    geometry, bbox = footprint(grid)
    item = pystac.Item(
        id=item_id,
        geometry=geometry,
        bbox=bbox,
        datetime=_utc(acquired) if isinstance(acquired, datetime) else None,
        properties={**_times(acquired), **_projection(grid), **_processing(processing)},
        stac_extensions=[*EXTENSIONS, *([VERSION] if processing.version else [])],
    )
    for key, asset in assets.items():
        item.add_asset(key, _asset(path, asset))
    item.add_links(
        [
            pystac.Link("derived_from", href_from(path, without_secrets(source)))
            for source in sources
        ]
    )
    if collection is not None:
        _join(item, *collection)
    content = item.to_dict(include_self_link=False, transform_hrefs=False)
    write_bytes(path, json_bytes(content))


def _join(item: pystac.Item, collection_id: str, name: str) -> None:
    item.collection_id = collection_id
    for rel in MEMBERSHIP:
        item.add_link(pystac.Link(rel, relative_href(name), pystac.MediaType.JSON))


def _band(name: str, nodata: int | None, grid: GeoBox) -> dict[str, Any]:
    band: dict[str, Any] = {"name": name, "data_type": "uint8"}
    if nodata is not None:
        band["nodata"] = nodata
    band["raster:sampling"] = "area"
    if grid.crs is not None and grid.crs.projected:
        unit = grid.crs.proj.axis_info[0].unit_conversion_factor
        band["raster:spatial_resolution"] = round(sqrt(abs(grid.affine.determinant)) * unit, 6)
    return band


def _times(acquired: Acquired) -> dict[str, Any]:
    if isinstance(acquired, datetime):
        return {}
    if acquired is None:
        start, end = ANY_TIME
    else:
        start, end = (_utc(t).isoformat().replace("+00:00", "Z") for t in acquired)
    return {"start_datetime": start, "end_datetime": end}


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _projection(grid: GeoBox) -> dict[str, Any]:
    if grid.crs is None:
        raise ProductError("an item needs a grid with a CRS; this one has none")
    box = grid.boundingbox
    return {
        "proj:code": f"EPSG:{grid.crs.epsg}" if grid.crs.epsg is not None else None,
        "proj:wkt2": grid.crs.wkt,
        "proj:transform": [float(v) for v in tuple(grid.affine)[:6]],
        "proj:shape": list(full_window(grid).shape),
        "proj:bbox": [float(v) for v in (box.left, box.bottom, box.right, box.top)],
    }


def _processing(processing: Processing) -> dict[str, Any]:
    software = dict(sorted(processing.software.items()))
    told = {
        "processing:level": _LEVEL,
        "processing:software": software,
        "processing:lineage": processing.lineage,
    }
    version = {"version": processing.version[:SHORT]} if processing.version else {}
    return {**told, **version, **processing.properties}


def _asset(item: Path, asset: ItemAsset) -> pystac.Asset:
    fields = dict(asset.fields)
    try:
        if not asset.path.is_dir():
            fields |= file_facts(asset.path)
    except OSError as error:
        raise ProductError(f"{item}: cannot read product {asset.path}: {error.strerror}") from error
    return pystac.Asset(
        href=href_from(item, str(asset.path)),
        title=asset.title,
        media_type=MEDIA_TYPES.get(asset.path.suffix.lower()),
        roles=list(asset.roles),
        extra_fields=fields,
    )


def file_facts(path: Path) -> dict[str, Any]:
    """Size and checksum of a file, by the file extension; raises OSError."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file:size": path.stat().st_size, "file:checksum": _SHA2_256 + digest}


def href_from(item: Path, target: str) -> str:
    """Relative to the item, so that a folder of products can be moved; addresses stay."""
    if not Path(target).exists():
        return target
    if moves_apart(item, Path(target).absolute()):
        return address(Path(target).absolute())
    relative = os.path.relpath(Path(target).resolve(), item.parent.resolve())
    return relative_href(Path(relative).as_posix())


def relative_href(name: str) -> str:
    """A relative path as links have it."""
    return name if name.startswith("../") else f"./{name}"


def _slug(name: str) -> str:
    return re.sub(r"[^0-9A-Za-z]+", "-", name).strip("-").lower() or "class"


def json_bytes(content: Mapping[str, Any]) -> bytes:
    """An item or collection as it is written."""
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
