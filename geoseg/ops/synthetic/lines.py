"""Distances to polylines and discs, drawn into a window from lists of any length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.ops.kernels import entry

Field = NDArray[np.float32]
Index = NDArray[np.int32]


_F0, _F1 = np.float32(0), np.float32(1)
FAR = np.float32(1e6)


@dataclass(frozen=True, slots=True)
class Lines:
    """Segments ``(n, 6)`` float32: y, x, half width at one end, and at the other; pixels."""

    segments: Field

    def wider(self, half_width: float) -> Lines:
        """Those that are at least so wide throughout."""
        keep = np.minimum(self.segments[:, 2], self.segments[:, 5]) >= half_width
        return Lines(np.ascontiguousarray(self.segments[keep]))

    def distance(self, window: Window, *, reach: float, step: int = 1) -> Field:
        """Signed distance to the nearest bank, negative inside; exact up to ``reach``, else FAR.

        Args:
            window: In steps: with ``step`` 4 its pixel 10 stands for pixel 40 of the scene.
            reach: Beyond this, pixels are not looked at.
            step: Distance of the samples, pixels.
        """
        s = self.segments
        margin = np.float32(reach) + np.maximum(s[:, 2], s[:, 5])
        lo = np.array([window.y0, window.x0], np.float32) * np.float32(step)
        hi = np.array([window.y1, window.x1], np.float32) * np.float32(step)
        near = (np.maximum(s[:, 0], s[:, 3]) + margin >= lo[0]) & (
            np.minimum(s[:, 0], s[:, 3]) - margin <= hi[0]
        )
        near &= (np.maximum(s[:, 1], s[:, 4]) + margin >= lo[1]) & (
            np.minimum(s[:, 1], s[:, 4]) - margin <= hi[1]
        )
        out = np.full(window.shape, FAR)
        _segments(out, s[near], window.y0, window.x0, np.float32(step), np.float32(reach))
        return out


@dataclass(frozen=True, slots=True)
class Discs:
    """Centres and radii ``(n, 3)`` float32: y, x, radius; pixels."""

    discs: Field

    def closeness(self, window: Window, *, reach: float = 2.0) -> tuple[Field, Index]:
        """1 at a centre, 0 at its radius, down to ``1 - reach``; and which disc is the closest.

        Where no disc is near: ``1 - reach`` and -1.
        """
        d = self.discs
        margin = d[:, 2] * np.float32(reach)
        near = (d[:, 0] + margin >= window.y0) & (d[:, 0] - margin <= window.y1)
        near &= (d[:, 1] + margin >= window.x0) & (d[:, 1] - margin <= window.x1)
        out = np.full(window.shape, np.float32(1 - reach))
        which = np.full(window.shape, np.int32(-1))
        names = np.flatnonzero(near).astype(np.int32)
        _discs(out, which, d[near], names, window.y0, window.x0, np.float32(reach))
        return out, which


def upsample(coarse: Field, coarse_window: Window, window: Window, step: int) -> Field:
    """Bilinear interpolation of samples every ``step`` pixels to the pixels of ``window``."""
    out = np.empty(window.shape, np.float32)
    origin = coarse_window.y0, coarse_window.x0
    _upsample(out, coarse, origin[0], origin[1], window.y0, window.x0, step)
    return out


def coarse_window(window: Window, step: int) -> Window:
    """The samples every ``step`` pixels that surround all pixels of ``window``."""
    return Window(
        window.y0 // step,
        window.x0 // step,
        (window.y1 - 1) // step + 2,
        (window.x1 - 1) // step + 2,
    )


@entry
def _segments(
    out: Field, segments: Field, y0: int, x0: int, step: np.float32, reach: np.float32
) -> None:
    rows, cols = out.shape
    for k in range(segments.shape[0]):
        ay, ax, aw = segments[k, 0], segments[k, 1], segments[k, 2]
        by, bx, bw = segments[k, 3], segments[k, 4], segments[k, 5]
        margin = reach + max(aw, bw)
        i0 = max(0, int(np.floor((min(ay, by) - margin) / step)) - y0)
        i1 = min(rows, int(np.ceil((max(ay, by) + margin) / step)) - y0 + 1)
        j0 = max(0, int(np.floor((min(ax, bx) - margin) / step)) - x0)
        j1 = min(cols, int(np.ceil((max(ax, bx) + margin) / step)) - x0 + 1)
        vy, vx = by - ay, bx - ax
        length = vy * vy + vx * vx
        scale = _F1 / length if length > _F0 else _F0
        for i in range(i0, i1):
            py = np.float32(y0 + i) * step - ay
            for j in range(j0, j1):
                px = np.float32(x0 + j) * step - ax
                t = min(_F1, max(_F0, (py * vy + px * vx) * scale))
                dy, dx = py - t * vy, px - t * vx
                d = np.sqrt(dy * dy + dx * dx) - (aw + t * (bw - aw))
                if d <= reach and d < out[i, j]:
                    out[i, j] = d


@entry
def _discs(
    out: Field, which: Index, discs: Field, names: Index, y0: int, x0: int, reach: np.float32
) -> None:
    rows, cols = out.shape
    for k in range(discs.shape[0]):
        cy, cx, radius = discs[k, 0], discs[k, 1], discs[k, 2]
        margin = radius * reach
        i0, i1 = max(0, int(cy - margin) - y0 - 1), min(rows, int(cy + margin) - y0 + 2)
        j0, j1 = max(0, int(cx - margin) - x0 - 1), min(cols, int(cx + margin) - x0 + 2)
        for i in range(i0, i1):
            py = np.float32(y0 + i) - cy
            for j in range(j0, j1):
                px = np.float32(x0 + j) - cx
                near = _F1 - np.sqrt(py * py + px * px) / radius
                if near > out[i, j]:
                    out[i, j] = near
                    which[i, j] = names[k]


@entry
def _upsample(out: Field, coarse: Field, cy: int, cx: int, y0: int, x0: int, step: int) -> None:
    rows, cols = out.shape
    scale = _F1 / np.float32(step)
    for i in range(rows):
        row = (y0 + i) // step
        v = np.float32(y0 + i - row * step) * scale
        for j in range(cols):
            col = (x0 + j) // step
            u = np.float32(x0 + j - col * step) * scale
            a, b = coarse[row - cy, col - cx], coarse[row - cy, col - cx + 1]
            c, d = coarse[row - cy + 1, col - cx], coarse[row - cy + 1, col - cx + 1]
            top, low = a + u * (b - a), c + u * (d - c)
            out[i, j] = top + v * (low - top)
