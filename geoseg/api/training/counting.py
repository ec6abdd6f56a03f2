"""How many pixels of each class are where: counted once, block by block, and kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.api.fingerprint import digest, inputs
from geoseg.api.training.sets import LearningScene
from geoseg.api.training.target import Target
from geoseg.grid import Window, blocks
from geoseg.io.atomic import replacing
from geoseg.io.chip_pixels import BLOCK, ChipPixels
from geoseg.ops.ground import CELL, cell_window, cells_of, count_cells
from geoseg.run.reporter import Reporter
from geoseg.run.threads import each_item

_FORMAT = 1  # raise it whenever the same files give other counts


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """Labelled pixels of all scenes.

    Attributes:
        counts: Of each scene ``(row, column, class)``, by cell.
        unlisted: Pixels of labels that no class is named for, by scene.
        sources: Files of images, with their hashes.
        labels: Files of labels, with their hashes.
    """

    counts: tuple[NDArray[np.int32], ...]
    unlisted: tuple[Counter[str], ...]
    sources: list[dict[str, object]]
    labels: list[dict[str, object]]

    @property
    def label_hash(self) -> str:
        """Of what the labels are: their bytes, wherever they lie."""
        return digest(sorted(str(f.get("sha256", f)) for f in self.labels))


def count(
    scenes: Sequence[LearningScene],
    target: Target,
    pixels: ChipPixels,
    *,
    settings: object,
    kept: Path,
    reporter: Reporter,
) -> Counted:
    """Count labelled, valid pixels; what was counted of the same files before is taken from there.

    Args:
        scenes: What to count in.
        target: Whose classes.
        pixels: Reads the scenes, by number.
        settings: What else the counts depend on.
        kept: Folder with counts of before.
        reporter: Told of progress.

    Raises:
        InputError: A file cannot be read.
    """
    sources = inputs(dict.fromkeys(u for s in scenes for u in s.scene.sources))
    labels = inputs(dict.fromkeys(str(f) for s in scenes for f in s.labels.files))
    key = digest([_FORMAT, CELL, sources, labels, settings, target.bands, target.legend.names])
    found = _load(kept / f"counts-{key[:16]}.npz", len(scenes))
    if found is None:
        found = _count(scenes, len(target.legend.classes), pixels, reporter)
    return Counted(*found, sources, labels)


def keep(counted: Counted, folder: Path, settings: object, target: Target) -> None:
    """Write counts down for the next time."""
    key = digest(
        [_FORMAT, CELL, counted.sources, counted.labels, settings, target.bands,
         target.legend.names]
    )  # fmt: skip
    path = folder / f"counts-{key[:16]}.npz"
    if path.exists():
        return
    for old in folder.glob("counts-*.npz"):
        old.unlink()
    strange = np.frombuffer(json.dumps(counted.unlisted).encode(), np.uint8)
    arrays = {f"scene{i}": counts for i, counts in enumerate(counted.counts)}
    with replacing(path) as made:
        np.savez_compressed(made, unlisted=strange, **arrays)  # type: ignore[arg-type] # arrays by name


def _load(
    path: Path, scenes: int
) -> tuple[tuple[NDArray[np.int32], ...], tuple[Counter[str], ...]] | None:
    try:
        with np.load(path) as kept:
            strange = json.loads(kept["unlisted"].tobytes())
            return tuple(kept[f"scene{i}"] for i in range(scenes)), tuple(map(Counter, strange))
    except (OSError, ValueError, KeyError):
        return None


@dataclass(frozen=True, slots=True)
class _Task:
    scene: int
    window: Window


def _count(
    scenes: Sequence[LearningScene], classes: int, pixels: ChipPixels, reporter: Reporter
) -> tuple[tuple[NDArray[np.int32], ...], tuple[Counter[str], ...]]:
    shapes = [pixels.shape(i) for i in range(len(scenes))]
    counts = tuple(np.zeros((*cells_of(shape), classes), np.int32) for shape in shapes)
    strange = tuple(Counter[str]() for _ in scenes)
    tasks = [_Task(i, w) for i, shape in enumerate(shapes) for w in blocks(shape, BLOCK)]

    def work(task: _Task) -> tuple[NDArray[np.int32] | None, Counter[str]]:
        known, unlisted = scenes[task.scene].labels.read(task.window)
        # Where there is no label, the image need not be read.
        if (known >= classes).all():
            return None, unlisted
        return count_cells(pixels.labels(task.scene, task.window), classes), unlisted

    sizes = [t.window.shape[0] * t.window.shape[1] for t in tasks]
    results = each_item(work, tasks, sizes, name="count labels", reporter=reporter)
    for task, (table, unlisted) in zip(tasks, results, strict=True):
        strange[task.scene].update(unlisted)
        if table is not None:
            counts[task.scene][cell_window(task.window).slices] = table
    return counts, strange
