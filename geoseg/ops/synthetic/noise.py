"""Hashed noise, cells and parcels: fields that depend on seed and position alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.ops.kernels import entry

Field = NDArray[np.float32]
Ids = NDArray[np.uint32]

# All helpers lie in this file: numba's cache looks no further to see whether an entry is stale. No
# fast maths: a pixel must depend neither on the window it is made in nor on the machine.
# Loops are vectorised only where nothing is left to call.
_inlined = njit(nogil=True, error_model="numpy", forceinline=True)

_F0, _F1, _F2 = np.float32(0), np.float32(1), np.float32(2)
_F6, _F10, _F15 = np.float32(6), np.float32(10), np.float32(15)
_HALF = np.float32(0.5)
_ONE = np.int32(1)
_UNIT = np.float32(1 / 65536)
_LEFT_WHOLE = np.float32(0.12)  # share of parcels that are not split further
_GRADIENT = np.float32(1 / 32768)
_SPREAD = np.float32(5.9)  # brings one octave of gradient noise to a standard deviation near 1
# Each octave turns by the angle of the 3-4-5 triangle, so that no lattice shows in the sum.
_COS, _SIN = np.float32(0.8), np.float32(0.6)


class Cells(NamedTuple):
    """A Voronoi diagram, per pixel: hashed name, distance to the border, site."""

    id: Ids
    border: Field
    y: Field
    x: Field


class Parcels(NamedTuple):
    """Rectangles of a rotated, split lattice, per pixel.

    ``border`` is the distance to the nearest side, ``across`` the position across the longer
    side, ``area`` in pixels; ``y``, ``x`` the centre.
    """

    id: Ids
    border: Field
    across: Field
    area: Field
    y: Field
    x: Field


def salt(seed: int, name: str) -> np.uint32:
    """A seed for the field called ``name``: fields of one scene know nothing of one another."""
    state = seed & 0xFFFFFFFFFFFFFFFF
    for byte in name.encode():
        state = (state + 0x9E3779B97F4A7C15 + byte) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return np.uint32(state >> 32)


def positions(window: Window, step: int = 1) -> tuple[Field, Field]:
    """Row and column of every pixel of ``window``, in pixels of the scene, each ``(y, x)``."""
    rows = np.arange(window.y0, window.y1, dtype=np.float32) * np.float32(step)
    cols = np.arange(window.x0, window.x1, dtype=np.float32) * np.float32(step)
    ys, xs = np.meshgrid(rows, cols, indexing="ij")
    return np.ascontiguousarray(ys), np.ascontiguousarray(xs)


def uniform(ids: Ids, name: str) -> Field:
    """A number in [0, 1) for every id, another one for every ``name``."""
    return _uniform(ids.ravel(), salt(0, name)).reshape(ids.shape)


def fbm(
    ys: Field, xs: Field, seed: np.uint32, *, wave: float, octaves: int, gain: float = 0.5
) -> Field:
    """Fractal gradient noise of about unit variance; ``wave`` is the longest wavelength, pixels."""
    flat = _fbm(ys.ravel(), xs.ravel(), seed, np.float32(1 / wave), octaves, np.float32(gain))
    return flat.reshape(ys.shape)


def grain(window: Window, seed: np.uint32) -> Field:
    """White noise of zero mean and unit variance, near to Gaussian, one number a pixel."""
    return _grain(window.y0, window.x0, *window.shape, seed)


def cells(ys: Field, xs: Field, seed: np.uint32, *, size: float) -> Cells:
    """The Voronoi cells of one jittered site per ``size`` pixels."""
    name, *rest = _cells(ys.ravel(), xs.ravel(), seed, np.float32(size))
    border, y, x = (a.reshape(ys.shape) for a in rest)
    return Cells(name.reshape(ys.shape), border, y, x)


def parcels(
    ys: Field, xs: Field, district: Ids, *, block: tuple[float, float], smallest: float
) -> Parcels:
    """Split every ``district`` into parcels that share an orientation.

    Args:
        ys: Rows.
        xs: Columns.
        district: Names of districts; each has its own orientation and size of blocks.
        block: Shortest and longest side of the blocks that are split, pixels.
        smallest: Area under which a parcel is never split, pixels.
    """
    low, high = np.float32(block[0]), np.float32(block[1])
    name, *rest = _parcels(
        ys.ravel(), xs.ravel(), district.ravel(), low, high, np.float32(smallest)
    )
    border, across, area, y, x = (a.reshape(ys.shape) for a in rest)
    return Parcels(name.reshape(ys.shape), border, across, area, y, x)


@_inlined
def _mix(h: np.uint32) -> np.uint32:
    """The finaliser of a 32-bit hash of low bias (C. Wellons, "Prospecting for hash functions")."""
    h = np.uint32(h ^ (h >> np.uint32(16)))
    h = np.uint32(h * np.uint32(0x7FEB352D))
    h = np.uint32(h ^ (h >> np.uint32(15)))
    h = np.uint32(h * np.uint32(0x846CA68B))
    return np.uint32(h ^ (h >> np.uint32(16)))


@_inlined
def _floor(value: np.float32) -> np.int32:
    # A call of the C library's floor would keep the loops from being vectorised.
    whole = np.int32(value)
    return np.int32(whole - np.int32(np.float32(whole) > value))


@_inlined
def _row(i: np.int32, seed: np.uint32) -> np.uint32:
    return _mix(np.uint32(np.uint32(np.uint32(i) * np.uint32(0x9E3779B1)) + seed))


@_inlined
def _cell(j: np.int32, row: np.uint32) -> np.uint32:
    return _mix(np.uint32(np.uint32(np.uint32(j) * np.uint32(0x85EBCA77)) ^ row))


@_inlined
def _hash2(i: np.int32 | int, j: np.int32 | int, seed: np.uint32) -> np.uint32:
    return _cell(np.int32(j), _row(np.int32(i), seed))


@_inlined
def _unit(h: np.uint32) -> np.float32:
    """The upper half of a hash, as a number in [0, 1)."""
    return np.float32(np.float32(h >> np.uint32(16)) * _UNIT)


@_inlined
def _low(h: np.uint32) -> np.float32:
    """The lower half of a hash, as a number in [0, 1)."""
    return np.float32(np.float32(h & np.uint32(0xFFFF)) * _UNIT)


@_inlined
def _slope(h: np.uint32, v: np.float32, u: np.float32) -> np.float32:
    a = np.float32(h & np.uint32(0xFFFF)) * _GRADIENT - _F1
    b = np.float32(h >> np.uint32(16)) * _GRADIENT - _F1
    return np.float32(a * v + b * u)


@_inlined
def _gradient_noise(y: np.float32, x: np.float32, seed: np.uint32) -> np.float32:
    """Perlin's improved noise, with hashed gradients."""
    i, j = _floor(y), _floor(x)
    v, u = y - np.float32(i), x - np.float32(j)
    row0, row1 = _row(i, seed), _row(np.int32(i + _ONE), seed)
    j1 = np.int32(j + _ONE)
    n00 = _slope(_cell(j, row0), v, u)
    n01 = _slope(_cell(j1, row0), v, u - _F1)
    n10 = _slope(_cell(j, row1), v - _F1, u)
    n11 = _slope(_cell(j1, row1), v - _F1, u - _F1)
    sv = v * v * v * (v * (v * _F6 - _F15) + _F10)
    su = u * u * u * (u * (u * _F6 - _F15) + _F10)
    top = n00 + su * (n01 - n00)
    low = n10 + su * (n11 - n10)
    return np.float32(top + sv * (low - top))


