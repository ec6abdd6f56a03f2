"""One STAC item to a scene: which asset is which band, and what its numbers mean.

Sources: STAC 1.0 with the eo and raster extensions, STAC 1.1 common ``bands``, the projection
extension 1 and 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import pystac
from affine import Affine
from odc.geo.crs import CRS

from geoseg.errors import SceneError
from geoseg.grid import GeoBox
from geoseg.io.archive import Archive
from geoseg.io.assemble import Place, assemble, choose
from geoseg.io.asset_address import asset_href
from geoseg.io.headers import Header, read_header
from geoseg.io.known import known_units, named_bands, with_known_numbers
from geoseg.io.names import COMMON, MASK_NAMES, STAND_INS, Sensor, common_name, sensor_of
from geoseg.io.refs import BandRef, MaskRef, Nodata, Overrides, in_utc
from geoseg.scene import Band, Mask, Scene, Units

_PICTURES = {"thumbnail", "overview", "visual", "metadata"}
_PICTURE_KEYS = {"visual", "thumbnail", "overview", "preview", "rendered_preview"}
_RASTERS = (".tif", ".tiff", ".jp2", ".vrt", ".img")
_SENTINEL2_OFFSET_SINCE = 4.0


@dataclass(frozen=True, slots=True)
class _Offer:
    """A band that an item offers: number ``index`` of asset ``key``, and what is said of it."""

    name: str
    key: str
    index: int
    said: Mapping[str, Any]

    @property
    def rank(self) -> tuple[float, bool, str]:
        """The finest first, then what can be read in parts, then by name."""
        said = self.said
        metres = said.get("spatial_resolution") or said.get("gsd") or float("inf")
        return float(metres), "jp2" in str(said.get("type")), self.key


def item_scene(
    item: pystac.Item,
    wanted: Sequence[str],
    *,
    bands: tuple[str, ...] | Mapping[str, BandRef] = (),
    mask: MaskRef | None = None,
    overrides: Overrides | None = None,
    archive: Archive | None = None,
    catalog: str | None = None,
) -> Scene:
    """The scene of ``item``, with the bands called ``wanted``.

    ``archive`` is where the item is from, which may know more of it than it says; ``catalog`` what
    the user wrote to find it, which decides where it may point to.

    Raises:
        SceneError: A band or the mask is missing, or a file cannot be used.
    """
    full = item if archive is None else archive.complete(item)
    reader = _ItemReader(full, bands, mask, overrides or Overrides(), archive, catalog)
    return reader.scene(wanted)


def offered_bands(item: pystac.Item, archive: Archive | None = None) -> dict[str, tuple[str, int]]:
    """Asset and band number of every band and mask with a common name; opens no file."""
    full = item if archive is None else archive.complete(item)
    offers = _best(_offers(full, _sensor(full)))
    return {name: (offer.key, offer.index) for name, offer in offers.items()}


@dataclass(frozen=True, slots=True)
class AssetFacts:
    """What an item says of an asset: its grid where it says all of it, and each band's fields."""

    grid: GeoBox | None
    bands: tuple[Mapping[str, Any], ...]

    @property
    def count(self) -> int:
        """Number of bands that are described; 1 where none is."""
        return max(1, len(self.bands))


def asset_facts(item: pystac.Item, key: str) -> AssetFacts:
    """What is said of asset ``key``, by itself, its bands and its item."""
    asset = item.assets[key]
    bands = [_said(item, asset, own, raster) for own, raster in _band_list(asset)]
    first = bands[0] if bands else _said(item, asset, {}, {})
    return AssetFacts(_grid(first), tuple(bands))


def raster_keys(item: pystac.Item) -> list[str]:
    """Keys of the assets that are rasters to compute with, not pictures."""
    return [key for key, asset in item.assets.items() if _is_raster(key, asset)]


