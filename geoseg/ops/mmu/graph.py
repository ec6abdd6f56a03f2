"""Small regions, what they touch, and the pieces that blocks cut them into."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.kernels import entry
from geoseg.ops.regions import NODATA

MEMBER = np.dtype(
    [
        ("code", np.int16),  # class; NODATA where holes are looked for: whatever lies there
        ("big", np.bool_),  # not small, and never will be
        ("open", np.bool_),  # reaches the front
        ("settled", np.bool_),  # small, but its fate is known
        ("parent", np.int32),  # union-find
        ("pixels", np.int64),
        ("first", np.int64),  # first pixel in row-major order
        ("area", np.int64),  # counts of Metric.unit
    ],
    align=True,
)
"""A region that is not decided, or all big ones of a class together."""

CONTACT = np.dtype([("a", np.int32), ("b", np.int32), ("length", np.int64)], align=True)
"""Two regions that touch, and for how long; there may be several for two regions."""

PIECE = np.dtype(
    [
        ("region", np.int32),
        ("block", np.int32),
        ("label", np.int32),  # within the block
        ("code", np.int16),  # class in the raster, NODATA for none
        ("pixels", np.int64),
        ("area", np.int64),
    ],
    align=True,
)
"""What a block has of a region: one label."""


class Graph(NamedTuple):
    """Regions that are not decided, and what there is to know of them."""

    regions: NDArray[np.void]  # of MEMBER
    contacts: NDArray[np.void]  # of CONTACT
    pieces: NDArray[np.void]  # of PIECE
    sums: NDArray[np.int64]  # (regions, layers) sums of probabilities


class Finished(NamedTuple):
    """What left a graph because it is decided."""

    pieces: NDArray[np.void]  # of PIECE
    codes: NDArray[np.int16]  # what the pieces become; NODATA: they stay what they are
    settled: int  # small regions that are done with: isolated ones, or holes


@entry
def flatten(regions: Any) -> None:
    """Let every label point to its root."""
    for k in range(len(regions)):
        # Roots come before what hangs on them.
        regions[k].parent = regions[regions[k].parent].parent


def mark_open(graph: Graph, front: NDArray[np.int32]) -> None:
    """Note which regions reach the front: their labels, -1 for none."""
    flatten(graph.regions)
    regions = graph.regions
    regions["open"] = False
    regions["open"][regions["parent"][front[front >= 0]]] = True


def compact(graph: Graph) -> tuple[Graph, NDArray[np.int32], Finished]:
    """Take out what is decided; the big regions of a class become one.

    Returns:
        What is left, the new number of each region (-1: gone; a last -1 for label -1), and what
        left.
    """
    regions, contacts, pieces, sums = graph
    flatten(regions)
    root = regions["parent"]
    known = regions["big"] | regions["settled"]
    held = regions[root[pieces["region"]]]
    done = held["big"] | held["settled"]
    alike = _alike(regions)
    kept = np.flatnonzero((alike == np.arange(len(regions))) & ~regions["settled"])
    new = np.full(len(regions) + 1, -1, np.int32)
    new[kept] = np.arange(len(kept))
    number = np.append(new[alike[root]], np.int32(-1))
    left = regions[kept]
    left["parent"] = np.arange(len(kept))
    ends = root[contacts["a"]], root[contacts["b"]]
    apart = (ends[0] != ends[1]) & ~(known[ends[0]] & known[ends[1]])
    contacts, pending = contacts[apart], pieces[~done]
    contacts["a"], contacts["b"] = number[contacts["a"]], number[contacts["b"]]
    pending["region"] = number[pending["region"]]
    settled = int(np.count_nonzero(regions["settled"] & (root == np.arange(len(root)))))
    finished = Finished(pieces[done], held["code"][done], settled)
    return Graph(left, contacts, pending, sums[kept]), number, finished


def _alike(regions: NDArray[np.void]) -> NDArray[np.int64]:
    """For each region itself, or the first big one of its class if it is big."""
    alike = np.arange(len(regions))
    big = np.flatnonzero(regions["big"] & (regions["parent"] == alike))
    _, first, which = np.unique(regions["code"][big], return_index=True, return_inverse=True)
    alike[big] = big[first[which]]
    return np.where(regions["parent"] == np.arange(len(regions)), alike, -1)


def seam(
    ours: NDArray[np.int32], theirs: NDArray[np.int32], length: int, *, diagonal: bool
) -> NDArray[np.void]:
    """Contacts across a seam, also of regions of one class.

    Args:
        ours: ``(n,)`` regions of the pixels along one side, -1 for none.
        theirs: ``(n,)`` those that face them.
        length: Of the side of a pixel.
        diagonal: Whether corners count.
    """
    pairs = [(ours, theirs, length)]
    if diagonal:
        pairs += [(ours[:-1], theirs[1:], 0), (ours[1:], theirs[:-1], 0)]
    return np.concatenate([_runs(*pair) for pair in pairs])


def _runs(a: NDArray[np.int32], b: NDArray[np.int32], length: int) -> NDArray[np.void]:
    both = (a >= 0) & (b >= 0)
    a, b = a[both], b[both]
    new = np.ones(len(a), np.bool_)
    new[1:] = (a[1:] != a[:-1]) | (b[1:] != b[:-1])
    begins = np.flatnonzero(new)
    out = np.zeros(len(begins), CONTACT)
    out["a"], out["b"] = a[begins], b[begins]
    out["length"] = np.diff(np.append(begins, len(a))) * length
    return out


def changes_of(finished: Finished) -> NDArray[np.bool_]:
    """Which of the pieces that are decided become another class."""
    becomes, was = finished.codes, finished.pieces["code"]
    changed: NDArray[np.bool_] = (becomes != NODATA) & (becomes != was)
    return changed
