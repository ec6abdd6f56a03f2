"""One block of plots: how much of each is forest, was lost since the cut-off, was seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.io.class_raster import NO_CLASS
from geoseg.io.dated_map import MapReader
from geoseg.io.loss_layers import NO_PERCENT, Losses, LossReader
from geoseg.ops.coverage import coverage, directed_edges
from geoseg.ops.metric import Metric

OTHER, FOREST, LOSS, UNCONFIRMED, UNDATED, EARLIER, UNSEEN = range(7)
"""What a pixel of a picture shows."""

_LATE: Final = np.iinfo(np.int32).max


MOST_LAYERS: Final = 63
"""Layers of loss: a pixel has a bit for each."""


@dataclass(frozen=True, slots=True)
class ForestThen:
    """A map of classes at the cut-off, and the codes that are forest (none: all but 0)."""

    map: MapReader
    codes: tuple[int, ...]

    def read(self, window: Window) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Where forest was, and where the map says anything, ``(y, x)``."""
        classes = self.map.classes(window)
        forest = np.isin(classes, self.codes) if self.codes else classes > 0
        return forest, classes != NO_CLASS


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """A window, each pixel as it counts, ``(y, x)`` each.

    Attributes:
        seen: Where some layer would have shown a loss.
        forest: Where forest was at the cut-off; everywhere without a map of it.
        known: Where the map says whether it was.
        loss: Forest lost since the cut-off.
        sure: Which of it is confirmed.
        undated: Loss that may be older, or not of forest.
        earlier: Loss until the cut-off.
        outside: Loss since the cut-off where no forest was.
        after: Last day, since 1970, without the loss.
        by: Day of the loss.
        percent: How sure, 255 where nobody says.
        layers: Which layers show it, a bit each.
    """

    seen: NDArray[np.bool_]
    forest: NDArray[np.bool_]
    known: NDArray[np.bool_]
    loss: NDArray[np.bool_]
    sure: NDArray[np.bool_]
    undated: NDArray[np.bool_]
    earlier: NDArray[np.bool_]
    outside: NDArray[np.bool_]
    after: NDArray[np.int32]
    by: NDArray[np.int32]
    percent: NDArray[np.uint8]
    layers: NDArray[np.int64]

    def picture(self, *, forest: bool) -> NDArray[np.uint8]:
        """One code a pixel, for maps; ``forest`` says whether a map tells where it was."""
        codes = np.full(self.seen.shape, OTHER, np.uint8)
        if forest:
            codes[self.forest & self.known] = FOREST
        codes[~self.seen] = UNSEEN
        for where, code in (
            (self.earlier, EARLIER),
            (self.undated, UNDATED),
            (self.loss, UNCONFIRMED),
            (self.loss & self.sure, LOSS),
        ):
            codes[where] = code
        return codes


