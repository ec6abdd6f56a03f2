"""The model that is to come out, as far as a workflow and what it starts from say it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from geoseg.errors import InputError
from geoseg.legend import LEGENDS, LandClass, Legend
from geoseg.models.base import ModelCard
from geoseg.models.card_rules import check_name
from geoseg.models.registry import ModelPackage, find
from geoseg.scene import Units
from geoseg.workflow.training import ClassEntry, NewModel, TrainingWorkflow

DEFAULT = {"name": "geoseg-unet"}

# Steps between chip starts that networks need; what a package is for says so itself.
_STRIDES = {"geoseg-unet": 8, "dynamicworld": 8}
_STRIDE = 32

# Colours that stay apart for readers who confuse red and green (Okabe & Ito 2008), and four more.
_PALETTE = (
    "#0072b2", "#009e73", "#f0e442", "#e69f00", "#d55e00", "#cc79a7",
    "#56b4e9", "#999999", "#332288", "#882255", "#44aa99", "#ddcc77",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """What is trained.

    Attributes:
        name: Of the model.
        version: Of its weights.
        bands: That it needs, in order.
        units: Of its numbers.
        legend: Its classes.
        architecture: Name and parameters of the network.
        start: What it is fine-tuned from.
        gsd: Pixel sizes in metres that it is for, where that was said.
        moments: Mean and standard deviation by band, where they are given.
        scaling: How numbers enter the network.
        stride: Steps between chip starts.
        about: Title, description and licence.
    """

    name: str
    version: str
    bands: tuple[str, ...]
    units: Units
    legend: Legend
    architecture: Mapping[str, Any]
    start: ModelPackage | None
    gsd: tuple[float, float] | None
    moments: tuple[tuple[float, ...], tuple[float, ...]] | None
    scaling: str = "standardise"
    stride: int = _STRIDE
    about: Mapping[str, str] = field(default_factory=dict)

    def card(
        self,
        moments: tuple[Sequence[float], Sequence[float]] | None = None,
        gsd: tuple[float, float] | None = None,
    ) -> ModelCard:
        """The card of the network before it is trained."""
        count = len(self.bands)
        mean, std = moments or self.moments or ([0.0] * count, [1.0] * count)
        return ModelCard(
            name=self.name,
            version=self.version,
            bands=self.bands,
            units=self.units,
            mean=tuple(mean),
            std=tuple(std),
            legend=self.legend,
            stride=self.stride,
            gsd=self.gsd or gsd,
            architecture=self.architecture,
            about=self.about,
            scaling=self.scaling,
        )


def read_target(workflow: TrainingWorkflow) -> Target:
    """What a workflow trains.

    Raises:
        ModelError: There is no such model to start from, a legend contradicts itself, or no model
            may have that name.
    """
    check_name(workflow.name, "workflow")
    asked = workflow.model
    start = None if asked.start is None else find(asked.start)
    base = None if start is None else start.card
    bands = asked.bands or (None if base is None else base.bands)
    units = asked.units or (None if base is None else base.units)
    if bands is None or units is None:
        raise AssertionError("the schema wants bands and units")
    same_input = base is not None and (bands, units) == (base.bands, base.units)
    moments = None
    if asked.mean is not None and asked.std is not None:
        moments = (asked.mean, asked.std)
    elif base is not None and same_input:
        moments = (base.mean, base.std)
    _check_moments(moments, bands)
    architecture = _architecture(asked, base)
    same_network = base is not None and architecture == dict(base.architecture)
    about = {
        key: text for key in ("title", "description", "license") if (text := getattr(asked, key))
    }
    return Target(
        name=workflow.name,
        version=asked.version,
        bands=tuple(bands),
        units=units,
        legend=_legend(workflow, base),
        architecture=architecture,
        start=start,
        gsd=_gsd(asked),
        moments=moments,
        scaling=base.scaling if base is not None and same_input else "standardise",
        stride=base.stride if base is not None and same_network
        else _STRIDES.get(str(architecture["name"]), _STRIDE),
        about=about,
    )  # fmt: skip


def _architecture(asked: NewModel, base: ModelCard | None) -> dict[str, Any]:
    if asked.architecture is not None:
        return asked.architecture.model_dump()
    return dict(DEFAULT if base is None else base.architecture)


def _check_moments(
    moments: tuple[tuple[float, ...], tuple[float, ...]] | None, bands: Sequence[str]
) -> None:
    if moments is not None and any(len(numbers) != len(bands) for numbers in moments):
        raise InputError(
            f"model.mean and model.std: wanted {len(bands)} numbers, one for each band"
        )


def _gsd(asked: NewModel) -> tuple[float, float] | None:
    if asked.gsd is None:
        return None
    low, high = (length.metres(1.0) for length in asked.gsd)
    if low > high:
        raise InputError(f"model.gsd: from {asked.gsd[0]} to {asked.gsd[1]} is no range")
    return low, high


def _legend(workflow: TrainingWorkflow, base: ModelCard | None) -> Legend:
    asked = workflow.model.legend
    if asked is None:
        if base is None:
            raise AssertionError("the schema wants a legend")
        return base.legend
    if isinstance(asked, str):
        return LEGENDS[asked]
    values = {entry.value for entry in asked}
    # The usual hole in a raster of codes, or the next code that no class has.
    nodata = next(code for code in (255, 0, *range(254, 0, -1)) if code not in values)
    return Legend(workflow.name, tuple(map(_land_class, range(len(asked)), asked)), nodata)


def _land_class(number: int, entry: ClassEntry) -> LandClass:
    return LandClass(entry.value, entry.name, entry.color or _PALETTE[number % len(_PALETTE)])
