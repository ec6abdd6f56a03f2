"""A map of classes with its date: what changes, alerts and yearly maps are made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import SceneError
from geoseg.grid import GeoBox, Window
from geoseg.io.class_raster import NO_CLASS, ClassRaster, read_legend
from geoseg.io.headers import read_header
from geoseg.io.names import date_from_tags, date_in
from geoseg.io.on_grid import OnGrid
from geoseg.legend import Legend
from geoseg.ops.layers import NO_PERCENT

_DATES = ("ACQUISITIONDATETIME", "TIFFTAG_DATETIME")


@dataclass(frozen=True, slots=True)
class DatedMap:
    """A map of classes, when what it shows was seen, and how sure it is.

    Attributes:
        id: Of the scene.
        classes: Raster of class codes.
        when: UTC; None where nothing tells.
        confidence: Raster of percents, that of the class of each pixel.
        probabilities: Raster of percents, a band for each class of the legend, in its order.
        grid: Of the classes.
        legend: Of the classes.
    """

    id: str
    classes: Path
    when: datetime | None
    confidence: Path | None
    probabilities: Path | None
    grid: GeoBox
    legend: Legend

    def day(self) -> date:
        """When it was.

        Raises:
            SceneError: Nothing tells.
        """
        if self.when is None:
            raise SceneError(
                f"{self.classes}: has no date; name the file by it (2024-05-31), or say it"
            )
        return self.when.date()

    def on(self, grid: GeoBox) -> MapReader:
        """Its pixels in the windows of a grid, its own or another.

        Raises:
            SceneError: A raster cannot be opened.
        """
        return MapReader(self, grid)


class MapReader:
    """Classes, confidence and probabilities of a :class:`DatedMap`; for several threads.

    Each is read as :class:`geoseg.io.on_grid.OnGrid` says.
    """

    def __init__(self, dated: DatedMap, grid: GeoBox) -> None:
        self.dated, self.grid = dated, grid
        self._classes = OnGrid(dated.classes, grid)
        self._confidence = _beside(dated.confidence, grid)
        self._probabilities = _beside(dated.probabilities, grid)
        wanted = len(dated.legend.classes)
        if self._probabilities is not None and self._probabilities.bands != wanted:
            raise SceneError(
                f"{dated.probabilities}: has {self._probabilities.bands} bands; "
                f"{dated.classes} has {wanted} classes"
            )

    def classes(self, window: Window) -> NDArray[np.int16]:
        """Class codes ``(y, x)``, :data:`NO_CLASS` where there is none.

        Raises:
            SceneError: It cannot be read, or holds a number that is no code.
        """
        (values,), there = self._classes.read(window, [1], fill=0)
        strange = values[((values < 0) | (values > 255)) & there]
        if strange.size:
            raise SceneError(f"{self.dated.classes}: holds {strange[0]}; class codes are 0 to 255")
        codes: NDArray[np.int16] = values.astype(np.int16)
        codes[~there] = NO_CLASS
        return codes

    def confidence(self, window: Window) -> NDArray[np.uint8] | None:
        """Percents ``(y, x)``, 255 where there is none; None where nobody has said."""
        if self._confidence is None:
            return None
        percents: NDArray[np.uint8] = _percents(self._confidence, window, [1])[0]
        return percents

    def probabilities(self, window: Window) -> NDArray[np.uint8] | None:
        """Percents ``(class, y, x)``, 255 where there is none; None where nobody has said."""
        if self._probabilities is None:
            return None
        bands = list(range(1, self._probabilities.bands + 1))
        return _percents(self._probabilities, window, bands)

    def close(self) -> None:
        """Close the files."""
        for raster in (self._classes, self._confidence, self._probabilities):
            if raster is not None:
                raster.close()


def _beside(path: Path | None, grid: GeoBox) -> OnGrid | None:
    return None if path is None else OnGrid(path, grid)


def _percents(raster: OnGrid, window: Window, bands: list[int]) -> NDArray[np.uint8]:
    values, there = raster.read(window, bands, fill=NO_PERCENT)
    found: NDArray[np.uint8] = np.where(there & (values <= 100), values, NO_PERCENT)
    return found.astype(np.uint8)


def find_map(
    path: str | Path,
    *,
    when: datetime | None = None,
    confidence: Path | None = None,
    probabilities: Path | None = None,
) -> DatedMap:
    """The map at ``path``: a raster of class codes, or a folder of products.

    In a folder of products, or beside a ``classes.tif`` of one, confidence and probabilities are
    found by their names. The date is what is said here, else that in the file's tags, else that
    of the STAC item beside it, else that in the name of the file or its folder.

    Raises:
        SceneError: There is no such map, or it cannot be read.
    """
    given = Path(path)
    if not given.exists():
        raise SceneError(f"{path}: no such file or folder")
    classes = given / "classes.tif" if given.is_dir() else given
    if not classes.is_file():
        raise SceneError(
            f"{path}: has no classes.tif; wanted is a folder of products, or a raster of classes"
        )
    grid, legend = ClassRaster(classes).grid, read_legend(classes)
    tags = read_header(str(classes)).tags
    item = _item(classes.parent) if classes.name == "classes.tif" else {}
    found = DatedMap(
        str(tags.get("GEOSEG_SCENE") or item.get("id") or _name(classes)),
        classes,
        when or date_from_tags(tags, _DATES) or _item_date(item) or _named_date(classes),
        confidence,
        probabilities,
        grid,
        _seen(legend, classes),
    )
    if classes.name != "classes.tif":
        return found
    return replace(
        found,
        confidence=confidence or _there(classes.with_name("confidence.tif")),
        probabilities=probabilities or _there(classes.with_name("probabilities.tif")),
    )


def _there(path: Path) -> Path | None:
    return path if path.is_file() else None


def _seen(legend: Legend, classes: Path) -> Legend:
    """Without the entries that were made up for codes that the file does not name."""
    named = tuple(c for c in legend.classes if c.name != f"Class {c.value}")
    return Legend(classes.parent.name, named, legend.nodata) if named else legend


def _name(classes: Path) -> str:
    return classes.parent.name if classes.stem == "classes" else classes.stem


def _named_date(classes: Path) -> datetime | None:
    return date_in(classes.stem) or date_in(classes.parent.name)


def _item(folder: Path) -> Mapping[str, Any]:
    try:
        item = json.loads((folder / "item.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return item if isinstance(item, dict) else {}


def _item_date(item: Mapping[str, Any]) -> datetime | None:
    said = (item.get("properties") or {}).get("datetime")
    try:
        found = datetime.fromisoformat(said) if said else None
    except (TypeError, ValueError):
        return None
    return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)
