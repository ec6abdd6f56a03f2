"""Rivers that join, towns, and the roads between them, for a whole scene; no pixels yet."""

from __future__ import annotations

from heapq import heappop, heappush
from math import ceil

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.synthetic.lines import Discs, Field, Lines
from geoseg.ops.synthetic.noise import fbm, salt, uniform

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Grid = tuple[int, int]

_MARGIN = 3  # nodes around the scene
_MOST = 120  # nodes along a side: lattices of larger scenes are wider, and cost no more
_RIVER_SPACING = 150.0
_STREAM_FROM = 3.0  # nodes of catchment that feed a stream
_INFLOW = 110.0  # nodes of catchment upstream of the scene
_TOWN_SPACING = 210.0
_STEP = 6.0  # pixels between points of a river
_LONGEST = 100  # points of a bend or road, however wide the lattice


def rivers(size: Grid, seed: int) -> Lines:
    """One basin that drains the whole scene: curves whose width grows with the catchment."""
    spacing = _spacing(size, _RIVER_SPACING)
    sites, grid = _hexagons(size, spacing, seed, "river")
    outlet, inlet = _gates(grid, seed)
    down, order = _drain(sites, grid, outlet, seed)
    catchment = np.ones(len(sites))
    catchment[inlet] += _INFLOW
    for node in reversed(order[1:]):
        catchment[down[node]] += catchment[node]
    return _meander(_bends(sites, down, catchment, int(min(spacing / _STEP, _LONGEST))), seed)


def sandbars(main: Lines, seed: int) -> Lines:
    """The main river as it lay some time ago: what it left dry is sand, on one bank or the other."""
    out = main.segments.copy()
    for y, x, w in ((0, 1, 2), (3, 4, 5)):
        ys, xs = main.segments[:, y].copy(), main.segments[:, x].copy()
        reach = np.float32(1.2) + np.float32(0.35) * main.segments[:, w]
        out[:, y] += reach * fbm(ys, xs, salt(seed, "bar y"), wave=70, octaves=2)
        out[:, x] += reach * fbm(ys, xs, salt(seed, "bar x"), wave=70, octaves=2)
        out[:, w] *= np.float32(0.92)
    return Lines(out)


def towns(size: Grid, seed: int) -> tuple[Discs, Ints]:
    """Towns of all sizes, and the lattice that finds them: an index or -1 per node."""
    sites, grid = _hexagons(size, _spacing(size, _TOWN_SPACING), seed, "town")
    ids = np.arange(len(sites), dtype=np.uint32)
    there = uniform(ids, f"{seed} town") < _crowding(sites, seed, "people", 0.66)
    rank = uniform(ids, f"{seed} town size").astype(np.float64)
    square = rank * rank
    rare = square * square * square
    radius = 8.0 + 16.0 * square + 30.0 * rare + 60.0 * rare * rare * rare * rare
    found = np.where(there, np.cumsum(there) - 1, -1).reshape(grid)
    discs = np.column_stack([_bent(sites[there], seed), radius[there]])
    return Discs(discs.astype(np.float32)), found


def roads(town: Discs, lattice: Ints, seed: int) -> Lines:
    """The relative neighbourhood graph of the towns, as slightly winding roads."""
    pairs = _neighbours(town.discs[:, :2].astype(np.float64), lattice)
    if not len(pairs):
        return Lines(np.empty((0, 6), np.float32))
    pieces = []
    chance = uniform(np.arange(len(pairs), dtype=np.uint32), f"{seed} road")
    for (a, b), luck in zip(pairs, chance, strict=True):
        start, end = town.discs[a].astype(np.float64), town.discs[b].astype(np.float64)
        main = min(start[2], end[2]) > 14 or luck < 0.25
        half = np.full(1, 0.95 if main else 0.6)
        points = min(_LONGEST, max(2, ceil(float(_length(end - start)) / 9)))
        t = np.linspace(0, 1, points)[:, None]
        # Roads leave and reach towns undisturbed.
        calm = np.minimum(1, 6 * t * (1 - t))
        way = start[:2] + t * (end[:2] - start[:2])
        way += calm * (_bent(way, seed) - way)
        pieces.append(_chain(way, np.broadcast_to(half, len(way))))
    return Lines(np.concatenate(pieces).astype(np.float32))


