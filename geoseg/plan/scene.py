"""A scene and a model to a plan: blocks, chips, bytes and memory. Reads no pixel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import ceil, inf, prod

from geoseg.errors import PlanError
from geoseg.grid import Window, blocks
from geoseg.io.grids import pixel_area
from geoseg.models.base import ModelCard
from geoseg.models.engines import Footprint
from geoseg.ops.layers import Layer
from geoseg.ops.stitch import NEEDS, Seams, Weights
from geoseg.ops.tiling import Chip, Lattice, hull
from geoseg.plan.memory import Memory, bytes_per_pixel, memory_needed, planes
from geoseg.plan.wishes import Refinement, Resources, TilingWish
from geoseg.scene import Scene

SMALLEST_CHIP, LARGEST_CHIP = 256, 1280
LARGEST_BLOCK = 2560

CHIP_BYTES = 768 * 2**20
"""What the activations of one chip may take where the plan chooses its size."""

_PEAK = 1.05  # by its measured peaks a worker may take 3 % more than planned: blocks leave room


@dataclass(frozen=True, slots=True)
class ScenePlan:
    """All that will be done to one scene. Small, picklable, the same for any executor.

    ``blocks`` are those to compute, in reading order; ``skipped`` were left out because they lie
    outside the area or of the scene. ``chips`` and ``predictions_per_pixel`` are upper bounds: chips of nodata
    are only known once they are read. ``memory_at_most`` is the most of all engines that may compute
    the scene, by which blocks are chosen; ``memory_per_worker`` is the same until it is known which
    does (:meth:`computed_by`).
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
    memory: Memory
    memory_at_most: int
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

    def computed_by(self, footprint: Footprint) -> ScenePlan:
        """The same plan with the memory that an engine takes; nothing else depends on it."""
        return replace(self, memory_per_worker=self.memory.of(footprint))

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
    memory = memory_needed(scene, card, lattice, wish, block, resources)
    most = memory.most(wish.footprints)
    _check_memory(scene, most, lattice, block, resources)
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
        (planes(card, wish) + (wish.refinement is not None) + (scene.combined is not None))
        * sum(_area(b) for b in kept),
        memory,
        most,
        most,
        wish.layers,
        wish.refinement,
        wish.passes,
        wish.min_valid,
        wish.observations,
    )


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
        if not enough:
            continue
        memory = memory_needed(scene, card, lattice, wish, block, resources)
        if memory.most(wish.footprints) <= room:
            return block
    return least * stride


def _check_memory(
    scene: Scene, needed: int, lattice: Lattice, block: int, resources: Resources
) -> None:
    if resources.memory is not None and needed > resources.memory:
        raise PlanError(
            f"scene {scene.id}: blocks of {block} px with chips of {lattice.size} px need "
            f"{needed / 1e9:.1f} GB on each worker, {resources.memory / 1e9:.1f} GB are allowed; "
            f"set a smaller tiling.block or tiling.size, fewer cluster.threads, or a larger "
            f"cluster.memory"
        )
