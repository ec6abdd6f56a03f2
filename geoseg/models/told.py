"""What somebody says of a model that does not say it itself, and the card that comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from geoseg.errors import ModelError
from geoseg.legend import LEGENDS, Legend
from geoseg.models.base import ModelCard
from geoseg.models.deepness import invented_legend
from geoseg.models.fields import closest

IMAGENET: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation that networks for photographs are mostly trained with, of 0..1."""


@dataclass(frozen=True, slots=True)
class Told:
    """Answers, all of them optional until a model needs them.

    Attributes:
        name: What the model will be called.
        bands: Common names in the order of the input.
        classes: Names in the order of the scores, or the name of a legend that geoseg knows.
        units: ``"reflectance"`` or ``"dn"``.
        mean: Per band, or one for all; in ``units``.
        std: Likewise.
        stride: Chips are multiples of it.
        size: Side of a chip.
        margin: Pixels at chip borders that are not used.
        reach: How far the network looks, in pixels, if somebody knows.
        gsd: Pixel sizes in metres, from and to.
        output: What the network gives, as :class:`~geoseg.models.base.ModelCard` has it.
        architecture: Name and parameters of the network that weights belong to.
        license: SPDX identifier.
        allow_code: TorchScript may be opened.
    """

    name: str | None = None
    bands: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    units: str | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    stride: int | None = None
    size: int | None = None
    margin: int | None = None
    reach: int | None = None
    gsd: tuple[float, float] | None = None
    output: str | None = None
    architecture: Mapping[str, Any] = field(default_factory=dict)
    license: str | None = None
    allow_code: bool = False


def card_from(told: Told, what: str, **known: Any) -> ModelCard:
    """The card of ``what``: ``known`` is what it says itself; what was told goes before that.

    Raises:
        ModelError: Something is missing or does not fit; says what, and how to say it.
    """
    bands = told.bands or known.get("bands", ())
    legend = legend_of(told, known.get("name") or "model") or known.get("legend")
    units = told.units or known.get("units")
    missing = [
        option
        for option, value in (("--bands", bands), ("--classes", legend), ("--units", units))
        if not value
    ]
    if missing or not bands or legend is None:
        raise ModelError(
            f"{what}: does not say all that geoseg must know: add {', '.join(missing)} "
            f"(as in --bands red,green,blue --classes Land,Water --units reflectance)"
        )
    stride = told.stride or known.get("stride", 32)
    size = told.size or known.get("size", max(512 // stride, 1) * stride)
    margin = known.get("margin", 64) if told.margin is None else told.margin
    margin = min(margin // stride * stride, (size - 1) // 2 // stride * stride)
    about = dict(known.get("about", {})) | ({"license": told.license} if told.license else {})
    return ModelCard(
        name=told.name or known["name"],
        version=known.get("version", "0.0.0"),
        bands=tuple(bands),
        units=units,  # type: ignore[arg-type]  # check_card says what is wrong with it
        mean=_each(told.mean or known.get("mean", (0.0,)), bands, what, "--mean"),
        std=_each(told.std or known.get("std", (1.0,)), bands, what, "--std"),
        legend=legend,
        stride=stride,
        reach=told.reach if told.reach is not None else known.get("reach"),
        size=size,
        margin=margin,
        gsd=told.gsd or known.get("gsd"),
        architecture=told.architecture or known.get("architecture", {"name": "unknown"}),
        weights=known.get("weights"),
        activation_bytes=known.get("activation_bytes", 4096),
        about=about,
        output=told.output or known.get("output", "logits"),
        fixed=known.get("fixed", False),
    )


def legend_of(told: Told, name: str) -> Legend | None:
    """The legend that was told: one that geoseg knows by name, or one with invented colours."""
    if not told.classes:
        return None
    if len(told.classes) == 1:
        known = LEGENDS.get(told.classes[0])
        if known is None:
            raise ModelError(
                f"--classes: no legend {told.classes[0]!r}{closest(told.classes[0], LEGENDS) or ';'} "
                f"known: {', '.join(LEGENDS)}; or give two or more names of classes"
            )
        return known
    return invented_legend(told.name or name, told.classes)


def _each(
    values: tuple[float, ...], bands: tuple[str, ...], what: str, option: str
) -> tuple[float, ...]:
    if len(values) == 1:
        return tuple(float(values[0]) for _ in bands)
    if len(values) != len(bands):
        raise ModelError(
            f"{what}: {len(values)} numbers for {option}, {len(bands)} bands: wanted one or "
            f"{len(bands)}"
        )
    return tuple(float(v) for v in values)
