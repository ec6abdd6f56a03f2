"""Rasters that show loss of forest: alerts, change between two maps, years of loss."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError, SceneError
from geoseg.grid import GeoBox, Window
from geoseg.io.headers import read_header
from geoseg.io.on_grid import OnGrid
from geoseg.ops.alerts.encoding import GFW_EPOCH, HIGH_CONFIDENCE, LEVELS
from geoseg.ops.alerts.rules import NODATA, to_date, to_day
from geoseg.ops.transitions import LOST, NOT_SEEN

Kind = Literal["alerts", "change", "gfw", "lossyear", "year", "days", "span"]
ENCODINGS: Final = ("gfw", "lossyear", "year", "days", "FROM/TO")
"""What ``--loss-encoding`` takes, beside ``auto``."""

NO_PERCENT: Final = 255
_NEVER: Final = 0
_SHOWN: Mapping[Kind, str] = {
    "alerts": "alerts of geoseg",
    "change": "change between two maps",
    "gfw": "alerts as Global Forest Watch encodes them",
    "lossyear": "years of loss, counted from 2000",
    "year": "years of loss",
    "days": "days of loss, counted from 1970-01-01",
    "span": "loss between two days",
}


@dataclass(frozen=True, slots=True)
class LossLayer:
    """A raster of loss. Picklable; opens where it is read.

    Attributes:
        path: Of the raster that is told of.
        kind: How its numbers are read.
        grid: Where it lies.
        span: First and last day of which it says something, None where nobody knows.
        polygons: A file and a layer of outlines with names, their columns of name and day.
    """

    path: Path
    kind: Kind
    grid: GeoBox
    span: tuple[date | None, date | None] = (None, None)
    polygons: tuple[Path, str, str, str] | None = None

    @property
    def shown(self) -> str:
        """What it is, in words."""
        return _SHOWN[self.kind]

    def covers(self, cut_off: date | None, gap: int) -> bool:
        """Whether a pixel without loss was not lost since ``cut_off``.

        It is not so where the layer ends by then, or begins more than ``gap`` days after it.
        """
        if cut_off is None:
            return True
        first, last = self.span
        late = first is not None and (first - cut_off).days > gap
        return not late and (last is None or last > cut_off)

    def on(self, grid: GeoBox) -> LossReader:
        """Its pixels in the windows of a grid; those nearest, where that is not its own."""
        return LossReader(self, grid)


@dataclass(frozen=True, slots=True, eq=False)
class Losses:
    """What a layer says of a window, ``(y, x)`` each.

    Attributes:
        seen: Where it would have shown a loss.
        after: Days since 1970 of the last day on which nothing was lost yet.
        by: Days since 1970 of the day on which it was lost; 0 where nothing was.
        sure: Whether the source has confirmed it; what knows no such thing has.
        percent: How sure, 255 where nobody says.
    """

    seen: NDArray[np.bool_]
    after: NDArray[np.int32]
    by: NDArray[np.int32]
    sure: NDArray[np.bool_]
    percent: NDArray[np.uint8]


class LossReader:
    """Reads a :class:`LossLayer` window by window; for several threads."""

    def __init__(self, layer: LossLayer, grid: GeoBox) -> None:
        self.layer = layer
        folder, path, kind = layer.path.parent, layer.path, layer.kind
        # Zero is no loss, though files that hold little else call it nodata.
        holes = kind == "change" or (kind != "alerts" and _nodata(path) not in (None, 0))
        self._main = OnGrid(folder / "state.tif" if kind == "alerts" else path, grid, holes=holes)
        self._dates = OnGrid(folder / "dates.tif", grid, holes=False) if kind == "alerts" else None
        sure = folder / "confidence.tif"
        told = kind in ("alerts", "change") and sure.is_file()
        self._sure = OnGrid(sure, grid) if told else None

    def read(self, window: Window) -> Losses:
        """What it says of a window.

        Raises:
            SceneError: It cannot be read, or holds numbers that are none of its kind.
        """
        (values,), there = self._main.read(window, [1], fill=0)
        if values.dtype.kind not in "ui":
            raise SceneError(f"{self.layer.path}: holds {values.dtype}; loss is whole numbers")
        numbers = np.where(there, values, 0).astype(np.int64)
        if self.layer.kind == "alerts":
            return self._alerts(window, numbers, there)
        after, by, sure = _DECODERS[self.layer.kind](self.layer, numbers)
        lost = there & (by != _NEVER)
        percent = self._percents(window, lost)
        return Losses(there, np.where(lost, after, 0), np.where(lost, by, 0), sure & lost, percent)

    def _alerts(self, window: Window, state: NDArray[Any], there: NDArray[np.bool_]) -> Losses:
        assert self._dates is not None  # noqa: S101 - for the type checker
        days, _ = self._dates.read(window, [1, 2], fill=0)
        first, before = days.astype(np.int32)
        there = there & (state != NODATA)
        level = np.where(there, LEVELS[np.clip(state, 0, 255)], 0)
        lost = (level > 0) & (first > 0)
        # Who never saw the pixel clear before can only say that it was there on that day.
        after = np.where(before > 0, before, first - 1)
        sure = lost & (level >= HIGH_CONFIDENCE)
        percent = self._percents(window, lost)
        return Losses(there, np.where(lost, after, 0), np.where(lost, first, 0), sure, percent)

    def _percents(self, window: Window, lost: NDArray[np.bool_]) -> NDArray[np.uint8]:
        if self._sure is None:
            return np.full(window.shape, NO_PERCENT, np.uint8)
        (values,), there = self._sure.read(window, [1], fill=NO_PERCENT)
        told = there & lost & (values <= 100)
        return np.where(told, values, NO_PERCENT).astype(np.uint8)

    def close(self) -> None:
        """Close the files."""
        for raster in (self._main, self._dates, self._sure):
            if raster is not None:
                raster.close()


Decoded = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]


def _gfw(layer: LossLayer, numbers: NDArray[np.int64]) -> Decoded:
    level, days = np.divmod(numbers, 10_000)
    if ((level > 4) | ((level == 1) & (days > 0)) | ((level == 0) & (days > 0))).any():
        strange = numbers[(level > 4) | (level == 1) | ((level == 0) & (days > 0))][0]
        raise SceneError(f"{layer.path}: holds {strange}, which is no alert in the GFW encoding")
    by = np.where(days > 0, days + to_day(GFW_EPOCH), _NEVER).astype(np.int32)
    return by - 1, by, level >= HIGH_CONFIDENCE


def _years(layer: LossLayer, numbers: NDArray[np.int64]) -> Decoded:
    base = 2000 if layer.kind == "lossyear" else 0
    lost = numbers > 0
    years = np.where(lost, numbers + base, 2000)
    low, high = int(years.min(initial=2000)), int(years.max(initial=2000))
    if low < 1970 or high > 2100:
        raise SceneError(
            f"{layer.path}: holds {low - base if low < 1970 else high - base}, which is no year as "
            f"{layer.shown}"
        )
    table = np.array([to_day(date(y, 12, 31)) for y in range(low - 1, high + 1)], np.int32)
    at = years - low + 1
    by = np.where(lost, table[at], _NEVER).astype(np.int32)
    return table[at - 1], by, lost


def _days(layer: LossLayer, numbers: NDArray[np.int64]) -> Decoded:
    if numbers.max(initial=0) > to_day(date(2100, 1, 1)):
        raise SceneError(f"{layer.path}: holds {numbers.max()}, which is no day since 1970-01-01")
    by = numbers.astype(np.int32)
    return by - 1, by, numbers > 0


def _between(layer: LossLayer, numbers: NDArray[np.int64]) -> Decoded:
    first, last = (to_day(day) for day in layer.span if day is not None)
    lost = numbers == LOST if layer.kind == "change" else (numbers > 0) & (numbers != NOT_SEEN)
    by = np.where(lost, last, _NEVER).astype(np.int32)
    return np.full(by.shape, first, np.int32), by, lost


_DECODERS: Mapping[Kind, Callable[[LossLayer, NDArray[np.int64]], Decoded]] = {
    "gfw": _gfw,
    "lossyear": _years,
    "year": _years,
    "days": _days,
    "change": _between,
    "span": _between,
}


def find_loss(path: Path, encoding: str = "auto") -> LossLayer:
    """The layer of loss at ``path``: a folder of alerts or change, or a raster.

    Args:
        path: The file or folder.
        encoding: One of :data:`ENCODINGS`, or ``auto``: what lies there says what it is.

    Raises:
        InputError: There is none, it is not clear how its numbers are to be read, or a change has
            no dates.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if encoding != "auto":
        return _told(path, encoding)
    folder = path if path.is_dir() else path.parent
    own = path.is_dir() or path.name in {"alerts.tif", "state.tif", "dates.tif"}
    if own and (folder / "state.tif").is_file() and (folder / "dates.tif").is_file():
        return _own_alerts(folder)
    if (folder / "loss_gain.tif").is_file() and (path.is_dir() or path.name == "loss_gain.tif"):
        return _own_change(folder)
    if path.is_dir():
        raise InputError(f"{path}: has neither alerts (state.tif, dates.tif) nor loss_gain.tif")
    if read_header(str(path)).tags.get("ENCODING", "").startswith("GFW"):
        return _told(path, "gfw")
    if "lossyear" in path.stem.casefold():
        return _told(path, "lossyear")
    raise InputError(
        f"{path}: does not say how it shows loss; say it with --loss-encoding: "
        f"{', '.join(ENCODINGS)} (FROM/TO: all that is not 0 was lost between two days)"
    )


