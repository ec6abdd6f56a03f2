"""A workflow that trains a model, as frozen sections: its model, how it learns, what comes out."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Strict,
    Tag,
    model_validator,
)

from geoseg.legend import LEGENDS
from geoseg.workflow.bands import Units
from geoseg.workflow.faults import UnfitError, choices, closest, show
from geoseg.workflow.fields import (
    Also,
    BandName,
    DirectoryTemplate,
    Memory,
    Number,
    OrElse,
    Some,
    Text,
    exactly,
)
from geoseg.workflow.labelled import (
    Color,
    Distance,
    GroundLength,
    LabelledData,
    Listed,
    Pixels,
    Semver,
    Share,
    Unlabelled,
)
from geoseg.workflow.section import TAG, Section
from geoseg.workflow.units import Length, Size
from geoseg.workflow.whole import Whole

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, lt=1e9)]
Several = Annotated[int, Field(ge=1, le=10_000_000)]


class ClassEntry(Section):
    """One class of a legend."""

    value: Annotated[int, Field(ge=0, le=255)]
    """Its code in maps."""
    name: Text
    """What it is called."""
    color: Color | None = None
    """How it is drawn, ``#rrggbb``; without it one of a palette."""


def _legend(value: object) -> object:
    if isinstance(value, str):
        if value not in LEGENDS:
            guess = closest(value, LEGENDS)
            hint = f"did you mean '{guess}'?" if guess else ""
            known = choices([*LEGENDS, "a list of classes"])
            raise UnfitError(f"expected {known}", show(value), hint=hint)
    elif not isinstance(value, list | tuple) or not value:
        raise UnfitError("expected a list of classes, or the name of a legend", show(value))
    return value


LegendChoice = Annotated[
    Annotated[str, Tag(TAG + "name")]
    | Annotated[tuple[ClassEntry, ...], Field(strict=False), Tag(TAG + "list")],
    Discriminator(lambda value: TAG + ("name" if isinstance(value, str) else "list")),
    BeforeValidator(_legend),
]


class Architecture(Section):
    """The network: its name, and whatever it takes."""

    model_config = ConfigDict(**{**Section.model_config, "extra": "allow"})

    name: Text
    """Name of an architecture that geoseg knows, like geoseg-unet or unet."""


class NewModel(Section):
    """The model that comes out."""

    version: Semver = "1.0.0"
    """Version of the weights."""
    title: Text | None = None
    """One line for catalogs."""
    description: Text | None = None
    """What it is good for, and what not."""
    license: Text | None = None
    """Licence of the weights, like Apache-2.0."""
    start: Text | None = None
    """Fine-tune this model: its name, or its path. Architecture, bands, units, scaling and legend
    are then its own unless they are given here."""
    architecture: Architecture | None = None
    """The network; geoseg-unet without it."""
    bands: Some[BandName] | None = None
    """Common names of the bands that the model will need, in order."""
    units: Units | None = None
    """What its numbers will be: reflectance (0 to 1), or dn (as stored)."""
    legend: LegendChoice | None = None
    """The classes: the name of a shipped legend, or a list of value, name and color."""
    gsd: (
        Annotated[
            tuple[GroundLength, GroundLength],
            Strict(strict=False),
            BeforeValidator(exactly("from", "to")),
        ]
        | None
    ) = None
    """Pixel sizes that it is for, from and to; without it those of the training scenes."""
    mean: Listed[Number] | None = None
    """Of each band; measured on the training chips without it."""
    std: Listed[Annotated[float, Field(gt=0)]] | None = None
    """Standard deviation of each band; measured on the training chips without it."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for key in ("bands", "units", "legend"):
            if self.start is None and getattr(self, key) is None:
                raise UnfitError("required, unless 'start' names a model to fine-tune", at=(key,))
        if (self.mean is None) != (self.std is None):
            raise UnfitError("expected both mean and std, or neither")
        for key in ("mean", "std"):
            given = getattr(self, key)
            if given is not None and self.bands is not None and len(given) != len(self.bands):
                advice = f"expected {len(self.bands)} numbers, one for each band"
                raise UnfitError(advice, str(len(given)), at=(key,))
        return self


class Split(Section):
    """Which ground is learnt from, and which is kept to judge by."""

    by: Literal["auto", "groups", "blocks"] = "auto"
    """groups keeps whole scenes (or the groups that data.groups names) together; blocks cuts
    scenes into squares; auto takes groups where a set has at least 10 of them."""
    validation: Share = 0.2
    """Share of the labelled pixels that training is watched by, and calibrated on."""
    test: Share = 0.2
    """Share that is looked at only once, at the end."""
    block: Distance = Length(2, "km")
    """Side of the squares."""
    gap: Distance | None = None
    """Ground around held-out squares of which no label is learnt; half a chip without it, less in
    small scenes."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 1
    """Another seed gives another split."""
    allow_overlap: bool = False
    """Do not refuse training scenes that lie on held-out ground (dates of one place)."""

    @model_validator(mode="after")
    def _leaves_some(self) -> Self:
        if self.validation + self.test > 0.9:
            raise UnfitError("validation and test together leave less than 10 % to learn from")
        return self


