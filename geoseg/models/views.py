"""Several answers for a chip, by models and by views of it, and their mean; for any engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import lcm
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from geoseg.models.base import Batch, ModelCard, Segmenter, whole_batch
from geoseg.models.committee import SAME_SCALE, Symmetries, joint_card
from geoseg.ops.classify import most_likely
from geoseg.ops.layers import Answer, Layer, describe, disagreement_of, entropy_of
from geoseg.ops.resample import resample, resample_known

Scores = NDArray[np.float32]

# Views of a chip go to the engine together, up to so many: a GPU computes as many at once.
_TOGETHER: Final = 4


@dataclass(frozen=True, slots=True)
class _Symmetry:
    """One of the eight of the square: transposed or not, then mirrored along axes."""

    transposed: bool = False
    down: bool = False
    across: bool = False

    def show(self, values: NDArray[Any]) -> NDArray[Any]:
        """``(..., y, x)`` so seen."""
        if self.transposed:
            values = values.swapaxes(-1, -2)
        return self._mirror(values)

    def undo(self, values: NDArray[Any]) -> NDArray[Any]:
        """The way back."""
        values = self._mirror(values)
        return values.swapaxes(-1, -2) if self.transposed else values

    def _mirror(self, values: NDArray[Any]) -> NDArray[Any]:
        rows = slice(None, None, -1) if self.down else slice(None)
        cols = slice(None, None, -1) if self.across else slice(None)
        return values[..., rows, cols]


_MIRRORS = tuple(_Symmetry(down=d, across=a) for d in (False, True) for a in (False, True))
_SYMMETRIES: Final[dict[Symmetries, tuple[_Symmetry, ...]]] = {
    "none": _MIRRORS[:1],
    "flips": _MIRRORS,
    "d4": (*_MIRRORS, *(replace(mirror, transposed=True) for mirror in _MIRRORS)),
}


class CommitteeSegmenter:
    """The mean of what several segmenters say of several views.

    Implements :class:`geoseg.models.base.Segmenter`, and its ``Describing``, ``Voting`` and
    ``Grouping``. Views are made and undone on the CPU, where any engine takes and leaves its
    arrays.

    Args:
        members: Segmenters of the same legend.
        symmetries: Of the square.
        scales: Sizes besides.
    """

    def __init__(
        self,
        members: Sequence[Segmenter],
        *,
        symmetries: Symmetries = "none",
        scales: tuple[Fraction, ...] = SAME_SCALE,
    ) -> None:
        self._members, self._scales = tuple(members), scales
        self._symmetries = _SYMMETRIES[symmetries]
        self._card = joint_card([member.card for member in members], scales)
        self._bands = [
            [self._card.bands.index(band) for band in member.card.bands] for member in members
        ]

    @property
    def card(self) -> ModelCard:
        """What all of them together need and give."""
        return self._card

    @property
    def parallel(self) -> bool:
        """Whether all of them allow it."""
        return all(member.parallel for member in self._members)

    def chips_at_once(self, shape: tuple[int, int]) -> int:
        """What wastes nothing with any member, at the scale of the chip itself."""
        return lcm(*(whole_batch(member, 1, shape) for member in self._members))

    @property
    def answers(self) -> int:
        """How many answers there are for each chip."""
        return len(self._members) * len(self._symmetries) * len(self._scales)

    def scores(self, batch: Batch) -> Scores:
        """Mean probabilities ``(chip, class, y, x)``."""
        total = self._zeros(batch)
        for said in self._said(batch):
            total += said
        return self._mean(total)

    def classify(self, batch: Batch) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Index of the likeliest class, and its mean probability in percent."""
        return most_likely(self.scores(batch))

    def weigh(self, batch: Batch) -> tuple[Scores, Scores]:
        """Mean probabilities, and how much the answers disagree, ``(chip, y, x)`` in 0..1."""
        total = self._zeros(batch)
        entropy = np.zeros(batch.valid.shape, np.float32)
        for said in self._said(batch):
            total += said
            entropy += entropy_of(said)
        mean = self._mean(total)
        return mean, disagreement_of(mean, entropy / np.float32(self.answers), self.answers)

    def answer(self, batch: Batch, wanted: Sequence[Layer]) -> Answer:
        """Classes and layers of the mean."""
        if "disagreement" not in wanted:
            return describe(self.scores(batch), wanted)
        mean, disagreement = self.weigh(batch)
        return describe(mean, wanted, disagreement)

    def _zeros(self, batch: Batch) -> Scores:
        chips, height, width = batch.valid.shape
        return np.zeros((chips, len(self._card.legend.classes), height, width), np.float32)

    def _mean(self, total: Scores) -> Scores:
        mean: Scores = np.clip(total / np.float32(self.answers), 0, 1)
        return mean

    def _said(self, batch: Batch) -> Iterator[Scores]:
        """Every answer, in an order that never changes."""
        for member, bands in zip(self._members, self._bands, strict=True):
            own = replace(
                batch,
                values=batch.values[:, bands],
                scale=batch.scale[bands],
                offset=batch.offset[bands],
            )
            for scale in self._scales:
                for scores in self._seen(member, _scaled(own, scale)):
                    yield scores if scale == 1 else resample(scores, 1 / scale)

    def _seen(self, member: Segmenter, batch: Batch) -> Iterator[Scores]:
        """What a model says of the symmetries of chips, those of one shape together."""
        count = len(batch.values)
        together = max(1, _TOGETHER // max(1, count))
        for start in range(0, len(self._symmetries), together):
            # Groups never mix: flips come in fours, and so do the transposed ones.
            group = self._symmetries[start : start + together]
            views = replace(
                batch,
                values=np.concatenate([s.show(batch.values) for s in group]),
                valid=np.concatenate([s.show(batch.valid) for s in group]),
            )
            scores = member.scores(views)
            for number, symmetry in enumerate(group):
                yield symmetry.undo(scores[number * count : (number + 1) * count])


def _scaled(batch: Batch, scale: Fraction) -> Batch:
    if scale == 1:
        return batch
    values, valid = resample_known(batch.values, batch.valid, scale)
    return replace(batch, values=values, valid=valid)
