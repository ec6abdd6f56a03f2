"""How the products of a scene are made: here, as one task of a worker, or part by part on several."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from math import prod
from threading import Lock
from time import perf_counter, thread_time
from typing import Any, Final, TypeVar

from geoseg.api.accounts import Account, memory_record, tell_traffic
from geoseg.api.holding import STATE
from geoseg.api.jobs import WorkFolder
from geoseg.api.planning import RunPlan, SceneTask
from geoseg.api.polygons import Stored
from geoseg.api.products import Products
from geoseg.errors import BlockError, GeosegError, ProductError
from geoseg.grid import Window
from geoseg.io.atomic import guarded, remove_file, write_bytes
from geoseg.io.bucket import BucketPath
from geoseg.io.decimate import SmallScene
from geoseg.io.staging import local_folder, remove_folder, store_place, upload
from geoseg.io.traffic import METER, NOTHING, Traffic
from geoseg.run.base import Executor, Failed, Stop
from geoseg.run.loop import Summary
from geoseg.run.reporter import Reporter, logs_to
from geoseg.run.stopping import stop_on_signals
from geoseg.run.store_lock import confirm_held
from geoseg.steps.segment import most_memory

PARTS: Final = ("classes", "layers", "polygons")
"""What can be made side by side; then the rest, which is made of them."""

ALL, REST = "all", "rest"

LARGE: Final = 30_000_000
"""Pixels from which the parts of one scene are worth processes of their own."""

NEEDED: Final = 600 * 2**20
"""Bytes of memory that making products takes of a worker at most, most of it libraries."""

MAKER: Final = "maker"
"""File in the state folder that says whose products these are."""

_ONE: Final = Lock()
"""Held while pictures are drawn and polygons written: neither library bears it twice in a process."""

Made = dict[str, Any]
"""What came of the parts, by name."""

T = TypeVar("T")


class _Spent:
    """CPU seconds of several threads, but for those of libraries' own."""

    def __init__(self) -> None:
        self._parts: list[float] = []

    def on(self, call: Callable[..., T], *given: Any) -> T:
        """What ``call`` gives; what it takes is counted."""
        begun = thread_time()
        try:
            return call(*given)
        finally:
            self._parts.append(thread_time() - begun)

    @property
    def seconds(self) -> float:
        """All so far."""
        return sum(self._parts)


@dataclass(frozen=True, slots=True)
class Making:
    """All that it takes to make the products of a scene of its finished blocks. Picklable.

    Attributes:
        products: Which, and where.
        work: Where the blocks are.
        account: What they said.
        summaries: What came of each stage.
        moved: What small regions took from class to class before they were outlined.
        told: What ``run.json`` says besides.
        client: Bytes of memory of the client, and what it asked servers for; None: it is this
            process.
        mark: Whose products these are; "" where only this process can write them.
        place: Where they go, if that is a store; a folder stands for it wherever they are made.
    """

    products: Products
    work: WorkFolder
    account: Account
    summaries: Mapping[str, Summary]
    moved: Mapping[str, Any] | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
    client: tuple[int, Traffic] | None = None
    mark: str = ""
    place: BucketPath | None = None

    def here(self, tell: Callable[[int], None]) -> dict[str, Any]:
        """Make all of them in this process; ``tell`` hears how many there are, now and then.

        Returns:
            What ``run.json`` says.
        """
        begun, spent = perf_counter(), _Spent()
        # Much of a file is made on one core, whatever GDAL is told: so two are made at once.
        with ThreadPoolExecutor(2, thread_name_prefix="geoseg-products") as two:
            classes, layers = (two.submit(spent.on, self.part, part) for part in PARTS[:2])
            means = layers.result()[0]
            classes.result()
            tell(1 + len(means))
            polygons = two.submit(spent.on, self.part, "polygons")
            small = two.submit(spent.on, self.products.small_scene)
            made = {"layers": layers.result(), "polygons": polygons.result()}
            tell(2)
            return self.rest(made, small.result(), begun=begun, spent=spent)

    def part(self, part: str) -> Any:
        """Make one of :data:`PARTS`."""
        if part == "polygons":
            return self.products.polygons(self.work, self.moved)
        return self.products.rasters(self.work, part)

    def rest(
        self, made: Made, small: SmallScene | None, *, begun: float, spent: _Spent | None = None
    ) -> dict[str, Any]:
        """Make pictures, run.json, the report and the item; returns what run.json says.

        ``begun`` is the time of :func:`perf_counter` that making them is counted from, ``spent``
        what they took of cores before, if that is known.
        """
        cpu = thread_time()
        (means, seen), products = made["layers"], self.products
        polygons: Stored | None = made["polygons"]
        if small is not None:
            products.pictures(self.account, polygons, seen, small)
        record = products.record(self.account, polygons, self.summaries, self.moved)
        record |= self._process() | {"layers": means} | seen | dict(self.told)
        record["seconds"]["products"] = {"wall": round(perf_counter() - begun, 3)}
        if spent is not None:
            cpu = spent.seconds + thread_time() - cpu
            record["seconds"]["products"]["cpu"] = round(cpu, 3)
        products.finish(record)
        return record

    def _process(self) -> dict[str, Any]:
        """What only the client, or this process, can tell."""
        memory, asked = self.client or (most_memory(), NOTHING)
        planned = self.products.task.plan.memory_per_worker
        return {
            "memory": memory_record(planned, self.account) | {"most_of_the_client": memory},
            "remote": asdict(self.account.traffic + asked + METER.take()),
        }