class _ItemReader:
    """Reads one item, and each header that is needed once."""

    def __init__(
        self,
        item: pystac.Item,
        bands: tuple[str, ...] | Mapping[str, BandRef],
        mask: MaskRef | None,
        overrides: Overrides,
        archive: Archive | None,
        catalog: str | None,
    ) -> None:
        self._catalog = catalog
        self._item, self._bands, self._mask, self._overrides = item, bands, mask, overrides
        self._archive = archive
        self._sensor = _sensor(item)
        self._headers: dict[str, Header] = {}
        self._own_masks: list[Mask | None] = []
        self._named: set[tuple[str, int | None]] = set()

    def scene(self, wanted: Sequence[str]) -> Scene:
        offers = self._choice(wanted)
        chosen = choose(wanted, [name for name in offers if name not in MASK_NAMES], self._item.id)
        bands = {name: self._band(name, offers[other]) for name, other in chosen.items()}
        start = self._item.datetime or self._item.common_metadata.start_datetime
        return assemble(
            self._item.id,
            bands,
            own_masks=self._own_masks,
            mask=self._mask,
            find_mask=lambda: self._mask_place(offers),
            acquired=in_utc(start) if start else None,
            units=self._overrides.units
            or self._units([offers[o] for o in chosen.values()])
            or known_units(bands.values()),
        )

    def _choice(self, wanted: Sequence[str]) -> dict[str, _Offer]:
        """The best offer for every name."""
        every = list(_offers(self._item, self._sensor))
        self._named.update((offer.key, offer.index) for offer in every)
        offers = _best(every)
        if isinstance(self._bands, Mapping):
            return _offers_by_key(self._item, self._bands, self._sensor) | {
                name: offer for name, offer in offers.items() if name in MASK_NAMES
            }
        if any(name not in offers and STAND_INS.get(name) not in offers for name in wanted):
            told = self._described_in_files()
            self._named.update((offer.key, offer.index) for offer in told.values())
            offers = told | offers
        allowed = (*(self._bands or offers), *MASK_NAMES)
        return {name: offer for name, offer in offers.items() if name in allowed}

    def _described_in_files(self) -> dict[str, _Offer]:
        """Bands of assets of which the item says nothing, by their files' own descriptions."""
        found: dict[str, _Offer] = {}
        for key, asset in sorted(self._item.assets.items()):
            if _is_raster(key, asset) and not _band_list(asset):
                said = _said(self._item, asset, {}, {})
                for name, index in named_bands(self._header(self._href(key))).items():
                    found.setdefault(name, _Offer(name, key, index, said))
        return found

    def _band(self, name: str, offer: _Offer) -> Band:
        ref = self._bands.get(name) if isinstance(self._bands, Mapping) else None
        asked = self._overrides.band(replace(ref or BandRef(), path=None, index=offer.index))
        said = offer.said
        scale, offset = self._scale(offer)
        complete = BandRef(
            None,
            offer.index,
            asked.scale if asked.scale is not None else scale,
            asked.offset if asked.offset is not None else offset,
            asked.nodata if asked.nodata is not None else _nodata(said),
            asked.resampling,
        )
        uri, grid, dtype = self._href(offer.key), _grid(said), said.get("data_type")
        # Where nodata is not said there may be an alpha band or a mask: only the file knows.
        if grid is None or dtype is None or complete.nodata is None or "complex" in dtype:
            header = self._header(uri)
            # A fourth band that is called nir is no alpha band, whatever its colour says (NAIP).
            named = self._named | {(offer.key, offer.index)}
            self._own_masks.append(
                None if (offer.key, header.alpha) in named else header.own_mask()
            )
            return with_known_numbers(header.band(name, complete), complete)
        nodata = None if isinstance(complete.nodata, str) else complete.nodata
        band = Band(
            uri,
            offer.index,
            grid,
            str(dtype),
            1.0 if complete.scale is None else complete.scale,
            0.0 if complete.offset is None else complete.offset,
            nodata,
            complete.resampling or "auto",
        )
        return with_known_numbers(band, complete)

    def _scale(self, offer: _Offer) -> tuple[float | None, float | None]:
        """Scale and offset as the item says them; None where it says neither."""
        said, properties = offer.said, self._item.properties
        scale, offset = said.get("scale"), said.get("offset")
        if self._sensor != "sentinel2" or offer.name not in COMMON:
            return _number(scale), _number(offset)
        if scale is None and "s2:processing_baseline" in properties:
            # ESA's numbers, as the product specification has them since baseline 04.00.
            since = float(properties["s2:processing_baseline"]) >= _SENTINEL2_OFFSET_SINCE
            return 1e-4, -0.1 if since else 0.0
        if properties.get("earthsearch:boa_offset_applied") is True:
            # This catalog's offset is that of ESA's product, which its files do not need any more.
            return _number(scale), 0.0
        return _number(scale), _number(offset)

    def _units(self, offers: Sequence[_Offer]) -> Units | None:
        """Reflectance where the item says so; numbers without a scale are not it."""
        for offer in offers:
            scale, _ = self._scale(offer)
            whole = not str(offer.said.get("data_type", "")).startswith("float")
            sentinel2 = self._sensor == "sentinel2" and scale == 1e-4
            says = "reflectance" in offer.said.get("roles", ()) or sentinel2
            if not says or (scale is None and whole):
                return None
        return "reflectance"

    def _mask_place(self, offers: Mapping[str, _Offer]) -> Place:
        """Where the mask is.

        Raises:
            SceneError: No asset is called like it.
        """
        ref = self._mask
        if ref is None:
            raise AssertionError("asked for a mask that nobody wants")
        by_name = offers.get(ref.method)
        key = ref.path or (by_name.key if by_name else None)
        if key is None or key not in self._item.assets:
            raise SceneError(
                f"scene {self._item.id}: no asset {ref.path or ref.method} for the mask; say which "
                f"with input.mask.asset, it has {', '.join(self._item.assets)}"
            )
        index = by_name.index if by_name and not ref.path else 1
        index = index if ref.index is None else ref.index
        header = self._header(self._href(key))
        if index == 0:
            return Place(header.uri, 0, header.grid, "uint8")
        header.check_index(index, "mask")
        return Place(header.uri, index, header.grid, header.dtypes[index - 1], header.count)

    def _header(self, uri: str) -> Header:
        if uri not in self._headers:
            self._headers[uri] = read_header(uri, crs=self._overrides.crs)
        return self._headers[uri]

    def _href(self, key: str) -> str:
        return asset_href(self._item, key, self._archive, catalog=self._catalog)


