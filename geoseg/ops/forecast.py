"""A run of many scenes on paper: several under way at once, as the client begins them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby

from geoseg.ops.crew_on_paper import Batch, Crew, Sums
from geoseg.ops.simulation import BlockCost, Pool

PRODUCTS = "products"
"""The stage in which workers make the products of a scene: one task for each."""

LEAST, DEPTHS = 8, 4
"""Equal scenes that are simulated at least, and as often as many as may be under way at once."""

MOST_BLOCKS = 50_000
"""Blocks of equal scenes that are simulated, about; the other scenes go on at the pace of these."""


@dataclass(frozen=True, slots=True)
class StageCost:
    """One job over all blocks of a scene.

    ``opening`` are seconds of a core that each worker takes to open its first one of that name.
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
        after: Seconds of the client after the last block.
        count: How many scenes are like this.
        products: Seconds of a worker's core after the last block, in one task.
    """

    before: float
    stages: tuple[StageCost, ...]
    after: float
    count: int = 1
    products: float = 0.0


@dataclass(frozen=True, slots=True)
class Ahead:
    """How many scenes are under way at once.

    Attributes:
        most: So many at most.
        blocks: The next is begun while those under way have fewer blocks left than so many for each
            that workers hold at once,
        looked_at: and fewer than so many have not begun their first.
    """

    most: int = 1
    blocks: int = 2
    looked_at: int = 3


@dataclass(frozen=True, slots=True)
class RunForecast:
    """What a run takes.

    Attributes:
        wall: Seconds.
        start: Of these, until the workers are there.
        client: Seconds that the client computes for scenes, one after the other.
        stages: Seconds in which a stage is under way in any scene; those of several stages overlap
            where scenes do.
        cores: Seconds that workers' cores are busy.
        model: Seconds that models are busy, on cores (then they are in ``cores``, too) or GPUs.
        waiting: Share of the workers' time in which one had no task at all.
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
    waiting: float
    scenes: int
    blocks: int
    tries: float
    failed: float
    simulated: int


def simulate_run(
    scenes: Sequence[SceneCost],
    pool: Pool,
    *,
    start: float = 0.0,
    seed: int = 0,
    ahead: Ahead | None = None,
) -> RunForecast:
    """Scenes as a run does them: begun in order, those under way side by side.

    A scene is looked at by the client, which does one thing after the other; then its stages follow
    each other on the workers, and its products, one task. Blocks of an earlier scene go first.

    Of many equal scenes some are simulated; the others are taken to go on at the pace of the
    middle half of these: time and memory depend on the blocks of a scene, not on how many there are.

    Args:
        scenes: Each as often as its ``count`` says.
        pool: What they run on.
        start: Seconds until the workers are there.
        seed: Of the failures.
        ahead: How many are under way at once; without it, one after the other.
    """
    ahead = ahead or Ahead()
    groups = [(one, sum(scene.count for scene in equal)) for one, equal in groupby(scenes, _Alike)]
    rounds = [min(count, _rounds(one.scene, ahead)) for one, count in groups]
    flying = [one.scene for (one, _), n in zip(groups, rounds, strict=True) for _ in range(n)]
    flight = _Flight(flying, pool, ahead, seed)
    sums = flight.run()
    told = _Told(start, pool, sums, flight)
    first = 0
    for (one, count), n in zip(groups, rounds, strict=True):
        told.add(one.scene, count, n, flight.ends[first : first + n])
        first += n
    return told.forecast()


class _Alike:
    """A scene that equals others with another count."""

    def __init__(self, scene: SceneCost) -> None:
        self.scene = scene

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Alike):
            return NotImplemented
        one, two = self.scene, other.scene
        return one is two or (
            (one.before, one.after, one.products) == (two.before, two.after, two.products)
            and one.stages == two.stages
        )

    __hash__ = None  # type: ignore[assignment]  # groupby compares


def _tasks(scene: SceneCost) -> int:
    return sum(len(stage.costs) for stage in scene.stages) + bool(scene.products)


