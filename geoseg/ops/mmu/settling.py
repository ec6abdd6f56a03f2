"""The fate of all small regions of a raster, from the surveys of its blocks as they come by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import BlockError
from geoseg.grid import Window
from geoseg.ops.metric import Metric
from geoseg.ops.mmu.balance import MOVED, TOTAL, Balance, gather
from geoseg.ops.mmu.giving import join_alike
from geoseg.ops.mmu.graph import (
    CONTACT,
    MEMBER,
    PIECE,
    Finished,
    Graph,
    changes_of,
    compact,
    mark_open,
    seam,
)
from geoseg.ops.mmu.rules import Stage
from geoseg.ops.mmu.survey import CHANGE, Survey, account, decide

Changes = tuple[Window, NDArray[np.void]]
"""A block, and what changes in it (of :data:`geoseg.ops.mmu.survey.CHANGE`)."""

_TALLIES = 64  # tables of what moved that are added up at once


class Settling:
    """Decides row by row of blocks; iterate over it once, then ask for the balance.

    Yields every block once, as soon as all of its small regions are decided, with all its changes.
    Memory holds the small regions that reach the last row of pixels seen or wait for one of those,
    those of one row of blocks that their blocks could not decide, and the changes of blocks that
    are not yielded yet.

    Args:
        surveys: All blocks of the raster in row-major order; those of a row of blocks are equally
            high and span the raster.
        stage: What was surveyed.
        metric: How large pixels are.

    Raises:
        BlockError: While iterating: a block is missing or out of order.
    """

    def __init__(self, surveys: Iterable[Survey], stage: Stage, metric: Metric) -> None:
        self._surveys, self._stage, self._metric = surveys, stage, metric
        self._rule = stage.tables()
        layers = len(stage.layers)
        self._graph = Graph(
            np.empty(0, MEMBER),
            np.empty(0, CONTACT),
            np.empty(0, PIECE),
            np.empty((0, layers), np.int64),
        )
        self._front = np.full(metric.shape[1], -1, np.int32)
        self._waiting: dict[int, tuple[Window, list[NDArray[np.void]]]] = {}
        self._blocks = 0
        self._counts = np.zeros(2, np.int64)
        self._moved = [np.empty(0, MOVED)]
        self._totals = [np.empty(0, TOTAL)]
        self._complete = False

    def __iter__(self) -> Iterator[Changes]:
        shape, at, row = self._metric.shape, (0, 0), list[Survey]()
        for survey in self._surveys:
            _check(survey, at, row, shape)
            row.append(survey)
            at = survey.window.y0, survey.window.x1
            if at[1] == shape[1]:
                at = survey.window.y1, 0
                yield from self._settle(row)
                row = []
        if at != (shape[0], 0):
            raise BlockError(
                f"minimum unit: blocks end at row {at[0]}, column {at[1]} of a raster of "
                f"{shape[0]} x {shape[1]} px"
            )
        self._complete = True

    @property
    def balance(self) -> Balance:
        """What moved from class to class.

        Raises:
            RuntimeError: Not all blocks have been iterated over.
        """
        if not self._complete:
            raise RuntimeError("the balance is known when all blocks have been iterated over")
        given, settled = (int(n) for n in self._counts)
        hole = self._stage.hole_of is not None
        return Balance(
            self._metric.unit,
            gather(self._totals, TOTAL),
            gather(self._moved, MOVED),
            reassigned=given,
            isolated=0 if hole else settled,
            filled=settled if hole else 0,
        )

    def _settle(self, row: list[Survey]) -> Iterator[Changes]:
        """Take in a row of blocks, and decide what is closed."""
        graph, front = self._joined(row)
        if row[0].window.y1 == self._metric.shape[0]:
            front = front[:0]
        mark_open(graph, front)
        given = decide(graph, self._stage)
        self._graph, number, finished = compact(graph)
        self._front = number[front]
        self._note(row, finished, given)
        held = set(np.unique(self._graph.pieces["block"]).tolist())
        for block in [k for k in self._waiting if k not in held]:
            window, changes = self._waiting.pop(block)
            yield window, np.concatenate([np.empty(0, CHANGE), *changes])

    def _joined(self, row: list[Survey]) -> tuple[Graph, NDArray[np.int32]]:
        """What is in flight together with a row of blocks, and the last row of pixels."""
        parts, sides = [self._graph], list[list[NDArray[np.int32]]]()
        contacts = []
        base = len(self._graph.regions)
        for survey in row:
            part, rim = self._moved_on(survey, base)
            height, width = survey.window.shape
            parts.append(part)
            sides.append(np.split(rim, np.cumsum([width, width, height])))
            base += len(part.regions)
        beside, above = self._stage.border
        diagonal = self._stage.diagonal
        for left, right in pairwise(sides):
            contacts.append(seam(left[3], right[2], beside, diagonal=diagonal))
        first, last = (np.concatenate([side[k] for side in sides]) for k in (0, 1))
        contacts.append(seam(self._front, first, above, diagonal=diagonal))
        graph = Graph(*(np.concatenate(tables) for tables in zip(*parts, strict=True)))
        graph = graph._replace(contacts=np.concatenate([graph.contacts, *contacts]))
        join_alike(graph, self._rule)
        return graph, last

    def _moved_on(self, survey: Survey, base: int) -> tuple[Graph, NDArray[np.int32]]:
        """What a block has, its regions numbered from ``base``, and its rim."""
        regions, contacts = survey.regions.copy(), survey.contacts.copy()
        pieces = survey.pieces.copy()
        regions["parent"] += base
        for name in ("a", "b"):
            contacts[name] += base
        pieces["region"] += base
        pieces["block"] = self._blocks
        self._waiting[self._blocks] = survey.window, [survey.changes]
        self._blocks += 1
        rim = np.where(survey.rim >= 0, survey.rim + base, -1).astype(np.int32)
        return Graph(regions, contacts, pieces, survey.sums), rim

    def _note(self, row: list[Survey], finished: Finished, given: int) -> None:
        """Keep what was decided."""
        changes, moved = account(finished)
        block = finished.pieces["block"][changes_of(finished)]
        order = np.argsort(block, kind="stable")
        cuts = np.flatnonzero(np.diff(block[order])) + 1
        for part in np.split(order, cuts):
            if len(part):
                self._waiting[int(block[part[0]])][1].append(changes[part])
        self._moved += [moved, *(s.moved for s in row)]
        self._totals += [s.totals for s in row]
        if len(self._moved) > _TALLIES:
            self._moved = [gather(self._moved, MOVED)]
            self._totals = [gather(self._totals, TOTAL)]
        self._counts += given, finished.settled
        for survey in row:
            self._counts += survey.counts


def _check(survey: Survey, at: tuple[int, int], row: list[Survey], shape: tuple[int, int]) -> None:
    window = survey.window
    level = not row or window.y1 == row[0].window.y1
    if (window.y0, window.x0) != at or not level or survey.shape != shape:
        raise BlockError(
            f"minimum unit: blocks must come row by row without gaps; after those up to row "
            f"{at[0]}, column {at[1]} came {window} of a raster of {survey.shape}, wanted is one "
            f"of {shape}"
        )