def scatter(size: Grid, seed: int, name: str, *, spacing: float, share: float) -> Floats:
    """Places and a number in [0, 1) each: ``(n, 3)``; a ``share`` of a jittered lattice."""
    sites, _ = _hexagons(size, _spacing(size, spacing), seed, name)
    ids = np.arange(len(sites), dtype=np.uint32)
    there = uniform(ids, f"{seed} {name}") < _crowding(sites, seed, name, share)
    return np.column_stack([sites, uniform(ids, f"{seed} {name} size")])[there]


def _crowding(sites: Floats, seed: int, name: str, share: float) -> Floats:
    """The chance that a node is taken: more in one region than in another."""
    ys, xs = (np.ascontiguousarray(sites[:, k], dtype=np.float32) for k in (0, 1))
    slow = fbm(ys, xs, salt(seed, f"crowding {name}"), wave=1900, octaves=2)
    return np.clip(share + 0.16 * slow.astype(np.float64), 0.35, 0.95)


def _spacing(size: Grid, wanted: float) -> float:
    return max(wanted, max(size) / _MOST)


def _length(vectors: Floats) -> Floats:
    # numpy's hypot is the machine's own.
    return np.asarray(np.sqrt(vectors[..., 0] ** 2 + vectors[..., 1] ** 2))


def _hexagons(size: Grid, spacing: float, seed: int, name: str) -> tuple[Floats, Grid]:
    """A jittered triangular lattice over the scene and a margin; its edges do not cross."""
    pitch = spacing * 0.866
    rows, cols = ceil(size[0] / pitch) + 2 * _MARGIN, ceil(size[1] / spacing) + 2 * _MARGIN
    r, c = np.divmod(np.arange(rows * cols), cols)
    ids = np.arange(rows * cols, dtype=np.uint32)
    jitter = np.stack([uniform(ids, f"{seed} {name} y"), uniform(ids, f"{seed} {name} x")], 1)
    sites = np.stack([r * pitch, (c + 0.5 * (r % 2)) * spacing], 1) - _MARGIN * spacing
    return sites + (jitter.astype(np.float64) - 0.5) * spacing * 0.75, (rows, cols)


def _around(node: int, grid: Grid) -> list[int]:
    """The six neighbours of a node, less those outside."""
    r, c = divmod(node, grid[1])
    shift = r % 2
    near = [(r, c - 1), (r, c + 1)]
    near += [(r + dr, c + dc + shift) for dr in (-1, 1) for dc in (-1, 0)]
    return [i * grid[1] + j for i, j in near if 0 <= i < grid[0] and 0 <= j < grid[1]]


def _gates(grid: Grid, seed: int) -> tuple[int, int]:
    """Where the main river leaves and enters: nodes on opposite sides."""
    side, out, into = (uniform(np.arange(3, dtype=np.uint32), f"{seed} gates")).astype(float)
    rows, cols = grid
    leave, enter = 0.3 + 0.4 * out, 0.3 + 0.4 * into
    if side < 0.5:
        ends = int(leave * cols), (rows - 1) * cols + int(enter * cols)
    else:
        ends = int(leave * rows) * cols, int(enter * rows) * cols + cols - 1
    return ends if side % 0.5 < 0.25 else (ends[1], ends[0])


def _drain(sites: Floats, grid: Grid, outlet: int, seed: int) -> tuple[Ints, list[int]]:
    """Priority flood (Barnes et al. 2014): where each node drains to, and nodes from the outlet."""
    ys, xs = sites[:, 0].astype(np.float32), sites[:, 1].astype(np.float32)
    height = fbm(ys, xs, salt(seed, "relief"), wave=800, octaves=4).astype(np.float64)
    height += _length(sites - sites[outlet]) / 600
    down = np.full(len(sites), -1)
    seen = np.zeros(len(sites), bool)
    seen[outlet] = True
    order, heap = [], [(float(height[outlet]), outlet)]
    while heap:
        level, node = heappop(heap)
        order.append(node)
        for near in _around(node, grid):
            if not seen[near]:
                seen[near] = True
                down[near] = node
                heappush(heap, (max(level, float(height[near])), near))
    return down, order