@dataclass(frozen=True, slots=True)
class MakingJob:
    """Products as blocks of a job: row ``i`` stands for ``tasks[i]``. Implements `run.base.Job`.

    Attributes:
        key: As of any job.
        making: What is made.
        tasks: Some of :data:`PARTS`, or ``all``, or the ``rest`` of what was ``made``.
        made: What came of the parts.
        spent: Seconds that they took.
    """

    key: str
    making: Making
    tasks: tuple[str, ...]
    made: Made = field(default_factory=dict)
    spent: float = 0.0

    def open(self) -> MakingJob:
        """There is nothing to open."""
        return self

    def __call__(self, block: Window) -> dict[str, Any]:
        """Do one task; an error of ours is an answer, as trying again would not help."""
        task, making = self.tasks[block.y0], self.making
        begun = perf_counter()
        try:
            if making.place is not None:
                return {"found": _made_away(making, making.place)}
            with _only_while_ours(making), nullcontext() if task in PARTS[:2] else _ONE:
                if task == ALL:
                    return {"found": making.here(lambda _count: None)}
                if task == REST:
                    small = making.products.small_scene()
                    return {"found": making.rest(self.made, small, begun=begun - self.spent)}
                return {"found": making.part(task)}
        except GeosegError as error:
            return {"raised": error}

    def close(self) -> None:
        """There is nothing to let go of."""


def fits_workers(plan: RunPlan, task: SceneTask) -> bool:
    """Whether workers see the output, and may take the memory that making products beside blocks takes.

    Where blocks are kept elsewhere than the products, only the client is known to see these.
    """
    limit, work = plan.workflow.cluster.memory, plan.workflow.run.work
    if work is not None:
        return False
    return limit is None or task.plan.memory_per_worker + NEEDED <= limit.bytes


def on_workers(plan: RunPlan, task: SceneTask, *, alone: bool) -> bool:
    """Whether workers make the products of a scene, which is the only one of its run if ``alone``.

    Of a single small scene the client does, which has nothing else to do.
    """
    return not (alone and prod(task.plan.shape) < LARGE) and fits_workers(plan, task)


def make_here(making: Making, reporter: Reporter) -> dict[str, Any]:
    """Make the products of a scene in this process; returns what ``run.json`` says."""
    making.products.begin()
    total, told = len(making.products.paths()), 0
    reporter.stage("products", blocks=total, pixels=0)

    def tell(count: int) -> None:
        nonlocal told
        told += count
        reporter.advance(blocks=count, pixels=0)

    with _ONE:
        record = making.here(tell)
    tell_traffic(making.products.task.plan.scene.id, record["remote"], reporter)
    tell(max(0, total - told))
    return record