class Sampling(Section):
    """How chips are drawn."""

    size: Pixels = 96
    """Side of a training chip, in pixels."""
    batch: Annotated[int, Field(ge=1, le=4096)] = 16
    """Chips that are learnt from at once."""
    balance: Fraction = 0.5
    """0 draws classes as often as they occur, 1 all equally often."""
    cache: Memory = Size(1, "GB")
    """Memory for decoded pixels."""


class Losses(Section):
    """Weight of each loss in the sum."""

    cross_entropy: Annotated[float, Field(ge=0)] | None = None
    """Cross-entropy, with class weights."""
    focal: Annotated[float, Field(ge=0)] | None = None
    """Focal loss, with class weights (Lin et al. 2017)."""
    dice: Annotated[float, Field(ge=0)] | None = None
    """Dice loss."""
    soft_iou: Annotated[float, Field(ge=0)] | None = None
    """Soft intersection over union."""
    lovasz: Annotated[float, Field(ge=0)] | None = None
    """Lovász softmax (Berman et al. 2018)."""
    boundary: Annotated[float, Field(ge=0)] | None = None
    """Boundary loss (Kervadec et al. 2019)."""

    @model_validator(mode="after")
    def _any(self) -> Self:
        if not any(self.weights().values()):
            raise UnfitError(f"expected a weight above 0 for {choices(list(Losses.model_fields))}")
        return self

    def weights(self) -> dict[str, float]:
        """Those that are given."""
        return {name: value for name, value in self if value is not None}


class AugmentationRules(Section):
    """Other suns, sensors, seasons and atmospheres, drawn for each chip; 0 switches a part off.

    Radiometry is in reflectance, for dn in shares of 255.
    """

    d4: bool = True
    """Turn and flip."""
    scale: Annotated[
        tuple[Positive, Positive],
        Strict(strict=False),
        BeforeValidator(exactly("from", "to")),
    ] = (0.75, 1.33)
    """Factors of the pixel size, from and to."""
    gain: Annotated[float, Field(ge=0)] = 0.1
    """Standard deviation of a factor for all bands."""
    band_gain: Annotated[float, Field(ge=0)] = 0.05
    """Standard deviation of a factor for each band."""
    offset: Annotated[float, Field(ge=0)] = 0.005
    """Standard deviation of what is added to each band."""
    gamma: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of the logarithm of an exponent."""
    haze: Annotated[float, Field(ge=0)] = 0.03
    """Most path radiance that is added, the more the bluer the band."""
    haze_share: Fraction = 0.2
    """Share of the chips that have haze."""
    shade: Fraction = 0.0
    """Deepest shadow, as the share of light that is lost."""
    shade_share: Fraction = 0.0
    """Share of the chips that have a shadow."""
    blur: Annotated[float, Field(ge=0, le=20)] = 0.0
    """Largest blur, in pixels."""
    noise: Annotated[float, Field(ge=0)] = 0.004
    """Standard deviation of what is added to each pixel."""
    band_drop: Fraction = 0.0
    """Share of the chips in which one band is missing."""
    elastic: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Largest elastic deformation, in pixels."""

    @model_validator(mode="after")
    def _from_to(self) -> Self:
        if self.scale[0] > self.scale[1]:
            raise UnfitError("expected [from, to] with from <= to", at=("scale",))
        return self


