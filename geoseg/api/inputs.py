"""The input of a workflow as scenes: files, a STAC catalog, or a synthetic sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from geoseg.api.combining import bands_to_find, combined
from geoseg.io.area import AreaRef, clip_scene, lonlat_bounds
from geoseg.io.combining import Placing, with_windows
from geoseg.io.files import FilesSource
from geoseg.io.patterns import stem
from geoseg.io.refs import BandRef, MaskRef, Overrides
from geoseg.io.sample import SampleSource, SampleSpec, is_complete
from geoseg.io.staging import local_folder
from geoseg.io.target_grid import GridWish, place_scene
from geoseg.run.reporter import Reporter
from geoseg.scene import Scene
from geoseg.workflow import Workflow
from geoseg.workflow.bands import BandSource, Mask, StacMask
from geoseg.workflow.grid import GridChoice
from geoseg.workflow.inputs import AreaOfInterest, FilesInput, SampleInput, StacInput, TimeRange

if TYPE_CHECKING:
    from geoseg.io.stac import StacSource

SAMPLE_FOLDER = "sample"


@dataclass(frozen=True, slots=True)
class Found:
    """A scene, where its products go, and the sample to write first where it is one."""

    scene: Scene
    directory: Path
    sample: SampleSource | None = None

    @property
    def ready(self) -> bool:
        """Whether all its files are there."""
        return self.sample is None or is_complete(self.sample.spec, self.sample.directory)

    def prepare(self, reporter: Reporter) -> None:
        """Write the synthetic scene, if it is one and not there yet."""
        from geoseg.api.samples import SampleStage  # noqa: PLC0415 (few scenes are one)

        if self.sample is not None:
            self.sample.write(progress=SampleStage(self.sample, reporter))


def find_scenes(
    workflow: Workflow, bands: Sequence[str], *, now: datetime | None = None
) -> list[Found]:
    """All scenes of a workflow with the model's ``bands``, on its grid, clipped to its area.

    ``now`` is where ``time: {last: ...}`` ends; without it the time of this machine.

    Raises:
        SceneError: A file cannot be used, lacks a band, or does not come onto the grid.
        CatalogError: Nothing in the catalog matches.
        AreaError: The area is empty, or touches none of the scenes.
    """
    source = workflow.input
    area = None if workflow.area is None else _area(workflow.area)
    if isinstance(source, SampleInput):
        found = [_sample(workflow, source, bands)]
    else:
        scenes = _scenes(source, area, bands_to_find(workflow, bands), now)
        scenes = combined(workflow, scenes, _placing(workflow, area))
        found = [Found(s, _directory(workflow, s)) for s in scenes]
    return [replace(one, scene=_placed(workflow, one.scene, area)) for one in found]


def _placed(workflow: Workflow, scene: Scene, area: AreaRef | None) -> Scene:
    """A scene on the workflow's grid, with its area."""
    placing = _placing(workflow, area)
    if placing.wish is not None and scene.combined is None:
        scene = place_scene(scene, placing.wish, area=area, mask=placing.mask)
    if area is None or workflow.area is None:
        return scene
    return with_windows(clip_scene(scene, area, cut=workflow.area.crop))


def _placing(workflow: Workflow, area: AreaRef | None) -> Placing:
    source = workflow.input
    mask = None if isinstance(source, SampleInput) else _mask(source.mask)
    return Placing(None if workflow.grid is None else _wish(workflow.grid), area, mask)


def _wish(grid: GridChoice) -> GridWish:
    sides = None if grid.resolution == "auto" else grid.resolution
    return GridWish(
        crs=grid.crs,
        resolution=None if sides is None else (sides[0].number, sides[1].number),
        degrees=sides is not None and sides[0].unit == "deg",
        anchor=(0.0, 0.0) if grid.snap is True else grid.snap,
        like=grid.like,
    )


def _scenes(
    source: FilesInput | StacInput,
    area: AreaRef | None,
    bands: Sequence[str],
    now: datetime | None,
) -> list[Scene]:
    if isinstance(source, FilesInput):
        return _files(source).scenes(bands)
    return _stac(source, area, now).scenes(bands)


def _directory(workflow: Workflow, scene: Scene) -> Path:
    name = stem(scene.sources[0])
    # Absolute: workers may have been started somewhere else.
    return local_folder(workflow.directory(scene=scene.id, date=scene.acquired, stem=name))


