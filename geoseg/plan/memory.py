"""What a worker holds at most while it does blocks of a scene, and what of it depends on the engine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from math import ceil, prod

import numpy as np

from geoseg.io.combining import deepest
from geoseg.io.tiles import KEPT_BYTES
from geoseg.models.base import ModelCard
from geoseg.models.engines import Footprint
from geoseg.ops.tiling import Lattice
from geoseg.ops.validity import REACH
from geoseg.plan.wishes import Resources, TilingWish
from geoseg.scene import Scene

WORKER_BASE_BYTES = 112 * 2**20
"""A worker with rasterio and distributed loaded, but no engine, before its first block (measured)."""


def bytes_per_pixel(scene: Scene, card: ModelCard) -> int:
    """Bytes of one pixel as read: the model's bands and the validity masks."""
    dtype = np.result_type(*(np.dtype(b.dtype) for b in scene.select(card.bands)))
    return len(card.bands) * dtype.itemsize + 1 + len(scene.masks)


@dataclass(frozen=True, slots=True)
class Memory:
    """What a worker holds at most, but for what depends on the engine.

    Attributes:
        held: Bytes of the blocks in hand, and of tiles for the next.
        calls: Groups of chips that are in the model at once.
        pixels: Of one such group.
        activations: Bytes that the card says a pixel of it takes.
        scores: Bytes beside it for each call, where chips are blended.
        refining: Bytes of the blocks that are refined at once, which is after all are segmented.
        weights: Bytes of the models' files.
    """

    held: int
    calls: int
    pixels: int
    activations: int
    scores: int
    refining: int
    weights: int

    def of(self, footprint: Footprint) -> int:
        """Bytes of a worker with an engine that takes so much."""
        chip = footprint.chip(self.pixels, self.activations) + self.scores
        # A worker that refines has the engine of the stage before still in memory.
        base = WORKER_BASE_BYTES + footprint.base(self.weights)
        return base + max(self.held + self.calls * chip, self.refining)

    def most(self, footprints: Iterable[Footprint]) -> int:
        """The same where it may be any of several engines."""
        return max(self.of(footprint) for footprint in footprints)


def memory_needed(
    scene: Scene,
    card: ModelCard,
    lattice: Lattice,
    wish: TilingWish,
    block: int,
    resources: Resources,
) -> Memory:
    """What a worker holds at most: chips in the model, blocks in flight, tiles for the next."""
    shape = int(scene.grid.shape[0]), int(scene.grid.shape[1])
    halo = lattice.margin if wish.seams == "crop" else lattice.size - lattice.stride
    edge = min(block, max(shape)) + 2 * halo
    seen, kept = bytes_per_pixel(scene, card) + 2, 2 + planes(card, wish)
    if block > max(shape):
        # Chunks are as large as blocks, whatever the scene.
        kept = ceil(kept * block * block / (shape[0] * shape[1]))
    held = KEPT_BYTES + resources.lanes * combining_bytes(scene, card, edge, block)
    # The next one is put together of its tiles while arrays of the last are still to be given back.
    for height, width in _largest(shape, block, resources.lanes + 1):
        held += (height + 2 * halo) * (width + 2 * halo) * seen
    for height, width in _largest(shape, block, resources.lanes):
        held += height * width * kept
    # The scores of a block in the model are held in full, as a sum and as a mean.
    blended = block * block * 8 * len(card.legend.classes) if wish.seams == "blend" else 0
    return Memory(
        held,
        resources.models,
        prod(lattice.chip_shape(shape)) * wish.batch,
        card.activation_bytes,
        blended,
        _refine_bytes(scene, card, wish, block, resources),
        wish.weight_bytes,
    )


def _largest(shape: tuple[int, int], block: int, count: int) -> list[tuple[int, int]]:
    """Rows and columns of the ``count`` largest blocks; fewer where there are no more."""
    rows, cols = ([block] * min(count, n // block) + [n % block] * (n % block > 0) for n in shape)
    return sorted(product(rows, cols), key=prod, reverse=True)[:count]


def combining_bytes(scene: Scene, card: ModelCard, edge: int, block: int) -> int:
    """Bytes of the scenes that are held at once while a window is combined of them.

    Args:
        scene: What is read.
        card: Of the model.
        edge: Side of the window that is read, in pixels.
        block: Side of the part of it that is kept.
    """
    combined = scene.combined
    if combined is None:
        return 0
    wide = edge if combined.rule in {"median", "max_ndvi", "latest"} else edge + 2 * REACH
    dtype = np.result_type(*(np.dtype(band.dtype) for band in scene.bands.values()))
    pixel = len(scene.bands) * dtype.itemsize
    held = deepest(combined.windows, wide) if combined.rule in {"median", "best_pixel"} else 0
    # With validity and distance of each; what is read, made of it and combined, with its scores.
    pixels = held * (pixel + 5) + 3 * (pixel + 12)
    scores = 0
    if combined.predicted and combined.rule == "probability":
        # A sum, what is added to it, and one scene's own.
        scores = block * block * 12 * len(card.legend.classes)
    return wide * wide * pixels + scores


def _refine_bytes(
    scene: Scene, card: ModelCard, wish: TilingWish, block: int, resources: Resources
) -> int:
    """Bytes of the blocks that are refined at once, which is after all are segmented."""
    if wish.refinement is None:
        return 0
    edge = min(block, int(max(scene.grid.shape))) + 2 * wish.refinement.halo
    image = 0
    if wish.refinement.guide:
        image = bytes_per_pixel(scene, card) + 4 * len(wish.refinement.guide)
        image += combining_bytes(scene, card, edge, block) // (edge * edge)
    view = 2 + planes(card, wish) + image
    return resources.lanes * edge * edge * (view + wish.refinement.bytes_per_pixel)


def planes(card: ModelCard, wish: TilingWish) -> int:
    """Bytes of a pixel as it is kept: its class, its confidence, and the layers."""
    classes = len(card.legend.classes)
    kept = 2 + wish.observations
    return kept + sum(classes if layer == "probabilities" else 1 for layer in wish.layers)
