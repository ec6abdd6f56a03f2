"""What the page of a map may ask for, and the answers: tiles, polygons, evidence, reviews."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Any

from geoseg.api.viewer.layers import RasterLayer, ShownProduct
from geoseg.api.viewer.reviewing import Desk
from geoseg.errors import GeosegError, InputError
from geoseg.io.map_tiles import (
    BandFile,
    Tile,
    TileReader,
    class_table,
    percent_table,
    picture_webp,
    table_png,
)
from geoseg.io.polygon_layers import Box, PolygonLayer
from geoseg.io.polygon_search import Wanted, polygon_at, polygon_list, shown_polygons
from geoseg.io.reviews import ConflictError

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_JSON = "application/json; charset=utf-8"
_FOREVER = {"Cache-Control": "private, max-age=3600"}

Query = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: status, content and its type, further headers."""

    status: int
    content: bytes
    kind: str = _JSON
    headers: Mapping[str, str] = field(default_factory=dict)


class Missing(InputError):  # noqa: N818 (an answer, not a fault)
    """There is nothing of that name."""


class Map:
    """Products that are shown to one page, or several.

    Args:
        products: From :func:`geoseg.api.viewer.layers.find_products`.
        desk: Takes reviews.
    """

    def __init__(self, products: Sequence[ShownProduct], desk: Desk) -> None:
        self._products, self._desk = products, desk
        self._reader = TileReader()
        self._rasters: dict[str, RasterLayer] = {}
        self._polygons: dict[str, PolygonLayer] = {}
        for number, product in enumerate(products):
            self._rasters |= {f"{number}.r{n}": r for n, r in enumerate(product.rasters)}
            self._polygons |= {f"{number}.v{n}": v for n, v in enumerate(product.polygons)}
        self._limits = lru_cache(maxsize=None)(self._reader.limits)

    def get(self, path: str, query: Query) -> Answer:
        """Answer a request that changes nothing.

        Raises:
            Missing: There is nothing of that name.
            InputError: What is asked for makes no sense.
            GeosegError: A file cannot be read.
        """
        head, _, rest = path.partition("/")
        answers: Mapping[str, Callable[[str, Query], Answer]] = {
            "tiles": self._tile,
            "polygons": self._shown,
            "list": self._list,
            "polygon": self._polygon,
            "labels": self._labels,
        }
        if path == "catalog.json":
            return _json(self.catalog())
        if path == "point.json":
            return _json(self._point(_number(query, "lon"), _number(query, "lat")))
        if head in answers:
            return answers[head](rest, query)
        return _asset(path or "index.html")

    def post(self, path: str, body: Mapping[str, Any]) -> Answer:
        """Take a review.

        Raises:
            Missing: There is no such layer.
            InputError: The review lacks something.
            ProductError: It cannot be saved.
        """
        head, _, name = path.partition("/")
        if head != "reviews":
            raise Missing(f"nothing takes {path}")
        try:
            review = self._desk.take(self._layer(name), body)
        except ConflictError as conflict:
            said = {"conflict": conflict.current.as_json(), "message": str(conflict)}
            return _json(said, status=409)
        return _json({"review": review.as_json()})

    def catalog(self) -> dict[str, Any]:
        """All that there is to show."""
        products = [
            {
                "name": product.name,
                "day": product.day,
                "rasters": [_raster_told(f"{n}.r{i}", r) for i, r in enumerate(product.rasters)],
                "polygons": [
                    self._polygons_told(f"{n}.v{i}", v) for i, v in enumerate(product.polygons)
                ],
            }
            for n, product in enumerate(self._products)
        ]
        return {"products": products, "reviewer": self._desk.reviewer}

    def close(self) -> None:
        """Close the files."""
        self._reader.close()

    def _polygons_told(self, name: str, layer: PolygonLayer) -> dict[str, Any]:
        return {
            "id": name,
            "title": layer.title,
            "extent": layer.extent,
            "classes": [asdict(entry) | {"count": count} for entry, count in layer.classes],
            "span": layer.span,
            "count": layer.count,
            "alerts": layer.is_alerts,
            "labels": self._desk.labels_for(layer),
        }

    def _layer(self, name: str) -> PolygonLayer:
        if name not in self._polygons:
            raise Missing(f"there is no layer of polygons {name}")
        return self._polygons[name]

    def _tile(self, path: str, query: Query) -> Answer:
        name, *numbers = path.split("/")
        if name not in self._rasters or len(numbers) != 3 or not all(map(str.isdecimal, numbers)):
            raise Missing(f"there is no tile {path}")
        z, x, y = map(int, numbers)
        layer, tile = self._rasters[name], Tile(z, x, y)
        if layer.kind == "image":
            return Answer(200, self._picture(layer, tile), "image/webp", _FOREVER)
        values, seen = self._reader.read(layer.bands, tile)
        return Answer(200, table_png(values[0], seen, _table(layer, query)), "image/png", _FOREVER)

    def _picture(self, layer: RasterLayer, tile: Tile) -> bytes:
        values, seen = self._reader.read(layer.bands, tile)
        return picture_webp(values, seen, self._limits(layer.bands))

    def _shown(self, path: str, query: Query) -> Answer:
        layer, box = self._layer(path), _box(query)
        shown = shown_polygons(layer, _wanted(query), box=box, pixel=_number(query, "pixel"))
        features = ",".join(shown.features)
        told = {"count": shown.count, "hectares": shown.hectares, "sent": shown.sent}
        content = (
            f'{{"type":"FeatureCollection","told":{json.dumps(told)},"features":[{features}]}}'
        )
        return Answer(200, content.encode())

    def _list(self, path: str, query: Query) -> Answer:
        box = _box(query) if "box" in query else None
        return _json(polygon_list(self._layer(path), _wanted(query), box=box))

    def _polygon(self, path: str, _query: Query) -> Answer:
        name, _, key = path.partition("/")
        if not key.isdecimal():
            raise Missing(f"there is no polygon {path}")
        layer = self._layer(name)
        found = polygon_at(layer, int(key))
        return _json(found | {"reviews": self._desk.history(layer, found["id"])})

    def _labels(self, path: str, _query: Query) -> Answer:
        layer = self._layer(path)
        name = f"{layer.path.stem}-labels.geojson"
        headers = {"Content-Disposition": f'attachment; filename="{_plain(name)}"'}
        content = self._desk.labels(layer)
        return Answer(200, content, "application/geo+json", headers)

    def _point(self, lon: float, lat: float) -> list[dict[str, Any]]:
        """What rasters of classes and percents say at a place."""
        told = []
        for number, product in enumerate(self._products):
            for n, layer in enumerate(product.rasters):
                value = None if layer.kind == "image" else self._at(layer.bands[0], lon, lat)
                if value is not None:
                    name = {"product": product.name, "day": product.day, "title": layer.title}
                    told.append({"id": f"{number}.r{n}", **name, "value": _said(layer, value)})
        return told

    def _at(self, band: BandFile, lon: float, lat: float) -> float | None:
        try:
            return self._reader.value_at(band, lon, lat)
        except GeosegError:
            return None  # one file that is gone must not hide what the others say