def _offers_by_key(
    item: pystac.Item, bands: Mapping[str, BandRef], sensor: Sensor | None
) -> dict[str, _Offer]:
    """Offers for bands whose assets are said.

    Raises:
        SceneError: The item has no such asset.
    """
    found = {}
    for name, ref in bands.items():
        key = ref.path or name
        if key not in item.assets:
            raise SceneError(
                f"scene {item.id}: no asset {key} for band {name}; it has {', '.join(item.assets)}"
            )
        asset = item.assets[key]
        listed = _band_list(asset)
        named = [i for i, (own, _) in enumerate(listed, 1) if _name("", own, sensor) == name]
        # The first band is meant where nobody says which, unless another one is called so.
        index = named[0] if named and ref.index == 1 else ref.index
        own, raster = listed[index - 1] if index <= len(listed) else ({}, {})
        found[name] = _Offer(name, key, index, _said(item, asset, own, raster))
    return found


def _best(offers: Iterable[_Offer]) -> dict[str, _Offer]:
    best: dict[str, _Offer] = {}
    for offer in offers:
        if offer.name not in best or offer.rank < best[offer.name].rank:
            best[offer.name] = offer
    return best


def _offers(item: pystac.Item, sensor: Sensor | None) -> Iterator[_Offer]:
    """Every band with a common name, in whatever way the item says it."""
    for key, asset in item.assets.items():
        if not _is_raster(key, asset):
            continue
        listed = _band_list(asset) or [({}, {})]
        for index, (own, raster) in enumerate(listed, 1):
            name = _name(key if len(listed) == 1 else "", own, sensor)
            if name is not None:
                yield _Offer(name, key, index, _said(item, asset, own, raster))


def _name(key: str, own: Mapping[str, Any], sensor: Sensor | None) -> str | None:
    """Common name of a band; ``rededge`` is three bands, so names and keys say which."""
    common = own.get("eo:common_name") or own.get("common_name")
    if common in COMMON:
        return str(common)
    for text in (own.get("name"), key):
        name = common_name(str(text), sensor) if text else None
        if name is not None:
            return name
    return None


def _band_list(asset: pystac.Asset) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """What is said of each band: by ``bands`` or ``eo:bands``, and by ``raster:bands``."""
    extra = asset.extra_fields
    named = extra.get("bands") or extra.get("eo:bands") or []
    raster = extra.get("raster:bands") or []
    count = max(len(named), len(raster))
    padded = [*named, *[{}] * (count - len(named))], [*raster, *[{}] * (count - len(raster))]
    return list(zip(*padded, strict=True))


def _said(
    item: pystac.Item, asset: pystac.Asset, own: Mapping[str, Any], raster: Mapping[str, Any]
) -> dict[str, Any]:
    """Properties of a band, without prefixes of extensions: item's, asset's, band's, last wins."""
    merged: dict[str, Any] = {}
    for level in (item.properties, asset.extra_fields, own, raster):
        for key, value in level.items():
            if value is not None and key not in {"bands", "eo:bands", "raster:bands"}:
                merged[key.removeprefix("raster:")] = value
    return merged | {"type": asset.media_type, "roles": tuple(asset.roles or ())}


def _is_raster(key: str, asset: pystac.Asset) -> bool:
    roles = set(asset.roles or ())
    if key in _PICTURE_KEYS or (roles & _PICTURES and "data" not in roles):
        return False
    media = asset.media_type or ""
    if media:
        return media.startswith("image/") and not media.startswith(("image/png", "image/jpeg"))
    return PurePosixPath(asset.href.partition("?")[0]).suffix.lower() in _RASTERS


def _sensor(item: pystac.Item) -> Sensor | None:
    properties = item.properties
    said = (properties.get("constellation"), properties.get("platform"), item.id)
    return next((s for text in said if text and (s := sensor_of(str(text)))), None)


def _grid(said: Mapping[str, Any]) -> GeoBox | None:
    """The grid as the projection extension says it; None where it does not say all."""
    shape, transform = said.get("proj:shape"), said.get("proj:transform")
    code = said.get("proj:code") or said.get("proj:epsg") or said.get("proj:wkt2")
    if not shape or not transform or not code or len(transform) not in (6, 9):
        return None
    try:
        crs = CRS(f"EPSG:{code}" if isinstance(code, int) else str(code))
        affine = Affine(*(float(number) for number in transform[:6]))
        height, width = (int(n) for n in shape)
    except (ValueError, TypeError, RuntimeError):
        # Then the file has to say it.
        return None
    if affine.is_degenerate or height < 1 or width < 1:
        return None
    return GeoBox((height, width), affine, crs)


def _nodata(said: Mapping[str, Any]) -> Nodata:
    value = said.get("nodata")
    return None if value is None else float(value)


def _number(value: object) -> float | None:
    return None if value is None else float(str(value))