def _sample(workflow: Workflow, source: SampleInput, bands: Sequence[str]) -> Found:
    spec = SampleSpec(size=source.size, seed=source.seed, date=source.date)
    directory = _directory(workflow, SampleSource(spec, Path()).scenes(bands)[0])
    folder = directory / SAMPLE_FOLDER
    if source.directory is not None:
        folder = Path(source.directory).absolute()
    sample = SampleSource(spec, folder)
    return Found(sample.scenes(bands)[0], directory, sample)


def scenes_to_learn_from(
    source: FilesInput | StacInput | SampleInput,
    area: AreaOfInterest | None,
    bands: Sequence[str],
    *,
    folder: Path,
) -> list[Found]:
    """All scenes of a set with ``bands``; files need not say where they lie.

    ``folder`` is where a sample goes that names none.

    Raises:
        InputError: As :func:`find_scenes`.
    """
    place = None if area is None else _area(area)
    if isinstance(source, SampleInput):
        spec = SampleSpec(size=source.size, seed=source.seed, date=source.date)
        where = folder if source.directory is None else Path(source.directory).absolute()
        sample = SampleSource(spec, where)
        found = [Found(sample.scenes(bands)[0], where, sample)]
    elif isinstance(source, FilesInput):
        scenes = replace(_files(source), placeless=True).scenes(bands)
        found = [Found(scene, folder) for scene in scenes]
    else:
        found = [Found(scene, folder) for scene in _stac(source, place).scenes(bands)]
    if place is None:
        return found
    return [replace(one, scene=clip_scene(one.scene, place)) for one in found]


def _files(source: FilesInput) -> FilesSource:
    sources = source.band_sources() or {}
    patterns = source.path or ()
    listed: tuple[str, ...] | Mapping[str, BandRef]
    if isinstance(source.bands, tuple):
        listed = source.bands
    else:
        # Without any, the files' own names count.
        listed = {name: _band(band) for name, band in sources.items()} or ()
    return FilesSource(
        path=tuple(patterns),
        bands=listed,
        scale=source.scale,
        offset=source.offset,
        units=source.units,
        nodata=source.nodata,
        mask=_mask(source.mask),
        crs=source.crs,
        date=source.date,
        resampling=source.resampling,
    )


def _band(source: BandSource) -> BandRef:
    return BandRef(
        source.path, source.index or 1, source.scale, source.offset, source.nodata,
        source.resampling,
    )  # fmt: skip


def _mask(mask: Mask | None) -> MaskRef | None:
    if mask is None:
        return None
    path = mask.asset if isinstance(mask, StacMask) and mask.asset is not None else mask.path
    unit: Literal["px", "m"] = "px" if mask.dilate.unit == "px" else "m"
    return MaskRef(
        mask.method, path, mask.index, mask.values, mask.dilate.metres(1.0), unit, mask.shadow
    )


def _stac(source: StacInput, area: AreaRef | None, now: datetime | None = None) -> StacSource:
    from geoseg.io.stac import StacSource  # noqa: PLC0415 (pystac and pyarrow, for catalogs only)

    assets = source.band_assets() or {}
    bands: tuple[str, ...] | Mapping[str, BandRef] = tuple(assets)
    if any(assets.values()):
        bands = {name: BandRef(key) for name, key in assets.items()}
    return StacSource(
        catalog=source.catalog,
        collections=source.collections,
        ids=source.ids,
        time=_time(source.time, now),
        max_cloud=source.max_cloud,
        bbox=None if area is None else lonlat_bounds(area),
        bands=bands,
        mask=_mask(source.mask),
        max_items=source.max_items,
        overrides=Overrides(
            source.scale,
            source.offset,
            source.nodata,
            source.units,
            source.resampling,
        ),
    )


def _time(
    time: TimeRange | None, now: datetime | None
) -> tuple[datetime | None, datetime | None] | None:
    if time is None:
        return None
    if time.last is not None:
        now = now or datetime.now(UTC)
        return now - time.last.timedelta, now
    return time.start, time.end


def _area(area: AreaOfInterest) -> AreaRef:
    return AreaRef(file=area.file, layer=area.layer, bbox=area.bbox, wkt=area.wkt, crs=area.crs)
