"""One QGIS project of all scenes that workflows have mapped in a folder: a group for each, by date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Final

from affine import Affine
from odc.geo.geom import BoundingBox

from geoseg.api.scene_report import RECORD, grid_of
from geoseg.api.series_projects import PROJECT, raster_layer
from geoseg.errors import GeosegError
from geoseg.grid import GeoBox
from geoseg.io.atomic import remove_file
from geoseg.io.qgis_project import ProjectLayer, write_project
from geoseg.io.qml_reading import styles_within
from geoseg.io.qml_time import Shown, one_after_other
from geoseg.run.clock import Clock
from geoseg.run.noted import Work
from geoseg.run.work_ledger import WorkLedger, workflows_in

SCENES: Final = "scenes.qgz"
"""What the project is called where a scene's own one lies in the same folder."""

SHOWN_SCENES: Final = 60
"""More than that, the latest ones, make a project slow to open."""

_RASTERS: Final = {"classes.tif": "Classes", "confidence.tif": "Confidence"}


@dataclass(frozen=True, slots=True)
class _Shown:
    """A scene with its folder, grid, and when the slider shows it."""

    work: Work
    folder: Path
    grid: GeoBox
    shown: Shown | None


def project_path(root: Path) -> Path:
    """Where the project of a folder lies."""
    return root / (SCENES if (root / RECORD).exists() else PROJECT)


def write_run_project(root: Path) -> Path | None:
    """Show all scenes that the ledgers in ``root`` know, the latest on top; None where none is left.

    Each has a group with its polygons, classes and confidence; the slider shows one date after the
    other. The same products give the same bytes.

    Raises:
        ProductError: It cannot be written.
    """
    scenes = _scenes(root)
    path = project_path(root)
    layers = [layer for one in reversed(scenes) for layer in _layers(one, scenes[-1].grid)]
    if not layers:
        remove_file(path)
        return None
    names = sorted(workflows_in(root))
    write_project(
        path,
        layers,
        grid=_around([one.grid for one in scenes]),
        title=f"{', '.join(names)}: {len(scenes)} scenes",
        closed=[_group(one.work) for one in scenes[:-1]],
    )
    return path


def _scenes(root: Path) -> list[_Shown]:
    """Those whose map is there, oldest first; those without a date before all others."""
    works: list[Work] = []
    for name in workflows_in(root):
        with WorkLedger(root, name, Clock.at()) as ledger:
            works += ledger.works("scene")
    found = []
    for work in sorted(works, key=lambda one: (one.date or "", one.name))[-SHOWN_SCENES:]:
        folder = root / (work.place or ".")
        try:
            found.append(_Shown(work, folder, grid_of(folder / "classes.tif"), None))
        except GeosegError:
            continue  # its products went away
    days = [date.fromisoformat(one.work.date[:10]) for one in found if one.work.date]
    times = iter(one_after_other(days))
    return [replace(one, shown=next(times) if one.work.date else None) for one in found]


def _group(work: Work) -> str:
    day = (work.date or "")[:10]
    return work.name if not day or day in work.name else f"{day} {work.name}"


def _layers(one: _Shown, main: GeoBox) -> list[ProjectLayer]:
    """Polygons over classes over confidence, as far as they are there and styled."""
    group, packed, layers = _group(one.work), one.folder / "polygons.gpkg", []
    own = None if one.grid.crs == main.crs else one.grid
    if packed.exists():
        layers += [
            ProjectLayer(title, str(packed), style, table, group)
            for table, (title, style) in styles_within(packed).items()
        ]
    for name, title in _RASTERS.items():
        path = one.folder / name
        if path.exists() and path.with_suffix(".qml").exists():
            layers.append(raster_layer(title, path, group, checked=name == "classes.tif"))
    return [replace(layer, grid=own, shown=one.shown) for layer in layers]


def _around(grids: Sequence[GeoBox]) -> GeoBox:
    """A grid of one pixel, in the CRS of the last one, around all of them."""
    crs = grids[-1].crs
    boxes = []
    for grid in grids:
        there = grid.extent if grid.crs == crs or crs is None else grid.extent.to_crs(crs)
        boxes.append(there.boundingbox)
    left, low, right, top = _union(boxes)
    return GeoBox((1, 1), Affine(right - left, 0, left, 0, low - top, top), crs)


def _union(boxes: Sequence[BoundingBox]) -> tuple[float, float, float, float]:
    return (
        min(box.left for box in boxes),
        min(box.bottom for box in boxes),
        max(box.right for box in boxes),
        max(box.top for box in boxes),
    )
