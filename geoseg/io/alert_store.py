"""The store of alerts: observations of each date, and the state of each pixel, as Zarr arrays.

In the group lie the planes of the state (``state``, ``first``, ``last`` ...), a group
``observations`` with an array for each scene, what is said of them in ``alerts.json``, and in
``.blocks`` a file for each block that says which observations its state has taken in.
"""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.errors import InputError, ProductError
from geoseg.grid import Window, blocks, full_window
from geoseg.io.atomic import remove_leftovers, replace_unsynced, write_bytes
from geoseg.io.grids import same_grid
from geoseg.io.zarr_group import consolidate
from geoseg.io.zarr_store import ZarrRaster, read_grid
from geoseg.ops.alerts.rules import Bayes, Count, Rule, to_date
from geoseg.ops.alerts.states import FILLS, UNSEEN, Planes, recent_days

VERSION: Final = 1
"""Of the layout, and of what the rules make of observations: other versions are replayed."""

BLOCK: Final = 1024
META: Final = "alerts.json"
"""The file that says which scenes count; their arrays are there before it says so."""
_OBSERVATIONS = "observations"
_WATCHED = "baseline"
_BLOCKS = ".blocks"
RECORDS: Final = f"{_BLOCKS}/"
"""What the names of files begin with that say what the states of blocks have taken in."""

History = tuple[tuple[int, tuple[str, ...]], ...]
"""Days in order, each with the arrays that were observed on it."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What the observations of a store are; fixed when it is made.

    Attributes:
        forest: Classes that are forest.
        ignore: Classes that say nothing (clouds).
        baseline: Hash of the map of forest to begin with; None: every pixel is watched.
    """

    forest: tuple[str, ...]
    ignore: tuple[str, ...] = ()
    baseline: str | None = None


@dataclass(frozen=True, slots=True, order=True)
class Observed:
    """A scene in the store.

    Attributes:
        day: Since 1970-01-01.
        scene: Its name; the same name on the same day takes its place.
        digest: Of the content of its map.
    """

    day: int
    scene: str
    digest: str

    @property
    def array(self) -> str:
        """Name of its array: of the day and the content, so that new content never overwrites."""
        return f"{to_date(self.day)}-{self.digest[:16]}"


@dataclass(frozen=True, slots=True)
class Taken:
    """What the state of a block has taken in: observations, by which rule, and its checksum."""

    history: History
    rule: str
    crc32: int


