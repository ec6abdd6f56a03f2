"""A scene and a model to a plan: blocks, chips, bytes and memory. Reads no pixel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from math import ceil, inf, prod

import numpy as np

from geoseg.errors import PlanError
from geoseg.grid import Window, blocks
from geoseg.io.combining import deepest
from geoseg.io.grids import pixel_area
from geoseg.io.tiles import KEPT_BYTES
from geoseg.models.base import ModelCard
from geoseg.models.engines import Footprint, Runtime, memory_of
from geoseg.ops.layers import Layer
from geoseg.ops.refine.base import Step, total_halo
from geoseg.ops.stitch import NEEDS, Seams, Weights
from geoseg.ops.tiling import Chip, Lattice, hull
from geoseg.ops.validity import REACH
from geoseg.scene import Scene

WORKER_BASE_BYTES = 112 * 2**20
"""A worker with rasterio and distributed loaded, but no engine, before its first block (measured)."""

SMALLEST_CHIP, LARGEST_CHIP = 256, 1280
LARGEST_BLOCK = 2560

CHIP_BYTES = 768 * 2**20
"""What the activations of one chip may take where the plan chooses its size."""

_PEAK = 1.05  # by its measured peaks a worker may take 3 % more than planned: blocks leave room
_TORCH = memory_of(Runtime())  # which needs the most of all engines


@dataclass(frozen=True, slots=True)
class Refinement:
    """What is done to a scene's map of classes, and what it takes.

    Attributes:
        steps: One after the other.
        guide: Bands whose edges count; none, where no step looks at the image.
    """

    steps: tuple[Step, ...]
    guide: tuple[str, ...] = ()

    @property
    def halo(self) -> int:
        """How far all of them look, in pixels."""
        return total_halo(self.steps)

    @property
    def bytes_per_pixel(self) -> int:
        """Memory that they need at most for each pixel that they see."""
        return max(step.bytes_per_pixel for step in self.steps)


@dataclass(frozen=True, slots=True)
class TilingWish:
    """What the workflow asks for; None leaves the choice to the plan.

    ``layers`` are kept beside classes and confidence; ``passes`` are pixels that go through a
    network for each pixel of a chip, more than 1 where there are several models or views.
    ``min_valid`` is the share of a chip's pixels that must be valid; ``observations`` says whether
    it is kept which pixels were. ``footprint`` is what the engine takes of a worker, and ``weight_bytes``
    are the bytes of the models' files.
    """

    size: int | None = None
    margin: int | None = None
    block: int | None = None
    seams: Seams = "crop"
    weights: Weights = "hann"
    batch: int = 1
    layers: tuple[Layer, ...] = ()
    refinement: Refinement | None = None
    passes: float = 1.0
    min_valid: float = 0.0
    observations: bool = False
    footprint: Footprint = _TORCH
    weight_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Resources:
    """What a run may use.

    Attributes:
        workers: Worker processes.
        lanes: Blocks that each of them has in flight.
        models: How many of those may be in the model at once.
        memory: Bytes that a worker may take; None: it is not known.
    """

    workers: int
    lanes: int
    models: int = 1
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class ScenePlan:
    """All that will be done to one scene. Small, picklable, the same for any executor.

    ``blocks`` are those to compute, in reading order; ``skipped`` were left out because they lie
    outside the area or of the scene. ``chips`` and ``predictions_per_pixel`` are upper bounds: chips of nodata
    are only known once they are read.
    """

    scene: Scene
    card: ModelCard
    lattice: Lattice
    seams: Seams
    weights: Weights
    batch: int
    block: int
    blocks: tuple[Window, ...]
    skipped: int
    chips: int
    predictions_per_pixel: float
    bytes_read: int
    bytes_written: int
    memory_per_worker: int
    layers: tuple[Layer, ...] = ()
    refinement: Refinement | None = None
    passes: float = 1.0
    min_valid: float = 0.0
    observations: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the scene."""
        return int(self.scene.grid.shape[0]), int(self.scene.grid.shape[1])

    @property
    def exact(self) -> bool:
        """Whether the tiled map equals the model run on the whole scene."""
        return (
            self.seams == "crop"
            and not self.min_valid
            and self.card.reach is not None
            and self.lattice.margin >= self.card.reach
        )


