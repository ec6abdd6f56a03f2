"""Whether two maps lie on one another: the shift at which their class edges agree best."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd, hypot
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.api.changes.maps import MapPair
from geoseg.grid import Window, blocks, full_window
from geoseg.io.dated_map import MapReader
from geoseg.io.grids import pixel_sides
from geoseg.ops.alignment import REACH, Agreement, Shift, count_agreement, estimate_shift
from geoseg.run.reporter import Reporter
from geoseg.run.threads import each_block

SIDE = 512
BATCH, BATCHES = 8, 12
"""Windows that are looked at together, spread over the maps, and how often at most."""
ENOUGH = 20_000
"""Edges that tell a shift to some hundredths of a pixel: no more windows are looked at then."""

_GOLDEN = 0.618034
_ANY = np.array([1e-3])  # any difference of classes is an edge, however small its number


@dataclass(frozen=True, slots=True)
class MapShift:
    """How two maps lie.

    Attributes:
        shift: From the earlier to the later one, in pixels.
        metres: The same ``(y, x)``, positive down and right; None if it cannot be told.
    """

    shift: Shift
    metres: tuple[float, float] | None

    def record(self) -> dict[str, Any]:
        """For JSON."""
        if self.shift.pixels is None or self.metres is None:
            return {"pixels": None, "metres": None, "why": self.shift.why_not}
        return {
            "pixels": [round(v, 3) for v in self.shift.pixels],
            "metres": [round(v, 2) for v in self.metres],
            "standard_error_pixels": round(self.shift.error, 3),
        }

    def warning(self, most: float) -> str | None:
        """What to tell the user if they lie more than ``most`` pixels apart."""
        if self.shift.pixels is None or self.metres is None or not self.shift.length > most:
            return None
        down, right = self.shift.pixels
        return (
            f"the later map seems to lie {self.shift.length:.2f} px ({hypot(*self.metres):.1f} m) "
            f"from the earlier one ({down:+.2f} px down, {right:+.2f} px right): changes along "
            f"edges of classes may be none"
        )


def map_shift(pair: MapPair, *, reporter: Reporter) -> MapShift:
    """Estimate the shift from the edges of classes in windows spread over both maps.

    Raises:
        SceneError: A map cannot be read.
    """
    whole = full_window(pair.grid)
    windows = _spread(tuple(blocks(whole.shape, SIDE)))
    before, after = pair.before.on(pair.grid), pair.after.on(pair.grid)
    total = Agreement.empty()
    try:
        work = _Count(before, after, pair.common.before, pair.common.after, whole)
        for start in range(0, min(len(windows), BATCH * BATCHES), BATCH):
            some = windows[start : start + BATCH]
            for found in each_block(work, some, name="align", reporter=reporter):
                total += found
            if total.edges.sum() >= ENOUGH:
                break
    finally:
        before.close()
        after.close()
    shift = estimate_shift(total, sharp=True)
    if shift.pixels is None:
        return MapShift(shift, None)
    sides = pixel_sides(pair.grid)
    return MapShift(shift, (shift.pixels[0] * sides[0], shift.pixels[1] * sides[1]))


def _spread(windows: tuple[Window, ...]) -> tuple[Window, ...]:
    """The same windows, so that the first few are already everywhere."""
    step = next(n for n in range(int(len(windows) * _GOLDEN) + 1, 2 * len(windows) + 2)
                if gcd(n, len(windows)) == 1)  # fmt: skip
    return tuple(windows[i * step % len(windows)] for i in range(len(windows)))


@dataclass(frozen=True, slots=True)
class _Count:
    before: MapReader
    after: MapReader
    one: NDArray[np.int16]
    two: NDArray[np.int16]
    whole: Window

    def __call__(self, core: Window) -> Agreement:
        r = REACH + 1
        wide = Window(core.y0 - r, core.x0 - r, core.y1 + r, core.x1 + r) & self.whole
        before = self.one[self.before.classes(wide)]
        after = self.two[self.after.classes(wide)]
        shown = np.where(after < 0, np.nan, after).astype(np.float32)[None]
        at = wide.y0, wide.x0
        return count_agreement(before, shown, _ANY, core.within(wide), at)
