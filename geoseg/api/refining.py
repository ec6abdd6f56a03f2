"""What a workflow wants done to its maps, as steps that know the scene's pixels and classes."""

from __future__ import annotations

from geoseg.errors import ModelError, PlanError
from geoseg.legend import Legend
from geoseg.models.base import ModelCard
from geoseg.models.registry import check_classes, ground_sample_distance
from geoseg.ops.layers import LAYERS, Layer
from geoseg.ops.refine.base import Step, check_halo
from geoseg.ops.refine.guided import Guided
from geoseg.ops.refine.majority import Majority
from geoseg.ops.refine.morphology import Morphology
from geoseg.plan import Refinement
from geoseg.scene import Scene, natural_colors
from geoseg.workflow import Workflow
from geoseg.workflow.postprocess import (
    AnyStep,
    FillHolesStep,
    MajorityStep,
    MorphologyStep,
    SieveStep,
    SmoothStep,
)
from geoseg.workflow.units import Area

_TRUE_ENOUGH = 0.01


def wanted_layers(workflow: Workflow) -> tuple[Layer, ...]:
    """What the model is asked for beside classes and confidence: for products, and for steps."""
    raster = workflow.output.raster
    wanted = {layer for layer in LAYERS if getattr(raster, layer)}
    if any(isinstance(step, SmoothStep) for step in workflow.postprocess):
        wanted.add("probabilities")
    vector = workflow.output.vector
    if vector is not None and vector.reassigns and vector.merge_by == "probability":
        wanted.add("probabilities")
    return tuple(layer for layer in LAYERS if layer in wanted and layer != "confidence")


def check_steps(workflow: Workflow, card: ModelCard) -> None:
    """Refuse steps that speak of classes or bands that the model does not have.

    Raises:
        ModelError: Says which key, what the model has, and the closest.
    """
    for number, step in enumerate(workflow.postprocess):
        key = f"postprocess.{number}"
        if isinstance(step, MorphologyStep | FillHolesStep):
            check_classes(card.legend, step.classes, what=f"{key}.classes")
        if isinstance(step, SmoothStep):
            unknown = [band for band in step.bands or () if band not in card.bands]
            if unknown:
                raise ModelError(
                    f"{key}.bands: model {card.name} does not read {', '.join(unknown)}; "
                    f"it reads {', '.join(card.bands)}"
                )


def refinement(workflow: Workflow, card: ModelCard, scene: Scene) -> Refinement | None:
    """The steps for one scene; None where the map stays as the model left it.

    Raises:
        PlanError: They look too far, or an area is given on the ground and pixels have none.
    """
    if not workflow.postprocess:
        return None
    steps = tuple(
        _step(step, card.legend, scene, f"postprocess.{number}")
        for number, step in enumerate(workflow.postprocess)
    )
    check_halo(steps)
    guides = [step for step in workflow.postprocess if isinstance(step, SmoothStep)]
    guide = guides[0].bands or tuple(dict.fromkeys(natural_colors(card.bands))) if guides else ()
    return Refinement(steps, guide)


def _step(step: AnyStep, legend: Legend, scene: Scene, key: str) -> Step:
    if isinstance(step, MajorityStep):
        return Majority(step.size)
    if isinstance(step, MorphologyStep):
        return Morphology(step.step, _codes(legend, step.classes), step.size)
    from geoseg.ops.refine.sieve import FillHoles, Sieve  # noqa: PLC0415 (numba takes its time)

    if isinstance(step, SieveStep):
        pixel = _pixel_area(scene, step.min_area, f"{key}.min_area")
        return Sieve(step.min_area.pixels(pixel), step.passes)
    if isinstance(step, FillHolesStep):
        pixel = _pixel_area(scene, step.max_area, f"{key}.max_area")
        # Whole pixels that are not larger; forgiving the last bits of the division.
        pixels = int(step.max_area.square_metres(pixel) / pixel * (1 + 1e-9))
        return FillHoles(_codes(legend, step.classes), pixels)
    return Guided(step.radius, step.strength)


def _codes(legend: Legend, names: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(c.value for c in legend.select(names))


def _pixel_area(scene: Scene, area: Area, key: str) -> float:
    """Square metres of a pixel: regions are counted, not measured.

    As the grid says, where that is true to a hundredth in the scene's middle (10 m pixels of UTM
    are 100 square metres, though 100.08 on the ellipsoid); else as measured there.
    """
    if area.unit == "px":
        return 1.0
    side, grid = ground_sample_distance(scene.grid), scene.grid
    if side is None or grid.crs is None:
        raise PlanError(
            f"{key}: how much ground a pixel of scene {scene.id} covers is not known; "
            f"give the area in px"
        )
    if grid.crs.projected:
        unit = grid.crs.proj.axis_info[0].unit_conversion_factor
        said = abs(float(grid.affine.determinant)) * unit**2
        if abs(said / side**2 - 1) < _TRUE_ENOUGH:
            return said
    return side * side
