"""Whether items are valid STAC, and their assets what the items say they are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pystac
from pystac.errors import STACValidationError
from pystac.validation import validate_dict

from geoseg.errors import SceneError
from geoseg.io.archive import Archive
from geoseg.io.asset_address import asset_href
from geoseg.io.footprint import footprint
from geoseg.io.grids import same_grid
from geoseg.io.headers import Header, read_header
from geoseg.io.stac_item import asset_facts, raster_keys
from geoseg.io.stac_query import boxes_touch

_FURTHEST = 0.01  # degrees that a footprint may be larger than its item's bbox says


def item_problems(
    item: pystac.Item,
    archive: Archive | None = None,
    *,
    files: bool = True,
    catalog: str | None = None,
) -> Iterator[str]:
    """What is wrong with an item, one line each.

    Args:
        item: The item.
        archive: Where it is from, which may know more of it than it says.
        catalog: Where it was found, as the user wrote it; see
            :func:`geoseg.io.stac_item.asset_href`.
        files: Open every raster and compare it with what the item says of it.
    """
    yield from _invalid(item)
    full = item if archive is None else archive.complete(item)
    if not raster_keys(full):
        yield "no asset is a raster"
    for key in raster_keys(full) if files else ():
        try:
            header = read_header(asset_href(full, key, archive, catalog=catalog))
        except SceneError as error:
            yield f"asset {key}: {error}"
            continue
        yield from (f"asset {key}: {problem}" for problem in _differences(full, key, header))


def _invalid(item: pystac.Item) -> Iterator[str]:
    """Against the core schemas, which are kept here; those of extensions are on the network."""
    content = item.to_dict(include_self_link=False, transform_hrefs=False)
    try:
        validate_dict(
            content,
            stac_object_type=pystac.STACObjectType.ITEM,
            stac_version=pystac.get_stac_version(),
            extensions=[],
        )
    except STACValidationError as error:
        cause = error.__cause__ or error
        said = getattr(cause, "message", str(cause)).partition("\n")[0]
        yield f"not valid STAC: {said[:200]}"


def _differences(item: pystac.Item, key: str, header: Header) -> Iterator[str]:
    facts = asset_facts(item, key)
    if facts.grid is not None and not same_grid(facts.grid, header.grid):
        yield f"its grid is {_grid(header.grid)}, the item says {_grid(facts.grid)}"
    if facts.count > header.count:
        yield f"it has {header.count} bands, the item says {facts.count}"
    for number, said in enumerate(facts.bands[: header.count], 1):
        yield from (f"band {number}: {text}" for text in _band(said, header, number - 1))
    size = item.assets[key].extra_fields.get("file:size")
    path = Path(header.uri)
    if size is not None and path.is_file() and path.stat().st_size != size:
        yield f"it has {path.stat().st_size} bytes, the item says {size}"
    if item.bbox is not None:
        _, box = footprint(header.grid)
        if not boxes_touch(box, item.bbox, margin=_FURTHEST):
            yield f"it lies at {_box(box)}, the item at {_box(item.bbox)}"


def _band(said: Mapping[str, Any], header: Header, at: int) -> Iterator[str]:
    dtype = said.get("data_type")
    if dtype is not None and dtype != header.dtypes[at]:
        yield f"it holds {header.dtypes[at]}, the item says {dtype}"
    nodata, own = said.get("nodata"), header.nodata[at]
    if nodata is not None and own is not None and not _same(float(nodata), own):
        yield f"its nodata is {own:g}, the item says {float(nodata):g}"


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def _grid(grid: Any) -> str:
    epsg = None if grid.crs is None else grid.crs.epsg
    place = tuple(round(float(v), 6) for v in tuple(grid.affine)[:6])
    return f"{grid.shape[0]} x {grid.shape[1]} px in EPSG:{epsg} at {place}"


def _box(box: Any) -> str:
    return f"[{', '.join(f'{float(v):.4f}' for v in box)}]"
