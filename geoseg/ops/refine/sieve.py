"""Sieve and hole filling: small regions become what surrounds them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geoseg.ops.refine.base import View
from geoseg.ops.regions import NODATA, label_regions


@dataclass(frozen=True, slots=True)
class Sieve:
    """Gives regions of fewer than ``pixels`` pixels to the large neighbour they share most with.

    Regions are pixels of one class that touch at their sides. In each of ``passes``, a small
    region becomes the class with which it shares the longest border, counting only neighbours
    that are large themselves (of equals, the lowest code). A small region all of whose neighbours
    are small, or that lies alone in what has no class, stays as it is: the next pass finds it
    beside larger ones. ``gdal_sieve`` gives to the largest neighbour instead, which nobody knows
    who sees a part of a map; where a small region has one large neighbour, both do the same.
    """

    pixels: int
    passes: int = 1

    @property
    def halo(self) -> int:
        """A small region, one pixel beside it, and as much of the neighbour as makes it large."""
        return max(0, 2 * self.pixels - 1) * self.passes

    @property
    def bytes_per_pixel(self) -> int:
        """Labels and their tables; borders in the worst case, where each pixel is a region."""
        return 96

    def __call__(self, view: View) -> NDArray[np.uint8]:
        """The new codes ``(y, x)``."""
        for _ in range(self.passes):
            view = replace(view, classes=self._once(view))
        return view.classes

    def _once(self, view: View) -> NDArray[np.uint8]:
        labels, count = _label(np.where(view.valid, view.classes.astype(np.int16), NODATA))
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        small = sizes < self.pixels
        small[0] = False
        if not small.any():
            return view.classes
        code_of = np.zeros(count + 1, np.uint8)
        code_of[labels] = view.classes
        takes = _longest_borders(labels, small, code_of)
        code_of[takes[0]] = takes[1]
        return np.where(view.valid, code_of[labels], view.classes)


@dataclass(frozen=True, slots=True)
class FillHoles:
    """Gives each of ``codes``, in turn, its holes of at most ``pixels`` pixels.

    A hole is what touches side by side, is not of the class, and is surrounded by it: it may hold
    several classes. What has no class is no hole, nor is what reaches the rim of the map or of
    what has no class: nobody knows what lies beyond.
    """

    codes: tuple[int, ...]
    pixels: int

    @property
    def halo(self) -> int:
        """A hole, and one pixel more to see that it ends."""
        return self.pixels * len(self.codes)

    @property
    def bytes_per_pixel(self) -> int:
        """Labels and their tables."""
        return 48

    def __call__(self, view: View) -> NDArray[np.uint8]:
        """The new codes ``(y, x)``."""
        classes = view.classes.copy()
        for code in self.codes:
            labels, count = _label(np.where(classes == code, NODATA, np.int16(1)))
            hole = np.bincount(labels.ravel(), minlength=count + 1) <= self.pixels
            hole[labels[~view.valid]] = False
            for side in _rim(labels, view):
                hole[side] = False
            hole[0] = False
            classes[hole[labels]] = code
        return classes


def _label(codes: NDArray[np.int16]) -> tuple[NDArray[np.int32], int]:
    """Regions ``(y, x)`` from 1, 0 where there is nothing, and how many there are."""
    labels, count = label_regions(np.pad(codes, 1, constant_values=NODATA))
    return labels[1:-1, 1:-1], count


def _longest_borders(
    labels: NDArray[np.int32], small: NDArray[np.bool_], code_of: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Small regions that have a large neighbour, and the code they share the longest border with."""
    pairs = []
    for one, two in ((labels[:-1], labels[1:]), (labels[:, :-1], labels[:, 1:])):
        for a, b in ((one, two), (two, one)):
            border = small[a] & ~small[b] & (b > 0)
            pairs.append(a[border].astype(np.int64) * 256 + code_of[b[border]])
    keys, lengths = np.unique(np.concatenate(pairs), return_counts=True)
    region, code = keys // 256, keys % 256
    order = np.lexsort((code, -lengths, region))
    region, code = region[order], code[order]
    first = np.ones(len(region), np.bool_)
    first[1:] = region[1:] != region[:-1]
    return region[first], code[first].astype(np.uint8)


def _rim(labels: NDArray[np.int32], view: View) -> list[NDArray[np.int32]]:
    """Labels along the sides of the view that are sides of the map."""
    sides = (
        (view.at.y0 == 0, labels[0]),
        (view.at.x0 == 0, labels[:, 0]),
        (view.at.y1 == view.shape[0], labels[-1]),
        (view.at.x1 == view.shape[1], labels[:, -1]),
    )
    return [side for is_rim, side in sides if is_rim]
