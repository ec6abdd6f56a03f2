"""What a workflow says of its model: which one or several, how they look, what they run on."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator, model_validator
from pydantic.json_schema import WithJsonSchema

from geoseg.workflow.faults import UnfitError, show
from geoseg.workflow.fields import FilePath, Some, Text
from geoseg.workflow.section import Section

_FINEST = 8
"""Largest denominator of a scale: chips begin at multiples of it times the model's stride."""

_ABLE = {
    "torch": ("auto", "fp32", "bf16", "fp16"),
    "onnxruntime": ("auto", "fp32"),
    "openvino": ("auto", "fp32", "bf16", "int8"),
    "torch-compile": ("auto", "fp32", "bf16", "fp16"),
}
"""Precisions of each engine."""


def expand_model(value: object) -> object:
    """The long way to write a model: text with a slash is a path, other text a name."""
    if not isinstance(value, str):
        return value
    return {"path" if "/" in value or "\\" in value else "name": value}


def _scale(value: object) -> Fraction:
    fine = "expected a scale from 0.5 to 2 that is a fraction of at most eighths, like 0.75 or 1.25"
    if isinstance(value, Fraction):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnfitError(fine, show(value))
    if not 0.5 <= value <= 2:
        raise UnfitError(fine, show(value))
    near = Fraction(value).limit_denominator(_FINEST)
    if abs(near - Fraction(value)) > Fraction(1, 10**4):
        raise UnfitError(fine, show(value), hint=f"try {float(near):.6g}")
    return near


Scale = Annotated[
    Fraction,
    PlainValidator(_scale),
    PlainSerializer(float, return_type=float),
    WithJsonSchema({"type": "number", "minimum": 0.5, "maximum": 2}),
]


def _several(members: tuple[str, ...]) -> tuple[str, ...]:
    if len(members) < 2:
        raise UnfitError("expected at least two models", show(members[0]))
    return members


class ModelChoice(Section):
    """The model, and what it runs on."""

    name: Text | None = None
    """Name of a model that geoseg knows (``geoseg models``)."""
    path: FilePath | None = None
    """A model's card, the folder that holds it, or an .onnx or .pt2 file that knows its card."""
    ensemble: Annotated[Some[Text], AfterValidator(_several)] | None = None
    """Names or paths of several models of the same classes, whose probabilities are averaged."""
    tta: Literal["none", "flips", "d4"] = "none"
    """Show each chip mirrored too (flips, 4 passes), or in all symmetries of the square (d4, 8)."""
    scales: Some[Scale] = (Fraction(1),)
    """Show each chip in these sizes, e.g. [1.0, 1.25]."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """What computes; auto takes a GPU where there is one."""
    engine: Literal["auto", "torch", "onnxruntime", "openvino", "torch-compile"] = "auto"
    """What runs the network; auto tries those that are installed on a few chips of the scene.
    torch-compile writes kernels for the network on each worker (half a minute; for large runs)."""
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] | None = None
    """Number format of the network; without it auto where the engine is auto, else fp32. int8 is
    OpenVINO's, calibrated on chips of the scene, and only taken where it is asked for."""
    agreement: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of pixels that must get the class of torch in fp32; 0.995 unless the model's card says."""
    batch: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Chips per forward pass; chosen by memory without it. Does not change the result."""
    allow_code: bool = False
    """Open TorchScript (.pt), which runs code that it brings along."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [key for key in ("name", "path", "ensemble") if getattr(self, key) is not None]
        if len(given) != 1:
            both = " and ".join(given)
            raise UnfitError("expected exactly one of name, path and ensemble", both)
        return self

    @model_validator(mode="after")
    def _computable(self) -> Self:
        able = _ABLE.get(self.engine)
        if able is not None and self.numbers not in able:
            raise UnfitError(
                f"engine {self.engine} computes in {' or '.join(able[1:])}", show(self.precision),
                at=("precision",),
            )  # fmt: skip
        if self.device == "cuda" and (self.engine == "openvino" or self.precision == "int8"):
            raise UnfitError("engine openvino runs on CPUs only", show(self.device), at=("device",))
        return self

    @property
    def numbers(self) -> str:
        """The precision, also where it is left out: an engine by name means the map of torch's fp32."""
        return self.precision or ("auto" if self.engine == "auto" else "fp32")

    @property
    def answers(self) -> int:
        """How many answers there are for each chip: models times symmetries times scales."""
        views = {"none": 1, "flips": 4, "d4": 8}[self.tta]
        return len(self.ensemble or ("one",)) * views * len(self.scales)