class SelfTrainingRules(Section):
    """Learning from unlabelled scenes by a mean teacher (Tarvainen & Valpola 2017)."""

    weight: Annotated[float, Field(ge=0)] = 1.0
    """Of the loss on unlabelled chips, once it has grown to its full size."""
    confidence: Fraction = 0.8
    """Pixels of which the teacher is less sure are not learnt from."""
    ramp: Fraction = 0.3
    """Share of all steps over which the weight grows."""


def _true_is_all(value: object) -> object:
    return {} if value is True else None if value is False else value


_switch = OrElse({"type": "boolean"})


class Training(Section):
    """How the network is trained."""

    steps: Several = 2000
    """Batches that are learnt from."""
    losses: Losses = Losses(cross_entropy=1.0, dice=0.5)
    """What is made small: losses and their weights."""
    class_weights: Annotated[
        Literal["balanced"] | dict[str, Annotated[float, Field(ge=0)]] | None,
        OrElse({"const": "balanced"}),
    ] = None
    """Of cross-entropy and focal loss: balanced, or by class name (1 for those left out)."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Of cross-entropy."""
    focal_gamma: Annotated[float, Field(ge=0, le=10)] = 2.0
    """Of the focal loss."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 3e-3
    """The highest of the cosine schedule."""
    warmup: Fraction = 0.1
    """Share of the steps over which the learning rate grows to that."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 1e-2
    """Of AdamW."""
    clip: Positive = 1.0
    """Largest norm of the gradient."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.995
    """Decay of the moving average of the weights, which is what is judged and kept; 0 for none."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Number format of the passes; losses are always in fp32."""
    validate_every: Several = 200
    """Steps between two looks at the validation ground."""
    patience: Several | None = None
    """Looks without a better mean IoU after which training stops; never without it."""
    checkpoint_every: Several = 200
    """Steps between two checkpoints: so much is done again after an interruption."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    """Of the weights, the augmentation and the order of the chips."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """What computes; auto takes a GPU where there is one."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """CPU threads."""
    augmentation: Annotated[
        AugmentationRules | None,
        BeforeValidator(_true_is_all),
        PlainSerializer(lambda value: False if value is None else value),
        _switch,
    ] = AugmentationRules()
    """How chips are varied; false for chips as they are."""
    self_training: Annotated[
        SelfTrainingRules | None,
        BeforeValidator(_true_is_all),
        PlainSerializer(lambda value: False if value is None else value),
        _switch,
    ] = None
    """Learn from the scenes of 'unlabelled', too."""


def _own_name_only(value: object) -> object:
    if isinstance(value, str):
        for field in ("scene", "stem", "date"):
            if f"{{{field}" in value:
                raise UnfitError("a model has one folder; only {name} is known", show(value))
    return value


class TrainingOutput(Section):
    """Where the model goes."""

    directory: Annotated[DirectoryTemplate, BeforeValidator(_own_name_only)] = "models/{name}"
    """Folder of the model; {name} is the workflow's. Relative to the folder that geoseg is
    started in."""
    report: bool = True
    """Write report.html, curves.png and confusion.png."""


def _some(values: tuple[LabelledData, ...]) -> tuple[LabelledData, ...]:
    if not values:
        raise UnfitError("expected at least one set", "an empty list")
    return values


class TrainingWorkflow(Whole):
    """A geoseg workflow that trains a model: which labelled scenes, which network."""

    model: NewModel
    """What comes out."""
    data: Annotated[Listed[LabelledData], AfterValidator(_some), Also(minItems=1)]
    """Sets of labelled scenes."""
    unlabelled: Listed[Unlabelled] = ()
    """Scenes without labels, for self-training."""
    split: Split = Split()
    """What is learnt from, and what is held out."""
    sampling: Sampling = Sampling()
    """Which chips are learnt from."""
    training: Training = Training()
    """How they are learnt from."""
    output: TrainingOutput = TrainingOutput()
    """What is written, and where."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [one.name for one in self.data]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise UnfitError("expected each name only once", show(name),
                                 at=("data", index, "name"))  # fmt: skip
        if self.training.self_training is not None and not self.unlabelled:
            raise UnfitError("needs scenes to learn from: 'unlabelled'",
                             at=("training", "self_training"))  # fmt: skip
        return self

    def directory(self) -> str:
        """Where the model goes."""
        return self.output.directory.replace("{name}", self.name)