@_inlined
def _turn(h: np.uint32) -> tuple[np.float32, np.float32]:
    """Cosine and sine of a hashed angle, without the machine's own sine."""
    t = _unit(h) * _F2 - _F1
    d = _F1 + t * t
    return (_F1 - t * t) / d, _F2 * t / d


@entry
def _fbm(
    ys: Field, xs: Field, seed: np.uint32, frequency: np.float32, octaves: int, gain: np.float32
) -> Field:
    out = np.zeros(ys.size, np.float32)
    norm = _F0
    amplitude = _F1
    for _ in range(octaves):
        norm += amplitude * amplitude
        amplitude *= gain
    # Every field has a direction of its own: axes of a lattice must not line up.
    c, s = _turn(_mix(seed))
    c, s = c * frequency, s * frequency
    y, x = ys * c + xs * s, xs * c - ys * s
    amplitude = _SPREAD / np.sqrt(norm)
    for _ in range(octaves):
        seed = _mix(np.uint32(seed + np.uint32(0x9E3779B9)))
        dy, dx = _unit(seed), _low(seed)
        for k in range(ys.size):
            out[k] += amplitude * _gradient_noise(y[k] + dy, x[k] + dx, seed)
        for k in range(ys.size):
            v, u = y[k], x[k]
            y[k], x[k] = (v * _COS + u * _SIN) * _F2, (u * _COS - v * _SIN) * _F2
        amplitude *= gain
    return out


@entry
def _uniform(ids: Ids, seed: np.uint32) -> Field:
    out = np.empty(ids.size, np.float32)
    for k in range(ids.size):
        out[k] = _unit(_mix(np.uint32(ids[k] ^ seed)))
    return out


@entry
def _grain(y0: int, x0: int, rows: int, cols: int, seed: np.uint32) -> Field:
    out = np.empty((rows, cols), np.float32)
    for i in range(rows):
        for j in range(cols):
            h = _hash2(y0 + i, x0 + j, seed)
            g = _mix(np.uint32(h + np.uint32(0x9E3779B9)))
            # Four uniform numbers have variance 1/3.
            total = _unit(h) + _low(h) + _unit(g) + _low(g) - _F2
            out[i, j] = total * np.float32(1.7320508)
    return out


