"""A run of many scenes on paper: stage after stage, and what the client does alone between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from geoseg.ops.simulation import BlockCost, Pool, StageForecast, simulate_stage

SAMPLE = 8
"""Equal scenes that are simulated where blocks fail by chance; the others are as these."""


@dataclass(frozen=True, slots=True)
class StageCost:
    """One job over all blocks of a scene.

    ``opening`` are seconds of a core that each worker takes to open it.
    """

    name: str
    costs: tuple[BlockCost, ...]
    opening: float = 0.0


@dataclass(frozen=True, slots=True)
class SceneCost:
    """What a scene takes: its stages, and what the client does alone.

    Attributes:
        before: Seconds of the client before the first block: looking at files, making stores.
        stages: One after the other.
        after: Seconds of the client after the last block: the products.
        count: How many scenes are like this.
    """

    before: float
    stages: tuple[StageCost, ...]
    after: float
    count: int = 1


@dataclass(frozen=True, slots=True)
class RunForecast:
    """What a run takes.

    Attributes:
        wall: Seconds.
        start: Of these, until the workers are there.
        client: Of these, for what the client does alone, scene by scene.
        stages: Of these, for each stage, over all scenes.
        cores: Seconds that workers' cores are busy.
        model: Seconds that models are busy, on cores (then they are in ``cores``, too) or GPUs.
        scenes, blocks: How many there are; blocks of all stages.
        tries: Of all blocks.
        failed: Blocks whose every try failed.
        simulated: Scenes that were gone through block by block.
    """

    wall: float
    start: float
    client: float
    stages: Mapping[str, float]
    cores: float
    model: float
    scenes: int
    blocks: int
    tries: float
    failed: float
    simulated: int


@dataclass(slots=True)
class _Sums:
    """What scenes take together."""

    stages: dict[str, float] = field(default_factory=dict)
    client: float = 0.0
    cores: float = 0.0
    model: float = 0.0
    tries: float = 0.0
    failed: float = 0.0
    blocks: int = 0
    scenes: int = 0
    simulated: int = 0

    def add(self, name: str, found: StageForecast, weight: float, *, gpu: bool) -> None:
        """A stage, as often as ``weight`` says."""
        self.stages[name] = self.stages.get(name, 0.0) + found.wall * weight
        on_cores = found.read + found.write + found.opening + (0.0 if gpu else found.infer)
        self.cores += weight * on_cores
        self.model += weight * found.infer
        self.tries += weight * found.tries
        self.failed += weight * found.failed


def simulate_run(
    scenes: Sequence[SceneCost], pool: Pool, *, start: float = 0.0, seed: int = 0
) -> RunForecast:
    """Scenes one after the other, their stages one after the other.

    Of equal scenes one is simulated, or :data:`SAMPLE` where blocks fail by chance, and counted as
    often as there are: time and memory depend on the blocks of a scene, not on how many there are.

    Args:
        scenes: Each as often as its ``count`` says.
        pool: What they run on.
        start: Seconds until the workers are there.
        seed: Of the failures.
    """
    sums = _Sums()
    for number, scene in enumerate(scenes):
        rounds = min(scene.count, SAMPLE if pool.failures else 1)
        sums.scenes += scene.count
        sums.simulated += rounds
        sums.client += (scene.before + scene.after) * scene.count
        for at, stage in enumerate(scene.stages):
            sums.blocks += len(stage.costs) * scene.count
            for turn in range(rounds):
                own = hash((seed, number, at, turn))
                found = simulate_stage(stage.costs, pool, opening=stage.opening, seed=own)
                sums.add(stage.name, found, scene.count / rounds, gpu=pool.gpu)
    return RunForecast(
        start + sums.client + sum(sums.stages.values()),
        start,
        sums.client,
        sums.stages,
        sums.cores,
        sums.model,
        sums.scenes,
        sums.blocks,
        sums.tries,
        sums.failed,
        sums.simulated,
    )