def make_on_workers(making: Making, executor: Executor, reporter: Reporter) -> dict[str, Any]:
    """The same on workers, which see the folder, or the store, as they wrote the blocks there.

    Those of a large scene are made side by side; a small one is a single task, as others are
    made beside it, and so is one for a store, since hosts share no folder then.

    Raises:
        GeosegError: They could not be made: what was raised where they were.
        StoppedError: A signal came before all of them were begun.
    """
    products, plan = making.products, making.products.task.plan
    products.begin()
    place = store_place(products.task.directory)
    if place is not None:
        remove_file(products.paths()["run"])  # what was mirrored of an earlier run is past
    mark = _marked(products)
    making = replace(making, client=(most_memory(), METER.take()), mark=mark, place=place)
    total = len(products.paths())
    reporter.stage("products", blocks=total, pixels=0)
    key = f"{plan.scene.id}-{making.mark[:12]}"
    if plan.shape[0] * plan.shape[1] < LARGE or place is not None:
        (record,) = _done(executor, MakingJob(f"products-{key}", making, (ALL,)), reporter)
    else:
        begun = perf_counter()
        parts = MakingJob(f"products-{key}", making, PARTS)
        made = dict(zip(PARTS, _done(executor, parts, reporter), strict=True))
        spent = perf_counter() - begun
        rest = MakingJob(f"finish-{key}", making, (REST,), made, spent)
        (record,) = _done(executor, rest, reporter)
    if place is not None:
        (place / STATE / MAKER).unlink()
    tell_traffic(plan.scene.id, record["remote"], reporter)
    means, polygons = len(record["layers"]), 2
    for count in (1 + means, polygons, max(0, total - 1 - means - polygons)):
        reporter.advance(blocks=count, pixels=0)
    return dict(record)


def _done(executor: Executor, job: MakingJob, reporter: Reporter) -> list[Any]:
    """What came of each task of ``job``, in their order."""
    stop, found = Stop(), dict[int, Any]()

    def tell() -> None:
        reporter.message("stopping: products that are being made are finished (once more: at once)")

    blocks = [Window(number, 0, number + 1, 1) for number in range(len(job.tasks))]
    with (
        stop_on_signals(stop, tell) as request,
        logs_to(reporter),
        closing(executor.run(job, blocks, stop=stop)) as outcomes,
    ):
        for outcome in outcomes:
            if isinstance(outcome, Failed):
                raise _lost(job, outcome)
            if "raised" in outcome.report:
                raise outcome.report["raised"]
            found[outcome.block.y0] = outcome.report["found"]
    if len(found) < len(blocks):
        raise request.error(
            f"products: stopped with {len(blocks) - len(found)} of {len(blocks)} parts to go; the "
            f"same command goes on from there"
        )
    return [found[number] for number in range(len(blocks))]


def _lost(job: MakingJob, failed: Failed) -> GeosegError:
    """The error of a task that did not answer, or of something that we did not expect."""
    text = f"products: {job.tasks[failed.block.y0]}: {failed.error}"
    error = ProductError(text) if failed.everywhere else BlockError(text)
    if failed.traceback:
        error.add_note(f"What was raised:\n{failed.traceback.rstrip()}")
    return error


def _marked(products: Products) -> str:
    """Say that these products are ours from now on: workers of an earlier run put nothing here."""
    mark, folder = secrets.token_hex(16), products.task.directory
    place = store_place(folder)
    if place is not None:
        confirm_held(place)
        (place / STATE / MAKER).write_bytes(mark.encode())
    else:
        write_bytes(folder / STATE / MAKER, mark.encode())
    return mark


def _made_away(making: Making, place: BucketPath) -> dict[str, Any]:
    """Make products on this machine, and bring them to the store; what ``run.json`` says."""
    folder = local_folder(str(place))
    stays = (folder / STATE).exists()  # this is the client's machine, who removes it
    task = replace(making.products.task, directory=folder)
    products, work = replace(making.products, task=task), replace(making.work, root=folder / STATE)
    making = replace(making, products=products, work=work)
    try:
        with _only_while_ours(making), _ONE:
            work.root.mkdir(parents=True, exist_ok=True)
            record = making.here(lambda _count: None)
            upload(folder, place, confirm=lambda: _check_ours(making))
            return record
    finally:
        if not stays:
            remove_folder(folder)


@contextmanager
def _only_while_ours(making: Making) -> Iterator[None]:
    """Let nothing appear in the folder once another run makes its products.

    A worker whose client was killed may not know of it yet.
    """
    folder = making.products.task.directory
    with guarded(folder, lambda: _check_ours(making)):
        yield


def _check_ours(making: Making) -> None:
    folder = making.products.task.directory
    file = (making.place or folder) / STATE / MAKER
    try:
        ours = file.read_bytes().decode() == making.mark
    except (OSError, ValueError):
        ours = False
    if not ours:
        raise ProductError(f"{making.place or folder}: another run makes these products now")
