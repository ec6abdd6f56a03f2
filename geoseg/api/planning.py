"""A workflow to scenes, model and plans: everything that can be known before a pixel is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from geoseg.api.chosen import Chosen
from geoseg.api.clusters import resources_of
from geoseg.api.footprints import may_take, on_gpu, taken
from geoseg.api.inputs import Found, find_scenes
from geoseg.api.places import check_folder
from geoseg.api.refining import check_steps, refinement, wanted_layers
from geoseg.errors import PlanError
from geoseg.grid import Window
from geoseg.io.area import area_touches
from geoseg.io.patterns import means
from geoseg.io.target_grid import where_data_can_be
from geoseg.models.base import ModelCard
from geoseg.models.card_rules import check_architecture
from geoseg.models.committee import Committee
from geoseg.models.formats import SAFETENSORS
from geoseg.models.intact import check_weights
from geoseg.models.registry import check_classes, check_scene, find, pinned
from geoseg.ops.tiling import Lattice
from geoseg.plan import Resources, ScenePlan, TilingWish, plan_scene
from geoseg.scene import Scene
from geoseg.workflow import Workflow
from geoseg.workflow.inputs import FilesInput
from geoseg.workflow.model import ModelChoice, expand_model


@dataclass(frozen=True, slots=True)
class SceneTask:
    """One scene to do: its plan, where its products go, and what has to be written first.

    ``engine`` is what computes it, once that is known.
    """

    plan: ScenePlan
    directory: Path
    found: Found
    engine: Chosen | None = None


@dataclass(frozen=True, slots=True)
class RunPlan:
    """All that a workflow will do.

    ``gpu`` says whether workers compute on GPUs, as far as that is known before they are asked.
    """

    workflow: Workflow
    committee: Committee
    resources: Resources
    tasks: tuple[SceneTask, ...]
    warnings: tuple[str, ...]
    gpu: bool = False

    @property
    def blocks(self) -> int:
        """Blocks of all scenes."""
        return sum(len(task.plan.blocks) for task in self.tasks)

    def computed_by(self, task: SceneTask, engine: Chosen, *, gpu: bool = False) -> SceneTask:
        """``task``, planned with the memory that its engine takes of a worker.

        ``gpu`` says that workers turned out to have one.
        """
        footprint = taken(self.workflow, engine.runtime, gpu=gpu or self.gpu)
        return replace(task, plan=task.plan.computed_by(footprint), engine=engine)


def plan_workflow(workflow: Workflow, *, now: datetime | None = None) -> RunPlan:
    """Find scenes and model, check that they fit, and cut the scenes. Reads no pixel.

    ``now`` is what the last days of a workflow count from; without it the time of this machine.

    Raises:
        NothingFoundError: No scene matches; there may be some later.
        InputError: Something does not fit; nothing was written.
    """
    committee = choose_models(workflow.model)
    card, vector = committee.card, workflow.output.vector
    if vector is not None:
        for key, names in vector.class_names().items():
            check_classes(card.legend, names, what=f"output.vector.{key}")
    check_steps(workflow, card)
    resources, gpu = resources_of(workflow.cluster), on_gpu(workflow)
    wish = wish_of(workflow, committee, gpu=gpu)
    if wish.size is not None and wish.margin is not None:
        Lattice(wish.size, wish.margin, card.stride)
    tasks, warnings = [], []
    for found in find_scenes(workflow, card.bands, now=now):
        _check_sample(found)
        warnings += check_scene(card, found.scene)
        wish = replace(wish, refinement=refinement(workflow, card, found.scene))
        plan = _plan(found, card, wish, resources)
        tasks.append(SceneTask(plan, found.directory, found))
    _check_directories(tasks)
    _check_apart(workflow, tasks)
    return RunPlan(workflow, committee, resources, tuple(tasks), tuple(warnings), gpu)


def choose_models(choice: ModelChoice) -> Committee:
    """The models that are asked for, each with weights that are whole.

    Raises:
        ModelError: There is no such model, or it is damaged.
    """
    members = []
    for name in choice.ensemble or (None,):
        asked = choice if name is None else ModelChoice.model_validate(expand_model(name))
        package = find(asked.name or Path(asked.path or "").absolute())
        package = replace(package, allow_code=choice.allow_code)
        package = pinned(package)  # what is planned is what workers load, and resumed runs, too
        if package.weights is not None:
            found = check_weights(package.weights, package.card.sha256)
            if found is SAFETENSORS:
                check_architecture(package.card, f"model {package.card.name!r}")
        members.append(package)
    return Committee(tuple(members), choice.tta, choice.scales)


def _plan(found: Found, card: ModelCard, wish: TilingWish, resources: Resources) -> ScenePlan:
    scene = found.scene
    return plan_scene(scene, card, wish, resources, touches=touching(scene))


def touching(scene: Scene) -> Callable[[Window], bool]:
    """Whether a window may have a pixel of ``scene`` that is inside its area of interest."""
    shapes = [shape for shape in (scene.area, where_data_can_be(scene)) if shape is not None]
    parts = None if scene.combined is None else scene.combined.windows

    def touches(window: Window) -> bool:
        inside = all(area_touches(shape, scene.grid, window) for shape in shapes)
        return inside and (parts is None or any(window & part for part in parts))

    return touches


def wish_of(workflow: Workflow, committee: Committee, *, gpu: bool) -> TilingWish:
    """What a workflow asks for of chips, blocks and layers; ``gpu`` as of :class:`RunPlan`."""
    tiling, choice = workflow.tiling, workflow.model
    files = [member.weights for member in committee.members]
    return TilingWish(
        size=None if tiling.size == "auto" else tiling.size,
        margin=None if tiling.margin == "auto" else tiling.margin,
        block=None if tiling.block == "auto" else tiling.block,
        seams=tiling.seams,
        weights=tiling.weights or "hann",
        batch=choice.batch or 1,
        layers=wanted_layers(workflow),
        passes=committee.passes,
        min_valid=tiling.min_valid,
        observations=workflow.output.raster.quality,
        footprints=may_take(workflow, gpu=gpu),
        weight_bytes=sum(
            file.stat().st_size for file in files if file is not None and file.exists()
        ),
    )


def _check_sample(found: Found) -> None:
    """Refuse a sample that would fill the disk; before it is cut into a million blocks."""
    if not found.ready and found.sample is not None:
        from geoseg.api.samples import check_room  # noqa: PLC0415 (few scenes are one)

        check_room(found.sample.spec.size, found.sample.directory, what="input.size")


def _check_directories(tasks: list[SceneTask]) -> None:
    """Refuse outputs that cannot be written, and two scenes that would write over each other."""
    for task in tasks:
        check_folder(task.directory, what="output.directory")
        if task.found.sample is not None:
            check_folder(task.found.sample.directory, what="input.directory")
    count = Counter(task.directory for task in tasks)
    twice = next((folder for folder, n in count.items() if n > 1), None)
    if twice is None:
        return
    scenes = [task.plan.scene.id for task in tasks if task.directory == twice]
    raise PlanError(
        f"output.directory: {len(scenes)} scenes would be written to {twice} "
        f"({', '.join(scenes[:3])}{', ...' if len(scenes) > 3 else ''}); add {{scene}} or {{date}} "
        f"to it"
    )


def _check_apart(workflow: Workflow, tasks: list[SceneTask]) -> None:
    """Refuse maps that the next run would take for scenes."""
    source = workflow.input
    if not isinstance(source, FilesInput):
        return
    for pattern in source.path or ():
        for task in tasks:
            if means(pattern, task.directory / "classes.tif"):
                raise PlanError(
                    f"output.directory: input.path ({pattern}) means what would be written to "
                    f"{task.directory}, too; choose a folder of its own"
                )