def _table(layer: RasterLayer, query: Query) -> Any:
    if layer.legend is None:
        return percent_table(int(_number(query, "least", 0)))
    return class_table(layer.legend, _codes(query))


def _raster_told(name: str, layer: RasterLayer) -> dict[str, Any]:
    classes = [] if layer.legend is None else [asdict(entry) for entry in layer.legend.classes]
    told = {"id": name, "kind": layer.kind, "title": layer.title, "extent": layer.extent}
    return told | {"deepest": layer.deepest, "classes": classes}


def _said(layer: RasterLayer, value: float) -> str:
    if layer.legend is None:
        return f"{value:g} %"
    names = {entry.value: entry.name for entry in layer.legend.classes}
    return names.get(int(value), f"{value:g}")


def _wanted(query: Query) -> Wanted:
    verdicts = query.get("verdicts")
    return Wanted(
        _codes(query),
        _number(query, "area", 0),
        _number(query, "confidence", 0),
        query.get("first", ""),
        query.get("last", ""),
        None if verdicts is None else frozenset(verdicts.split(",")),
    )


def _codes(query: Query) -> frozenset[int] | None:
    said = query.get("classes")
    if said is None:
        return None
    parts = [part for part in said.split(",") if part]
    if not all(part.isdecimal() and part.isascii() for part in parts):
        raise InputError(f"classes={said}: wanted are codes, as in 1,2,5")
    return frozenset(map(int, parts))


def _box(query: Query) -> Box:
    try:
        west, south, east, north = (float(n) for n in query.get("box", "").split(","))
    except ValueError:
        raise InputError(f"box={query.get('box')}: wanted are west,south,east,north") from None
    return west, south, east, north


def _number(query: Query, key: str, missing: float | None = None) -> float:
    if key not in query and missing is not None:
        return missing
    try:
        value = float(query.get(key, ""))
    except ValueError:
        value = float("nan")
    if not abs(value) < 1e15:
        raise InputError(f"{key}={query.get(key)}: wanted is a number")
    return value


def _json(value: Any, *, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value, ensure_ascii=False, default=str).encode())


def _asset(path: str) -> Answer:
    """A file of the page itself."""
    known = _assets()
    if path not in known:
        raise Missing(f"there is no page {path}")
    kind = TYPES["." + path.rpartition(".")[2]]
    return Answer(200, known[path], kind)


@lru_cache(maxsize=1)
def _assets() -> dict[str, bytes]:
    page = files("geoseg.api.viewer") / "page"
    found = {}
    for folder, prefix in ((page, ""), (page / "maplibre", "maplibre/")):
        for file in folder.iterdir():
            if file.is_file() and "." + file.name.rpartition(".")[2] in TYPES:
                found[prefix + file.name] = file.read_bytes()
    return found


def _plain(name: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name)
