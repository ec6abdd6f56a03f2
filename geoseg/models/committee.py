"""One answer from several: models of one legend, symmetries of the square, scales. No torch here.

The mean of calibrated probabilities (Lakshminarayanan et al. 2017, arXiv:1612.01474, for models;
Wang et al. 2019, doi:10.1016/j.neucom.2019.01.103, for views of one image). The card of the whole
says what it takes so that tiles still join exactly:

- A symmetry moves nothing: the scene is padded to a multiple of the stride, so that a mirrored chip
  begins at a multiple of the stride of the mirrored scene; the reach counts all directions alike.
- A scale of p/q asks for chips that begin at multiples of q times the stride, so that they begin at
  multiples of the stride on the scaled grid too. The network then reaches q/p as far, and both
  resamplings look a little further (:func:`scaled_reach`).
- Models with different strides and reaches need the least common multiple and the farthest.
- A model that takes chips of one size only makes that the size of all; scales change the size of
  chips, so there can be none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, lcm
from typing import Final, Literal

from geoseg.errors import ModelError
from geoseg.models.base import ModelCard, Segmenter
from geoseg.models.registry import Engine, ModelPackage, Precision, open_segmenter
from geoseg.ops.resample import support

Symmetries = Literal["none", "flips", "d4"]

VIEWS: Final[dict[Symmetries, int]] = {"none": 1, "flips": 4, "d4": 8}
"""How many views each choice makes."""

SAME_SCALE: Final = (Fraction(1),)


@dataclass(frozen=True, slots=True)
class Committee:
    """Models and views whose mean is the answer. Small and picklable.

    Attributes:
        members: Model packages of the same legend.
        symmetries: Of the square that each chip is shown in.
        scales: Sizes that each chip is shown in, besides.
    """

    members: tuple[ModelPackage, ...]
    symmetries: Symmetries = "none"
    scales: tuple[Fraction, ...] = SAME_SCALE

    @property
    def answers(self) -> int:
        """How many answers there are for each chip."""
        return len(self.members) * VIEWS[self.symmetries] * len(self.scales)

    @property
    def passes(self) -> float:
        """Pixels that go through a network for each pixel of a chip."""
        area = sum(scale**2 for scale in self.scales)
        return float(len(self.members) * VIEWS[self.symmetries] * area)

    @property
    def card(self) -> ModelCard:
        """What all of them together need and give; one model's own, if there is nothing else.

        Raises:
            ModelError: The models have different legends or units.
        """
        if self.answers == 1 and self.scales == SAME_SCALE:
            return self.members[0].card
        return joint_card([member.card for member in self.members], self.scales)

    def open(
        self,
        *,
        device: str = "auto",
        precision: Precision = "fp32",
        threads: int | None = None,
        engine: Engine = "torch",
        callers: int = 1,
    ) -> Segmenter:
        """Load all weights; see :func:`geoseg.models.registry.open_segmenter`."""
        from geoseg.models.views import CommitteeSegmenter  # noqa: PLC0415 (only where it is used)

        opened = [
            open_segmenter(
                member,
                device=device,
                precision=precision,
                threads=threads,
                engine=engine,
                callers=callers,
            )
            for member in self.members
        ]
        if self.answers == 1 and self.scales == SAME_SCALE:
            return opened[0]
        return CommitteeSegmenter(opened, symmetries=self.symmetries, scales=self.scales)


def joint_card(cards: list[ModelCard], scales: tuple[Fraction, ...] = SAME_SCALE) -> ModelCard:
    """The card of several models at several scales.

    Raises:
        ModelError: They do not go together: says which, and what differs.
    """
    first, *others = cards
    for other in others:
        _check_alike(first, other)
    stride = lcm(*(card.stride * scale.denominator for card in cards for scale in scales))
    reaches = [scaled_reach(card.reach, scale) for card in cards for scale in scales]
    reach = None if None in reaches else max(r for r in reaches if r is not None)
    margin = _up(max(reach or 0, *(card.margin for card in cards)), stride)
    bands = tuple(dict.fromkeys(band for card in cards for band in card.bands))
    norms = {
        b: n for card in reversed(cards) for b, n in zip(card.bands, _norms(card), strict=True)
    }
    largest = max(1.0, float(max(scales)) ** 2)
    # Beside a network's own: scores of some views, their sum, and its logarithms.
    activations = max(card.activation_bytes for card in cards) * largest
    return replace(
        first,
        name="+".join(card.name for card in cards),
        version="+".join(dict.fromkeys(card.version for card in cards)),
        bands=bands,
        mean=tuple(norms[band][0] for band in bands),
        std=tuple(norms[band][1] for band in bands),
        stride=stride,
        reach=reach,
        margin=margin,
        size=_joint_size(cards, scales, stride, margin),
        fixed=any(card.fixed for card in cards),
        gsd=_common_gsd(cards),
        sha256=",".join(card.sha256 or "" for card in cards) if others else first.sha256,
        activation_bytes=ceil(activations) + 32 * len(first.legend.classes),
    )


def scaled_reach(reach: int | None, scale: Fraction) -> int | None:
    """How far a network sees on the scene, where chips are shown to it in another size.

    Its reach over the scale, and on the way there and back what resampling sees: distances less
    than :func:`geoseg.ops.resample.support`, in pixels of the scene.
    """
    if reach is None or scale == 1:
        return reach
    there, back = support(scale), support(1 / scale) / scale
    return ceil(reach / scale + there + back) - 1


def _check_alike(first: ModelCard, other: ModelCard) -> None:
    if first.units != other.units:
        raise ModelError(
            f"ensemble: {first.name} takes {first.units}, {other.name} takes {other.units}; "
            f"take models of the same units"
        )
    one, two = (
        [(c.value, c.name) for c in card.legend.classes] + [(card.legend.nodata, "nodata")]
        for card in (first, other)
    )
    if one == two:
        return
    differ = next((pair for pair in zip(one, two, strict=False) if pair[0] != pair[1]), None)
    what = (
        f"{len(one) - 1} and {len(two) - 1} classes"
        if differ is None
        else " and ".join(f"{code} {name}" for code, name in differ)
    )
    raise ModelError(
        f"ensemble: {first.name} and {other.name} have different legends ({what}); "
        f"take models of the same classes in the same order"
    )


def _joint_size(
    cards: list[ModelCard], scales: tuple[Fraction, ...], stride: int, margin: int
) -> int:
    """Chips that leave as much as the largest without margins; or the only ones some model takes.

    Raises:
        ModelError: There is no size that all take.
    """
    fixed = [card for card in cards if card.fixed]
    if not fixed:
        return _up(max(card.size - 2 * card.margin for card in cards), stride) + 2 * margin
    first = fixed[0]
    if scales != SAME_SCALE:
        raise ModelError(
            f"scales: model {first.name} takes chips of {first.size} px only, and scales change "
            f"their size; leave scales out (flips and d4 work), or take a model of any size"
        )
    other = next((card for card in fixed if card.size != first.size), None)
    if other is not None:
        raise ModelError(
            f"ensemble: {first.name} takes chips of {first.size} px only, {other.name} of "
            f"{other.size} px only; take models of the same size, or of any"
        )
    only = f"{first.name} takes chips of {first.size} px only"
    if first.size % stride:
        raise ModelError(
            f"ensemble: {only}; together these models need multiples of {stride} px: take models "
            f"whose strides divide {first.size}"
        )
    if first.size <= 2 * margin:
        raise ModelError(
            f"ensemble: {only}; together these models need margins of {margin} px, which would "
            f"leave nothing of them: take models that see less far"
        )
    return first.size


def _norms(card: ModelCard) -> list[tuple[float, float]]:
    return list(zip(card.mean, card.std, strict=True))


def _common_gsd(cards: list[ModelCard]) -> tuple[float, float] | None:
    """Pixel sizes that all were trained on; where there are none, those of any."""
    ranges = [card.gsd for card in cards if card.gsd is not None]
    if not ranges:
        return None
    low, high = max(low for low, _ in ranges), min(high for _, high in ranges)
    if low <= high:
        return low, high
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _up(pixels: int, multiple: int) -> int:
    return -(-pixels // multiple) * multiple
