"""What there is to show of products: images, classes, percents and polygons."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log2
from pathlib import Path
from typing import Any, Literal

from odc.geo.geobox import GeoBox
from rasterio.errors import NotGeoreferencedWarning

from geoseg.errors import GeosegError, InputError
from geoseg.io.class_raster import read_legend, unnamed
from geoseg.io.environment import gdal_env
from geoseg.io.footprint import footprint
from geoseg.io.headers import Header, read_header
from geoseg.io.known import named_bands
from geoseg.io.limits import open_raster
from geoseg.io.map_tiles import BandFile
from geoseg.io.names import date_from_tags, date_in
from geoseg.io.polygon_layers import Box, PolygonLayer, read_layers
from geoseg.legend import LandClass, Legend
from geoseg.scene import natural_colors

Kind = Literal["image", "classes", "percent"]

_DATES = ("ACQUISITIONDATETIME", "TIFFTAG_DATETIME")
_RASTERS, _VECTORS = (".tif", ".tiff"), (".gpkg",)
_AROUND = 40_075_016.68  # metres around the equator
_DEEPER = 3  # zoom levels beyond the pixels of a raster at which it is still drawn anew
_TITLES = {"classes": "Classes", "confidence": "Confidence", "change": "Change"}


@dataclass(frozen=True, slots=True)
class RasterLayer:
    """A raster that can be shown.

    Attributes:
        kind: How it is drawn.
        title: What it shows.
        bands: One, or red, green and blue.
        extent: West, south, east and north in degrees.
        deepest: Zoom level at which a pixel is several pixels of the screen.
        legend: Of a raster of classes.
    """

    kind: Kind
    title: str
    bands: tuple[BandFile, ...]
    extent: Box
    deepest: int
    legend: Legend | None = None


@dataclass(frozen=True, slots=True)
class ShownProduct:
    """A product, or a file: its name, day (ISO, "" where nobody knows), and what there is to show."""

    name: str
    day: str
    rasters: tuple[RasterLayer, ...]
    polygons: tuple[PolygonLayer, ...]


def find_products(
    places: Sequence[Path], *, images: Sequence[Path] = ()
) -> tuple[ShownProduct, ...]:
    """What there is to show of folders of products, rasters and GeoPackages, in order of time.

    The image of a product is that of the scene that its STAC item names, where that still lies on
    this machine; ``images`` are shown beside.

    Raises:
        InputError: There is no such file, or nothing in it that can be shown.
    """
    found = [_product(place) for place in places]
    for path in images:
        layer = _image([path])
        if layer is None:
            raise InputError(f"{path}: is no image that can be shown")
        found.append(ShownProduct(path.stem, _day({}, path), (layer,), ()))
    return tuple(sorted(found, key=lambda product: product.day))


def known_classes(products: Sequence[ShownProduct]) -> dict[Path, tuple[LandClass, ...]]:
    """The classes of the map that polygons were made of, by the path of the polygons."""
    return {
        layer.path: raster.legend.classes
        for product in products
        for raster in reversed(product.rasters)  # the first one counts
        if raster.legend is not None
        for layer in product.polygons
    }


def _product(place: Path) -> ShownProduct:
    if not place.exists():
        raise InputError(f"{place}: no such file or folder")
    if place.is_dir():
        return _folder(place)
    if place.suffix.lower() in _VECTORS:
        return ShownProduct(_name(place), _day({}, place), (), tuple(read_layers(place)))
    item = _item(place.parent)
    layer = _raster(place, {}) or _image([place])
    if layer is None:
        raise InputError(
            f"{place}: cannot be shown: neither classes (one band of bytes), percents nor an image"
        )
    return ShownProduct(_name(place), _day(item, place), (layer,), ())


def _folder(folder: Path) -> ShownProduct:
    item = _item(folder)
    assets = _assets(folder, item)
    files = sorted(folder.iterdir())
    rasters = [
        layer
        for path in files
        if path.suffix.lower() in _RASTERS and (layer := _raster(path, assets.get(path.name, {})))
    ]
    polygons = [
        layer for path in files if path.suffix.lower() in _VECTORS for layer in read_layers(path)
    ]
    if not rasters and not polygons:
        raise InputError(
            f"{folder}: has nothing to show; wanted is a folder of products "
            f"(classes.tif, polygons.gpkg), as geoseg run or geoseg predict write them"
        )
    scene = _image(_sources(folder, item))
    order = {"classes": 0, "percent": 1}
    rasters.sort(key=lambda layer: order[layer.kind])
    shown = (*([] if scene is None else [scene]), *rasters)
    first = rasters[0].bands[0].path if rasters else folder / "x"
    return ShownProduct(folder.resolve().name, _day(item, first), shown, tuple(polygons))


def _raster(path: Path, asset: Mapping[str, Any]) -> RasterLayer | None:
    """A raster of classes or percents; None where it is neither."""
    header = _header(path)
    if header is None or header.dtypes[0] != "uint8":
        return None
    with _opened(path) as source:
        description = str(source.descriptions[0] or "")
    if description.endswith("(percent)"):
        title = str(asset.get("title") or "") or _titled(path)
        return _layer("percent", title, (BandFile(path),), header)
    if header.count > 1:
        return None
    legend = _named(path, asset)
    if legend is None:
        return None
    return _layer(
        "classes", str(asset.get("title") or _titled(path)), (BandFile(path),), header, legend
    )


def _named(path: Path, asset: Mapping[str, Any]) -> Legend | None:
    """The classes that a raster names; of a palette without names those that it colours."""
    said = read_legend(path)
    told = asset.get("classification:classes")
    if isinstance(told, list) and told:
        codes = {entry.get("value") for entry in told if isinstance(entry, dict)}
        kept = tuple(c for c in said.classes if c.value in codes)
    else:
        kept = tuple(c for c in said.classes if c.name != unnamed(c.value))
    if not kept:
        with _opened(path) as source:
            try:
                palette = source.colormap(1)
            except ValueError:
                return None
        kept = tuple(
            LandClass(c.value, c.name, c.color)
            for c in said.classes
            if palette.get(c.value, (0, 0, 0, 0)) not in ((0, 0, 0, 0), (0, 0, 0, 255))
        )
    return Legend(said.name, kept, said.nodata) if kept else None


def _image(paths: Sequence[Path]) -> RasterLayer | None:
    """Natural colours of the bands of some files; None where none of them can be opened."""
    bands: dict[str, tuple[BandFile, Header]] = {}
    for path in paths:
        header = _header(path)
        if header is None:
            continue
        named = named_bands(header)
        if not named and len(paths) == 1:
            named = {str(index): index for index in range(1, header.count + 1)}
        for name, index in named.items():
            bands.setdefault(name, (BandFile(path, index), header))
    if not bands:
        return None
    colors = [bands[name] for name in natural_colors(tuple(bands))]
    return _layer("image", "Image", tuple(band for band, _ in colors), colors[0][1])


def _layer(
    kind: Kind,
    title: str,
    bands: tuple[BandFile, ...],
    header: Header,
    legend: Legend | None = None,
) -> RasterLayer:
    (west, south, east, north), deepest = _placed(header.grid)
    return RasterLayer(kind, title, bands, (west, south, east, north), deepest, legend)


def _placed(grid: GeoBox) -> tuple[Box, int]:
    _, (west, south, east, north) = footprint(grid)
    east = east if east >= west else east + 360
    rows, cols = (int(n) for n in grid.shape)
    # Metres on the map's equator that a pixel takes; 512 of them make a tile at its own zoom.
    side = max(1e-9, (east - west) / 360 * _AROUND / max(rows, cols))
    native = ceil(log2(_AROUND / 512 / side))
    return (west, south, east, north), min(22, max(1, native + _DEEPER))


def _header(path: Path) -> Header | None:
    try:
        return read_header(str(path))
    except GeosegError:
        return None


def _opened(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with gdal_env():
            return open_raster(str(path))


def _item(folder: Path) -> dict[str, Any]:
    try:
        item = json.loads((folder / "item.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return item if isinstance(item, dict) else {}


def _assets(folder: Path, item: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Assets by the name of their file, where that lies in the folder."""
    assets = item.get("assets")
    listed = assets.values() if isinstance(assets, dict) else ()
    return {
        Path(str(asset.get("href"))).name: asset
        for asset in listed
        if isinstance(asset, dict)
        and (folder / str(asset.get("href"))).parent.resolve() == folder.resolve()
    }


def _sources(folder: Path, item: Mapping[str, Any]) -> list[Path]:
    """Files that a product was made of, where they are still there."""
    links = item.get("links")
    listed = links if isinstance(links, list) else []
    hrefs = [
        str(link.get("href"))
        for link in listed
        if isinstance(link, dict) and link.get("rel") == "derived_from"
    ]
    paths = [folder / href for href in hrefs if "://" not in href and not href.startswith("/vsi")]
    return [path for path in paths if path.is_file()]


def _day(item: Mapping[str, Any], path: Path) -> str:
    properties = item.get("properties") or {}
    for said in (properties.get("datetime"), properties.get("end_datetime")):
        if isinstance(said, str) and not said.startswith("9999"):
            return said[:10]
    header = _header(path) if path.suffix.lower() in _RASTERS and path.is_file() else None
    found = (
        (date_from_tags(header.tags, _DATES) if header else None)
        or date_in(path.stem)
        or date_in(path.resolve().parent.name)
    )
    return "" if found is None else found.date().isoformat()


def _name(path: Path) -> str:
    return f"{path.resolve().parent.name}/{path.name}"


def _titled(path: Path) -> str:
    return _TITLES.get(path.stem, path.stem.replace("_", " ").capitalize())
