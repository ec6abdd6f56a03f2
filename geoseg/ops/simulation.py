"""A run that only takes place on paper: blocks on workers, event by event, in pure Python."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import ceil, isfinite
from random import Random

from geoseg.errors import PlanError

_LATENCY, _READ, _INFER, _WRITE = range(4)


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
    return _Stage(costs, pool, opening, seed).run()


class _Shared:
    """Cores that all who compute share evenly (processor sharing, Kleinrock 1967).

    ``done`` is what each that was there all along has had; a task ends when that reaches its mark,
    so that nothing needs to be changed for the others when one comes or goes.
    """

    __slots__ = ("_since", "cores", "done", "tasks", "version")

    def __init__(self, cores: float) -> None:
        self.cores, self.done, self._since, self.version = cores, 0.0, 0.0, 0
        self.tasks: list[tuple[float, int, _Lane | _Worker]] = []

    @property
    def rate(self) -> float:
        return min(1.0, self.cores / len(self.tasks))

    def advance(self, now: float) -> None:
        if self.tasks:
            self.done += (now - self._since) * self.rate
        self._since = now

    def next_end(self, now: float) -> float:
        return now + max(0.0, self.tasks[0][0] - self.done) / self.rate


class _Worker:
    """One process: its places in the model, and who waits for them, or for the job to open."""

    __slots__ = ("cores", "device", "free", "opened", "opening", "waiting")

    def __init__(self, cores: _Shared, device: _Shared, models: int) -> None:
        self.cores, self.device, self.free = cores, device, models
        self.opened = False
        self.opening: list[_Lane] = []
        self.waiting: deque[_Lane] = deque()


class _Lane:
    """One thread of a worker, and the block in its hands."""

    __slots__ = ("block", "phase", "worker")

    def __init__(self, worker: _Worker) -> None:
        self.worker, self.block, self.phase = worker, -1, _LATENCY


class _Stage:
    """The loop; all methods that take ``now`` are what happens then."""

    def __init__(self, costs: Sequence[BlockCost], pool: Pool, opening: float, seed: int) -> None:
        self._costs, self._pool, self._opening = costs, pool, opening
        self._queue = deque(range(len(costs)))
        self._failing = _failing_tries(len(costs), pool, seed)
        self._hopeless = {b for b, count in self._failing.items() if count > pool.retries}
        self._events: list[tuple[float, int, _Shared | _Lane, int]] = []
        self._count = self._opened = self._tries = self._failed = 0
        self._scheduler_free = self._wall = 0.0
        self._sum = [0.0, 0.0, 0.0, 0.0]
        self._idle: list[_Lane] = []

    def run(self) -> StageForecast:
        for lane in self._lanes():
            self._take(lane, 0.0)
        while self._events:
            now, _, what, version = heappop(self._events)
            if isinstance(what, _Lane):
                self._begin(what, now)
            elif version == what.version:
                self._ended(what, now)
        return StageForecast(
            self._wall,
            self._sum[_READ],
            self._sum[_INFER],
            self._sum[_WRITE],
            self._opened * self._opening,
            self._tries,
            self._failed,
        )

    def _lanes(self) -> Iterable[_Lane]:
        """The first lane of each worker, the second of each, ... as far as there are blocks."""
        pool = self._pool
        machines = [_Shared(pool.cores) for _ in range(pool.machines)]
        workers = []
        for number in range(pool.workers):
            cores = machines[number // pool.together]
            device = _Shared(1.0) if pool.gpu else cores
            workers.append(_Worker(cores, device, pool.models))
        for _ in range(pool.lanes):
            for worker in workers:
                if not self._queue:
                    return
                yield _Lane(worker)

    def _take(self, lane: _Lane, now: float) -> None:
        """The next block; the scheduler has it ready, unless it is behind."""
        if not self._queue:
            self._idle.append(lane)
            return
        lane.block, lane.phase = self._queue.popleft(), _LATENCY
        self._tries += 1
        at = max(now, self._scheduler_free)
        self._scheduler_free = at + self._pool.dispatch
        self._at(at, lane)

    def _at(self, when: float, lane: _Lane) -> None:
        self._count += 1
        heappush(self._events, (when, self._count, lane, 0))

    def _begin(self, lane: _Lane, now: float) -> None:
        """A block begins, or its latency is over."""
        worker, cost = lane.worker, self._costs[lane.block]
        if not worker.opened:
            worker.opening.append(lane)
            if len(worker.opening) == 1:
                self._opened += 1
                self._add(worker.cores, self._opening, worker, now)
        elif lane.phase == _LATENCY and cost.latency > 0:
            lane.phase = _READ
            self._at(now + cost.latency, lane)
        else:
            lane.phase = _READ
            self._compute(lane, cost.read, now)

    def _compute(self, lane: _Lane, seconds: float, now: float) -> None:
        self._sum[lane.phase] += seconds
        worker = lane.worker
        self._add(worker.device if lane.phase == _INFER else worker.cores, seconds, lane, now)

    def _add(self, shared: _Shared, seconds: float, who: _Lane | _Worker, now: float) -> None:
        shared.advance(now)
        self._count += 1
        heappush(shared.tasks, (shared.done + seconds, self._count, who))
        self._expect(shared, now)

    def _expect(self, shared: _Shared, now: float) -> None:
        """The next end there, which replaces the one that was expected before."""
        shared.version += 1
        if shared.tasks:
            self._count += 1
            event = (shared.next_end(now), self._count, shared, shared.version)
            heappush(self._events, event)

    def _ended(self, shared: _Shared, now: float) -> None:
        shared.advance(now)
        mark, _, who = heappop(shared.tasks)
        shared.done = max(shared.done, mark)
        self._expect(shared, now)
        if isinstance(who, _Worker):
            who.opened = True
            for lane in who.opening:
                self._begin(lane, now)
        elif who.phase == _READ:
            self._ask_model(who, now)
        elif who.phase == _INFER:
            self._leave_model(who.worker, now)
            who.phase = _WRITE
            self._compute(who, self._costs[who.block].write, now)
        else:
            self._finish(who, now)

    def _ask_model(self, lane: _Lane, now: float) -> None:
        if not lane.worker.free:
            lane.worker.waiting.append(lane)
            return
        lane.worker.free -= 1
        lane.phase = _INFER
        self._compute(lane, self._costs[lane.block].infer, now)

    def _leave_model(self, worker: _Worker, now: float) -> None:
        worker.free += 1
        if worker.waiting:
            self._ask_model(worker.waiting.popleft(), now)

    def _finish(self, lane: _Lane, now: float) -> None:
        self._wall = max(self._wall, now)
        failing = self._failing.get(lane.block, 0)
        if failing == 1 and lane.block in self._hopeless:
            self._failed += 1
        elif failing:
            self._failing[lane.block] = failing - 1
            self._queue.append(lane.block)
            if self._idle:
                self._take(self._idle.pop(), now)
        self._take(lane, now)


def _failing_tries(blocks: int, pool: Pool, seed: int) -> dict[int, int]:
    """How many tries of each block fail, where any do."""
    if not pool.failures:
        return {}
    chance = Random(seed)  # noqa: S311 (nothing secret: the same run on paper each time)
    failing = {}
    for block in range(blocks):
        count = 0
        while count <= pool.retries and chance.random() < pool.failures:
            count += 1
        if count:
            failing[block] = count
    return failing
