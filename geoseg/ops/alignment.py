"""Whether labels lie where the image shows things: the shift at which their edges agree best.

Edges of labels are where neighbours have different codes; the image's are where neighbours differ.
Both are between pixels. For every shift within :data:`REACH` the image's edges under the shifted
labels' edges are summed up; the sum is largest where labels lie right (cross-correlation, as in
Brown 1992, doi:10.1145/146370.146374, section 3.2). Sums are whole numbers: blocks add up exactly.
They are kept for :data:`GROUPS` groups of small tiles, whose own best shifts tell how far the
answer can be trusted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window

REACH = 8
"""Pixels that labels may be shifted by in any direction, to be found."""
GROUPS = 8
TILE = 32
_UNITS = 1 << 10
_SIDE = 2 * REACH + 1
_NEAR = 1.0
_FEWEST_GROUPS, _FEWEST_EDGES = 5, 400


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """How well edges agree by shift; states of disjoint blocks add up to the whole.

    Attributes:
        sums: ``(group, dy, dx)`` int64, shifts from -:data:`REACH` on: of what is found that many
            pixels below and on the right of the labels' edges.
        edges: ``(group,)`` int64: edges of labels.
    """

    sums: NDArray[np.int64]
    edges: NDArray[np.int64]

    @classmethod
    def empty(cls) -> Self:
        """Nothing counted yet."""
        return cls(np.zeros((GROUPS, _SIDE, _SIDE), np.int64), np.zeros(GROUPS, np.int64))

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(self.sums + other.sums, self.edges + other.edges)


@dataclass(frozen=True, slots=True)
class Shift:
    """Where the labels' edges are found in the image.

    Attributes:
        pixels: ``(y, x)`` from the labels to the image; None if that cannot be told.
        error: Standard error of either, in pixels, from the spread over groups; NaN without.
        agreeing: Groups that say so, too.
        groups: Groups that have edges.
        why_not: Why it cannot be told.
    """

    pixels: tuple[float, float] | None
    error: float
    agreeing: int
    groups: int
    why_not: str = ""

    @property
    def length(self) -> float:
        """Pixels; NaN if it cannot be told."""
        return float("nan") if self.pixels is None else float(np.hypot(*self.pixels))


def steps_between(
    image: NDArray[np.float32], typical: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How much neighbours differ, as whole numbers: a strong edge counts as one, however strong.

    Args:
        image: ``(band, y, x)``, NaN where there is nothing.
        typical: ``(band,)`` an ordinary difference of neighbours, above 0.

    Returns:
        ``(y - 1, x)`` between rows and ``(y, x - 1)`` between columns, 0 where one is missing.
    """
    down, across = (
        np.nan_to_num(_squashed(np.abs(np.diff(image, axis=axis)), typical)) for axis in (1, 2)
    )
    return (
        np.rint(down.mean(axis=0) * _UNITS).astype(np.int64),
        np.rint(across.mean(axis=0) * _UNITS).astype(np.int64),
    )


def _squashed(steps: NDArray[Any], typical: NDArray[np.float64]) -> NDArray[np.float64]:
    scale = typical[:, None, None]
    squashed: NDArray[np.float64] = steps / (steps + scale)
    return squashed


