"""Rasters made of many maps: block by block through a store, then as COG with what shows it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.api import fingerprint
from geoseg.api.holding import held_products
from geoseg.api.places import check_folder
from geoseg.api.planning import RunPlan
from geoseg.api.results import SceneResult
from geoseg.api.stored import folder_of, map_here
from geoseg.errors import InputError, ProductError
from geoseg.grid import GeoBox, Window, blocks, full_window
from geoseg.io.atomic import remove_leftovers
from geoseg.io.cog import write_class_cog, write_confidence_cog, write_count_cog, write_percent_cog
from geoseg.io.map_series import MapSeries, find_series
from geoseg.io.product_item import (
    ItemAsset,
    Processing,
    class_asset,
    confidence_asset,
    count_asset,
    percent_asset,
    write_item,
)
from geoseg.io.provenance import Provenance
from geoseg.io.qml import (
    write_class_qml,
    write_confidence_qml,
    write_count_qml,
    write_ramp_qml,
)
from geoseg.io.rat import write_rat
from geoseg.io.zarr_store import ZarrRaster
from geoseg.legend import Legend
from geoseg.run.reporter import Reporter

BLOCK = 512
"""Side of a block, in pixels: what is known of a pixel over decades takes some hundred bytes."""

WATER_RAMP = ((0, "#ffffff"), (1, "#fde3c8"), (50, "#9fb7e5"), (100, "#0000ff"))
"""From land over what is seldom water to what always is, near to JRC's colours."""


@contextmanager
def work_folder(out: Path) -> Iterator[Path]:
    """A folder in ``out`` (made if missing) that goes away in the end; nobody else writes there.

    Raises:
        LockedError: Another run holds ``out``.
        ProductError: Nothing can be written there.
    """
    with held_products(out):
        remove_leftovers(out)
        try:
            out.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=out, prefix=".work.", suffix=".part"))
        except OSError as error:
            raise ProductError(f"{out}: cannot write here: {error.strerror}") from error
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def series_for(paths: Sequence[str | Path], out: Path, *, like: Path | None) -> MapSeries:
    """The maps, once it is known that results can be written to the folder ``out``.

    Raises:
        InputError: They cannot be used, or nothing can be written.
    """
    check_folder(out, what=str(out))
    series = find_series(paths, like=like)
    inside = {out.resolve()}
    for one in series.maps:
        if one.classes.resolve().parent in inside:
            raise InputError(f"{out}: has the map {one.classes.name}; choose another folder")
    return series


def maps_of(results: Sequence[SceneResult]) -> list[Path]:
    """The maps of the scenes of a run; brought here, where they are in a store."""
    return [map_here(scene.directory) for scene in results if scene.error is None]


def check_section(plan: RunPlan, section: str, directory: str) -> None:
    """Refuse a section whose products cannot be written, or whose scenes have no dates.

    Raises:
        InputError: Either.
    """
    folder = folder_of(directory)
    check_folder(folder, what=f"{section}.directory")
    for task in plan.tasks:
        scene = task.plan.scene
        if scene.acquired is None:
            raise InputError(
                f"{section}: scene {scene.id} has no date, by which maps are sorted; give it one "
                f"in its file name (20240615) or with input.date"
            )
        if task.directory.resolve() == folder.resolve():
            raise InputError(f"{section}.directory: is that of scene {scene.id}; choose another")


def earlier_maps(patterns: Sequence[str], directory: str, reporter: Reporter) -> list[Path]:
    """Maps by patterns, without those that lie below ``directory``, where the results go.

    Folders that hold no map, and patterns that match nothing, are passed over.
    """
    found: list[Path] = []
    own = folder_of(directory).resolve()
    for pattern in patterns:
        absolute = Path(pattern).expanduser().absolute().as_posix()
        # pathlib walks from a folder; a pattern may have wildcards in any part.
        paths = [Path(path) for path in sorted(glob(absolute, recursive=True))]  # noqa: PTH207 (patterns may be absolute, which Path.glob refuses)
        maps = [path for path in paths if path.is_file() or (path / "classes.tif").is_file()]
        if not maps:
            reporter.message(f"maps: nothing matches {pattern}")
        found += [path for path in maps if own not in (path.resolve(), *path.resolve().parents)]
    return found


