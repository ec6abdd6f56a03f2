"""Public archives by name: where they are, what their bands mean, how their files are opened.

The files in ``archives/`` are described in ``catalogs/README.md``.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pystac

from geoseg.errors import CatalogError
from geoseg.io.refs import MaskRef
from geoseg.scene import Units

_FOLDER = Path(__file__).parent / "archives"
_AZURE = ".blob.core.windows.net/"


@dataclass(frozen=True, slots=True)
class ArchiveBand:
    """One band of a collection's items, as far as the items themselves may not say it.

    ``asset`` is its key, ``index`` the band's number in the file; ``value = number * scale +
    offset`` in ``units``. None: the item says it, or a rule of the sensor does.
    """

    asset: str
    index: int = 1
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None
    units: Units | None = None


@dataclass(frozen=True, slots=True)
class ArchiveCollection:
    """One collection: its bands by common name, and the mask to use where nobody asks for one.

    ``alternate`` is which of an asset's ``alternate`` addresses to read instead of its own.
    ``needs`` are sets of environment variables that opening its files takes: any one is enough.
    """

    id: str
    title: str
    bands: Mapping[str, ArchiveBand]
    mask: MaskRef | None = None
    alternate: str | None = None
    needs: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Archive:
    """One public archive, searched through its STAC API.

    Attributes:
        name: What workflows call it.
        title: What it is.
        url: Its STAC API.
        about: Where its owner describes it.
        collections: What it has that geoseg knows.
        sign: Whose signatures its files need; the reader gets and renews them as it opens files.
        needs: As those of its collections, for all of them; empty: none.
        settings: Environment variables that are no secrets, with the value each should have.
        note: What somebody who wants access has to do.
    """

    name: str
    title: str
    url: str
    about: str
    collections: Mapping[str, ArchiveCollection] = field(default_factory=dict)
    sign: Literal["planetary-computer"] | None = None
    needs: tuple[tuple[str, ...], ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    def complete(self, item: pystac.Item) -> pystac.Item:
        """``item`` with the names of its bands, and their scales, offsets, nodata and roles.

        Numbers that the item itself says stay as they are; names do not (HLS calls the narrow
        near infrared ``nir``, which elsewhere is the broad one).
        """
        collection = self.collections.get(item.collection_id or "")
        if collection is None:
            return item
        full = item.clone()
        for asset in full.assets.values():
            _take_alternate(asset, collection.alternate)
        for key in {band.asset for band in collection.bands.values()}:
            if key in full.assets:
                named = {n: b for n, b in collection.bands.items() if b.asset == key}
                _fill(full.assets[key], named)
        return full

    def mask(self, collection_id: str | None) -> MaskRef | None:
        """The mask of items of that collection, where a workflow says nothing of masks."""
        collection = self.collections.get(collection_id or "")
        return None if collection is None else collection.mask

    def address(self, href: str, collection_id: str | None) -> str:
        """What to open for a file at ``href``; signatures are left to when it is opened."""
        if self.sign == "planetary-computer" and _AZURE in href and collection_id:
            return f"/vsicurl?pc_url_signing=yes&pc_collection={collection_id}&url={href}"
        return href

    def check_access(
        self, collections: Sequence[str], environment: Mapping[str, str] = os.environ
    ) -> None:
        """Refuse to read files of ``collections`` without what they need, before any is tried.

        Raises:
            CatalogError: Environment variables are missing; values are never told.
        """
        known = [self.collections[c] for c in collections if c in self.collections]
        wanted = [
            " or ".join(" and ".join(names) for names in needs)
            for needs in dict.fromkeys((self.needs, *(c.needs for c in known)))
            if needs and not any(all(environment.get(n) for n in names) for names in needs)
        ]
        wanted += [f"{n}={v}" for n, v in self.settings.items() if not environment.get(n)]
        if wanted:
            raise CatalogError(
                f"catalog {self.name}: its files cannot be opened without {', '.join(wanted)} in "
                f"the environment ({self.note})"
            )


def archive_names() -> tuple[str, ...]:
    """The names of all archives."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