class AlertStore:
    """Observations and states; blocks may be read and written by several threads.

    Attributes:
        path: The group.
        grid: Of all arrays.
        block: Side of their chunks.
        watch: What observations are.
        rule: What makes alerts of them.
        scenes: In order of days.
    """

    def __init__(self, path: Path, grid: GeoBox, block: int, meta: Mapping[str, Any]) -> None:
        self.path, self.grid, self.block = path, grid, block
        self.watch, self.rule, self.scenes = _read_meta(path, meta)
        names = [*FILLS, *(f"recent_{k}" for k in range(recent_days(self.rule)))]
        self._planes = {name: ZarrRaster(path, name) for name in names}

    @classmethod
    def open(cls, path: Path) -> AlertStore:
        """Open a store.

        Raises:
            InputError: There is none.
            ProductError: It cannot be read.
        """
        if not is_store(path):
            raise InputError(f"{path}: is no store of alerts; make one with geoseg alerts update")
        try:
            meta = json.loads((path / META).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ProductError(f"{path / META}: cannot be read: {error}") from error
        if meta.get("version") != VERSION:
            raise InputError(
                f"{path}: is a store of version {meta.get('version')}, this geoseg writes "
                f"{VERSION}; make a new one from the same maps"
            )
        state = ZarrRaster(path, "state")
        return cls(path, read_grid(path, state.shape), state.block, meta)

    @classmethod
    def create(
        cls, path: Path, grid: GeoBox, watch: Watch, rule: Rule, *, block: int = BLOCK
    ) -> AlertStore:
        """Make an empty store, or go on making one that was begun."""
        if grid.crs is None:
            raise InputError(f"{path}: a store needs a grid with a CRS; this one has none")
        # As it will be read: arrays that are added later must say the same of their grid.
        grid = GeoBox(full_window(grid).shape, grid.affine, grid.crs.proj.to_wkt())
        _make_planes(path, grid, rule, block)
        ZarrRaster.create(
            path / _OBSERVATIONS, grid, block=block, fill=UNSEEN, name="template"
        )  # makes the group
        if watch.baseline is not None:
            ZarrRaster.create(path, grid, block=block, fill=0, name=_WATCHED)
        consolidate(path)
        return cls(path, grid, block, _meta(watch, rule, ()))

    @property
    def windows(self) -> tuple[Window, ...]:
        """All blocks, row by row."""
        return tuple(blocks(full_window(self.grid).shape, self.block))

    @property
    def last_day(self) -> int:
        """Of the observations; 0 where there are none."""
        return max((scene.day for scene in self.scenes), default=0)

    def check(self, grid: GeoBox, watch: Watch) -> None:
        """Refuse maps of another kind.

        Raises:
            InputError: Grid or classes are not those of the store.
        """
        if not same_grid(grid, self.grid):
            raise InputError(f"{self.path}: lies on another grid than is asked for")
        for name, found in asdict(watch).items():
            own = getattr(self.watch, name)
            if found != own:
                raise InputError(
                    f"{self.path}: was made with {name} {own or 'none'}, asked for is "
                    f"{found or 'none'}; choose another store"
                )

    def keep(self, scenes: Sequence[Observed], rule: Rule) -> AlertStore:
        """Write down which scenes and rule count from now on; their arrays must be there."""
        _make_planes(self.path, self.grid, rule, self.block)
        meta = _meta(self.watch, rule, tuple(sorted(scenes)))
        write_bytes(self.path / META, (json.dumps(meta, indent=1) + "\n").encode())
        return AlertStore(self.path, self.grid, self.block, meta)

    def tidy(self) -> None:
        """Remove arrays that no scene has any more, and what killed writers left."""
        known = {scene.array for scene in self.scenes} | {"template", "spatial_ref", "x", "y"}
        folder = self.path / _OBSERVATIONS
        gone = [p for p in sorted(folder.iterdir()) if p.is_dir() and p.name not in known]
        gone += [p for p in self.path.glob("recent_*") if p.name not in self._planes]
        for array in gone:
            shutil.rmtree(array, ignore_errors=True)
        for place in (self.path, folder, *self.path.iterdir(), *folder.iterdir()):
            if place.is_dir():
                remove_leftovers(place)
        for place in {array.parent for array in gone}:
            consolidate(place)

    def add_array(self, scene: Observed) -> ZarrRaster:
        """An empty array for the observations of a scene."""
        place = self.path / _OBSERVATIONS
        return ZarrRaster.create(place, self.grid, block=self.block, fill=UNSEEN, name=scene.array)

    def history(self, window: Window) -> History:
        """The observations that a block has, by days."""
        days: dict[int, set[str]] = {}
        for scene in self.scenes:
            chunk = self.path / _OBSERVATIONS / scene.array / self._chunk(window)
            if chunk.exists():
                days.setdefault(scene.day, set()).add(scene.array)
        return tuple((day, tuple(sorted(arrays))) for day, arrays in sorted(days.items()))

    def percents(self, array: str, window: Window) -> NDArray[np.uint8]:
        """Percent of non-forest ``(y, x)``, 255 where there is no observation."""
        return ZarrRaster(self.path / _OBSERVATIONS, array).read(window)

    def watched(self) -> ZarrRaster | None:
        """Where there was forest to begin with, 1; None where all is watched."""
        return None if self.watch.baseline is None else ZarrRaster(self.path, _WATCHED)

    def taken(self, window: Window) -> Taken | None:
        """What the state of a block has taken in; None where nobody knows."""
        try:
            said = json.loads(self._record(window).read_text("utf-8"))
            days = tuple((int(day), tuple(arrays)) for day, arrays in said["days"])
            return Taken(days, str(said["rule"]), int(said["crc32"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def read_planes(self, window: Window) -> Planes:
        """The state of a block."""
        recent = [self._planes[f"recent_{k}"].read(window) for k in range(recent_days(self.rule))]
        stack = np.array(recent, np.uint16).reshape(len(recent), *window.shape)
        return Planes(**{name: self._planes[name].read(window) for name in FILLS}, recent=stack)

    def read_taken(self, window: Window, taken: Taken) -> Planes | None:
        """The state of a block, if it is the one that was written down; else None."""
        try:
            planes = self.read_planes(window)
        except ProductError:
            return None
        return planes if _checksum(planes) == taken.crc32 else None

    def write_planes(self, window: Window, planes: Planes, history: History) -> None:
        """Keep the state of a block; a crash in between is seen by the next who asks.

        Nothing is synced: what a power cut leaves is told by its checksum, and made again.
        """
        record = self._record(window)
        record.parent.mkdir(exist_ok=True)
        record.unlink(missing_ok=True)
        for name in FILLS:
            self._planes[name].write(window, getattr(planes, name), sync=False)
        for k, days in enumerate(planes.recent):
            self._planes[f"recent_{k}"].write(window, np.ascontiguousarray(days), sync=False)
        told = {"rule": rule_text(self.rule), "days": history, "crc32": _checksum(planes)}
        replace_unsynced(record, json.dumps(told).encode())

    def clear(self, window: Window) -> None:
        """Make the state of a block one that nobody has seen."""
        self._record(window).unlink(missing_ok=True)
        for name in self._planes:
            (self.path / name / self._chunk(window)).unlink(missing_ok=True)

    def chunks_bytes(self) -> dict[str, int]:
        """Bytes on disk: of observations, and of states."""
        observed = sum(_sizes(self.path / _OBSERVATIONS))
        return {"observations": observed, "states": sum(_sizes(self.path)) - observed}

    def _record(self, window: Window) -> Path:
        return self.path / _BLOCKS / f"{self._chunk(window)}.json"

    def _chunk(self, window: Window) -> str:
        return f"{window.y0 // self.block}.{window.x0 // self.block}"


def is_store(path: Path) -> bool:
    """Whether a store was made at ``path``."""
    return (path / META).is_file()


def rule_text(rule: Rule) -> str:
    """A rule in one line: the same for the same rule."""
    kind = "bayes" if isinstance(rule, Bayes) else "count"
    return json.dumps({"version": VERSION, "kind": kind, **asdict(rule)}, sort_keys=True)


def with_scene(scenes: Sequence[Observed], new: Observed) -> tuple[Observed, ...]:
    """With one more, that takes the place of one of the same name and day."""
    others = [s for s in scenes if (s.scene, s.day) != (new.scene, new.day)]
    return tuple(sorted([*others, replace(new)]))


def _make_planes(path: Path, grid: GeoBox, rule: Rule, block: int) -> None:
    fills = FILLS | {f"recent_{k}": ("uint16", 0) for k in range(recent_days(rule))}
    for name, (dtype, fill) in fills.items():
        if not (path / name / ".zarray").is_file():
            ZarrRaster.create(path, grid, block=block, fill=fill, name=name, dtype=dtype)


def _meta(watch: Watch, rule: Rule, scenes: Sequence[Observed]) -> dict[str, Any]:
    listed = [{"date": str(to_date(s.day)), "scene": s.scene, "digest": s.digest} for s in scenes]
    told = json.loads(rule_text(rule))
    return {"version": VERSION, "watch": asdict(watch), "rule": told, "scenes": listed}


def _read_meta(path: Path, meta: Mapping[str, Any]) -> tuple[Watch, Rule, tuple[Observed, ...]]:
    try:
        watch, said = meta["watch"], dict(meta["rule"])
        kind = {"bayes": Bayes, "count": Count}[said.pop("kind")]
        said.pop("version")
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in said.items()}
        epoch = date(1970, 1, 1)
        scenes = tuple(
            Observed((date.fromisoformat(s["date"]) - epoch).days, s["scene"], s["digest"])
            for s in meta["scenes"]
        )
        seen = Watch(tuple(watch["forest"]), tuple(watch["ignore"]), watch["baseline"])
        return seen, kind(**values), tuple(sorted(scenes))
    except (KeyError, TypeError, ValueError) as error:
        raise ProductError(f"{path / META}: is damaged: {error!r}") from error


def _checksum(planes: Planes) -> int:
    found = 0
    for plane in planes:
        found = zlib.crc32(np.ascontiguousarray(plane).data, found)
    return found


def _sizes(path: Path) -> Iterator[int]:
    return (file.stat().st_size for file in path.rglob("*") if file.is_file())
