"""All that a training works on, before torch is needed: sets, counts, split, chips."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

from geoseg.api.fingerprint import digest
from geoseg.api.places import check_folder
from geoseg.api.training.counting import Counted, count
from geoseg.api.training.sets import LearningScene, open_sets, open_unlabelled
from geoseg.api.training.splitting import SplitGround, split
from geoseg.api.training.target import Target, read_target
from geoseg.errors import InputError
from geoseg.io.chip_pixels import ChipPixels
from geoseg.models.check import ground_sample_distance
from geoseg.models.training.base import Augmentation, SelfTraining, TrainingSettings
from geoseg.ops.draws import Draws, LabelledScene
from geoseg.ops.ground import TEST, TRAIN, VALIDATION, cells_of
from geoseg.run.reporter import Reporter
from geoseg.scene import Scene
from geoseg.steps.chips import HeldOutChips, RandomChips, UnlabelledChips, measure
from geoseg.workflow.training import TrainingWorkflow

WORK = ".training"
"""Folder within the output where a training keeps its state."""

_MEASURED = 32
"""Batches by which mean and standard deviation are measured."""

LOOK = 4_000_000
"""Validation pixels that are looked at while training goes on; at its end all are."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What a training works on.

    Attributes:
        workflow: What was asked for.
        target: The model that is to come out.
        folder: Where it goes.
        scenes: Labelled scenes.
        unlabelled: Scenes without labels.
        counted: Labelled pixels.
        ground: What each cell is for.
        pixels: Reads labelled scenes.
        key: Hash of all that the data are.
    """

    workflow: TrainingWorkflow
    target: Target
    folder: Path
    scenes: Sequence[LearningScene]
    unlabelled: Sequence[Scene]
    counted: Counted
    ground: SplitGround
    pixels: ChipPixels
    key: str

    @property
    def settings(self) -> object:
        """What the counts depend on, besides files."""
        return _data_settings(self.workflow)

    def chips(self) -> RandomChips:
        """What is learnt from."""
        asked, parts = self.workflow.sampling, self.ground.parts
        scenes = [
            LabelledScene(self.pixels.shape(i), counts, parts[i], self.scenes[i].of)
            for i, counts in enumerate(self.counted.counts)
        ]
        draws = Draws(
            scenes,
            [data.weight for data in self.workflow.data],
            size=asked.size,
            balance=asked.balance,
            seed=self.workflow.training.seed,
        )
        return RandomChips(self.pixels, parts, draws, asked.batch)

    def held_out(self, part: int, *, most: int | None = None) -> HeldOutChips | None:
        """What is judged by; None where there is nothing."""
        if not self.ground.totals[part].any():
            return None
        return HeldOutChips(self.pixels, self.ground.parts, self.counted.counts, part, most=most)

    def held_out_of(self, part: int) -> dict[str, HeldOutChips]:
        """The same set by set, by their names; sets that have none are left out."""
        found = {}
        for number, data in enumerate(self.workflow.data):
            mine = frozenset(i for i, s in enumerate(self.scenes) if s.of == number)
            parts, counts = self.ground.parts, self.counted.counts
            held = HeldOutChips(self.pixels, parts, counts, part, only=mine)
            if held.tiles():
                found[data.name] = held
        return found

    def without_labels(self) -> UnlabelledChips | None:
        """Chips for self-training; None where that is not asked for."""
        if self.workflow.training.self_training is None:
            return None
        asked = self.workflow.sampling
        pixels = ChipPixels(self.unlabelled, None, self.target.bands, memory=asked.cache.bytes // 2)
        parts = [self._parts_on(scene) for scene in self.unlabelled]
        seed = self.workflow.training.seed
        return UnlabelledChips(pixels, parts, asked.size, asked.batch, seed)

    def _parts_on(self, scene: Scene) -> NDArray[np.uint8]:
        """What the cells of an unlabelled scene are for: it may be one that is labelled, too."""
        for i, other in enumerate(self.scenes):
            if other.scene.grid == scene.grid and other.scene.sources == scene.sources:
                return self.ground.parts[i]
        rows, cols = (int(n) for n in scene.grid.shape)
        return np.full(cells_of((rows, cols)), TRAIN, np.uint8)

    def moments(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each band, as given or as measured on training chips.

        Raises:
            InputError: A band has the same number everywhere.
        """
        if self.target.moments is not None:
            return self.target.moments
        found = measure(self.chips(), _MEASURED)
        for band, std in zip(self.target.bands, found.std, strict=True):
            if not std:
                raise InputError(f"band {band}: has the same number in all training chips")
        return found.mean, found.std

    def gsd(self) -> tuple[float, float] | None:
        """Pixel sizes of the training scenes, in metres; None where no scene says it."""
        sizes = [
            found
            for i, scene in enumerate(self.scenes)
            if (self.ground.parts[i] == TRAIN).any()
            and (found := ground_sample_distance(scene.scene.grid)) is not None
        ]
        return (round(min(sizes), 3), round(max(sizes), 3)) if sizes else None

    def close(self) -> None:
        """Let go of open files."""
        self.pixels.close()


