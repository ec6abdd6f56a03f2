"""What is settled once for a whole scene: networks, places, and how common each zone is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from geoseg.ops.synthetic.lines import Discs, Field, Lines
from geoseg.ops.synthetic.network import Grid, rivers, roads, sandbars, scatter, towns
from geoseg.ops.synthetic.noise import fbm, salt

_SAMPLES = 64  # along either side, to measure how noise is distributed in this scene


@dataclass(frozen=True, slots=True)
class World:
    """A landscape before it is drawn. Small: grows with the scene's area by a byte a hectare.

    ``wild``, ``wooded``, ``heathy`` and ``rocky`` are the levels of noise above which land is
    left to itself, is forest, is shrubland, is bare; set so that every scene has its share.
    """

    size: Grid
    seed: int
    streams: Lines
    main: Lines
    bars: Lines
    roads: Lines
    towns: Discs
    lakes: Discs
    quarries: Discs
    flood: Discs
    wild: float
    wooded: float
    heathy: float
    rocky: float


@lru_cache(maxsize=4)
def build_world(size: Grid, seed: int) -> World:
    """The landscape of a scene of ``size`` (rows, columns)."""
    streams = rivers(size, seed)
    main = streams.wider(1.7)
    town, lattice = towns(size, seed)
    levels = _levels(size, seed)
    return World(
        size=size,
        seed=seed,
        streams=streams,
        main=main,
        bars=sandbars(main, seed),
        roads=roads(town, lattice, seed),
        towns=town,
        lakes=_discs(size, seed, "lake", (280.0, 0.6), (10.0, 25.0, 90.0)),
        quarries=_discs(size, seed, "quarry", (330.0, 0.6), (5.0, 16.0, 3.0)),
        flood=_flood(size, main, seed),
        wild=levels[0],
        wooded=levels[1],
        heathy=levels[2],
        rocky=levels[3],
    )


def wildness(ys: Field, xs: Field, seed: int) -> Field:
    """High where land is left to forest, grass and rock; low where it is farmed."""
    region = fbm(ys, xs, salt(seed, "region"), wave=2400, octaves=2)
    return fbm(ys, xs, salt(seed, "wild"), wave=520, octaves=3) + np.float32(0.7) * region


def woodiness(ys: Field, xs: Field, seed: int) -> Field:
    """High where forest grows."""
    return fbm(ys, xs, salt(seed, "wood"), wave=230, octaves=6, gain=0.55)


def heathiness(ys: Field, xs: Field, seed: int) -> Field:
    """High where shrubs take over from grass."""
    return fbm(ys, xs, salt(seed, "heath"), wave=90, octaves=5, gain=0.6)


def rockiness(ys: Field, xs: Field, seed: int) -> Field:
    """High where soil is thin."""
    return fbm(ys, xs, salt(seed, "rock"), wave=130, octaves=5, gain=0.65)


def _levels(size: Grid, seed: int) -> tuple[float, float, float, float]:
    """Quantiles over samples of the scene: wild half, forest and rock within it."""
    rows = (np.arange(_SAMPLES, dtype=np.float32) + np.float32(0.5)) * np.float32(
        size[0] / _SAMPLES
    )
    cols = (np.arange(_SAMPLES, dtype=np.float32) + np.float32(0.5)) * np.float32(
        size[1] / _SAMPLES
    )
    ys, xs = (np.ascontiguousarray(a) for a in np.meshgrid(rows, cols, indexing="ij"))
    wild = wildness(ys, xs, seed)
    level = float(np.quantile(wild, 0.5))
    inside = wild >= level
    wood = woodiness(ys, xs, seed)[inside]
    heath = heathiness(ys, xs, seed)[inside]
    wooded = float(np.quantile(wood, 0.36))
    open_ = inside & (woodiness(ys, xs, seed) < wooded)
    rock = rockiness(ys, xs, seed)
    rocky = float(np.quantile(rock[open_] if open_.any() else rock, 0.80))
    return level, wooded, float(np.quantile(heath, 0.55)), rocky


def _discs(
    size: Grid, seed: int, name: str, where: tuple[float, float], radii: tuple[float, float, float]
) -> Discs:
    """Scattered discs of mostly small radii: ``low + mid * u^2 + high * u^16``."""
    found = scatter(size, seed, name, spacing=where[0], share=where[1])
    square = found[:, 2] * found[:, 2]
    rare = square * square * square * square
    found[:, 2] = radii[0] + radii[1] * square + radii[2] * rare * rare
    return Discs(found.astype(np.float32))


def _flood(size: Grid, main: Lines, seed: int) -> Discs:
    """The reach of the main river that floods: the one nearest to a place inside the scene."""
    if not len(main.segments):
        return Discs(np.empty((0, 3), np.float32))
    luck = salt(seed, "flood")
    spot = np.array([0.35 + 0.3 * (luck % 97) / 97, 0.35 + 0.3 * (luck % 89) / 89]) * size
    away = ((main.segments[:, :2] - spot) ** 2).sum(axis=1)
    y, x = main.segments[int(np.argmin(away)), :2]
    radius = min(1600.0, max(90.0, 0.3 * min(size)))
    return Discs(np.array([[y, x, radius]], np.float32))