@dataclass(frozen=True, slots=True)
class MapRasters:
    """Where the rasters of a series are made and go, and what they say of themselves.

    Attributes:
        folder: Of the products.
        room: Of the stores.
        grid: Of all of them.
        block: Side of a block, in pixels.
        origin: What all of them say of where they come from.
        more: Further tags of rasters.
    """

    folder: Path
    room: Path
    grid: GeoBox
    block: int
    origin: Provenance
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def tags(self) -> dict[str, str]:
        """Of rasters."""
        return {**self.origin.tags(), **self.more}

    @property
    def windows(self) -> list[Window]:
        """All blocks in row-major order."""
        return list(blocks(full_window(self.grid).shape, self.block))

    def store(self, name: str, *, fill: int = 255) -> ZarrRaster:
        """A new store."""
        path = self.room / "rasters.zarr"
        return ZarrRaster.create(path, self.grid, block=self.block, fill=fill, name=name)

    def path(self, name: str) -> Path:
        """Of a product."""
        return self.folder / f"{name}.tif"

    def classes(self, store: ZarrRaster, name: str, legend: Legend) -> ItemAsset:
        """A raster of classes with names and colours."""
        path = self.path(name)
        counts = write_class_cog(store, self.grid, legend, path, tags=self.tags)
        write_rat(path, legend, counts=[int(n) for n in counts])
        write_class_qml(path.with_suffix(".qml"), legend)
        return class_asset(path, self.grid, legend)

    def confidence(self, store: ZarrRaster, name: str = "confidence") -> ItemAsset:
        """A raster of confidence."""
        path = self.path(name)
        write_confidence_cog(store, self.grid, path, tags=self.tags)
        write_confidence_qml(path.with_suffix(".qml"))
        return confidence_asset(path, self.grid)

    def percents(self, store: ZarrRaster, name: str) -> ItemAsset:
        """A raster of how often there is water."""
        path = self.path(name)
        write_percent_cog([store], self.grid, path, [name], tags=self.tags)
        write_ramp_qml(path.with_suffix(".qml"), WATER_RAMP)
        return percent_asset(path, self.grid, [name], name.capitalize(), name)

    def counts(self, store: ZarrRaster, name: str) -> ItemAsset:
        """A raster of how often something was; 0 is nodata."""
        path = self.path(name)
        counts = write_count_cog(store, self.grid, path, name, tags=self.tags)
        write_count_qml(path.with_suffix(".qml"), int(np.flatnonzero(counts).max(initial=0)))
        return count_asset(path, self.grid, name, name.capitalize())


def origin_of(what: str, sources: Sequence[str], settings: Mapping[str, Any]) -> Provenance:
    """Where products come from; the same in every run of the same, wherever the maps lie.

    Args:
        what: ``water`` or the like.
        sources: Files that they are made of; hashed.
        settings: JSON-able; those that change results.
    """
    software = fingerprint.software()
    inputs = [{**one, "href": Path(one["href"]).name} for one in fingerprint.inputs(sources)]
    of = fingerprint.digest([inputs, settings, software])
    return Provenance(what, inputs, settings, software, of)


def write_map_item(
    rasters: MapRasters,
    item_id: str,
    assets: Mapping[str, ItemAsset],
    acquired: tuple[datetime, datetime],
    *,
    lineage: str,
    sources: Sequence[str],
) -> Path:
    """The STAC item of products, which stands for "finished"; returns its path."""
    path = rasters.folder / "item.json"
    write_item(
        path,
        item_id=item_id,
        grid=rasters.grid,
        assets=assets,
        acquired=acquired,
        processing=Processing(fingerprint.software(), lineage, version=rasters.origin.fingerprint),
        sources=sources,
    )
    return path