def plan_scene(
    scene: Scene,
    card: ModelCard,
    wish: TilingWish,
    resources: Resources,
    *,
    touches: Callable[[Window], bool] | None = None,
) -> ScenePlan:
    """Cut ``scene`` into blocks of chips that fit into the workers' memory.

    ``touches`` says whether a block may have a pixel inside the area of interest.

    Raises:
        SceneError: The scene lacks a band.
        PlanError: Sizes do not fit together, or not into memory.
    """
    scene.select(card.bands)
    shape = int(scene.grid.shape[0]), int(scene.grid.shape[1])
    lattice = _choose_lattice(shape, card, wish)
    block = _choose_block(scene, card, lattice, wish, resources)
    _check_memory(scene, card, lattice, wish, block, resources)
    every = tuple(blocks(shape, block))
    kept = tuple(b for b in every if touches is None or touches(b))
    if not kept:
        raise PlanError(f"scene {scene.id}: the area of interest touches none of its blocks")
    by = NEEDS[wish.seams]
    chips = [lattice.chips(shape, b, by=by) for b in kept]
    count = sum(_seen(chip, scene) for of_block in chips for chip in of_block)
    predicted = count * prod(lattice.chip_shape(shape))
    return ScenePlan(
        scene,
        card,
        lattice,
        wish.seams,
        wish.weights,
        wish.batch,
        block,
        kept,
        len(every) - len(kept),
        count,
        predicted / sum(b.shape[0] * b.shape[1] for b in kept),
        ceil(sum(_area(hull(c)) for c in chips) * _bytes_read(scene, card)),
        (_planes(card, wish) + (wish.refinement is not None) + (scene.combined is not None))
        * sum(_area(b) for b in kept),
        memory_needed(scene, card, lattice, wish, block, resources),
        wish.layers,
        wish.refinement,
        wish.passes,
        wish.min_valid,
        wish.observations,
    )


def bytes_per_pixel(scene: Scene, card: ModelCard) -> int:
    """Bytes of one pixel as read: the model's bands and the validity masks."""
    dtype = np.result_type(*(np.dtype(b.dtype) for b in scene.select(card.bands)))
    return len(card.bands) * dtype.itemsize + 1 + len(scene.masks)


def _seen(chip: Chip, scene: Scene) -> int:
    """How often a chip is predicted: for each scene, where they are combined after the model."""
    if scene.combined is None or not scene.combined.predicted:
        return 1
    return sum(bool(chip.owns & window) for window in scene.combined.windows)


def _bytes_read(scene: Scene, card: ModelCard) -> float:
    """Bytes in files for each pixel: where it is made of many smaller ones, all are read."""
    if scene.combined is not None:
        whole, parts = prod(scene.grid.shape), scene.combined
        shares = (_area(window) / whole for window in parts.windows)
        return sum(
            share * _bytes_read(one, card) for share, one in zip(shares, parts.scenes, strict=True)
        )
    here = pixel_area(scene.grid)
    below = max(here / pixel_area(band.grid) for band in scene.select(card.bands))
    # To a hundredth: projections stretch pixels a little.
    return bytes_per_pixel(scene, card) * (below if below > 1.01 else 1.0)


def memory_needed(
    scene: Scene,
    card: ModelCard,
    lattice: Lattice,
    wish: TilingWish,
    block: int,
    resources: Resources,
) -> int:
    """Bytes a worker holds at most: chips in the model, blocks in flight, tiles for the next."""
    shape = int(scene.grid.shape[0]), int(scene.grid.shape[1])
    halo = lattice.margin if wish.seams == "crop" else lattice.size - lattice.stride
    edge = min(block, max(shape)) + 2 * halo
    seen, kept = bytes_per_pixel(scene, card) + 2, 2 + _planes(card, wish)
    if block > max(shape):
        # Chunks are as large as blocks, whatever the scene.
        kept = ceil(kept * block * block / (shape[0] * shape[1]))
    held = KEPT_BYTES + resources.lanes * combining_bytes(scene, card, edge, block)
    for height, width in _largest(shape, block, resources.lanes):
        held += (height + 2 * halo) * (width + 2 * halo) * seen + height * width * kept
    pixels = prod(lattice.chip_shape(shape)) * wish.batch
    chip = wish.footprint.chip(pixels, card.activation_bytes)
    if wish.seams == "blend":
        # The scores of a block in the model are held in full, as a sum and as a mean.
        chip += block * block * 8 * len(card.legend.classes)
    segment = held + resources.models * chip
    # A worker that refines has the engine of the stage before still in memory.
    base = WORKER_BASE_BYTES + wish.footprint.base(wish.weight_bytes)
    return base + max(segment, _refine_bytes(scene, card, wish, block, resources))


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
    view = 2 + _planes(card, wish) + image
    return resources.lanes * edge * edge * (view + wish.refinement.bytes_per_pixel)