@contextmanager
def prepared(
    workflow: TrainingWorkflow, reporter: Reporter, *, only_look: bool = False
) -> Iterator[Prepared]:
    """Open all sets of a workflow, count their labels and deal out their ground.

    Nothing but missing samples is written; with ``only_look`` those go to a folder that does not
    stay.

    Raises:
        InputError: Workflow, scenes, labels and model do not fit together.
    """
    folder = Path(workflow.directory()).expanduser().absolute()
    check_folder(folder, what="output.directory")
    target = read_target(workflow)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="geoseg-") as aside:
        # Chips of data sets often do not say where they lie; what that means is said elsewhere.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        samples = Path(aside) if only_look else folder / WORK
        scenes = open_sets(workflow, target, samples, reporter)
        unlabelled = open_unlabelled(workflow, target, samples, reporter)
        pixels = ChipPixels(
            [s.scene for s in scenes],
            [s.labels for s in scenes],
            target.bands,
            memory=workflow.sampling.cache.bytes,
        )
        settings = _data_settings(workflow)
        counted = count(
            scenes, target, pixels, settings=settings, kept=folder / WORK, reporter=reporter
        )
        _check_labelled(workflow, scenes, counted)
        ground = split(workflow, scenes, counted)
        _check_classes(target, counted, ground)
        _check_held_out(workflow, ground)
        key = digest([counted.sources, counted.labels, settings, workflow.split.model_dump_json()])
        made = Prepared(workflow, target, folder, scenes, unlabelled, counted, ground, pixels, key)
        try:
            yield made
        finally:
            made.close()


def doubts(made: Prepared) -> list[str]:
    """What a user should look at before training: warnings, for people."""
    found = []
    for number, data in enumerate(made.workflow.data):
        mine = [i for i, s in enumerate(made.scenes) if s.of == number]
        empty = [made.scenes[i].scene.id for i in mine if not made.counted.counts[i].any()]
        if empty:
            some = ", ".join(empty[:3]) + (", ..." if len(empty) > 3 else "")
            found.append(f"{data.name}: {len(empty)} of {len(mine)} scenes have no label ({some})")
        strange: dict[str, int] = {}
        for i in mine:
            for label, pixels in made.counted.unlisted[i].items():
                strange[label] = strange.get(label, 0) + pixels
        if strange:
            shown = ", ".join(f"{k} ({v} px)" for k, v in sorted(strange.items())[:8])
            found.append(f"{data.name}: labels that are not listed are ignored: {shown}")
    names = made.target.legend.names
    for part, name in ((TRAIN, "train"), (VALIDATION, "validation"), (TEST, "test")):
        total = made.ground.totals[part]
        lacking = [n for n, pixels in zip(names, total, strict=True) if not pixels]
        if total.any() and lacking:
            found.append(f"{name}: no pixel of {', '.join(lacking)}")
    return found