@cache
def load_archive(name: str) -> Archive:
    """The archive called ``name``.

    Raises:
        CatalogError: There is none; the message names those there are.
    """
    if name not in archive_names():
        raise CatalogError(f"no public archive is called {name}; there are {_listed()}")
    said = json.loads((_FOLDER / f"{name}.json").read_text("utf-8"))
    found = {key: _collection(key, value) for key, value in said.pop("collections").items()}
    needs = tuple(tuple(names) for names in said.pop("needs", ()))
    return Archive(name=name, collections=found, needs=needs, **said)


def find_archive(catalog: str) -> Archive | None:
    """The archive that ``catalog`` means, by its name or its address; None where it is another.

    A file or folder of that name goes first.

    Raises:
        CatalogError: ``catalog`` looks like a name that was misspelt.
    """
    if "://" in catalog:
        wanted = catalog.rstrip("/")
        known = (load_archive(name) for name in archive_names())
        return next((archive for archive in known if archive.url == wanted), None)
    if Path(catalog).expanduser().exists():
        return None
    if catalog in archive_names():
        return load_archive(catalog)
    if not {"/", "\\", "."} & set(catalog):
        near = difflib.get_close_matches(catalog, archive_names(), n=1)
        hint = f", did you mean '{near[0]}'?" if near else ""
        raise CatalogError(f"{catalog}: no such file or archive{hint}; archives are {_listed()}")
    return None


def _listed() -> str:
    return ", ".join(archive_names())


def _collection(key: str, said: Mapping[str, Any]) -> ArchiveCollection:
    defaults = said.get("defaults", {})
    bands = {
        name: ArchiveBand(**(defaults | ({"asset": band} if isinstance(band, str) else band)))
        for name, band in said["bands"].items()
    }
    mask = said.get("mask")
    ref = None if mask is None else MaskRef(mask["method"], mask.get("asset"))
    needs = tuple(tuple(names) for names in said.get("needs", ()))
    return ArchiveCollection(key, said["title"], bands, ref, said.get("alternate"), needs)


def _take_alternate(asset: pystac.Asset, which: str | None) -> None:
    other = asset.extra_fields.get("alternate", {}).get(which) if which else None
    if isinstance(other, dict) and other.get("href"):
        asset.href = str(other["href"])


def _fill(asset: pystac.Asset, bands: Mapping[str, ArchiveBand]) -> None:
    """Say of an asset what it does not say itself."""
    extra = asset.extra_fields
    own = "bands" if extra.get("bands") else "eo:bands"
    count = max(band.index for band in bands.values())
    named = _padded(extra.get(own), count)
    raster = _padded(extra.get("raster:bands"), count)
    for name, band in bands.items():
        said, numbers = named[band.index - 1], raster[band.index - 1]
        said.setdefault("name", name)
        said["common_name" if own == "eo:bands" else "eo:common_name"] = name
        _say_numbers(numbers, band, {**extra, **said})
    extra[own] = named
    if any(raster):
        extra["raster:bands"] = raster
    if all(band.units == "reflectance" for band in bands.values()):
        asset.roles = list(dict.fromkeys([*(asset.roles or ["data"]), "reflectance"]))


def _padded(said: Sequence[Mapping[str, Any]] | None, count: int) -> list[dict[str, Any]]:
    listed = [dict(band) for band in said or ()]
    return listed + [{} for _ in range(count - len(listed))]


def _say_numbers(numbers: dict[str, Any], band: ArchiveBand, said: Mapping[str, Any]) -> None:
    """Scale, offset and nodata of a band, unless something says them already."""
    for key in ("scale", "offset", "nodata"):
        value = getattr(band, key)
        told = (key in numbers, key in said, f"raster:{key}" in said)
        if value is not None and not any(told):
            numbers[key] = value
