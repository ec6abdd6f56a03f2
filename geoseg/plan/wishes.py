"""What a workflow asks of a plan, and what it may use."""

from __future__ import annotations

from dataclasses import dataclass

from geoseg.models.engines import Footprint, Runtime, memory_of
from geoseg.ops.layers import Layer
from geoseg.ops.refine.base import Step, total_halo
from geoseg.ops.stitch import Seams, Weights


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
    it is kept which pixels were. ``footprints`` are what each engine that may be taken takes of a
    worker, and ``weight_bytes`` are the bytes of the models' files.
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
    footprints: tuple[Footprint, ...] = (memory_of(Runtime()),)
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
