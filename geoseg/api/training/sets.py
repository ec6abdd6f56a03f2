"""Labelled sets of a workflow as scenes, their labels, and what they share."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from geoseg.api.inputs import Found, scenes_to_learn_from
from geoseg.api.training.target import Target
from geoseg.errors import InputError, SceneError
from geoseg.io.label_layers import LabelReader, LayerSpec, SceneLabels
from geoseg.io.sample import TRUTH_FILE
from geoseg.legend import LANDCOVER
from geoseg.models.check import check_scene
from geoseg.run.reporter import Reporter
from geoseg.scene import Scene
from geoseg.workflow.labelled import Groups, LabelledData, Labels, Unlabelled
from geoseg.workflow.training import TrainingWorkflow


@dataclass(frozen=True, slots=True)
class LearningScene:
    """A labelled scene of a set.

    Attributes:
        scene: Its bands and grid.
        labels: Its classes.
        of: Number of the set.
        group: What it shares with others by the set's table; None without one.
    """

    scene: Scene
    labels: SceneLabels
    of: int
    group: tuple[str, str] | None


def open_sets(
    workflow: TrainingWorkflow, target: Target, folder: Path, reporter: Reporter
) -> list[LearningScene]:
    """All labelled scenes, in the order of the sets; samples are written to ``folder``.

    Raises:
        InputError: A scene or its labels cannot be used.
    """
    reader = LabelReader(target.legend)
    scenes = []
    for number, data in enumerate(workflow.data):
        with _telling(f"data.{number}"):
            found = scenes_to_learn_from(
                data.input, data.area, target.bands, folder=folder / f"sample-{data.name}"
            )
        groups = _groups(data, f"data.{number}.groups")
        used = [one for one in found if groups is None or groups.of(one.scene) is not None]
        if not used:
            raise InputError(f"data.{number}.groups: its 'where' leaves no scene of {data.name}")
        for one in used:
            _check(target, one.scene)
            one.prepare(reporter)
            specs = _specs(data, number, one)
            labels = reader.open(one.scene, specs)
            if not labels.files:
                continue
            group = None if groups is None else groups.of(one.scene)
            scenes.append(LearningScene(one.scene, labels, number, group))
        if not any(scene.of == number for scene in scenes):
            raise InputError(f"data.{number}.labels: none of {len(used)} scenes has a label file")
    return scenes


def open_unlabelled(
    workflow: TrainingWorkflow, target: Target, folder: Path, reporter: Reporter
) -> list[Scene]:
    """All scenes without labels.

    Raises:
        InputError: A scene cannot be used.
    """
    scenes = []
    for number, data in enumerate(workflow.unlabelled):
        for one in _unlabelled(data, number, target, folder):
            _check(target, one.scene)
            one.prepare(reporter)
            scenes.append(one.scene)
    return scenes


def _unlabelled(data: Unlabelled, number: int, target: Target, folder: Path) -> list[Found]:
    with _telling(f"unlabelled.{number}"):
        return scenes_to_learn_from(
            data.input, data.area, target.bands, folder=folder / f"sample-unlabelled-{number}"
        )


@contextmanager
def _telling(key: str) -> Iterator[None]:
    """Say of which set a scene's error speaks: ``input.bands`` is ``data.0.input.bands`` here."""
    try:
        yield
    except InputError as error:
        told = re.sub(r"(?<![\w.])input(?=\.\w)", f"{key}.input", str(error))
        if told == str(error):
            raise
        raise type(error)(told) from error


def _check(target: Target, scene: Scene) -> None:
    """Refuse a scene that the model could not learn from."""
    if scene.grid.crs is None:
        others = [b for b in scene.bands.values() if b.grid != scene.grid]
        if others:
            raise SceneError(
                f"scene {scene.id}: {others[0].uri} has other pixels than {scene.sources[0]}, and "
                f"nothing says where they lie: give both a CRS and a geotransform"
            )
    check_scene(target.card(), scene)


def _specs(data: LabelledData, number: int, found: Found) -> list[LayerSpec]:
    if not data.layers and found.sample is not None:
        classes = {str(c.value): c.name for c in LANDCOVER.classes}
        return [
            LayerSpec(f"data.{number}.input", _literal(found.sample.directory / TRUTH_FILE),
                      classes=classes)
        ]  # fmt: skip
    one = isinstance(data.labels, Labels)
    keys = [f"data.{number}.labels" + ("" if one else f".{i}") for i in range(len(data.layers))]
    return [_spec(key, labels) for key, labels in zip(keys, data.layers, strict=True)]


def _spec(key: str, labels: Labels) -> LayerSpec:
    return LayerSpec(
        key,
        labels.path,
        band=labels.band,
        layer=labels.layer,
        column=labels.column,
        where=labels.where or {},
        classes=labels.classes or {},
        outside=labels.outside,
        trim=labels.trim,
        strict=labels.strict,
        optional=labels.missing == "skip",
    )


def _literal(path: Path) -> str:
    return str(path)


@dataclass(frozen=True, slots=True)
class _Table:
    """Groups by scene, from a table."""

    rows: Mapping[str, tuple[str, str]]
    file: str
    known: frozenset[str]

    def of(self, scene: Scene) -> tuple[str, str] | None:
        """The group of a scene; None where it is not to be used."""
        for name in (scene.id, Path(scene.sources[0]).stem):
            if name in self.known:
                return self.rows.get(name)
        raise InputError(f"{self.file}: has no row for scene {scene.id}")


def _groups(data: LabelledData, key: str) -> _Table | None:
    asked = data.groups
    if asked is None:
        return None
    rows = _rows(asked, key)
    for column in (asked.scene, asked.group, *(asked.where or {})):
        if column is not None and column not in rows[0]:
            raise InputError(
                f"{asked.file}: {key}: no column {column!r}; it has {', '.join(rows[0])}"
            )
    used = [row for row in rows if _wanted(row, asked)]
    file = str(Path(asked.file).absolute())
    by_scene = {r[asked.scene]: (file, r[asked.group or asked.scene]) for r in used}
    return _Table(by_scene, asked.file, frozenset(row[asked.scene] for row in rows))


def _rows(asked: Groups, key: str) -> Sequence[Mapping[str, str]]:
    try:
        with Path(asked.file).expanduser().open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{asked.file}: {key}: cannot be read: {said}") from error
    if not rows:
        raise InputError(f"{asked.file}: {key}: a table without rows")
    return rows


def _wanted(row: Mapping[str, str], asked: Groups) -> bool:
    return all(_fits(row[column], value) for column, value in (asked.where or {}).items())


def _fits(found: str | None, wanted: object) -> bool:
    if isinstance(wanted, list | tuple):
        return any(_fits(found, one) for one in wanted)
    text = (found or "").strip()
    if isinstance(wanted, bool):
        return text.casefold() in (("true", "1", "yes") if wanted else ("false", "0", "no"))
    if isinstance(wanted, int | float):
        try:
            return float(text) == float(wanted)
        except ValueError:
            return False
    return text == wanted
