"""Shapes the chains of each row of blocks as soon as they are complete."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.joining import Tables
from geoseg.ops.metric import Metric
from geoseg.ops.topology import chains as splicing
from geoseg.ops.topology.chains import Chains, Lines
from geoseg.ops.topology.obstacles import Obstacles
from geoseg.ops.topology.shaping import Shaping, ground_of
from geoseg.ops.topology.simplify import simplify_lines
from geoseg.ops.topology.smooth import smooth_lines

_VERTICES_AT_ONCE = 1 << 20
_METHODS = {None: 0, "visvalingam": 1, "douglas-peucker": 2}


class Shaper:
    """Splices, simplifies and smooths arcs in flight.

    Memory holds one bit for each lattice vertex between the first row of an incomplete chain and
    the last row that was seen, and a copy of about a million vertices.
    """

    def __init__(self, metric: Metric, shaping: Shaping) -> None:
        self._shape = metric.shape
        self._shaping = shaping
        self._ground = ground_of(metric)
        self._obstacles = Obstacles(metric.shape[1])
        self._pending = np.empty(0, np.int32)

    def complete(
        self, tables: Tables, new: tuple[int, int], bottom: int
    ) -> Iterator[tuple[Chains, Lines, NDArray[np.bool_]]]:
        """Chains that a row of blocks has completed, and what becomes of them.

        Args:
            tables: What is in flight.
            new: The first arc of this row of blocks, and the end of all.
            bottom: The last lattice row of this row of blocks.

        Yields:
            Arguments of :func:`geoseg.ops.topology.chains.adopt_lines`.
        """
        fresh = np.arange(*new, dtype=np.int32)
        splicing.note_arcs(tables, fresh, self._shape[1])
        arcs = np.concatenate([self._pending, fresh])
        self._obstacles.move(self._obstacles.top, bottom)
        unknown = bottom if bottom < self._shape[0] else -1
        splicing.mark_corners(tables, arcs, new[0], unknown, self._walls)
        *found, self._pending = splicing.find_chains(tables, arcs, unknown)
        for part in _parts(tables, Chains(*found)):
            vertices, begins, against = splicing.gather_lines(tables, part)
            yield part, self._shape_lines(Lines(vertices, begins, part.closed)), against
        firsts = tables.firsts[self._pending]
        # The last row stays: the corners on it are not all known yet.
        top = min(int(firsts.min()) // (self._shape[1] + 1), bottom) if len(firsts) else bottom
        self._obstacles.move(top, bottom)

    def renumber(self, arcs: NDArray[np.int32]) -> None:
        """Arcs have got new numbers."""
        self._pending = arcs[self._pending]

    @property
    def _walls(self) -> tuple[NDArray[np.uint64], int]:
        return self._obstacles.bits, self._obstacles.top

    def _shape_lines(self, lines: Lines) -> Lines:
        shaping, ground = self._shaping, self._ground
        keep = np.ones(len(lines.vertices), np.bool_)
        if shaping.simplify is not None:
            # Twice the area in pixels, or the square of a distance.
            double = 2 * shaping.amount / ground.area
            amount = double if shaping.simplify == "visvalingam" else shaping.amount**2
            rules: tuple[Any, ...] = _METHODS[shaping.simplify], amount, tuple(ground)
            keep = simplify_lines(tuple(lines), rules, self._walls, self._shape)
        rounds = shaping.rounds if shaping.smooth else 0
        rules = shaping.smooth == "corners", rounds, tuple(ground)
        vertices, begins = smooth_lines(tuple(lines), keep, (rules, self._walls, self._shape))
        return Lines(vertices, begins, lines.closed)


def _parts(tables: Tables, found: Chains) -> Iterator[Chains]:
    """Chains in parts of about a million vertices."""
    if not len(found.closed):
        return
    arcs = tables.arcs[found.halves >> 1]
    sizes = np.add.reduceat(arcs["stop"] - arcs["begin"], found.begins[:-1])
    share = np.cumsum(sizes) // _VERTICES_AT_ONCE
    ends = [*(np.flatnonzero(np.diff(share)) + 1), len(sizes)]
    for begin, end in zip([0, *ends], ends, strict=False):
        # Halves stay where they are: begins refer to them.
        yield Chains(found.halves, found.begins[begin : end + 1], found.closed[begin:end])
