"""A stage that only takes place on paper: what its blocks take, what they run on, how long it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isfinite

from geoseg.errors import PlanError
from geoseg.ops.crew_on_paper import Batch, Crew


@dataclass(frozen=True, slots=True)
class BlockCost:
    """What one block takes, in seconds.

    Attributes:
        read: Of a core: decoding, resampling.
        latency: Waiting for servers or disks; no core is busy meanwhile.
        infer: Of a core, or of the worker's GPU.
        write: Of a core: compressing.
    """

    read: float = 0.0
    latency: float = 0.0
    infer: float = 0.0
    write: float = 0.0


@dataclass(frozen=True, slots=True)
class Pool:
    """What blocks run on.

    Attributes:
        workers: Worker processes.
        lanes: Blocks that each has in hand.
        models: How many of these may be in the model at once.
        cores: Of one machine; who computes shares them evenly, and nobody uses more than one.
        together: Workers on one machine.
        gpu: Whether each worker's model has a GPU of its own, and takes no core.
        dispatch: Seconds of the scheduler for each block, one block after the other.
        failures: Chance of a try to fail, 0..1, after it has taken all its time.
        retries: Further tries for a block that failed.
        near: Whether the client shares the cores of the first machine; else it has one of its own.

    Raises:
        PlanError: A number is out of range.
    """

    workers: int = 1
    lanes: int = 3
    models: int = 1
    cores: float = 1.0
    together: int = 1
    gpu: bool = False
    dispatch: float = 0.0
    failures: float = 0.0
    retries: int = 2
    near: bool = False

    def __post_init__(self) -> None:
        counts = {"workers": self.workers, "lanes": self.lanes, "models": self.models}
        for what, value in (counts | {"workers on a machine": self.together}).items():
            if value < 1:
                raise PlanError(f"simulation: {what}: found {value}, at least 1 is needed")
        if not (self.cores > 0 and isfinite(self.cores)):
            raise PlanError(f"simulation: cores: found {self.cores:g}, more than 0 are needed")
        if not 0 <= self.failures < 1:
            raise PlanError(
                f"simulation: failures: found {self.failures:g}, a share from 0 to below 1 is needed"
            )
        if not (self.dispatch >= 0 and self.retries >= 0):
            raise PlanError("simulation: dispatch and retries: less than 0 cannot be")

    @property
    def machines(self) -> int:
        """Machines that the workers need."""
        return ceil(self.workers / self.together)

    @property
    def slots(self) -> int:
        """Blocks that all workers have in hand at once."""
        return self.workers * self.lanes


@dataclass(frozen=True, slots=True)
class StageForecast:
    """What a stage takes.

    Attributes:
        wall: Seconds from the first block to the end of the last.
        read, infer, write: Seconds of cores (of GPUs, for ``infer`` there), over all tries.
        opening: Seconds of cores for opening the job, over all workers.
        tries: Of all blocks.
        failed: Blocks whose every try failed.
    """

    wall: float
    read: float
    infer: float
    write: float
    opening: float
    tries: int
    failed: int


def simulate_stage(
    costs: Sequence[BlockCost], pool: Pool, *, opening: float = 0.0, seed: int = 0
) -> StageForecast:
    """Do all blocks of one job: whichever lane is free takes the next one in order.

    A block is read, waits for one of its worker's places in the model, is predicted and written.
    Takes time and memory in proportion to the blocks and lanes (and the logarithm of what runs).

    Args:
        costs: Of each block, in the order of submission.
        pool: What they run on.
        opening: Seconds of a core that each worker takes to open the job, at its first block.
        seed: Of the failures; the same for any pool.
    """
    crew = Crew(pool)
    crew.submit(Batch("stage", 0, costs, opening, seed), 0.0)
    sums = crew.run()
    return StageForecast(
        sums.wall, sums.read, sums.infer, sums.write, sums.opening, sums.tries, sums.failed
    )
