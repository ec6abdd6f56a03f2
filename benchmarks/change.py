"""False alerts on land that has not changed, and true clearings found, by rule for class edges.

    python benchmarks/change.py --size 640

Maps synthetic scenes of seeds that no shipped model was trained on with ``--model``, several times:
the same day again with other noise; the same, half a pixel aside; and the later season, in which
forest was cut, as it is and half a pixel aside. Prints a table in Markdown: hectares of false alerts
on the two pairs without change (of all classes, and of lost trees alone), and of the true clearings
(trees that became something else than water) the share that is found, with hectares of lost trees
that were not lost. ``seen`` is the share of clearings that both maps show: no rule finds more.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from refinement import SYNTHETIC_SEEDS, Labelled, mapped

from geoseg.grid import Window, blocks
from geoseg.legend import LANDCOVER
from geoseg.models.base import Segmenter
from geoseg.models.committee import Committee
from geoseg.models.registry import find
from geoseg.ops.change import CHANGED, ChangeRule, find_changes
from geoseg.ops.metric import measure_grid
from geoseg.ops.patch_areas import rim_patches, settle_patches, small_pixels
from geoseg.ops.regions import NODATA
from geoseg.ops.synthetic.scene import observe
from geoseg.testing import utm_grid

WATER, TREES = 1, 2
HECTARES = 0.01
NOISE = 0.004  # of reflectance, on top of what the scene has
RULES = [
    ("keep", 1, 0), ("weigh", 1, 0), ("weigh", 2, 0), ("erode", 1, 0), ("erode", 2, 0),
    ("keep", 1, 60), ("weigh", 1, 60), ("erode", 1, 60),
]  # fmt: skip


@dataclass(frozen=True)
class Mapped:
    """A map with its truth."""

    classes: NDArray[np.int16]
    percent: NDArray[np.uint8]
    truth: NDArray[np.int64]


@dataclass(frozen=True)
class Place:
    """One place, mapped again and again."""

    first: Mapped
    again: Mapped
    aside: Mapped
    later: Mapped
    later_aside: Mapped


def scene(size: int, seed: int, season: int, aside: float, noise: int) -> Labelled:
    window = Window(1000, 1000, 1000 + size, 1000 + size + 1)
    seen = observe(window, size=(3000, 3000), seed=seed, season=season)
    values = (seen.dn.astype(np.float32) - 1000) * 1e-4
    values = (1 - aside) * values[..., :-1] + aside * values[..., 1:]
    if noise:
        grain = np.random.default_rng(noise).normal(0, NOISE, values.shape)
        values = values + grain.astype(np.float32)
    valid = (seen.dn > 0).all(axis=0)[:, :-1]
    return Labelled(values, valid, seen.classes[:, :-1].astype(np.int64))


def places(model: Segmenter, size: int) -> Iterator[Place]:
    def of(seed: int, season: int, aside: float, noise: int) -> Mapped:
        made = scene(size, seed, season, aside, noise)
        said = mapped(model, made)
        codes = said.classes.astype(np.int16)
        codes[said.classes == LANDCOVER.nodata] = -1
        return Mapped(codes, said.confidence, made.truth)

    for seed in SYNTHETIC_SEEDS:
        yield Place(
            of(seed, 0, 0.0, 0), of(seed, 0, 0.0, 5), of(seed, 0, 0.5, 5), of(seed, 1, 0.0, 0),
            of(seed, 1, 0.5, 5),
        )  # fmt: skip


def changes(one: Mapped, two: Mapped, rule: ChangeRule, least: int) -> NDArray[np.bool_]:
    state = find_changes(
        one.classes, two.classes, rule, sure_before=one.percent, sure_after=two.percent
    )
    found = state == CHANGED
    return found & ~small(np.where(found, one.classes, NODATA), least) if least else found


def small(groups: NDArray[np.int16], least: int) -> NDArray[np.bool_]:
    """Pixels of patches below ``least`` pixels."""
    shape = groups.shape
    metric, out = measure_grid(utm_grid(shape)), np.zeros(shape, np.bool_)
    windows = list(blocks(shape, 256))
    surveys = [rim_patches(groups[w.slices], w, metric, in_pixels=True) for w in windows]
    for w, rim in settle_patches(surveys, shape, least):
        out[w.slices] = small_pixels(
            groups[w.slices], w, metric, limit=least, in_pixels=True, small_rim=rim
        )
    return out


def row(there: list[Place], rule: ChangeRule, least: int) -> str:
    cells = []
    for name in ("again", "aside"):
        found = [(p, changes(p.first, getattr(p, name), rule, least)) for p in there]
        every = sum(int(f.sum()) for _, f in found) * HECTARES
        trees = sum(int((f & (p.first.classes == TREES)).sum()) for p, f in found) * HECTARES
        cells.append(f"{every:.1f} ({trees:.1f})")
    for name in ("later", "later_aside"):
        hit = total = seen = wrong = 0
        for place in there:
            one, two = place.first, getattr(place, name)
            lost = (one.truth == TREES) & ~np.isin(two.truth, (TREES, WATER, LANDCOVER.nodata))
            said = (one.classes == TREES) & (two.classes != TREES) & (two.classes >= 0)
            found = changes(one, two, rule, least) & said
            hit, total, seen = (
                hit + (found & lost).sum(),
                total + lost.sum(),
                seen + (said & lost).sum(),
            )
            wrong += (found & ~lost & (two.truth != WATER)).sum()
        cells.append(f"{hit / total:.3f} of {seen / total:.3f} ({wrong * HECTARES:.1f})")
    least_confidence = f"{rule.min_confidence} %" if rule.min_confidence else "any"
    area = f"{least * HECTARES:g} ha" if least else "any"
    head = rule.edges if rule.edges == "keep" else f"{rule.edges}, {rule.reach} px"
    return f"| {head} | {least_confidence} | {area} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--model", default="landcover-s2")
    asked = parser.parse_args()
    model = Committee((find(asked.model),)).open(device="cpu")
    there = list(places(model, asked.size))
    pixels = len(there) * asked.size**2
    print(f"\n{len(there)} places, {pixels * HECTARES:,.0f} ha\n")
    print(
        "| edges | confidence | patches | false alerts, ha (trees): the same day again | half a pixel "
        "aside | clearings found, of those seen (false loss of trees, ha) | half a pixel aside |"
    )
    print("| --- | --- | --- | ---: | ---: | ---: | ---: |")
    for least in (0, 20):
        for edges, reach, percent in RULES:
            print(row(there, ChangeRule(edges, reach, percent), least), flush=True)


if __name__ == "__main__":
    main()