@dataclass(slots=True)
class Tally:
    """Sums of a plot, in square metres of the part of each pixel that lies in it."""

    covered: float = 0.0
    seen: float = 0.0
    forest: float = 0.0
    forest_known: float = 0.0
    loss: float = 0.0
    confirmed: float = 0.0
    undated: float = 0.0
    earlier: float = 0.0
    outside: float = 0.0
    percents: float = 0.0
    percents_of: float = 0.0
    after: int = _LATE
    first: int = _LATE
    last: int = 0
    layers: int = 0
    years: dict[int, float] = field(default_factory=dict)

    def add(self, other: Tally) -> None:
        """Count another part of the same plot."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.after = min(self.after, other.after)
        self.first = min(self.first, other.first)
        self.last = max(self.last, other.last)
        self.layers |= other.layers
        for year, area in other.years.items():
            self.years[year] = self.years.get(year, 0.0) + area


_SUMS: Final = (
    "covered", "seen", "forest", "forest_known", "loss", "confirmed", "undated", "earlier",
    "outside", "percents", "percents_of",
)  # fmt: skip


class _Gathered(NamedTuple):
    """What layers of loss say together ``(y, x)``; days, percent and layers of what surely counts."""

    seen: NDArray[np.bool_]
    late: NDArray[np.bool_]  # surely since the cut-off
    maybe: NDArray[np.bool_]
    earlier: NDArray[np.bool_]
    sure: NDArray[np.bool_]
    after: NDArray[np.int32]
    by: NDArray[np.int32]
    percent: NDArray[np.uint8]
    layers: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ground:
    """The layers of a check on one grid; reads windows of it. For several threads.

    Attributes:
        losses: What shows loss.
        telling: Which of them tell by showing none that nothing was lost since the cut-off.
        cut_off: Days since 1970; None counts all loss.
        forest: Where it was at the cut-off; None counts loss of anything.
    """

    losses: Sequence[LossReader]
    telling: Sequence[bool]
    cut_off: int | None
    forest: ForestThen | None

    def read(self, window: Window) -> Pixels:
        """All layers together; where several show a loss, the earliest that surely counts."""
        forest, known = np.ones(window.shape, np.bool_), np.ones(window.shape, np.bool_)
        if self.forest is not None:
            forest, known = self.forest.read(window)
        found = self._gathered(window)
        late, maybe = found.late, found.maybe
        loss = late & forest & known
        return Pixels(
            found.seen,
            forest,
            known,
            loss,
            found.sure & loss,
            (maybe & ~late & (forest | ~known)) | (late & ~known),
            found.earlier & ~late & ~maybe,
            late & known & ~forest,
            found.after,
            found.by,
            found.percent,
            found.layers,
        )

    def _gathered(self, window: Window) -> _Gathered:
        """What the layers say together, whatever was forest."""
        shape = window.shape
        cut = -_LATE if self.cut_off is None else self.cut_off
        seen, late, maybe, earlier, sure = (np.zeros(shape, np.bool_) for _ in range(5))
        after = np.full(shape, _LATE, np.int32)
        by = np.full(shape, _LATE, np.int32)
        percent, layers = np.full(shape, NO_PERCENT, np.uint8), np.zeros(shape, np.int64)
        for number, reader in enumerate(self.losses):
            one: Losses = reader.read(window)
            if self.telling[number]:
                seen |= one.seen
            lost = one.by != 0
            certain = lost & (one.after >= cut)
            late |= certain
            maybe |= lost & (one.after < cut) & (one.by > cut)
            earlier |= lost & (one.by <= cut)
            sure |= certain & one.sure
            sooner = certain & (one.by < by)
            by[sooner], after[sooner] = one.by[sooner], one.after[sooner]
            told = certain & (one.percent != NO_PERCENT)
            fresh = told & ((percent == NO_PERCENT) | (one.percent > percent))
            percent[fresh] = one.percent[fresh]
            layers[lost & ~(one.by <= cut)] |= 1 << number
        return _Gathered(seen, late, maybe, earlier, sure, after, by, percent, layers)


@dataclass(frozen=True, slots=True)
class CountPlots:
    """Counts the plots in a block.

    Attributes:
        ground: The layers.
        metric: How large pixels are.
        tree: Of the shapes, in pixels.
        shapes: ``(plot part,)`` oriented polygons in pixels.
        plots: ``(plot part,)`` which plot each belongs to.
    """

    ground: Ground
    metric: Metric
    tree: shapely.STRtree
    shapes: NDArray[np.object_]
    plots: NDArray[np.int64]

    def __call__(self, window: Window) -> Mapping[int, Tally]:
        """Sums by plot."""
        frame = shapely.box(window.x0, window.y0, window.x1, window.y1)
        parts = np.sort(self.tree.query(frame, predicate="intersects"))
        found: dict[int, Tally] = {}
        if not len(parts):
            return found
        boxes = shapely.bounds(self.shapes[parts])
        west, south, east, north = (boxes[:, 0].min(), boxes[:, 1].min(), boxes[:, 2].max(), boxes[:, 3].max())  # fmt: skip
        near = window & _around(west, south, east, north)
        if not near:
            return found
        pixels, areas = self.ground.read(near), pixel_areas(self.metric, near)
        for part in parts.tolist():
            inner = near & _around(*shapely.bounds(self.shapes[part]))
            if not inner:
                continue
            place = inner.within(near).slices
            rings = shapely.get_rings(shapely.get_parts(self.shapes[part]))
            edges = directed_edges(shapely.get_coordinates(ring) for ring in rings)
            square_metres = coverage(edges, inner) * areas[place]
            found.setdefault(int(self.plots[part]), Tally()).add(
                _tally(pixels, place, square_metres)
            )
        return found


def _tally(pixels: Pixels, place: tuple[slice, slice], area: NDArray[np.float64]) -> Tally:
    def total(where: NDArray[np.bool_]) -> float:
        return float(area[where[place]].sum())

    told = pixels.loss & (pixels.percent != NO_PERCENT)
    tally = Tally(
        covered=float(area.sum()),
        seen=total(pixels.seen),
        forest=total(pixels.forest & pixels.known),
        forest_known=total(pixels.known),
        loss=total(pixels.loss),
        confirmed=total(pixels.sure),
        undated=total(pixels.undated),
        earlier=total(pixels.earlier),
        outside=total(pixels.outside),
        percents=float((area * pixels.percent[place])[told[place]].sum()),
        percents_of=total(told),
    )
    inside = area > 0
    hit = pixels.loss[place] & inside
    if hit.any():
        days, weights = pixels.by[place][hit], area[hit]
        tally.first, tally.last = int(days.min()), int(days.max())
        tally.after = int(pixels.after[place][hit].min())
        years = days.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970
        for year in np.unique(years).tolist():
            tally.years[year] = float(weights[years == year].sum())
    shown = (hit | (pixels.undated[place] & inside)) & (pixels.layers[place] > 0)
    for bits in np.unique(pixels.layers[place][shown]).tolist():
        tally.layers |= bits
    return tally


def pixel_areas(metric: Metric, window: Window) -> NDArray[np.float64]:
    """Square metres of each pixel ``(y, x)``."""
    rows = metric.row_density(window.y0, window.y1) * metric.unit
    at = (np.arange(window.x0, window.x1) + 0.5) / metric.spacing[1]
    node = np.minimum(at.astype(np.int64), rows.shape[1] - 2)
    part = at - node
    areas: NDArray[np.float64] = rows[:, node] * (1 - part) + rows[:, node + 1] * part
    return areas


def _around(west: float, south: float, east: float, north: float) -> Window:
    """The pixels that a box of pixel coordinates touches."""
    return Window(
        int(np.floor(south)), int(np.floor(west)), int(np.ceil(north)), int(np.ceil(east))
    )