def _told(path: Path, encoding: str) -> LossLayer:
    if path.is_dir():
        raise InputError(f"{path}: is a folder; an encoding is of a raster")
    grid = read_header(str(path)).grid
    if encoding in {"gfw", "lossyear", "year", "days"}:
        kind: Any = encoding
        return LossLayer(path, kind, grid)
    first, _, last = encoding.partition("/")
    try:
        span = date.fromisoformat(first), date.fromisoformat(last)
    except ValueError:
        raise InputError(
            f"--loss-encoding: {encoding!r} is unknown; known are auto, {', '.join(ENCODINGS)} "
            f"with FROM/TO like 2020-12-20/2022-06-30"
        ) from None
    if span[0] >= span[1]:
        raise InputError(f"--loss-encoding: {encoding}: the second day must be the later one")
    return LossLayer(path, "span", grid, span)


def _own_alerts(folder: Path) -> LossLayer:
    path = folder / "alerts.tif" if (folder / "alerts.tif").is_file() else folder / "state.tif"
    item = _json(folder / "item.json").get("properties") or {}
    last = read_header(str(folder / "state.tif")).tags.get("GEOSEG_LAST_DAY")
    span = _day(item.get("start_datetime") or item.get("datetime")), _day(last)
    outlines = folder / "alerts.gpkg"
    found = (outlines, "alerts", "alert_id", "end") if outlines.is_file() else None
    return LossLayer(path, "alerts", read_header(str(folder / "state.tif")).grid, span, found)


def _own_change(folder: Path) -> LossLayer:
    path = folder / "loss_gain.tif"
    record = _json(folder / "run.json")
    days = [_day((record.get(side) or {}).get("date")) for side in ("before", "after")]
    if None in days:
        raise InputError(
            f"{path}: the dates of its two maps are unknown (run.json); say them with "
            f"--loss-encoding FROM/TO, of a raster in which all that is not 0 was lost"
        )
    outlines = folder / "polygons.gpkg"
    found = (outlines, "change", "polygon_id", "date_to") if outlines.is_file() else None
    return LossLayer(path, "change", read_header(str(path)).grid, (days[0], days[1]), found)


def _nodata(path: Path) -> float | None:
    return read_header(str(path)).nodata[0]


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _day(text: Any) -> date | None:
    try:
        return date.fromisoformat(str(text)[:10]) if text else None
    except ValueError:
        return None


def day_text(day: int) -> str | None:
    """ISO date of days since 1970, None for 0."""
    return to_date(day).isoformat() if day else None