def _half_width(catchment: Floats) -> Floats:
    root = np.sqrt(catchment)
    return np.asarray(0.42 * root / (1 + root / 45))


def _bends(sites: Floats, down: Ints, catchment: Floats, steps: int) -> Floats:
    """A smooth curve through every node that has a stream, from each of its tributaries."""
    stream = np.flatnonzero((catchment >= _STREAM_FROM) & (down >= 0))
    fed = stream[np.isin(down[stream], stream)]
    heads = np.setdiff1d(stream, down[fed])
    t = np.linspace(0, 1, steps + 1)[:, None]
    pieces = [np.empty((0, 6))]
    for up in fed:
        node = down[up]
        start, end = (sites[up] + sites[node]) / 2, (sites[node] + sites[down[node]]) / 2
        way = (1 - t) ** 2 * start + 2 * t * (1 - t) * sites[node] + t**2 * end
        width = _half_width(catchment[[up, node]])
        pieces.append(_chain(way, width[0] + t[:, 0] * (width[1] - width[0])))
    for node in heads:
        way = sites[node] + t / 2 * (sites[down[node]] - sites[node])
        width = _half_width(catchment[[node]])
        pieces.append(_chain(way, 0.3 + t[:, 0] * (width[0] - 0.3)))
    return np.concatenate(pieces)


def _chain(way: Floats, half: Floats) -> Floats:
    points = np.column_stack([way, half])
    return np.concatenate([points[:-1], points[1:]], axis=1)


def _meander(segments: Floats, seed: int) -> Lines:
    """Bend every point by noise of three wavelengths; wider rivers swing wider."""
    out = segments.astype(np.float32)
    for y, x, w in ((0, 1, 2), (3, 4, 5)):
        ys, xs, half = out[:, y].copy(), out[:, x].copy(), out[:, w].copy()
        swing = np.minimum(1, 0.35 + half / 4)
        for k, (wave, reach) in enumerate(((180.0, 24.0), (88.0, 13.0), (41.0, 4.5))):
            turn = [
                fbm(ys, xs, salt(seed, f"meander {axis} {k}"), wave=wave, octaves=1)
                for axis in "yx"
            ]
            out[:, y] += turn[0] * swing * np.float32(reach)
            out[:, x] += turn[1] * swing * np.float32(reach)
        out[:, w] *= 1 + np.float32(0.18) * fbm(
            ys, xs, salt(seed, "river width"), wave=60, octaves=2
        ).clip(-2, 2)
    return Lines(out)


def _bent(points: Floats, seed: int) -> Floats:
    """Points moved a little by slow noise, so that nothing runs dead straight."""
    ys, xs = (np.ascontiguousarray(points[:, k], dtype=np.float32) for k in (0, 1))
    move = [
        10 * fbm(ys, xs, salt(seed, f"bend {axis}"), wave=190, octaves=2, gain=0.35)
        for axis in "yx"
    ]
    return points + np.stack(move, axis=1)


def _neighbours(places: Floats, lattice: Ints) -> list[tuple[int, int]]:
    """Pairs of towns with no third town nearer to both."""
    rows, cols = lattice.shape
    pairs = []
    for r, c in zip(*np.nonzero(lattice >= 0), strict=True):
        here = lattice[r, c]
        box = lattice[max(0, r - 3) : min(rows, r + 4), max(0, c - 3) : min(cols, c + 4)]
        near = box[box >= 0]
        away = _length(places[near] - places[here])
        for other, reach in zip(near, away, strict=True):
            if other <= here:
                continue
            beyond = _length(places[near] - places[other])
            if not np.any(np.maximum(away, beyond) < reach):
                pairs.append((int(here), int(other)))
    return pairs


__all__ = ["Discs", "Field", "Lines", "rivers", "roads", "sandbars", "scatter", "towns"]
