"""Shapes the chains of each row of blocks as soon as they are complete."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.ops.joining import Tables
from geoseg.ops.metric import Metric
from geoseg.ops.topology import chains as splicing
from geoseg.ops.topology.chains import Chains, Lines
from geoseg.ops.topology.obstacles import Obstacles
from geoseg.ops.topology.shaping import Shaping, ground_of
from geoseg.ops.topology.simplify import simplify_lines
from geoseg.ops.topology.smooth import smooth_lines
from geoseg.ops.topology.squaring import FARTHEST
from geoseg.ops.topology.standing import mark_edges, square_lines

_VERTICES_AT_ONCE = 1 << 20
_LARGEST = 512  # rows of what is made square, and of the room around: lines wait for that many
_FARTHEST_REACH = 40  # pixels; an outline that moves farther has little to do with the map
_METHODS = {None: 0, "visvalingam": 1, "douglas-peucker": 2}

Shaped = tuple[Chains, Lines, NDArray[np.bool_]]
"""Chains, what becomes of them, and which lines run against their first arc."""


class Shaper:
    """Splices, simplifies, smooths and squares arcs in flight.

    Memory holds one bit (three, where outlines are made square) for each lattice vertex between the
    first row of an incomplete chain and the last row that was seen, and a copy of about a million
    vertices.

    Attributes:
        delay: Rows that must be known below a chain before it is shaped: none, or those of a
            building that may stand beside it.
    """

    def __init__(self, metric: Metric, shaping: Shaping) -> None:
        self._shape = metric.shape
        self._shaping = shaping
        self._ground = ground_of(metric)
        self._obstacles = Obstacles(metric.shape[1])
        self._edges = Obstacles(metric.shape[1]), Obstacles(metric.shape[1])
        self._pending = np.empty(0, np.int32)
        self._reach = self._square_reach() if shaping.square else 0
        self.delay = _LARGEST + 3 * self._reach + 1 if shaping.square else 0

    def complete(self, tables: Tables, new: tuple[int, int], bottom: int) -> Iterator[Shaped]:
        """Chains that a row of blocks has completed, and what becomes of them.

        Args:
            tables: What is in flight.
            new: The first arc of this row of blocks, and the end of all.
            bottom: The last lattice row of this row of blocks.

        Yields:
            Arguments of :func:`geoseg.ops.topology.chains.adopt_lines`.
        """
        found, lasts = self._take_in(tables, new, bottom)
        whole = bottom == self._shape[0]
        if self._shaping.square:
            known = whole | (lasts < bottom - 2 * self._reach)
            firsts = found.halves[found.begins[:-1]] >> 1
            loops = found.closed & known & self._is_of_buildings(tables, firsts)
            square = np.zeros(len(loops), np.bool_)
            for shaped, which in self._square(tables, found, np.flatnonzero(loops)):
                square[which] = True
                yield shaped
            ready = whole | (lasts <= bottom - self.delay)
            self._wait(tables, splicing.take(found, ~square & ~ready))
            found = splicing.take(found, ~square & ready)
        for part in _parts(tables, found):
            vertices, begins, against = splicing.gather_lines(tables, tuple(part))
            sharp = self._is_of_buildings(tables, part.halves[part.begins[:-1]] >> 1)
            lines = self._shape_lines(Lines(vertices, begins, part.closed), sharp)
            yield part, lines, against
        self._forget(tables, bottom)

    def renumber(self, arcs: NDArray[np.int32]) -> None:
        """Arcs have got new numbers."""
        self._pending = arcs[self._pending]

    def _square_reach(self) -> int:
        """Pixels within which a square outline keeps to the traced one."""
        finest = sqrt(min(self._ground.yy, self._ground.xx))
        reach = ceil(FARTHEST * self._shaping.square_within / finest + 0.5)
        if reach > _FARTHEST_REACH:
            most = (_FARTHEST_REACH - 0.5) * finest / FARTHEST
            raise InputError(
                f"square within {self._shaping.square_within} m: with pixels of {finest:.3g} m, "
                f"{most:.3g} m are the most"
            )
        return reach

    def _take_in(
        self, tables: Tables, new: tuple[int, int], bottom: int
    ) -> tuple[Chains, NDArray[np.int64]]:
        """Mark what is new; returns the chains that are complete, and their last rows."""
        fresh = np.arange(*new, dtype=np.int32)
        splicing.note_arcs(tables, fresh, self._shape[1])
        arcs = np.concatenate([self._pending, fresh])
        self._obstacles.move(self._obstacles.top, bottom + self._reach)
        unknown = bottom if bottom < self._shape[0] else -1
        splicing.mark_corners(tables, arcs, new[0], unknown, self._obstacles.view)
        if self._shaping.square:
            for edges, some in zip(
                self._edges, (fresh, fresh[self._is_of_buildings(tables, fresh)]), strict=True
            ):
                edges.move(edges.top, bottom)
                mark_edges(tables, some, edges.view)
        halves, begins, closed, lasts, self._pending = splicing.find_chains(tables, arcs, unknown)
        return Chains(halves, begins, closed), lasts

    def _wait(self, tables: Tables, chains: Chains) -> None:
        """Chains are complete, but what lies around them is not."""
        arcs = chains.halves >> 1
        tables.arcs["state"][arcs] = splicing.RAW
        self._pending = np.concatenate([self._pending, arcs])

    def _forget(self, tables: Tables, bottom: int) -> None:
        """Drop the rows above all that is incomplete."""
        firsts = tables.firsts[self._pending]
        # The last row stays: the corners on it are not all known yet.
        top = min(int(firsts.min()) // (self._shape[1] + 1), bottom) if len(firsts) else bottom
        top = max(top - 2 * self._reach, self._obstacles.top)
        self._obstacles.move(top, bottom + self._reach)
        for edges in self._edges if self._shaping.square else ():
            edges.move(top, bottom)

    def _is_of_buildings(self, tables: Tables, which: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether a class that is made square lies on a side of arcs."""
        arcs = tables.arcs[which]
        wanted = np.zeros(len(arcs), np.bool_)
        if not self._shaping.square:
            return wanted
        for side in ("left", "right"):
            labels = arcs[side]
            codes = tables.regions["code"][np.maximum(labels, 0)]
            wanted |= (labels >= 0) & np.isin(codes, self._shaping.square)
        return wanted

    def _square(
        self, tables: Tables, found: Chains, which: NDArray[np.int64]
    ) -> Iterator[tuple[Shaped, NDArray[np.int64]]]:
        """Make loops square; yields those where it could be done, and which they are."""
        for part, some in _parts_of(tables, found, which):
            vertices, begins, against = splicing.gather_lines(tables, tuple(part))
            ground = self._ground
            steps = sqrt(ground.yy), sqrt(ground.xx)
            rules = *steps, self._shaping.square_within, self._reach, _LARGEST, self._shape
            lines = vertices, begins, part.closed
            out, starts, square = square_lines(
                lines, rules, tuple(e.view for e in self._edges), self._obstacles.view
            )
            kept = np.append(starts[:-1][square], starts[-1])
            chosen = Lines(out, kept, part.closed[square])
            yield (splicing.take(part, square), chosen, against[square]), some[square]

    def _shape_lines(self, lines: Lines, sharp: NDArray[np.bool_]) -> Lines:
        shaping, ground, walls = self._shaping, self._ground, self._obstacles.view
        keep = np.ones(len(lines.vertices), np.bool_)
        if shaping.simplify is not None:
            # Twice the area in pixels, or the square of a distance.
            double = 2 * shaping.amount / ground.area
            amount = double if shaping.simplify == "visvalingam" else shaping.amount**2
            rules: tuple[Any, ...] = _METHODS[shaping.simplify], amount, tuple(ground)
            keep = simplify_lines(tuple(lines), rules, walls, self._shape)
        rounds = shaping.rounds if shaping.smooth else 0
        rules = shaping.smooth == "corners", rounds, tuple(ground)
        vertices, begins = smooth_lines(tuple(lines), keep, sharp, (rules, walls, self._shape))
        return Lines(vertices, begins, lines.closed)


def _parts(tables: Tables, found: Chains) -> Iterator[Chains]:
    """Chains in parts of about a million vertices."""
    for part, _ in _parts_of(tables, found, np.arange(len(found.closed))):
        yield part


def _parts_of(
    tables: Tables, found: Chains, which: NDArray[np.int64]
) -> Iterator[tuple[Chains, NDArray[np.int64]]]:
    """Some of the chains in parts of about a million vertices, and which they are."""
    if not len(which):
        return
    arcs = tables.arcs[found.halves >> 1]
    sizes = np.add.reduceat(arcs["stop"] - arcs["begin"], found.begins[:-1])[which]
    share = np.cumsum(sizes) // _VERTICES_AT_ONCE
    for some in np.split(which, np.flatnonzero(np.diff(share)) + 1):
        mask = np.zeros(len(found.closed), np.bool_)
        mask[some] = True
        yield splicing.take(found, mask), some
