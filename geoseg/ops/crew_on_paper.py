"""Workers that only exist on paper: blocks of any number of scenes on their lanes, event by event."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geoseg.ops.simulation import BlockCost, Pool

_LATENCY, _READ, _INFER, _WRITE = range(4)


def _nobody(_now: float) -> None:
    """Nobody waits for it."""


@dataclass(eq=False, slots=True)
class Batch:
    """Blocks of one stage of one scene.

    Attributes:
        stage: Its name: each worker opens it once, whatever scenes the blocks are of.
        order: Of the scene; blocks of an earlier one go first.
        costs: Of each block, in the order of submission.
        opening: Seconds of a core that opening takes.
        seed: Of the failures; the same for any pool.
        ended: Called with the time when there is nothing left to do.
        products: Whether these are products: one at a time is made on a worker; they are no blocks
            that are counted, and do not fail by chance.
        left: Blocks that are still to do.
        failing: Tries that fail, by block.
        hopeless: Blocks whose every try fails.
    """

    stage: str
    order: int
    costs: Sequence[BlockCost]
    opening: float = 0.0
    seed: int = 0
    ended: Callable[[float], None] = _nobody
    products: bool = False
    left: int = field(init=False)
    failing: dict[int, int] = field(init=False, default_factory=dict)
    hopeless: set[int] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self.left = len(self.costs)


@dataclass(slots=True)
class Sums:
    """What came of all blocks.

    Attributes:
        wall: When the last block ended.
        read, infer, write: Seconds of cores (of GPUs, for ``infer`` there), over all tries.
        opening: Seconds of cores for opening stages, over all workers.
        client: Seconds that the client computed.
        busy: Seconds in which a worker had a block in hand, over all workers.
        tries: Of all blocks.
        failed: Blocks whose every try failed.
    """

    wall: float = 0.0
    read: float = 0.0
    infer: float = 0.0
    write: float = 0.0
    opening: float = 0.0
    client: float = 0.0
    busy: float = 0.0
    tries: int = 0
    failed: int = 0


class _Shared:
    """Cores that all who compute share evenly (processor sharing, Kleinrock 1967).

    ``done`` is what each that was there all along has had; a task ends when that reaches its mark,
    so that nothing needs to be changed for the others when one comes or goes.
    """

    __slots__ = ("_since", "cores", "done", "tasks", "version")

    def __init__(self, cores: float) -> None:
        self.cores, self.done, self._since, self.version = cores, 0.0, 0.0, 0
        self.tasks: list[tuple[float, int, _Lane | _Opening | _Turn]] = []

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
    """One process: its places in the model, who waits for them, and who makes products in turn."""

    __slots__ = ("cores", "device", "free", "held", "making", "opened", "since", "waiting")

    def __init__(self, cores: _Shared, device: _Shared, models: int) -> None:
        self.cores, self.device, self.free = cores, device, models
        self.opened: dict[str, _Opening] = {}
        self.waiting: deque[_Lane] = deque()
        self.making: deque[_Lane] = deque()
        self.held, self.since = 0, 0.0


class _Opening:
    """A stage that a worker opens, or has opened; ``lanes`` wait for it."""

    __slots__ = ("done", "lanes")

    def __init__(self) -> None:
        self.done = False
        self.lanes: list[_Lane] = []


class _Lane:
    """One thread of a worker, and the block in its hands."""

    __slots__ = ("batch", "block", "level", "phase", "worker")

    def __init__(self, worker: _Worker, level: tuple[int, int]) -> None:
        self.worker, self.level = worker, level
        self.batch: Batch | None = None
        self.block, self.phase = -1, _LATENCY

    @property
    def cost(self) -> BlockCost:
        assert self.batch is not None, "a block is in hand"  # noqa: S101 (for mypy)
        return self.batch.costs[self.block]


class _Turn:
    """Something that the client computes, one after the other."""

    __slots__ = ("ended", "seconds")

    def __init__(self, seconds: float, ended: Callable[[float], None]) -> None:
        self.seconds, self.ended = seconds, ended


class Crew:
    """Workers, scheduler and client; all methods that take ``now`` are what happens then.

    Whichever lane is free takes the first block that waits, on the worker with the fewest in hand.

    Args:
        pool: How many there are.
        tell: Called with the batch and the time when a block has ended, before its batch has.
    """

    def __init__(self, pool: Pool, tell: Callable[[Batch, float], None] | None = None) -> None:
        self.sums, self._pool, self._tell = Sums(), pool, tell
        machines = [_Shared(pool.cores) for _ in range(pool.machines)]
        self._client = machines[0] if pool.near else _Shared(1.0)
        self._turns: deque[_Turn] = deque()
        self._ready: list[tuple[int, int, Batch, int]] = []
        self._events: list[tuple[float, int, _Shared | _Lane, int]] = []
        self._count, self._scheduler_free = 0, 0.0
        workers = []
        for number in range(pool.workers):
            cores = machines[number // pool.together]
            workers.append(_Worker(cores, _Shared(1.0) if pool.gpu else cores, pool.models))
        # The first lane of each worker, the second of each, ...
        self._idle = [
            (level, number, _Lane(worker, (level, number)))
            for level in range(pool.lanes)
            for number, worker in enumerate(workers)
        ]
        heapify(self._idle)

    def submit(self, batch: Batch, now: float) -> None:
        """Blocks that wait from now on."""
        if not batch.products:
            batch.failing = failing_tries(len(batch.costs), self._pool, batch.seed)
        retries = self._pool.retries
        batch.hopeless = {b for b, count in batch.failing.items() if count > retries}
        if not batch.costs:
            batch.ended(now)
            return
        for block in range(len(batch.costs)):
            self._wait(batch, block)
        self._hand_out(now)

    def ask_client(self, seconds: float, ended: Callable[[float], None], now: float) -> None:
        """Something for the client, after all that it was asked for before."""
        self._turns.append(_Turn(seconds, ended))
        self.sums.client += seconds
        if len(self._turns) == 1:
            self._add(self._client, seconds, self._turns[0], now)

    def run(self) -> Sums:
        """Until nothing happens any more."""
        while self._events:
            now, _, what, version = heappop(self._events)
            if isinstance(what, _Lane):
                self._begin(what, now)
            elif version == what.version:
                self._ended(what, now)
        return self.sums

    def _wait(self, batch: Batch, block: int) -> None:
        self._count += 1
        heappush(self._ready, (batch.order, self._count, batch, block))

    def _hand_out(self, now: float) -> None:
        """Blocks to lanes; the scheduler has them ready, unless it is behind."""
        while self._ready and self._idle:
            _, _, batch, block = heappop(self._ready)
            _, _, lane = heappop(self._idle)
            lane.batch, lane.block, lane.phase = batch, block, _LATENCY
            worker = lane.worker
            worker.held += 1
            if worker.held == 1:
                worker.since = now
            self.sums.tries += not batch.products
            at = max(now, self._scheduler_free)
            self._scheduler_free = at + self._pool.dispatch
            self._at(at, lane)

    def _at(self, when: float, lane: _Lane) -> None:
        self._count += 1
        heappush(self._events, (when, self._count, lane, 0))

    def _begin(self, lane: _Lane, now: float) -> None:
        """A block begins, or its latency is over."""
        worker, batch = lane.worker, lane.batch
        assert batch is not None, "a block is in hand"  # noqa: S101 (for mypy)
        opening = worker.opened.get(batch.stage)
        if opening is None:
            opening = worker.opened[batch.stage] = _Opening()
            self.sums.opening += batch.opening
            self._add(worker.cores, batch.opening, opening, now)
        if not opening.done:
            opening.lanes.append(lane)
        elif lane.phase == _LATENCY and lane.cost.latency > 0:
            lane.phase = _READ
            self._at(now + lane.cost.latency, lane)
        elif batch.products:
            self._ask_maker(lane, now)
        else:
            lane.phase = _READ
            self.sums.read += lane.cost.read
            self._add(worker.cores, lane.cost.read, lane, now)

    def _add(
        self, shared: _Shared, seconds: float, who: _Lane | _Opening | _Turn, now: float
    ) -> None:
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
        if isinstance(who, _Opening):
            who.done = True
            for lane in who.lanes:
                self._begin(lane, now)
        elif isinstance(who, _Turn):
            self._next_turn(now)
        elif who.phase == _READ:
            self._ask_model(who, now)
        elif who.phase == _INFER:
            self._leave_model(who.worker, now)
            self._write(who, now)
        else:
            self._finish(who, now)

    def _write(self, lane: _Lane, now: float) -> None:
        lane.phase = _WRITE
        self.sums.write += lane.cost.write
        self._add(lane.worker.cores, lane.cost.write, lane, now)

    def _ask_maker(self, lane: _Lane, now: float) -> None:
        making = lane.worker.making
        making.append(lane)
        if len(making) == 1:
            self._write(lane, now)

    def _next_turn(self, now: float) -> None:
        turn = self._turns.popleft()
        self.sums.wall = max(self.sums.wall, now)
        if self._turns:
            self._add(self._client, self._turns[0].seconds, self._turns[0], now)
        turn.ended(now)

    def _ask_model(self, lane: _Lane, now: float) -> None:
        worker = lane.worker
        if not worker.free:
            worker.waiting.append(lane)
            return
        worker.free -= 1
        lane.phase = _INFER
        self.sums.infer += lane.cost.infer
        self._add(worker.device, lane.cost.infer, lane, now)

    def _leave_model(self, worker: _Worker, now: float) -> None:
        worker.free += 1
        if worker.waiting:
            self._ask_model(worker.waiting.popleft(), now)

    def _finish(self, lane: _Lane, now: float) -> None:
        """A try has ended, well or not: its lane is free."""
        batch, block, worker = lane.batch, lane.block, lane.worker
        assert batch is not None, "a block was in hand"  # noqa: S101 (for mypy)
        self.sums.wall = max(self.sums.wall, now)
        if batch.products:
            worker.making.popleft()
            if worker.making:
                self._write(worker.making[0], now)
        lane.batch = None
        heappush(self._idle, (*lane.level, lane))
        worker.held -= 1
        if not worker.held:
            self.sums.busy += now - worker.since
        failing = batch.failing.get(block, 0)
        if failing and not (failing == 1 and block in batch.hopeless):
            batch.failing[block] = failing - 1
            self._wait(batch, block)
        else:
            self.sums.failed += bool(failing)
            batch.left -= 1
            if self._tell is not None:
                self._tell(batch, now)
            if not batch.left:
                batch.ended(now)
        self._hand_out(now)


def failing_tries(blocks: int, pool: Pool, seed: int) -> dict[int, int]:
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