@entry
def _sites(i0: int, j0: int, rows: int, cols: int, seed: np.uint32) -> tuple[Ids, Field, Field]:
    """One hashed point in every square of a lattice."""
    names = np.empty((rows, cols), np.uint32)
    y, x = np.empty((rows, cols), np.float32), np.empty((rows, cols), np.float32)
    for i in range(rows):
        for j in range(cols):
            h = _hash2(i0 + i, j0 + j, seed)
            names[i, j] = h
            y[i, j] = np.float32(i0 + i) + _unit(h)
            x[i, j] = np.float32(j0 + j) + _low(h)
    return names, y, x


@entry
def _cells(
    ys: Field, xs: Field, seed: np.uint32, size: np.float32
) -> tuple[Ids, Field, Field, Field]:
    n = ys.size
    name, border = np.empty(n, np.uint32), np.empty(n, np.float32)
    sy, sx = np.empty(n, np.float32), np.empty(n, np.float32)
    if n == 0:
        return name, border, sy, sx
    i0, j0 = int(_floor(ys.min() / size)) - 1, int(_floor(xs.min() / size)) - 1
    rows, cols = int(_floor(ys.max() / size)) + 2 - i0, int(_floor(xs.max() / size)) + 2 - j0
    names, cy, cx = _sites(i0, j0, rows, cols, seed)
    for k in range(n):
        y, x = ys[k] / size, xs[k] / size
        top, left = int(_floor(y)) - i0 - 1, int(_floor(x)) - j0 - 1
        best, second = np.float32(99), np.float32(99)
        bi, bj = top, left
        for i in range(top, top + 3):
            for j in range(left, left + 3):
                dy, dx = y - cy[i, j], x - cx[i, j]
                d = dy * dy + dx * dx
                second = min(second, max(best, d))
                if d < best:
                    best, bi, bj = d, i, j
        name[k] = names[bi, bj]
        sy[k], sx[k] = cy[bi, bj] * size, cx[bi, bj] * size
        border[k] = (np.sqrt(second) - np.sqrt(best)) * _HALF * size
    return name, border, sy, sx


@_inlined
def _split(
    v: np.float32, u: np.float32, side: np.float32, smallest: np.float32, name: np.uint32
) -> tuple[np.uint32, np.float32, np.float32, np.float32, np.float32]:
    """Halve the block at ``(v, u)``, mostly across its longer side, until it is small enough."""
    v0, u0 = np.floor(v / side) * side, np.floor(u / side) * side
    v1, u1 = v0 + side, u0 + side
    for level in range(7):
        name = _mix(name)
        if (v1 - v0) * (u1 - u0) < smallest * (_F1 + _F2 * _unit(name)):
            break
        if level > 1 and _low(name) < _LEFT_WHOLE:
            break
        tall = v1 - v0 > (u1 - u0) * (np.float32(0.7) + np.float32(0.6) * _low(name))
        cut = np.float32(0.32) + np.float32(0.36) * _unit(_mix(np.uint32(name + np.uint32(5))))
        at = v0 + cut * (v1 - v0) if tall else u0 + cut * (u1 - u0)
        before = v < at if tall else u < at
        if tall and before:
            v1 = at
        elif tall:
            v0 = at
        elif before:
            u1 = at
        else:
            u0 = at
        name = np.uint32(name * np.uint32(2) + np.uint32(before))
    return _mix(name), v0, v1, u0, u1


@entry
def _parcels(
    ys: Field, xs: Field, district: Ids, low: np.float32, high: np.float32, smallest: np.float32
) -> tuple[Ids, Field, Field, Field, Field, Field]:
    n = ys.size
    names, border = np.empty(n, np.uint32), np.empty(n, np.float32)
    across, area = np.empty(n, np.float32), np.empty(n, np.float32)
    cy, cx = np.empty(n, np.float32), np.empty(n, np.float32)
    for k in range(n):
        h = _mix(np.uint32(district[k] + np.uint32(77)))
        c, s = _turn(h)
        side = low + (high - low) * _low(h)
        v, u = ys[k] * c + xs[k] * s, xs[k] * c - ys[k] * s
        block = _hash2(np.int32(np.floor(v / side)), np.int32(np.floor(u / side)), h)
        names[k], v0, v1, u0, u1 = _split(v, u, side, smallest, block)
        border[k] = min(v - v0, v1 - v, u - u0, u1 - u)
        across[k] = v - v0 if v1 - v0 < u1 - u0 else u - u0
        area[k] = (v1 - v0) * (u1 - u0)
        vm, um = (v0 + v1) * _HALF, (u0 + u1) * _HALF
        cy[k], cx[k] = vm * c - um * s, vm * s + um * c
    return names, border, across, area, cy, cx
