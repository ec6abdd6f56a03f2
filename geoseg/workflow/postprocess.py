"""What a workflow does to the map of classes before it is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from geoseg.workflow.faults import UnfitError, choices, closest, show
from geoseg.workflow.fields import BandName, MinArea, Some, Text
from geoseg.workflow.section import TAG, Section
from geoseg.workflow.units import Area


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise UnfitError("expected an odd number of pixels, so that it has a middle", str(value))
    return value


def _area(value: Area) -> Area:
    if value.value == 0:
        raise UnfitError("expected an area above 0", "0")
    return value


OddSize = Annotated[int, Field(ge=3, le=99), AfterValidator(_odd)]
SomeArea = Annotated[MinArea, AfterValidator(_area)]


class MajorityStep(Section):
    """Each pixel becomes the most frequent class around it."""

    step: Literal["majority"]
    """What is done."""
    size: OddSize = 3
    """Side of the window in pixels."""


class MorphologyStep(Section):
    """Classes lose their thin parts (open), or fill their narrow gaps (close)."""

    step: Literal["open", "close"]
    """What is done."""
    classes: Some[Text]
    """Names of the classes, treated one after the other."""
    size: OddSize = 3
    """Side of the square that must fit in, in pixels."""


class SieveStep(Section):
    """Small regions become the large class they share most of their border with."""

    step: Literal["sieve"]
    """What is done."""
    min_area: SomeArea
    """Regions below it are small."""
    passes: Annotated[int, Field(ge=1, le=8)] = 1
    """How often: small regions that only touch small ones need another pass."""


class FillHolesStep(Section):
    """Classes take over small holes that they surround."""

    step: Literal["fill_holes"]
    """What is done."""
    classes: Some[Text]
    """Names of the classes, treated one after the other."""
    max_area: SomeArea
    """Larger holes stay."""


class SmoothStep(Section):
    """Probabilities are smoothed along the edges of the image; must come first."""

    step: Literal["smooth"]
    """What is done."""
    method: Literal["guided"] = "guided"
    """Guided filter (He et al. 2013)."""
    radius: Annotated[int, Field(ge=1, le=32)] = 4
    """Half the side of the filter's windows, in pixels."""
    strength: Annotated[float, Field(ge=1e-6, le=1000)] = 0.1
    """How different pixels may look and still be averaged: a variance, where that of the bands
    is 1."""
    bands: Some[BandName] | None = None
    """Up to three bands whose edges count; without it those of the natural colours."""


STEPS: Mapping[str, type[Section]] = {
    TAG + "majority": MajorityStep,
    TAG + "open": MorphologyStep,
    TAG + "close": MorphologyStep,
    TAG + "sieve": SieveStep,
    TAG + "fill_holes": FillHolesStep,
    TAG + "smooth": SmoothStep,
}
NAMES = tuple(tag.removeprefix(TAG) for tag in STEPS)


def _check_step(value: object) -> object:
    if isinstance(value, Section):
        return value
    if not isinstance(value, dict):
        raise UnfitError("expected keys and values, among them 'step'", show(value))
    name = value.get("step")
    if name is None and "step" not in value:
        raise UnfitError(f"required: {choices(NAMES)}", at=("step",))
    if name not in NAMES:
        guess = closest(name, NAMES) if isinstance(name, str) else None
        hint = f"did you mean '{guess}'?" if guess else ""
        raise UnfitError(f"expected {choices(NAMES)}", show(name), hint=hint, at=("step",))
    return value


def _step_tag(value: Any) -> str:
    return TAG + str(value["step"] if isinstance(value, dict) else value.step)


AnyStep = MajorityStep | MorphologyStep | SieveStep | FillHolesStep | SmoothStep
Step = Annotated[
    Annotated[MajorityStep, Tag(TAG + "majority")]
    | Annotated[MorphologyStep, Tag(TAG + "open")]
    | Annotated[MorphologyStep, Tag(TAG + "close")]
    | Annotated[SieveStep, Tag(TAG + "sieve")]
    | Annotated[FillHolesStep, Tag(TAG + "fill_holes")]
    | Annotated[SmoothStep, Tag(TAG + "smooth")],
    Discriminator(_step_tag),
    BeforeValidator(_check_step),
]


def check_order(steps: tuple[AnyStep, ...]) -> tuple[AnyStep, ...]:
    """Refuse smoothing that would forget what was done before it."""
    for number, step in enumerate(steps):
        if isinstance(step, SmoothStep) and number:
            raise UnfitError(
                "works on the model's probabilities, and would forget the steps before: put it first",
                at=(number, "step"),
            )
        if isinstance(step, SmoothStep) and step.bands is not None and len(step.bands) > 3:
            raise UnfitError("expected at most 3 bands", at=(number, "bands"))
    return steps
