"""Chips for training: drawn at random, held out, or without labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window, blocks
from geoseg.io.chip_pixels import ChipPixels, Piece
from geoseg.io.label_layers import UNKNOWN
from geoseg.models.training.base import IGNORE, LabelledChips
from geoseg.ops.draws import Draws
from geoseg.ops.ground import CELL, GAP, TRAIN, cell_window, seen_by

if UNKNOWN != IGNORE:
    raise AssertionError("labels that are not known must be those that are not learnt from")

TILE = 256
"""Side of what is held out and judged at once, in pixels."""

CONTEXT = 64
"""Pixels around it that a network may look at."""

_TRIES = 8


@dataclass(frozen=True, slots=True)
class RandomChips:
    """Batches of drawn chips. Implements :class:`geoseg.models.training.base.ChipSource`.

    Held-out ground is not valid in any chip; of the gap around it the labels are not known.

    Attributes:
        pixels: What chips are read from.
        parts: What the cells of each scene are for.
        draws: Where chips lie.
        batch_size: Chips in a batch.
    """

    pixels: ChipPixels
    parts: Sequence[NDArray[np.uint8]]
    draws: Draws
    batch_size: int

    def batch(self, step: int) -> LabelledChips:
        """The batch of a step: the same step always gives the same bytes."""
        pieces = []
        for chip in range(self.batch_size):
            place = self.draws.place(step, chip, self.pixels.labels)
            piece = self.pixels.read(place.scene, place.window)
            pieces.append(_without_held_out(piece, self.parts[place.scene], place.window))
        return _stacked(pieces)


@dataclass(frozen=True, slots=True)
class HeldOutChips:
    """All of a part, tile by tile. Implements :class:`geoseg.models.training.base.HeldOutSource`.

    Attributes:
        pixels: What tiles are read from.
        parts: What the cells of each scene are for.
        counts: ``(row, column, class)`` labelled pixels of each scene, by cell.
        part: Which part.
        most: Pixels after which no further tile is given; tiles then are spread evenly.
        only: Numbers of the scenes that are looked at; None: all.
    """

    pixels: ChipPixels
    parts: Sequence[NDArray[np.uint8]]
    counts: Sequence[NDArray[np.int32]]
    part: int
    most: int | None = None
    only: frozenset[int] | None = None

    def __iter__(self) -> Iterator[LabelledChips]:
        """Chips one by one, with context that is not judged."""
        tiles = self.tiles()
        if self.most is not None and len(tiles) * TILE**2 > self.most:
            every = -(-len(tiles) * TILE**2 // self.most)
            tiles = tiles[::every]
        for scene, core in tiles:
            yield self._read(scene, core)

    def tiles(self) -> list[tuple[int, Window]]:
        """Windows with labelled pixels of the part, and their scenes."""
        found = []
        for scene, (parts, counts) in enumerate(zip(self.parts, self.counts, strict=True)):
            if self.only is not None and scene not in self.only:
                continue
            some = (parts == self.part) & (counts.sum(axis=2) > 0)
            if some.any():
                tiles = blocks(self.pixels.shape(scene), TILE)
                found += [(scene, t) for t in tiles if some[cell_window(t).slices].any()]
        return found

    def _read(self, scene: int, core: Window) -> LabelledChips:
        height, width = self.pixels.shape(scene)
        wide = Window(
            core.y0 - CONTEXT, core.x0 - CONTEXT, core.y1 + CONTEXT, core.x1 + CONTEXT
        ) & Window(0, 0, height, width)
        piece = self.pixels.read(scene, wide)
        judged = np.zeros(wide.shape, np.bool_)
        judged[core.within(wide).slices] = True
        judged &= _by_pixel(self.parts[scene] == self.part, wide)
        piece.labels[~judged] = IGNORE
        return _stacked([piece])


@dataclass(frozen=True, slots=True)
class UnlabelledChips:
    """Batches of chips anywhere, with no labels. Implements ``ChipSource``.

    Attributes:
        pixels: What chips are read from.
        parts: What the cells of each scene are for: held-out ground is not seen either.
        size: Side of a chip.
        batch_size: Chips in a batch.
        seed: Of all draws.
    """

    pixels: ChipPixels
    parts: Sequence[NDArray[np.uint8]]
    size: int
    batch_size: int
    seed: int

    def batch(self, step: int) -> LabelledChips:
        """The batch of a step: the same step always gives the same bytes."""
        return _stacked([self._chip(step, chip) for chip in range(self.batch_size)])

    def _chip(self, step: int, chip: int) -> Piece:
        rng = np.random.default_rng((self.seed, step, chip, 1))
        areas = np.array([h * w for h, w in map(self.pixels.shape, range(len(self.parts)))])
        best: Piece | None = None
        for _ in range(_TRIES):
            scene = int(rng.choice(len(areas), p=areas / areas.sum()))
            y, x = (
                int(rng.integers(n - self.size + 1)) if n > self.size else 0
                for n in self.pixels.shape(scene)
            )
            window = Window(y, x, y + self.size, x + self.size)
            piece = _without_held_out(self.pixels.read(scene, window), self.parts[scene], window)
            if best is None or piece.valid.sum() > best.valid.sum():
                best = piece
            if best.valid.mean() > 0.5:
                break
        if best is None:
            raise AssertionError("no chip was drawn")
        best.labels[:] = IGNORE
        return best


def _without_held_out(piece: Piece, parts: NDArray[np.uint8], window: Window) -> Piece:
    """``piece`` without held-out ground, and without the labels of the gap around it."""
    if (seen_by(parts, window) == TRAIN).all():
        return piece
    piece.labels[~_by_pixel(parts == TRAIN, window)] = IGNORE
    held = ~_by_pixel((parts == TRAIN) | (parts == GAP), window)
    piece.valid[held] = False
    piece.values[:, held] = 0
    return piece


def _by_pixel(cells: NDArray[np.bool_], window: Window) -> NDArray[np.bool_]:
    """A mask of cells as one of the pixels of a window; False beyond the scene."""
    rows, cols = cells.shape
    y = np.arange(window.y0, window.y1) // CELL
    x = np.arange(window.x0, window.x1) // CELL
    there = ((y >= 0) & (y < rows))[:, None] & ((x >= 0) & (x < cols))[None, :]
    picked: NDArray[np.bool_] = cells[
        np.clip(y, 0, rows - 1)[:, None], np.clip(x, 0, cols - 1)[None, :]
    ]
    picked &= there
    return picked


def _stacked(pieces: Sequence[Piece]) -> LabelledChips:
    return LabelledChips(
        np.stack([p.values for p in pieces]),
        np.stack([p.labels for p in pieces]),
        np.stack([p.valid for p in pieces]),
    )


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and standard deviation of each band over drawn chips."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def measure(source: RandomChips, batches: int) -> Moments:
    """Moments of the valid pixels of the first ``batches`` batches."""
    total, squares, pixels = None, None, 0
    for step in range(batches):
        chips = source.batch(step)
        values = chips.values.transpose(1, 0, 2, 3)[:, chips.valid].astype(np.float64)
        pixels += values.shape[1]
        total = values.sum(axis=1) + (0 if total is None else total)
        squares = (values**2).sum(axis=1) + (0 if squares is None else squares)
    if total is None or squares is None or not pixels:
        raise AssertionError("no pixel to measure")
    mean = total / pixels
    std = np.sqrt(np.maximum(squares / pixels - mean**2, 0))
    # Shortest digits: enough for any network, and readable in the card.
    return Moments(tuple(float(f"{m:.6g}") for m in mean), tuple(float(f"{s:.6g}") for s in std))
