"""What one block contributes: what it can decide on its own, and what must be known of the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.grid import Window
from geoseg.ops.arcs import pad
from geoseg.ops.kernels import entry
from geoseg.ops.metric import Metric
from geoseg.ops.mmu.balance import MOVED, TOTAL, sum_by
from geoseg.ops.mmu.contacts import find_contacts, sum_values
from geoseg.ops.mmu.giving import give_away, join_alike
from geoseg.ops.mmu.graph import MEMBER, PIECE, Finished, Graph, changes_of, compact, mark_open
from geoseg.ops.mmu.rules import LOWEST, Stage
from geoseg.ops.regions import NODATA, find_regions, label_regions

CHANGE = np.dtype([("label", np.int32), ("code", np.int16)], align=True)
"""A label of a block, and the class that its pixels become."""

_FINE = float(1 << 20)  # probabilities that are no whole numbers are rounded to 1e-6


@dataclass(frozen=True, slots=True)
class Survey:
    """One block, seen on its own.

    Attributes:
        window: The block.
        shape: Height and width of the raster.
        regions: ``(n,)`` of :data:`~geoseg.ops.mmu.graph.MEMBER`: those that are not decided, and
            one for the big ones of each class.
        contacts: Of :data:`~geoseg.ops.mmu.graph.CONTACT`, between those.
        pieces: Of :data:`~geoseg.ops.mmu.graph.PIECE`: the labels they consist of.
        sums: ``(n, layers)`` sums of probabilities.
        rim: ``(2h + 2w,)`` int32; regions, -1 for none, of the block's first row, last row, first
            column and last column.
        changes: Of :data:`CHANGE`: what is decided.
        moved: Of :data:`~geoseg.ops.mmu.balance.MOVED`: the same by class.
        totals: Of :data:`~geoseg.ops.mmu.balance.TOTAL`; none where holes are looked for.
        counts: How many regions were given away, and are done with otherwise.
    """

    window: Window
    shape: tuple[int, int]
    regions: NDArray[np.void]
    contacts: NDArray[np.void]
    pieces: NDArray[np.void]
    sums: NDArray[np.int64]
    rim: NDArray[np.int32]
    changes: NDArray[np.void]
    moved: NDArray[np.void]
    totals: NDArray[np.void]
    counts: NDArray[np.int64]


def survey_block(
    codes: NDArray[np.int16],
    window: Window,
    metric: Metric,
    stage: Stage,
    values: NDArray[np.int64] | None = None,
) -> Survey:
    """Find the small regions of a block and what they touch, and decide what needs no other block.

    Args:
        codes: Class codes ``(h, w)``, :data:`~geoseg.ops.regions.NODATA` where there is none.
        window: The block.
        metric: How large the pixels of the raster are.
        stage: What is done.
        values: Probabilities ``(layer, h, w)`` where the stage has layers.

    Raises:
        InputError: Probabilities are missing or do not fit.
    """
    labels, found = _label(codes, window, metric, stage)
    rule = stage.tables()
    regions = _members(found, stage)
    measure = regions["pixels"] if stage.in_pixels else regions["area"]
    regions["big"] |= measure >= rule[0][regions["code"].astype(np.int64) - LOWEST]
    big = np.ascontiguousarray(regions["big"])
    contacts = find_contacts(labels, big, stage.border, diagonal=stage.diagonal)
    sums = _sums(labels, values, big, stage)
    graph = Graph(regions, contacts, _pieces(found, big, stage), sums)
    inner = labels[1:-1, 1:-1] - 1
    rim = inner[0], inner[-1], inner[:, 0], inner[:, -1]
    join_alike(graph, rule)
    mark_open(graph, np.concatenate(_front(rim, window, metric.shape)))
    given = decide(graph, stage)
    left, number, finished = compact(graph)
    changes, moved = account(finished)
    return Survey(
        window,
        metric.shape,
        *left,
        number[np.concatenate(rim)],
        changes,
        moved,
        _totals(found) if stage.hole_of is None else np.empty(0, TOTAL),
        np.array([given, finished.settled], np.int64),
    )


def decide(graph: Graph, stage: Stage) -> int:
    """Decide what can be decided about closed regions; returns how many were given away."""
    if stage.hole_of is None:
        return int(give_away(graph, stage.tables()))
    regions = graph.regions
    root = regions["parent"] == np.arange(len(regions))
    holes = root & ~regions["open"] & ~regions["big"]
    regions["code"][holes] = stage.hole_of
    regions["settled"][holes] = True
    return 0


def account(finished: Finished) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Pieces that change as :data:`CHANGE` in the order of pieces, and what that moves."""
    changed = changes_of(finished)
    pieces, codes = finished.pieces[changed], finished.codes[changed]
    changes = np.zeros(len(pieces), CHANGE)
    changes["label"], changes["code"] = pieces["label"], codes
    moved = np.zeros(len(pieces), MOVED)
    moved["source"], moved["target"] = pieces["code"], codes
    moved["pixels"], moved["area"] = pieces["pixels"], pieces["area"]
    return changes, sum_by(moved)


