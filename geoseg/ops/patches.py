"""Pieces of images that can be found again anywhere: which images hold the same pixels.

Every square of pixels has a hash of its numbers; those whose hash is a multiple of some number are
kept, so that the same pieces are chosen wherever an image was cut (content-defined sampling, as the
winnowing of Schleimer et al. 2003, doi:10.1145/872757.872770). Two images that share ground, pixel
for pixel, share pieces at one and the same displacement, whether or not they say where they lie.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.sampling import mixed_bits

SIDE = 8
"""Rows and columns of a piece."""
_MOST_PLACES = 100  # pieces that are in more places are a pattern, not a place
_FEWEST_SHARED = 3
_ODD = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """Chosen pieces of one image.

    Attributes:
        hashes: ``(piece,)`` uint64.
        places: ``(piece, 2)`` int32: row and column of their first pixel.
    """

    hashes: NDArray[np.uint64]
    places: NDArray[np.int32]

    @classmethod
    def joined(cls, parts: Iterable[Pieces]) -> Pieces:
        """Those of all blocks of an image, in one order whatever the blocks were."""
        some = list(parts)
        hashes = np.concatenate([p.hashes for p in some] or [np.empty(0, np.uint64)])
        places = np.concatenate([p.places for p in some] or [np.empty((0, 2), np.int32)])
        order = np.lexsort((places[:, 1], places[:, 0]))
        return cls(hashes[order], places[order])

    def thinned(self, share: int) -> Pieces:
        """Those that are also chosen when one in ``share`` is."""
        keep = self.hashes % np.uint64(share) == 0
        return Pieces(self.hashes[keep], self.places[keep])


def choose_pieces(
    values: NDArray[Any],
    valid: NDArray[np.bool_],
    at: tuple[int, int],
    *,
    share: int,
    least_changes: int,
) -> Pieces:
    """Choose the pieces that lie wholly in an array.

    Blocks that overlap by ``SIDE - 1`` pixels below and on the right have all pieces of an image.

    Args:
        values: ``(band, y, x)`` numbers of any dtype.
        valid: ``(y, x)``; pieces with a pixel that is not valid are none.
        at: Row and column of the first pixel in the image.
        share: One in so many is chosen.
        least_changes: Neighbours in a row that must differ in a piece: what is flat is everywhere.
    """
    height, width = valid.shape
    if height < SIDE or width < SIDE:
        return Pieces(np.empty(0, np.uint64), np.empty((0, 2), np.int32))
    mixed = np.zeros(valid.shape, np.uint64)
    for band in values:
        mixed = mixed_bits(mixed ^ _bits(band))
    changes = np.zeros(valid.shape, np.int32)
    changes[:, :-1] = mixed[:, 1:] != mixed[:, :-1]
    lively = _box(changes, SIDE - 1) >= least_changes
    whole = _box((~valid).astype(np.int32), SIDE) == 0
    hashes = _rolled(mixed)
    chosen = (hashes % np.uint64(share) == 0) & whole & lively
    places = np.argwhere(chosen).astype(np.int32) + np.array(at, np.int32)
    return Pieces(hashes[chosen], places)


def _rolled(mixed: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A hash of every square ``(y - SIDE + 1, x - SIDE + 1)``; numbers wrap around."""
    height, width = mixed.shape
    rows = np.zeros((height, width - SIDE + 1), np.uint64)
    for k in range(SIDE):
        rows = rows * _ODD[0] + mixed[:, k : k + width - SIDE + 1]
    rows = mixed_bits(rows)
    out = np.zeros((height - SIDE + 1, rows.shape[1]), np.uint64)
    for k in range(SIDE):
        out = out * _ODD[1] + rows[k : k + height - SIDE + 1]
    return mixed_bits(out)


def _box(values: NDArray[np.int32], across: int) -> NDArray[np.int64]:
    """Sums over squares of ``SIDE`` rows and ``across`` columns, one for each piece."""
    total = np.pad(values, ((1, 0), (1, 0))).astype(np.int64).cumsum(0).cumsum(1)
    rows, columns = values.shape[0] - SIDE + 1, values.shape[1] - SIDE + 1
    top, low = total[:rows], total[SIDE : SIDE + rows]
    right = slice(across, across + columns)
    sums: NDArray[np.int64] = low[:, right] - low[:, :columns] - top[:, right] + top[:, :columns]
    return sums


def _bits(band: NDArray[Any]) -> NDArray[np.uint64]:
    """What tells numbers apart, as whole numbers."""
    if band.dtype.kind == "f":
        band = (band + 0.0).astype(np.float64).view(np.uint64)  # -0.0 is 0.0
    return np.asarray(band, np.uint64)


@dataclass(frozen=True, slots=True)
class Shared:
    """Two images that hold the same pixels.

    Attributes:
        one: Number of an image.
        other: Of another.
        pieces: Chosen pieces that they share at the displacement.
        displacement: ``(y, x)``: where the first pixel of ``other`` lies in ``one``.
    """

    one: int
    other: int
    pieces: int
    displacement: tuple[int, int]


def find_shared(images: Sequence[Pieces], sets: Sequence[int]) -> list[Shared]:
    """Pairs of images of different sets that share pixels.

    Args:
        images: Pieces of each image.
        sets: ``(image,)`` which set each belongs to.

    Returns:
        Pairs that share at least 3 pieces at one displacement, ordered by image.
    """
    hashes = np.concatenate([p.hashes for p in images] or [np.empty(0, np.uint64)])
    owner = np.repeat(np.arange(len(images)), [len(p.hashes) for p in images])
    places = np.concatenate([p.places for p in images] or [np.empty((0, 2), np.int32)])
    order = np.argsort(hashes, kind="stable")
    cuts = np.flatnonzero(np.diff(hashes[order])) + 1
    votes: dict[tuple[int, int], Counter[tuple[int, int]]] = defaultdict(Counter)
    for group in np.split(order, cuts):
        if not 1 < len(group) <= _MOST_PLACES:
            continue
        for k, a in enumerate(group):
            for b in group[k + 1 :]:
                i, j = int(owner[a]), int(owner[b])
                if sets[i] != sets[j]:
                    (i, a_), (j, b_) = sorted([(i, a), (j, b)])
                    y, x = (int(v) for v in places[a_] - places[b_])
                    votes[i, j][y, x] += 1
    found = []
    for (i, j), counts in sorted(votes.items()):
        displacement, pieces = counts.most_common(1)[0]
        if pieces >= _FEWEST_SHARED:
            found.append(Shared(i, j, pieces, displacement))
    return found


def thumbnail_likeness(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Correlation of two thumbnails of one shape; 0 where one of them is flat."""
    a, b = one.ravel() - one.mean(), other.ravel() - other.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / size) if size > 0 else 0.0