def training_settings(made: Prepared) -> TrainingSettings:
    """A workflow's settings as the loop takes them."""
    asked, sampling = made.workflow.training, made.workflow.sampling
    rules, teacher = asked.augmentation, asked.self_training
    return TrainingSettings(
        steps=asked.steps,
        batch=sampling.batch,
        losses=asked.losses.weights(),  # type: ignore[arg-type] # the schema has these names only
        class_weights=_class_weights(made),
        label_smoothing=asked.label_smoothing,
        focal_gamma=asked.focal_gamma,
        learning_rate=asked.learning_rate,
        warmup=asked.warmup,
        weight_decay=asked.weight_decay,
        clip=asked.clip,
        ema=asked.ema,
        precision=asked.precision,
        validate_every=min(asked.validate_every, asked.steps),
        patience=asked.patience,
        checkpoint_every=asked.checkpoint_every,
        seed=asked.seed,
        augmentation=None if rules is None else Augmentation(**rules.model_dump()),
        self_training=None if teacher is None else SelfTraining(**teacher.model_dump()),
    )


_HEAVIEST = 10.0


def _class_weights(made: Prepared) -> tuple[float, ...] | None:
    """By class; balanced ones are inverse to the share of training pixels, at most 10."""
    asked, names = made.workflow.training.class_weights, made.target.legend.names
    if asked is None:
        return None
    if asked == "balanced":
        pixels = made.ground.totals[TRAIN].astype(np.float64)
        some = pixels > 0
        weights = np.ones(len(names))
        weights[some] = np.minimum(pixels[some].sum() / (some.sum() * pixels[some]), _HEAVIEST)
        return tuple(float(round(w, 6)) for w in weights)
    known = {name.casefold(): i for i, name in enumerate(names)}
    found = [1.0] * len(names)
    for name, weight in asked.items():
        if name.casefold() not in known:
            raise InputError(
                f"training.class_weights: the legend has no class {name!r}; it has "
                f"{', '.join(names)}"
            )
        found[known[name.casefold()]] = weight
    return tuple(found)


def _data_settings(workflow: TrainingWorkflow) -> object:
    return [data.model_dump(mode="json", exclude={"license", "attribution", "weight", "use"})
            for data in workflow.data]  # fmt: skip


def _check_labelled(
    workflow: TrainingWorkflow, scenes: Sequence[LearningScene], counted: Counted
) -> None:
    for number, data in enumerate(workflow.data):
        mine = [i for i, s in enumerate(scenes) if s.of == number]
        if any(counted.counts[i].any() for i in mine):
            continue
        first = scenes[mine[0]]
        strange = sum((counted.unlisted[i] for i in mine), start=type(counted.unlisted[0])())
        if strange:
            labels = ", ".join(sorted(strange)[:8])
            raise InputError(
                f"data.{number}: no label of {data.name} is listed in labels.classes; its labels "
                f"are {labels}"
            )
        raise InputError(
            f"data.{number}: not one labelled pixel in {data.name}: {first.labels.files[0]} has no "
            f"label where {first.scene.sources[0]} has valid pixels; do they cover the same place?"
        )


def _check_classes(target: Target, counted: Counted, ground: SplitGround) -> None:
    """Refuse classes that nothing can be learnt of."""
    total = np.sum([c.sum(axis=(0, 1), dtype=np.int64) for c in counted.counts], axis=0)
    for i, name in enumerate(target.legend.names):
        known = target.start is not None and name in target.start.card.legend.names
        if not total[i] and not known:
            raise InputError(
                f"model.legend: no scene has a pixel of {name!r}; leave it out of the legend, or "
                f"bring labels of it"
            )
        if total[i] and not ground.totals[TRAIN, i]:
            held = sum(int(ground.totals[part, i]) for part in (VALIDATION, TEST))
            where = f"all {held} labelled pixels are held out" if held else "its pixels lie in gaps"
            raise InputError(
                f"split: nothing to learn {name!r} from: {where}; try another split.seed, smaller "
                f"blocks, or smaller shares"
            )


def _check_held_out(workflow: TrainingWorkflow, ground: SplitGround) -> None:
    asked = workflow.split
    fixed = {data.use for data in workflow.data}
    for part, name, share in (
        (VALIDATION, "validation", asked.validation),
        (TEST, "test", asked.test),
    ):
        wanted = share > 0 and ("auto" in fixed or name in fixed)
        if wanted and not ground.totals[part].any():
            few, way = "squares with labels", "make split.block smaller"
            if "blocks" not in ground.by:
                few, way = "groups", "say split.by: blocks"
            raise InputError(
                f"split.{name}: nothing is left for it: there are too few {few}; {way}, or set "
                f"split.{name}: 0"
            )
