"""Scenes that are combined pixel by pixel, read window by window like one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import GeoBox, Window, full_window
from geoseg.io.base import Patch
from geoseg.io.members import Members
from geoseg.io.reader import area_edges
from geoseg.ops.composite import clear_distance, median_of, preference, vegetation_index
from geoseg.ops.inside import inside
from geoseg.ops.validity import REACH
from geoseg.scene import Scene

NDVI_BANDS = ("red", "nir")
"""What ``max_ndvi`` needs to see."""

FAR_SEEING = frozenset({"best_pixel", "best_quality", "probability"})
"""Rules for which it matters how far away the next hidden pixel is."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one scene shows of a window: numbers ``(band, y, x)``, validity, distance to hidden."""

    values: NDArray[Any]
    valid: NDArray[np.bool_]
    distance: NDArray[np.float32] | None


class CombinedPixels:
    """Windows of a scene that is combined of others. Implements :class:`geoseg.io.base.Pixels`.

    A scene observes a pixel where all bands of the combined scene (not only those that are asked
    for) are valid in it. What is taken of the observations is the ``rule`` of the scene:

    - ``median``: of each band, see :func:`geoseg.ops.composite.median_of`;
    - ``max_ndvi``: all bands of the observation with the highest NDVI;
    - ``best_pixel``: of the one that :func:`geoseg.ops.composite.preference` likes most;
    - ``latest``: of the most recent one;
    - ``best_quality`` and ``probability`` (which are about what a model says): of the one farthest
      from the next hidden pixel.

    The most recent of equals wins. Only scenes that may have a pixel in a window are read, one
    after the other; all are held at once for ``median`` and ``best_pixel``, two for the others. A
    pixel does not depend on the window it is read with.

    Attributes:
        members: The scenes themselves.
    """

    def __init__(self, scene: Scene) -> None:
        assert scene.combined is not None, "there is nothing to combine"  # noqa: S101 (the caller has looked)
        self._scene, self._combined = scene, scene.combined
        self._bands = tuple(scene.bands)
        self.members = Members(scene)
        chosen = scene.bands.values()
        self._dtype = np.result_type(*(np.dtype(band.dtype) for band in chosen))
        self._scale = np.array([band.scale for band in chosen], np.float32)
        self._offset = np.array([band.offset for band in chosen], np.float32)
        self._area = None if scene.area is None else area_edges(scene.area, scene.grid)

    @property
    def grid(self) -> GeoBox:
        """The grid that windows refer to."""
        return self._scene.grid

    def read(self, bands: Sequence[str], window: Window) -> Patch:
        """The combined pixels of ``window``, and how many observations each of them has.

        Raises:
            SceneError: There is no such band, or a file cannot be read there.
            ValueError: The window does not lie inside the grid, or is empty.
        """
        if not window or window & full_window(self.grid) != window:
            raise ValueError(f"{window} is not inside {tuple(self.grid.shape)} pixels")
        self._scene.select(bands)
        wanted = self.wanted(window)
        values = np.zeros((len(self._bands), *window.shape), self._dtype)
        counts = np.zeros(window.shape, np.int32)
        if wanted.any():
            self._combine(window, values, counts)
        counts[~wanted] = 0
        valid = counts >= self._combined.least
        values[:, ~valid] = 0
        at = [self._bands.index(name) for name in bands]
        return Patch(
            values[at],
            self._scale[at],
            self._offset[at],
            valid,
            np.minimum(counts, 255).astype(np.uint8),
        )

    def wanted(self, window: Window) -> NDArray[np.bool_]:
        """Pixels ``(y, x)`` of ``window`` that lie in the scene's area."""
        if self._area is None:
            return np.ones(window.shape, np.bool_)
        return inside(self._area, window)

    def close(self) -> None:
        """Let go of open files."""
        self.members.close()

    def _combine(self, window: Window, values: NDArray[Any], counts: NDArray[np.int32]) -> None:
        """Fill in ``values`` where there is an observation, and count them."""
        if self._combined.rule in {"median", "best_pixel"}:
            self._of_all(window, values, counts)
            return
        best = np.full(window.shape, -np.inf, np.float32)
        for member in self.members.touching(window):
            seen = self._seen(member, window)
            score = self._score(seen)
            better = seen.valid & (score >= best)
            np.copyto(values, seen.values, where=better)
            np.copyto(best, score, where=better)
            counts += seen.valid

    def _of_all(self, window: Window, values: NDArray[Any], counts: NDArray[np.int32]) -> None:
        """What can only be said when all observations are known."""
        members = self.members.touching(window)
        if not members:
            return
        every = np.empty((len(members), *values.shape), values.dtype)
        valid = np.empty((len(members), *window.shape), np.bool_)
        distances = []
        for k, member in enumerate(members):
            seen = self._seen(member, window)
            every[k], valid[k] = seen.values, seen.valid
            distances.append(seen.distance)
        counts += valid.sum(axis=0, dtype=np.int32)
        values[:] = median_of(every, valid)
        if self._combined.rule == "median":
            return
        median, best = values.copy(), np.full(window.shape, -np.inf, np.float32)
        for k, distance in enumerate(distances):
            assert distance is not None, "asked for with the rule"  # noqa: S101 (for the type checker)
            score = preference(every[k], median, distance, self._scale, self._offset)
            better = valid[k] & (score >= best)
            np.copyto(values, every[k], where=better)
            np.copyto(best, score, where=better)

    def _score(self, seen: _Seen) -> NDArray[np.float32]:
        """How good observations are; of equals, the later one wins."""
        if seen.distance is not None:
            return seen.distance
        if self._combined.rule == "latest":
            return np.zeros(seen.valid.shape, np.float32)
        red, nir = (
            (seen.values[k] * self._scale[k] + self._offset[k]).astype(np.float32)
            for k in (self._bands.index(name) for name in NDVI_BANDS)
        )
        return vegetation_index(red, nir)

    def _seen(self, member: int, window: Window) -> _Seen:
        """One scene in a window; read farther around where distances matter."""
        if self._combined.rule not in FAR_SEEING:
            patch = self.members.read(member, self._bands, window)
            return _Seen(self._unified(patch), patch.valid, None)
        wide = grown(window, self.grid)
        patch = self.members.read(member, self._bands, wide)
        part = window.within(wide).slices
        distance = clear_distance(patch.valid)[part]
        return _Seen(self._unified(patch)[:, *part], patch.valid[part], distance)

    def _unified(self, patch: Patch) -> NDArray[Any]:
        """Numbers with the scale and offset of the combined scene."""
        same = (patch.scale == self._scale) & (patch.offset == self._offset)
        if same.all():
            return patch.values.astype(self._dtype, copy=False)
        values = np.empty(patch.values.shape, self._dtype)
        for k, plane in enumerate(patch.values):
            # What differs between scenes was planned as physical values in float32.
            values[k] = plane if same[k] else plane * patch.scale[k] + patch.offset[k]
        values[:, ~patch.valid] = 0
        return values


def grown(window: Window, grid: GeoBox, by: int = REACH) -> Window:
    """``window`` with ``by`` pixels more on each side, as far as the grid goes."""
    wide = Window(window.y0 - by, window.x0 - by, window.y1 + by, window.x1 + by)
    return wide & full_window(grid)