def apply_changes(
    codes: NDArray[np.int16], changes: NDArray[np.void], stage: Stage
) -> NDArray[np.int16]:
    """The classes ``(h, w)`` of a block after ``stage``.

    Args:
        codes: Those before, the same as were surveyed.
        changes: Of :data:`CHANGE`: all of the block.
        stage: What was surveyed.
    """
    if not len(changes):
        return codes
    block = Window(0, 0, *codes.shape)
    labels, count = label_regions(pad(stage.layer(codes), block, block))
    becomes = np.full(count + 1, NODATA, np.int16)
    becomes[changes["label"]] = changes["code"]
    new = np.array(codes, np.int16, order="C")
    _overwrite(new, labels, becomes)
    return new


@entry
def _overwrite(codes: Any, labels: Any, becomes: Any) -> None:
    for i in range(codes.shape[0]):
        for j in range(codes.shape[1]):
            new = becomes[labels[i + 1, j + 1]]
            if new != NODATA:
                codes[i, j] = new


def as_values(values: NDArray[np.generic]) -> NDArray[np.int64]:
    """Probabilities as whole numbers, so that their sums depend on no order.

    Raises:
        InputError: They are no numbers.
    """
    if values.dtype.kind in "biu":
        return np.ascontiguousarray(values, np.int64)
    if values.dtype.kind != "f":
        raise InputError(f"probabilities of {values.dtype}: wanted are numbers")
    # What is not known counts as 0.
    fine = np.rint(np.nan_to_num(values.astype(np.float64), posinf=0, neginf=0) * _FINE)
    return np.ascontiguousarray(fine.astype(np.int64))


def _label(
    codes: NDArray[np.int16], window: Window, metric: Metric, stage: Stage
) -> tuple[NDArray[np.int32], NDArray[np.void]]:
    padded = pad(stage.layer(codes), window, window)
    density = metric.row_density(window.y0, window.y1)
    return find_regions(padded, None, density, (window.y0, window.x0, *metric.shape))


def _members(found: NDArray[np.void], stage: Stage) -> NDArray[np.void]:
    regions = np.zeros(len(found), MEMBER)
    regions["parent"] = np.arange(len(found))
    for name in ("pixels", "first", "area"):
        regions[name] = found[name]
    if stage.hole_of is None:
        regions["code"] = found["code"]
    else:
        # All that lies in a hole is one region; what reaches the rim of the raster is no hole.
        regions["code"], regions["big"] = NODATA, found["edge"]
    return regions


def _pieces(found: NDArray[np.void], big: NDArray[np.bool_], stage: Stage) -> NDArray[np.void]:
    small = np.flatnonzero(~big)
    pieces = np.zeros(len(small), PIECE)
    pieces["region"], pieces["label"] = small, small + 1
    pieces["code"] = stage.codes_of(found["code"][small])
    pieces["pixels"], pieces["area"] = found["pixels"][small], found["area"][small]
    return pieces


def _sums(
    labels: NDArray[np.int32],
    values: NDArray[np.int64] | None,
    big: NDArray[np.bool_],
    stage: Stage,
) -> NDArray[np.int64]:
    sums = np.zeros((len(big), len(stage.layers)), np.int64)
    if not stage.layers:
        return sums
    shape = len(stage.layers), labels.shape[0] - 2, labels.shape[1] - 2
    if values is None or values.shape != shape:
        found = None if values is None else values.shape
        raise InputError(f"probabilities: found {found}, expected (layer, y, x) of {shape}")
    sum_values(labels, values, big, sums)
    return sums


def _front(
    rim: tuple[NDArray[np.int32], ...], window: Window, shape: tuple[int, int]
) -> list[NDArray[np.int32]]:
    """The sides of a block beyond which the raster goes on."""
    ends = window.y0 == 0, window.y1 == shape[0], window.x0 == 0, window.x1 == shape[1]
    none = np.empty(0, np.int32)
    return [none if end else side for side, end in zip(rim, ends, strict=True)]


def _totals(found: NDArray[np.void]) -> NDArray[np.void]:
    totals = np.zeros(len(found), TOTAL)
    for name in TOTAL.names or ():
        totals[name] = found[name]
    return sum_by(totals)
