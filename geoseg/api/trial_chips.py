"""The chips of a scene that engines are tried on, whatever blocks and workers a run has."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from geoseg.api.planning import touching
from geoseg.errors import RemoteError, SceneError
from geoseg.grid import blocks
from geoseg.io.opening import open_pixels
from geoseg.models.base import Batch
from geoseg.ops.tiling import Lattice
from geoseg.plan import LARGEST_BLOCK, ScenePlan
from geoseg.steps.real_chips import real_chips
from geoseg.steps.segment import Tiling

LARGEST = 768
"""Side of the chips of a trial, where the run's own are larger: engines compare alike on both."""

COMPARED = 512
"""The same, of scenes that an engine is only compared on: fewer pixels say enough."""

Chips = tuple[Batch, NDArray[np.bool_]]


def trial_lattice(plan: ScenePlan, largest: int = LARGEST) -> Lattice:
    """That of the run, or of smaller chips."""
    own = plan.lattice
    rest = max(own.multiple, (largest - 2 * own.margin) // own.multiple * own.multiple)
    if plan.card.fixed or rest >= own.stride:
        return own
    return Lattice(rest + 2 * own.margin, own.margin, own.multiple)


def trial_chips(plan: ScenePlan, count: int, largest: int = LARGEST) -> Chips | None:
    """Real chips; None where there are none, or where workers will say what is wrong with files."""
    lattice = trial_lattice(plan, largest)
    # Not the plan's blocks, which depend on the workers: what int8 is made with must not.
    side = max(1, LARGEST_BLOCK // lattice.stride) * lattice.stride
    touches = touching(plan.scene)
    cells = [cell for cell in blocks(plan.shape, side) if touches(cell)]
    with closing(open_pixels(plan.scene)) as pixels:
        try:
            return real_chips(pixels, plan.card.bands, cells, Tiling(lattice), count=count)
        except (SceneError, RemoteError):
            return None


def some(chips: Batch, which: NDArray[np.bool_]) -> Batch:
    """Those chips of a batch."""
    return replace(chips, values=chips.values[which], valid=chips.valid[which])