def _planes(card: ModelCard, wish: TilingWish) -> int:
    """Bytes of a pixel as it is kept: its class, its confidence, and the layers."""
    classes = len(card.legend.classes)
    kept = 2 + wish.observations
    return kept + sum(classes if layer == "probabilities" else 1 for layer in wish.layers)


def _area(window: Window) -> int:
    return window.shape[0] * window.shape[1]


def _choose_lattice(shape: tuple[int, int], card: ModelCard, wish: TilingWish) -> Lattice:
    """The wished lattice, or the one that predicts the fewest pixels.

    It depends on scene and model alone, never on workers or memory: the map must not.
    """
    margin = card.margin if wish.margin is None else wish.margin
    if card.fixed:
        if wish.size not in (None, card.size):
            raise PlanError(
                f"tiling: size {wish.size} px; model {card.name} takes chips of {card.size} px only"
            )
        return Lattice(card.size, margin, card.stride)
    if wish.size is not None:
        return Lattice(wish.size, margin, card.stride)
    if card.reach is None:
        # Networks that look everywhere are at their best on chips as large as those they learnt.
        return Lattice(card.size, margin, card.stride)
    return min(_candidates(shape, margin, card), key=lambda c: (_cost(shape, c), c.size))


def _candidates(shape: tuple[int, int], margin: int, card: ModelCard) -> Iterator[Lattice]:
    """Chips whose owned parts divide the longer side evenly: slid-back chips waste the most."""
    stride, longest = card.stride, max(shape)
    smallest = ceil(max(SMALLEST_CHIP, 4 * margin) / stride) * stride
    largest = max(smallest, min(LARGEST_CHIP, int((CHIP_BYTES / card.activation_bytes) ** 0.5)))
    # Scenes of some size are cut at least in two, so that two workers have something to do.
    for count in range(2 if longest > 2 * smallest else 1, 4 * longest // smallest + 2):
        size = ceil(ceil(longest / count) / stride) * stride + 2 * margin
        if smallest <= size <= largest:
            yield Lattice(size, margin, stride)
    yield Lattice(smallest, margin, stride)


def _cost(shape: tuple[int, int], lattice: Lattice) -> float:
    """Pixels predicted for each pixel of the scene."""
    counts = [1 if lattice.padded(n) <= lattice.size else ceil(n / lattice.stride) for n in shape]
    predicted = counts[0] * counts[1] * prod(lattice.chip_shape(shape))
    return round(predicted / (shape[0] * shape[1]), 3)


def _choose_block(
    scene: Scene, card: ModelCard, lattice: Lattice, wish: TilingWish, resources: Resources
) -> int:
    shape, stride = (int(scene.grid.shape[0]), int(scene.grid.shape[1])), lattice.stride
    if wish.block is not None:
        if wish.block % stride:
            near = max(1, round(wish.block / stride)) * stride
            raise PlanError(
                f"tiling: block {wish.block} px is not a multiple of the chips' stride {stride} px "
                f"(size {lattice.size} - 2 x margin {lattice.margin}); try {near}"
            )
        return wish.block
    # Where one chip covers an axis, a cut along it would predict that chip twice.
    least = max(ceil(n / stride) if lattice.padded(n) <= lattice.size else 1 for n in shape)
    room = inf if resources.memory is None else resources.memory / _PEAK
    # Large blocks read less halo twice, but every worker should have some for each lane.
    for cells in range(LARGEST_BLOCK // stride, least, -1):
        block = cells * stride
        count = ceil(shape[0] / block) * ceil(shape[1] / block)
        enough = count >= 2 * resources.workers * resources.lanes
        if enough and memory_needed(scene, card, lattice, wish, block, resources) <= room:
            return block
    return least * stride


def _check_memory(
    scene: Scene,
    card: ModelCard,
    lattice: Lattice,
    wish: TilingWish,
    block: int,
    resources: Resources,
) -> None:
    needed = memory_needed(scene, card, lattice, wish, block, resources)
    if resources.memory is not None and needed > resources.memory:
        raise PlanError(
            f"scene {scene.id}: blocks of {block} px with chips of {lattice.size} px need "
            f"{needed / 1e9:.1f} GB on each worker, {resources.memory / 1e9:.1f} GB are allowed; "
            f"set a smaller tiling.block or tiling.size, fewer cluster.threads, or a larger "
            f"cluster.memory"
        )
