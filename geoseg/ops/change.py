"""What changed between two maps, pixel by pixel, and what only looks so along the edges of classes.

Two maps of land that has not changed differ along class edges: pixels there are mixed, and the
images never lie exactly on one another. The rule that is used by default asks of each pixel that
differs whether a shift would explain it. Let ``A`` be its class before and ``B`` its class after.
If the land is the same and the maps lie a displacement apart, then somewhere within reach, at a
displacement ``s``, the map before shows ``B``, and the map after shows ``A`` at ``-s``. The change
stands where there is no such displacement, or where the two maps are surer of what they say here
than of what they say there: where ``p(A, before) * p(B, after)`` is larger than the same product
at ``s`` and ``-s``. And where both maps show an edge within reach, mixed pixels are named by
chance: there a change must be more likely than not, ``p(A, before) * p(B, after)`` at least a half.
A clearing amid the forest has no edge around it before, and stays, however narrow; a strip along
an old edge, as a displacement leaves it, does not. Pixels that were taken for edges, but lie within
reach of a change of their own kind that stands, belong to it.

The other rule is erosion, as of old (Serra, Pons, Sauri 2003, International Journal of Remote
Sensing 24): a change stands where both maps show one class all around, and grows back from there.
It needs no confidence, and loses everything narrower than twice its reach.

Both look a fixed number of pixels around themselves: blocks with that halo give the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.ops.kernels import entry, helper
from geoseg.ops.layers import NO_PERCENT

SAME: Final = 0
"""Seen on both dates, the same class."""
CHANGED: Final = 1
UNSURE: Final = 2
"""Another class, but one of the two is less sure than is asked for."""
EDGE: Final = 3
"""Another class, as the edge of classes lies elsewhere on the two maps."""
UNSEEN: Final = 4
"""Without a class on one of the dates, or on both."""

NO_CLASS: Final = -1
Edges = Literal["weigh", "erode", "keep"]
FARTHEST: Final = 8
_SURE = 100
_LIKELY = _SURE * _SURE // 2
"""The product of two percents from which on a change is more likely than not."""


@dataclass(frozen=True, slots=True)
class ChangeRule:
    """When two classes of a pixel are a change.

    Attributes:
        edges: ``weigh``, ``erode`` (see above), or ``keep``: edges are like all else.
        reach: Pixels around an edge in which it may lie elsewhere; 1 to 8.
        min_confidence: Percent that both maps must have.

    Raises:
        InputError: A setting makes no sense.
    """

    edges: Edges = "weigh"
    reach: int = 1
    min_confidence: int = 0

    def __post_init__(self) -> None:
        if self.edges not in ("weigh", "erode", "keep"):
            raise InputError(f"edges: found {self.edges!r}, expected weigh, erode or keep")
        if not 1 <= self.reach <= FARTHEST:
            raise InputError(f"edge width: found {self.reach} px, expected 1 to {FARTHEST}")
        if not 0 <= self.min_confidence <= _SURE:
            raise InputError(f"min confidence: found {self.min_confidence}, expected 0 to 100")

    @property
    def halo(self) -> int:
        """Pixels around a block that decide about it."""
        return 0 if self.edges == "keep" else 2 * self.reach


def find_changes(
    before: NDArray[np.int16],
    after: NDArray[np.int16],
    rule: ChangeRule,
    *,
    sure_before: NDArray[np.uint8] | None = None,
    sure_after: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """What each pixel is: :data:`SAME`, :data:`CHANGED`, :data:`UNSURE`, :data:`EDGE`, :data:`UNSEEN`.

    Args:
        before: Classes ``(y, x)`` in one numbering, :data:`NO_CLASS` where there is none; with
            :attr:`ChangeRule.halo` more pixels on each side than are wanted, where there are some.
        after: The same of the later date.
        rule: When classes that differ are a change.
        sure_before: Percents ``(y, x)``, 255 where there is none, which counts as 0; without them
            everything is equally sure.
        sure_after: The same of the later date.

    Raises:
        InputError: The arrays do not fit together.
    """
    sure = [_percents(s, before.shape) for s in (sure_before, sure_after)]
    if before.shape != after.shape or any(s.shape != before.shape for s in sure):
        shapes = [before.shape, after.shape, *(s.shape for s in sure)]
        raise InputError(f"maps and confidences of shapes {shapes} do not fit together")
    one, two = np.ascontiguousarray(before, np.int16), np.ascontiguousarray(after, np.int16)
    state = np.full(one.shape, SAME, np.uint8)
    _tell_apart(one, two, sure[0], sure[1], rule.min_confidence, state)
    if rule.edges == "weigh":
        _explain(one, two, sure[0], sure[1], rule.reach, state)
    elif rule.edges == "erode":
        _erode(one, two, rule.reach, state)
    if rule.edges != "keep":
        for _ in range(rule.reach):
            _grow(one, two, state.copy(), state)
    return state


def _percents(sure: NDArray[np.uint8] | None, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    if sure is None:
        return np.full(shape, _SURE, np.uint8)
    known: NDArray[np.uint8] = np.where(sure == NO_PERCENT, 0, sure).astype(np.uint8)
    return known


@entry
def _tell_apart(one: Any, two: Any, sure_one: Any, sure_two: Any, least: int, state: Any) -> None:
    for y in range(one.shape[0]):
        for x in range(one.shape[1]):
            if one[y, x] < 0 or two[y, x] < 0:
                state[y, x] = UNSEEN
            elif one[y, x] != two[y, x]:
                sure = min(sure_one[y, x], sure_two[y, x])
                state[y, x] = CHANGED if sure >= least else UNSURE


@entry
def _explain(one: Any, two: Any, sure_one: Any, sure_two: Any, reach: int, state: Any) -> None:
    """Make edges of changes that a displacement explains as well, or that chance may."""
    for y in range(one.shape[0]):
        for x in range(one.shape[1]):
            if state[y, x] == CHANGED:
                weight = np.int64(sure_one[y, x]) * sure_two[y, x]
                doubtful = weight < _LIKELY and _edge(one, y, x, reach) and _edge(two, y, x, reach)
                if doubtful or _displaced(one, two, sure_one, sure_two, y, x, reach, weight):
                    state[y, x] = EDGE


@helper
def _edge(classes: Any, y: int, x: int, reach: int) -> bool:
    """Whether there is another class around a pixel."""
    for ny in range(max(0, y - reach), min(classes.shape[0], y + reach + 1)):
        for nx in range(max(0, x - reach), min(classes.shape[1], x + reach + 1)):
            if classes[ny, nx] != classes[y, x] and classes[ny, nx] != NO_CLASS:
                return True
    return False


@helper
def _displaced(
    one: Any, two: Any, sure_one: Any, sure_two: Any, y: int, x: int, reach: int, weight: int
) -> bool:
    """Whether the classes of a pixel are those of its surroundings, at least as surely."""
    height, width = one.shape
    was, became = one[y, x], two[y, x]
    for dy in range(-reach, reach + 1):
        if not (0 <= y + dy < height and 0 <= y - dy < height):
            continue
        for dx in range(-reach, reach + 1):
            if not (0 <= x + dx < width and 0 <= x - dx < width):
                continue
            if one[y + dy, x + dx] == became and two[y - dy, x - dx] == was:
                there = np.int64(sure_one[y + dy, x + dx]) * sure_two[y - dy, x - dx]
                if there >= weight:
                    return True
    return False


@entry
def _erode(one: Any, two: Any, reach: int, state: Any) -> None:
    """Make edges of changes around which one of the maps shows more than one class."""
    height, width = one.shape
    for y in range(height):
        for x in range(width):
            if state[y, x] != CHANGED:
                continue
            pure = True
            for ny in range(max(0, y - reach), min(height, y + reach + 1)):
                for nx in range(max(0, x - reach), min(width, x + reach + 1)):
                    pure &= one[ny, nx] == one[y, x] and two[ny, nx] == two[y, x]
            if not pure:
                state[y, x] = EDGE


@entry
def _grow(one: Any, two: Any, state: Any, grown: Any) -> None:
    """Edges beside a change of the same two classes become it."""
    height, width = one.shape
    for y in range(height):
        for x in range(width):
            if state[y, x] != EDGE:
                continue
            for ny in range(max(0, y - 1), min(height, y + 2)):
                for nx in range(max(0, x - 1), min(width, x + 2)):
                    if (
                        state[ny, nx] == CHANGED
                        and one[ny, nx] == one[y, x]
                        and two[ny, nx] == two[y, x]
                    ):
                        grown[y, x] = CHANGED
