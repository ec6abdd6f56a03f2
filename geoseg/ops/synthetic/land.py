"""What covers each pixel, and the forms of the land under it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.ops.synthetic.lines import Field, coarse_window, upsample
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
_DISTRICT = 150.0
_FELLED = 110.0, 1900.0  # pixels: clearings of 1 to 19 ha, less their margins
_OUTSIDE = np.float32(-9)


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
    deep: Field  # how far a pixel is inside the forest, in units of noise; _OUTSIDE on farms
    bank: Field  # distance to the nearest bank

    def noise(
        self, name: str, wave: float, octaves: int, gain: float = 0.5, *, where: Bools | None = None
    ) -> Field:
        """Noise of unit variance; 0 where it is not asked for."""
        seed = salt(self.world.seed, name)
        if where is None:
            return fbm(self.ys, self.xs, seed, wave=wave, octaves=octaves, gain=gain)
        out = np.zeros(self.ys.shape, np.float32)
        ys, xs = self.ys[where], self.xs[where]
        out[where] = fbm(ys, xs, seed, wave=wave, octaves=octaves, gain=gain)
        return out


def survey(world: World, window: Window, season: int) -> Land:
    """The land of ``window`` in June (``season`` 0) or September (1)."""
    site = _site(world, window)
    cover = np.full(window.shape, INDEX["grassland"])
    name = site.parcel.id.copy()
    _farm(site, cover)
    _wilderness(site, cover, name)
    _forestry(site, cover, name, season)
    _towns(site, cover, name)
    _waters(site, cover, name, season)
    road = world.roads.distance(window, reach=1.0) < 0
    cover[road & (cover != INDEX["lake"])] = INDEX["road"]
    return Land(cover, name, _light(world, window), site.parcel.across)


def _site(world: World, window: Window) -> _Site:
    ys, xs = positions(window)
    seed = world.seed
    wy = fbm(ys, xs, salt(seed, "wobble y"), wave=110, octaves=2, gain=0.3)
    wx = fbm(ys, xs, salt(seed, "wobble x"), wave=110, octaves=2, gain=0.3)
    py, px = ys + np.float32(3) * wy, xs + np.float32(3) * wx
    district = cells(
        py + np.float32(9) * wy, px + np.float32(9) * wx, salt(seed, "district"), size=_DISTRICT
    )
    parcel = parcels(py, px, district.id, block=(45, 95), smallest=170)
    wild = wildness(parcel.y, parcel.x, seed) >= np.float32(world.wild)
    deep = np.full(window.shape, _OUTSIDE)
    deep[wild] = woodiness(ys[wild], xs[wild], seed) - np.float32(world.wooded)
    return _Site(
        world=world,
        window=window,
        ys=ys,
        xs=xs,
        district=district,
        parcel=parcel,
        wild=wild,
        deep=deep,
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
    hedged = uniform(site.district.id, "hedge") < 0.25
    hedged &= (p.border < 0.95) & (uniform(p.id, "hedge") < 0.6)
    fields[hedged] = INDEX["hedge"]
    fields[site.district.border < 0.55] = INDEX["track"]
    yard = (np.abs(site.ys - p.y) < 2.2) & (np.abs(site.xs - p.x) < 1.7)
    fields[yard & (uniform(p.id, "farmstead") < 0.05)] = INDEX["suburb"]
    np.copyto(cover, fields, where=~site.wild)


def _wilderness(site: _Site, cover: Covers, name: Ids) -> None:
    """Grass, shrubs and thin soils where nobody farms and no forest stands."""
    world, land = site.world, site.wild & (site.deep <= 0)
    ys, xs = site.ys[land], site.xs[land]
    turf = fbm(ys, xs, salt(world.seed, "turf"), wave=9, octaves=3, gain=0.7)
    found = np.full(ys.shape, INDEX["grassland"])
    found[heathiness(ys, xs, world.seed) > np.float32(world.heathy)] = INDEX["shrubs"]
    rock = rockiness(ys, xs, world.seed) + np.float32(0.25) * turf
    found[rock > np.float32(world.rocky)] = INDEX["scree"]
    cover[land] = found
    np.copyto(name, site.district.id, where=site.wild)


def _forestry(site: _Site, cover: Covers, name: Ids, season: int) -> None:
    """Forest of stands, with rides between them, clearings of all ages, and woods on banks."""
    seed = site.world.seed
    grown = site.wild & (site.deep > 0)
    near = site.bank < 8
    wet = site.bank < 2.5 + 3 * site.noise("riparian", 40, 3, where=near)
    forest = grown | (near & wet & (site.noise("banks", 90, 2, where=near) > -0.1))
    cover[forest] = INDEX["forest"]
    wander = np.float32(2.5) * site.noise("edges", 40, 2)
    ys, xs = site.ys + wander, site.xs - wander
    cut = parcels(ys, xs, site.district.id, block=(60, 110), smallest=110)
    ridden = (uniform(site.district.id, "rides") < 0.4) & (cut.border < 0.4) & (site.deep > 0.3)
    cover[grown & ridden] = INDEX["ride"]
    stand = cells(
        ys + np.float32(4) * wander, xs - np.float32(4) * wander, salt(seed, "stand"), size=34
    )
    np.copyto(name, stand.id, where=cover == INDEX["forest"])
    _fell(site, cover, name, cut, season)


def _fell(site: _Site, cover: Covers, name: Ids, cut: Parcels, season: int) -> None:
    """Clearings deep in the forest: grown over, fresh, and in September new ones."""
    seed = site.world.seed
    age = uniform(cut.id, "felled")
    due = site.wild & (site.deep > 0) & (cut.border > 0.8)
    due &= ((age < 0.10) | (age > 0.945)) & (cut.area > _FELLED[0]) & (cut.area < _FELLED[1])
    ys, xs = cut.y[due], cut.x[due]
    middle = woodiness(ys, xs, seed) > np.float32(site.world.wooded + 0.25)
    # What a district's border cuts off is too small to be worth felling.
    around = cells(ys, xs, salt(seed, "district"), size=_DISTRICT)
    middle &= around.id == site.district.id[due]
    middle &= around.border > np.float32(0.55) * np.sqrt(cut.area[due])
    due[due] = middle
    cover[due & (age < 0.10)] = INDEX["regrowth"]
    cover[due & (age < 0.06)] = INDEX["clearcut"]
    np.copyto(name, cut.id, where=due & (age < 0.10))
    if season == 1:
        cover[due & (age > 0.945)] = INDEX["clearcut"]
        np.copyto(name, cut.id, where=due)


def _towns(site: _Site, cover: Covers, name: Ids) -> None:
    """Blocks between streets: dense in the middle, gardens, works and parks further out."""
    near, which = site.world.towns.closeness(site.window, reach=1.8)
    there = which >= 0
    if not there.any():
        return
    lot = parcels(
        site.ys[there], site.xs[there], which[there].astype(np.uint32), block=(9, 15), smallest=34
    )
    seed = salt(site.world.seed, "town")
    edge = fbm(site.ys[there], site.xs[there], seed, wave=45, octaves=4, gain=0.6)
    luck = uniform(lot.id, "built") - np.float32(0.5)
    grown = near[there] + np.float32(0.22) * edge + np.float32(0.35) * luck
    town, kind, street = grown > 0.18, uniform(lot.id, "kind"), lot.border < 0.42
    found, names = cover[there], name[there]
    found[town] = INDEX["suburb"]
    found[town & (grown > 0.62)] = INDEX["centre"]
    found[town & (kind > 0.93)] = INDEX["industry"]
    found[town & (kind < 0.10)] = INDEX["pasture"]
    found[town & (kind < 0.05)] = INDEX["forest"]
    found[town & street] = INDEX["street"]
    names[town] = lot.id[town]
    cover[there], name[there] = found, names


def _waters(site: _Site, cover: Covers, name: Ids, season: int) -> None:
    """Quarries, lakes, rivers with bars of sand, and in September the flood."""
    world, window = site.world, site.window
    dug, _ = world.quarries.closeness(window)
    edge = np.float32(0.25) * site.noise("quarry", 18, 3, where=dug > -0.99)
    cover[(dug + edge > 0) & (dug > -0.99)] = INDEX["quarry"]
    near, which = world.lakes.closeness(window)
    there = which >= 0
    shore = near + np.float32(0.22) * site.noise("shore", 75, 3, where=there)
    shore += np.float32(0.17) * site.noise("bays", 26, 4, 0.55, where=there)
    lake = (shore > 0) & there
    cover[(shore > -0.05) & there] = INDEX["shrubs"]
    cover[lake] = INDEX["lake"]
    np.copyto(name, which.astype(np.uint32), where=lake)
    sand = ~lake & (site.bank > -0.5) & (world.bars.distance(window, reach=2.0) < -0.8)
    cover[(site.bank < 0) & ~lake] = INDEX["river"]
    cover[sand] = INDEX["sand bar"]
    if season == 1:
        _flood(site, cover)


def _flood(site: _Site, cover: Covers) -> None:
    """The main river over its banks along one reach; built land is kept dry by dykes."""
    reach, _ = site.world.flood.closeness(site.window, reach=1.0)
    if not (reach > 0).any():
        return
    main = _every_fourth(site.world, site.window, reach=90.0)
    near = (reach > 0) & (main < 70)
    height = main + np.float32(13) * site.noise("levee", 55, 5, 0.55, where=near)
    wet = near & (height < np.minimum(reach * np.float32(55), 36))
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


__all__ = ["Land", "survey"]