def _rounds(scene: SceneCost, ahead: Ahead) -> int:
    """How many of equal scenes are simulated."""
    return max(LEAST, min(DEPTHS * ahead.most, MOST_BLOCKS // max(1, _tasks(scene))))


class _Flight:
    """The client's side: which scenes are under way, and what is next for each of them."""

    def __init__(self, scenes: Sequence[SceneCost], pool: Pool, ahead: Ahead, seed: int) -> None:
        self._scenes, self._most, self._seed = scenes, ahead.most, seed
        self._enough = ahead.blocks * pool.slots
        self._crew = Crew(pool, self._block_ended)
        self._next = self._flying = self._backlog = self._looked_at = 0
        self._side = ahead.looked_at
        self._owed = [0] * len(scenes)
        self._since: dict[str, tuple[int, float]] = {}
        self.stages: dict[str, float] = {}
        self.ends = [0.0] * len(scenes)
        self.first: float | None = None

    def run(self) -> Sums:
        """All scenes."""
        self._fill(0.0)
        return self._crew.run()

    def _fill(self, now: float) -> None:
        """Begin scenes while those under way do not keep the workers busy for a while."""
        while self._next < len(self._scenes) and (not self._flying or self._has_room):
            number, self._next = self._next, self._next + 1
            self._flying += 1
            self._looked_at += 1
            self._crew.ask_client(self._scenes[number].before, partial(self._begin, number), now)

    @property
    def _has_room(self) -> bool:
        return (
            self._flying < self._most
            and self._looked_at < self._side
            and self._backlog < self._enough
        )

    def _begin(self, number: int, now: float) -> None:
        """A scene was looked at."""
        self._looked_at -= 1
        self.first = now if self.first is None else self.first
        self._stage(number, 0, now)
        self._fill(now)

    def _owe(self, number: int, blocks: int) -> None:
        self._backlog += blocks - self._owed[number]
        self._owed[number] = blocks

    def _block_ended(self, batch: Batch, now: float) -> None:
        self._owe(batch.order, max(1, batch.left))
        self._fill(now)

    def _stage(self, number: int, at: int, now: float) -> None:
        """A scene has come to its ``at``-th stage; then to its products."""
        scene = self._scenes[number]
        if at < len(scene.stages):
            stage = scene.stages[at]
            batch = Batch(
                stage.name, number, stage.costs, stage.opening,
                hash((self._seed, number, at)), partial(self._stage_ended, number, at),
            )  # fmt: skip
        elif at == len(scene.stages) and scene.products:
            costs = (BlockCost(write=scene.products),)
            ended = partial(self._stage_ended, number, at)
            batch = Batch(PRODUCTS, number, costs, ended=ended, products=True)
        else:
            self._crew.ask_client(scene.after, partial(self._landed, number), now)
            return
        count, since = self._since.get(batch.stage, (0, now))
        self._since[batch.stage] = (count + 1, since if count else now)
        self._owe(number, max(1, len(batch.costs)))
        self._crew.submit(batch, now)

    def _stage_ended(self, number: int, at: int, now: float) -> None:
        stages = self._scenes[number].stages
        name = stages[at].name if at < len(stages) else PRODUCTS
        count, since = self._since[name]
        self._since[name] = (count - 1, since)
        if count == 1:
            self.stages[name] = self.stages.get(name, 0.0) + now - since
        self._stage(number, at + 1, now)

    def _landed(self, number: int, now: float) -> None:
        self.ends[number] = now
        self._flying -= 1
        self._owe(number, 0)
        self._fill(now)


@dataclass(slots=True)
class _Told:
    """What simulated scenes took, and with them those that are like them."""

    start: float
    pool: Pool
    sums: Sums
    flight: _Flight
    more: float = 0.0
    client: float = 0.0
    shares: list[tuple[float, float]] = field(default_factory=list)
    scenes: int = 0
    blocks: int = 0
    simulated: int = 0

    def add(self, scene: SceneCost, count: int, rounds: int, ends: Sequence[float]) -> None:
        """``count`` scenes, of which ``rounds`` were simulated; these ended at ``ends``."""
        self.scenes += count
        self.simulated += rounds
        self.client += (scene.before + scene.after) * count
        self.blocks += sum(len(stage.costs) for stage in scene.stages) * count
        self.shares.append((_tasks(scene) * count, _tasks(scene) * rounds))
        if count > rounds:
            done, quarter = sorted(ends), rounds // 4
            last = 3 * quarter
            self.more += (count - rounds) * (done[last] - done[quarter]) / (last - quarter)

    def forecast(self) -> RunForecast:
        sums, pool = self.sums, self.pool
        span = sums.wall - (self.flight.first or 0.0)
        wall = sums.wall + self.more
        # By the blocks: where there are different scenes, what failed of one is shared out to all.
        weight = sum(all_ for all_, _ in self.shares) / max(1, sum(n for _, n in self.shares))
        on_cores = sums.read + sums.write + (0.0 if pool.gpu else sums.infer)
        return RunForecast(
            self.start + wall,
            self.start,
            self.client,
            {name: min(seconds * weight, wall) for name, seconds in self.flight.stages.items()},
            on_cores * weight + sums.opening,
            sums.infer * weight,
            max(0.0, 1 - sums.busy / (pool.workers * span)) if span else 0.0,
            self.scenes,
            self.blocks,
            sums.tries * weight,
            sums.failed * weight,
            self.simulated,
        )