def typical_step(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """``(band,)`` the median difference of neighbours that differ at all, of a part of an image."""
    out = np.ones(len(image))
    for band, values in enumerate(image):
        steps = np.abs(np.diff(values, axis=0))
        some = steps[np.isfinite(steps) & (steps > 0)]
        if some.size:
            out[band] = float(np.median(some))
    return out


def count_agreement(
    codes: NDArray[np.int16],
    image: NDArray[np.float32],
    typical: NDArray[np.float64],
    core: Window,
    at: tuple[int, int],
) -> Agreement:
    """Count the edges of a block.

    Args:
        codes: ``(y, x)`` of the block and up to ``REACH + 1`` pixels around it; -1 for no label.
        image: ``(band, y, x)`` of the same pixels.
        typical: Of the whole image, as :func:`typical_step`.
        core: The block within the arrays.
        at: Row and column of the array's first pixel in the raster.

    Returns:
        Of edges that lie above or on the left of a pixel of the block, all of whose shifts stay
        within the array: edges near the raster's rim do not count.
    """
    found = Agreement.empty()
    for axis, steps in enumerate(steps_between(image, typical)):
        edges = _edges(codes, axis)
        rows, columns = np.nonzero(edges)
        # Edge i lies between pixels i and i + 1: it belongs to the second.
        own = (rows + (axis == 0), columns + (axis == 1))
        inner = (own[0] >= core.y0) & (own[0] < core.y1) & (own[1] >= core.x0) & (own[1] < core.x1)
        height, width = steps.shape
        inner &= (rows >= REACH) & (rows < height - REACH)
        inner &= (columns >= REACH) & (columns < width - REACH)
        rows, columns = rows[inner], columns[inner]
        tiles = (own[0][inner] + at[0]) // TILE * 3 + (own[1][inner] + at[1]) // TILE * 5
        group = tiles % GROUPS
        found.edges[:] += np.bincount(group, minlength=GROUPS)
        for dy in range(-REACH, REACH + 1):
            for dx in range(-REACH, REACH + 1):
                hit = steps[rows + dy, columns + dx]
                # Exact: sums below 2^53.
                total = np.bincount(group, weights=hit, minlength=GROUPS)
                found.sums[:, dy + REACH, dx + REACH] += total.astype(np.int64)
    return found


def _edges(codes: NDArray[np.int16], axis: int) -> NDArray[np.bool_]:
    one, two = (codes[:-1], codes[1:]) if axis == 0 else (codes[:, :-1], codes[:, 1:])
    found: NDArray[np.bool_] = (one != two) & (one >= 0) & (two >= 0)
    return found


def estimate_shift(found: Agreement, *, sharp: bool = False) -> Shift:
    """The shift that a whole raster's counts say, or why they say none.

    Args:
        found: The counts.
        sharp: Whether the image is one of classes, too: its edges lie between two pixels or two
            others, and a shift of 0.3 pixels leaves seven edges of ten where they were.
    """
    top = _share if sharp else _top
    total, some = found.sums.sum(axis=0), np.flatnonzero(found.edges >= _FEWEST_EDGES // GROUPS)
    if found.edges.sum() < _FEWEST_EDGES:
        return Shift(None, np.nan, 0, len(some), f"{int(found.edges.sum())} edges are too few")
    peak = _peak(total, top)
    if peak is None:
        why = f"edges agree no better within {REACH} pixels than at the end of them"
        return Shift(None, np.nan, 0, len(some), why)
    own = [_peak(found.sums[group], top) for group in some]
    near = [p for p in own if p is not None and np.hypot(p[0] - peak[0], p[1] - peak[1]) <= _NEAR]
    if len(near) < _FEWEST_GROUPS:
        why = f"only {len(near)} of {len(some)} parts agree on a shift"
        return Shift(None, np.nan, len(near), len(some), why)
    spread = np.array(near).std(axis=0, ddof=1) / np.sqrt(len(near))
    return Shift(peak, float(spread.max()), len(near), len(some))


def _peak(
    sums: NDArray[np.int64], top: Callable[[NDArray[np.int64], int], float]
) -> tuple[float, float] | None:
    """Where ``top`` finds the maximum, by the largest sum and its neighbours; None at the rim."""
    y, x = np.unravel_index(int(np.argmax(sums)), sums.shape)
    if not (0 < y < _SIDE - 1 and 0 < x < _SIDE - 1):
        return None
    return top(sums[y - 1 : y + 2, x], int(y)), top(sums[y, x - 1 : x + 2], int(x))


def _share(three: NDArray[np.int64], middle: int) -> float:
    """Between the largest sum and its larger neighbour, by how much is on either above the third."""
    before, here, after = (float(v) for v in three)
    above = here + max(before, after) - 2 * min(before, after)
    return middle - REACH + ((after - before) / above if above else 0.0)


def _top(three: NDArray[np.int64], middle: int) -> float:
    """The top of the parabola through three sums."""
    before, here, after = (float(v) for v in three)
    bend = before - 2 * here + after
    return middle - REACH + (0.5 * (before - after) / bend if bend else 0.0)
