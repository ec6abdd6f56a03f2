"""What covers each pixel, and the forms of the land under it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.ops.synthetic.lines import FAR, Field, coarse_window, upsample
from geoseg.ops.synthetic.noise import (
    Cells,
    Ids,
    Parcels,
    cells,
    fbm,
    parcels,
    positions,
    salt,
    uniform,
)
from geoseg.ops.synthetic.spectra import INDEX
from geoseg.ops.synthetic.world import World, heathiness, rockiness, wildness, woodiness

Covers = NDArray[np.uint8]
Bools = NDArray[np.bool_]

_STEP = 4  # valleys and slopes are wide: every fourth pixel is enough
_VALLEY = 110.0


@dataclass(frozen=True, slots=True)
class Land:
    """One window of land: what covers it, which object a pixel belongs to, light and furrows."""

    cover: Covers
    object: Ids
    light: Field
    across: Field


@dataclass(frozen=True, slots=True)
class _Site:
    """Everything that decides what grows where; all ``(y, x)``."""

    world: World
    window: Window
    ys: Field
    xs: Field
    district: Cells
    parcel: Parcels
    wild: Bools
    deep: Field  # how far a pixel is inside the forest, in units of noise
    bank: Field  # distance to the nearest bank

    def noise(self, name: str, wave: float, octaves: int, gain: float = 0.5) -> Field:
        seed = salt(self.world.seed, name)
        return fbm(self.ys, self.xs, seed, wave=wave, octaves=octaves, gain=gain)


def survey(world: World, window: Window, season: int) -> Land:
    """The land of ``window`` in June (``season`` 0) or September (1)."""
    site = _site(world, window)
    cover = np.full(window.shape, INDEX["grassland"])
    name = site.parcel.id.copy()
    _farm(site, cover)
    _wilderness(site, cover, name)
    stands = _forestry(site, cover, name, season)
    blocks = _towns(site, cover, name)
    _waters(site, cover, name, season)
    cover[world.roads.distance(window, reach=1.0) < 0] = INDEX["road"]
    del stands, blocks
    return Land(cover, name, _light(world, window), site.parcel.across)


def _site(world: World, window: Window) -> _Site:
    ys, xs = positions(window)
    seed = world.seed
    wy = fbm(ys, xs, salt(seed, "wobble y"), wave=110, octaves=2, gain=0.3)
    wx = fbm(ys, xs, salt(seed, "wobble x"), wave=110, octaves=2, gain=0.3)
    py, px = ys + np.float32(3) * wy, xs + np.float32(3) * wx
    district = cells(
        py + np.float32(9) * wy, px + np.float32(9) * wx, salt(seed, "district"), size=150
    )
    parcel = parcels(py, px, district.id, block=(45, 95), smallest=170)
    return _Site(
        world=world,
        window=window,
        ys=ys,
        xs=xs,
        district=district,
        parcel=parcel,
        wild=wildness(parcel.y, parcel.x, seed) >= np.float32(world.wild),
        deep=woodiness(ys, xs, seed) - np.float32(world.wooded),
        bank=world.streams.distance(window, reach=9.0),
    )


def _farm(site: _Site, cover: Covers) -> None:
    """Fields: one crop or pasture each, margins between, hedges, tracks and a few woodlots."""
    p = site.parcel
    use, crop = uniform(p.id, "use"), uniform(p.id, "crop")
    green = fbm(p.y, p.x, salt(site.world.seed, "pasture"), wave=350, octaves=2)
    fields = np.full(cover.shape, INDEX["fallow"])
    for name, share in (("roots", 0.88), ("maize field", 0.72), ("cereal", 0.45)):
        fields[crop < share] = INDEX[name]
    fields[p.border < 0.5] = INDEX["field margin"]
    grazed = use < np.float32(0.24) + np.float32(0.13) * green
    fields[grazed] = INDEX["pasture"]
    fields[use > 0.94] = INDEX["forest"]
    hedged = uniform(site.district.id, "hedge") < 0.35
    hedged &= (p.border < 0.95) & (uniform(p.id, "hedge") < 0.6)
    fields[hedged] = INDEX["hedge"]
    fields[site.district.border < 0.55] = INDEX["track"]
    yard = (np.abs(site.ys - p.y) < 2.2) & (np.abs(site.xs - p.x) < 1.7)
    fields[yard & (uniform(p.id, "farmstead") < 0.05)] = INDEX["suburb"]
    np.copyto(cover, fields, where=~site.wild)


def _wilderness(site: _Site, cover: Covers, name: Ids) -> None:
    """Grass, shrubs and thin soils where nobody farms."""
    seed = site.world.seed
    heath = heathiness(site.ys, site.xs, seed) > np.float32(site.world.heathy)
    bare = rockiness(site.ys, site.xs, seed) > np.float32(site.world.rocky)
    cover[site.wild & heath] = INDEX["shrubs"]
    cover[site.wild & bare] = INDEX["scree"]
    np.copyto(name, site.district.id, where=site.wild)


def _forestry(site: _Site, cover: Covers, name: Ids, season: int) -> None:
    """Forest of stands, with rides between them, clearings of all ages, and woods on banks."""
    seed = site.world.seed
    forest = site.wild & (site.deep > 0)
    riparian = (site.bank < 2.5 + 3 * site.noise("riparian", 40, 3)) & (site.bank < 8)
    forest |= riparian & (site.noise("banks", 90, 2) > -0.1)
    cover[forest] = INDEX["forest"]
    district = cells(site.ys, site.xs, salt(seed, "compartment"), size=210)
    wander = np.float32(2.5) * site.noise("edges", 40, 3)
    cut = parcels(site.ys + wander, site.xs - wander, district.id, block=(60, 110), smallest=110)
    cover[forest & (cut.border < 0.45) & (site.deep > 0.3)] = INDEX["ride"]
    age = uniform(cut.id, "felled")
    inner = forest & site.wild & (cut.border > 0.8) & (cut.area > 90)
    inner &= woodiness(cut.y, cut.x, seed) > np.float32(site.world.wooded + 0.25)
    cover[inner & (age < 0.10)] = INDEX["regrowth"]
    cover[inner & (age < 0.06)] = INDEX["clearcut"]
    if season == 1:
        cover[inner & (age > 0.945)] = INDEX["clearcut"]
    stand = cells(
        site.ys + np.float32(5) * wander, site.xs - np.float32(5) * wander,
        salt(seed, "stand"), size=34,
    )  # fmt: skip
    np.copyto(name, stand.id, where=cover == INDEX["forest"])
    np.copyto(name, cut.id, where=inner & (age < 0.1))


def _towns(site: _Site, cover: Covers, name: Ids) -> None:
    """Blocks between streets: dense in the middle, gardens, works and parks further out."""
    near, which = site.world.towns.closeness(site.window, reach=1.8)
    if not (which >= 0).any():
        return
    lot = parcels(site.ys, site.xs, which.astype(np.uint32), block=(9, 15), smallest=34)
    grown = near + np.float32(0.22) * site.noise("town", 45, 4, 0.6)
    grown += np.float32(0.35) * (uniform(lot.id, "built") - np.float32(0.5))
    town = (grown > 0.18) & (which >= 0)
    kind = uniform(lot.id, "kind")
    street = lot.border < 0.42
    cover[town] = INDEX["suburb"]
    cover[town & (grown > 0.62)] = INDEX["centre"]
    cover[town & (kind > 0.93)] = INDEX["industry"]
    cover[town & (kind < 0.10) & ~street] = INDEX["pasture"]
    cover[town & (kind < 0.05) & ~street] = INDEX["forest"]
    cover[town & street] = INDEX["street"]
    np.copyto(name, lot.id, where=town)


def _waters(site: _Site, cover: Covers, name: Ids, season: int) -> None:
    """Lakes and rivers with bars of sand, quarries, and in September the flood."""
    world, window = site.world, site.window
    dug, _ = world.quarries.closeness(window)
    cover[dug + np.float32(0.25) * site.noise("quarry", 18, 3) > 0] = INDEX["quarry"]
    near, which = world.lakes.closeness(window)
    shore = near + np.float32(0.27) * site.noise("shore", 60, 6, 0.55)
    lake = (shore > 0) & (which >= 0)
    cover[(shore > -0.05) & (which >= 0)] = INDEX["shrubs"]
    cover[lake] = INDEX["lake"]
    np.copyto(name, which.astype(np.uint32), where=lake)
    main = _every_fourth(world, window, reach=90.0)
    sand = ~lake & (main < 2.6) & (site.bank > -1.4) & (site.bank < 3)
    sand &= site.noise("bars", 38, 3) > 0.85
    cover[(site.bank < 0) & ~lake] = INDEX["river"]
    cover[sand] = INDEX["sand bar"]
    if season == 1:
        reach, _ = world.flood.closeness(window, reach=1.0)
        height = main + np.float32(13) * site.noise("levee", 55, 5, 0.55)
        wet = (height < np.minimum(reach * 55, 36)) & (main < 70)
        built = (cover >= INDEX["suburb"]) & (cover <= INDEX["road"])
        cover[wet & ~built & (cover != INDEX["lake"]) & (cover != INDEX["river"])] = INDEX["flood"]


def _every_fourth(world: World, window: Window, *, reach: float) -> Field:
    around = coarse_window(window, _STEP)
    coarse = world.main.distance(around, reach=reach, step=_STEP)
    return upsample(np.minimum(coarse, np.float32(2 * reach)), around, window, _STEP)


def _light(world: World, window: Window) -> Field:
    """How much more or less light a slope gets from a sun in the south-south-east."""
    around = coarse_window(window, _STEP)
    wide = Window(around.y0 - 1, around.x0 - 1, around.y1 + 1, around.x1 + 1)
    ys, xs = positions(wide, _STEP)
    bank = world.streams.distance(wide, reach=_VALLEY, step=_STEP)
    valley = np.clip(bank / np.float32(_VALLEY), 0, 1)
    valley = valley * valley * (np.float32(3) - np.float32(2) * valley)
    hills = fbm(ys, xs, salt(world.seed, "relief"), wave=800, octaves=7, gain=0.52)
    height = (np.float32(0.25) + np.float32(0.75) * valley) * hills + np.float32(0.5) * valley
    south = height[2:, 1:-1] - height[:-2, 1:-1]
    east = height[1:-1, 2:] - height[1:-1, :-2]
    light = np.float32(-0.80) * south - np.float32(0.35) * east
    return upsample(np.clip(light, -0.35, 0.35), around, window, _STEP)


__all__ = ["FAR", "Land", "survey"]
