"""Blocks as tasks of a Dask cluster: one task a block, and no array through the scheduler."""

from __future__ import annotations

import pickle
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from threading import Event
from typing import Any

from distributed import CancelledError, Client, Future, KilledWorker, as_completed

from geoseg.errors import ClusterError, ClusterLostError, StoppedError
from geoseg.grid import Window
from geoseg.run.answers import hear_no_more, listen, topic_of
from geoseg.run.attending import tell_of_unfit
from geoseg.run.base import Failed, Job, Outcome, Stop, tried
from geoseg.run.clusters.base import GPU
from geoseg.run.clusters.joining import expected
from geoseg.run.on_worker import JobPlugin, WorkerFacts, describe, do_block, stop_job
from geoseg.run.opened import Answer, failure, message
from geoseg.run.placing import CHECK_SECONDS, Roster, gpu_share, offers, uses_gpu
from geoseg.run.tasks import Try, Way

POLL_SECONDS = 0.02
WAIT_SECONDS, SOON_SECONDS = 0.2, 0.002
PORTIONS = 4
"""The window is filled again when a part of it is free, this one of so many."""

MOST_UNOPENED = 16
"""How often one block may meet a worker that cannot open the job before it fails."""


class OnDask:
    """Implements :class:`geoseg.run.base.Executor` on the workers of ``client``.

    Attributes:
        retries: Further tries for a block that failed by something else than wrong input.
        resources: What each task asks of a worker; None: jobs with a model ask for a share of its
            GPU, where one has any; all others run where there is none, if there are such workers.
        window: Most blocks that are submitted and not yet answered; None: four times the threads
            that the cluster has by now, at least 64. Bounds the memory of client and scheduler.
        patience: Seconds to wait for a worker to come back when there is none.
        timeout: Seconds after which a block has failed; None: it is waited for.
        priority: Of two blocks that wait for a worker the one with the higher goes first.
        gpus: Whether the cluster has GPUs, also when no worker that has one is there just now: a
            model computes other bits on CPUs. None: it is seen when a job begins.
    """

    def __init__(
        self,
        client: Client,
        *,
        retries: int = 2,
        resources: Mapping[str, float] | None = None,
        window: int | None = None,
        patience: float = 60.0,
        timeout: float | None = None,
        priority: int = 0,
        gpus: bool | None = None,
    ) -> None:
        self.client, self.retries, self.resources = client, retries, resources
        self.window, self.patience, self.timeout, self.gpus = window, patience, timeout, gpus
        self.priority = priority

    def run(
        self, job: Job, blocks: Iterable[Window], *, stop: Stop | None = None
    ) -> Generator[Outcome, None, None]:
        """Outcomes as they come, exactly one for each block that was begun.

        Raises:
            ClusterError: The workers cannot take the job, or lack the resources asked for.
            ClusterLostError: The scheduler or all workers went away.
        """
        facts = self._facts(job)
        resources = self._asked(job, facts)
        if not any(offers(fact, resources) for fact in facts.values()):
            raise ClusterError(f"cluster: no worker offers {resources}; start some that do")
        joining = expected(self.client)
        topic = topic_of(self.client)
        plugin = JobPlugin(job, topic, timeout=self.timeout, joining=joining)
        way = Way(job, plugin.name, do_block, plugin.name, stop_job, plugin.name)
        try:
            self._hand_over(plugin)
            yield from self._outcomes(way, blocks, resources, stop or Stop(), facts)
        finally:
            if _connected(self.client):
                # A worker that never took the job, or died just now, has none to give back.
                with suppress(Exception):
                    self.client.unregister_worker_plugin(plugin.name)

    def _outcomes(
        self,
        way: Way,
        blocks: Iterable[Window],
        resources: dict[str, float],
        stop: Stop,
        facts: Mapping[str, Any],
    ) -> Generator[Outcome, None, None]:
        """Those of a job that workers can get at by ``way``."""
        running = _Running(self, way, resources, stop, facts)
        try:
            yield from running.outcomes(blocks)
        finally:
            running.abandon()

    def _hand_over(self, plugin: JobPlugin) -> None:
        """Give the job to all workers, and to those that will come."""
        until = time.monotonic() + self.patience
        try:
            while not self._took(plugin, until):
                time.sleep(POLL_SECONDS)
        except OSError as error:
            raise ClusterLostError(f"cluster: {message(error)}") from error
        except Exception as error:  # distributed raises bare ones for what workers raise
            raise ClusterError(
                f"cluster: workers cannot take the job: {error}; they need the same "
                f"packages as the client"
            ) from error

    def _took(self, plugin: JobPlugin, until: float) -> bool:
        """Whether all workers have the job; False where one of them died just now."""
        try:
            self.client.register_plugin(plugin, name=plugin.name)
        except OSError:
            if not _connected(self.client) or time.monotonic() > until:
                raise
            return False
        return True

    def _asked(self, job: Job, facts: Mapping[str, Any]) -> dict[str, float]:
        """What each task asks of a worker."""
        if self.resources is not None:
            return dict(self.resources)
        if not uses_gpu(job):
            return {}
        return gpu_share(facts) or ({GPU: 1.0} if self.gpus else {})

    def _facts(self, job: Job) -> dict[str, WorkerFacts]:
        """What is known of the workers, once there is one; one with a GPU where that is needed."""
        until = time.monotonic() + self.patience
        try:
            self.client.wait_for_workers(1, timeout=self.patience)
            facts = survey(self.client)
            while self.gpus and uses_gpu(job) and not gpu_share(facts) and time.monotonic() < until:
                time.sleep(POLL_SECONDS)
                facts = survey(self.client)
            return facts  # noqa: TRY300 (surveys raise, too)
        except OSError as error:
            raise ClusterLostError(
                f"cluster: no worker in {self.patience:g} s ({message(error)}); run again to go on"
            ) from error


class _Running:
    """One run of one job: what is submitted, and what is known of the workers."""

    def __init__(
        self,
        executor: OnDask,
        way: Way,
        resources: dict[str, float],
        stop: Stop,
        facts: Mapping[str, Any],
    ) -> None:
        self._client, self._stop = executor.client, stop
        self._retries, self._patience = executor.retries, executor.patience
        self._way, self._resources, self._window = way, resources, executor.window
        self._priority = executor.priority
        self._roster = Roster(self._client, way.job, facts)
        self._answers: dict[str, Answer] = {}
        self._tries: dict[Future[Any], Try] = {}
        self._completed = as_completed(loop=self._client.loop)
        self._suspects: list[Try] = []
        self._unfit: set[str] = set()
        self._fit: list[str] = []
        self._hopeless: Failed | None = None
        self._told = False
        self._heard = Event()
        listen(self._client, way.name, self._hear)

    def outcomes(self, blocks: Iterable[Window]) -> Iterator[Outcome]:
        waiting = iter(blocks)
        while self._fill(waiting):
            for future in self._ended():
                outcome = self._settle(future)
                if outcome is not None:
                    yield outcome
        if self._hopeless is not None and not self._stop.asked:
            for block in waiting:
                yield replace(self._hopeless, block=block)

    def abandon(self) -> None:
        """Drop what is not answered: queued blocks never run, running ones end unheard."""
        hear_no_more(self._client, self._way.name)
        if self._tries and _connected(self._client):
            with suppress(OSError, ValueError):
                self._client.cancel(list(self._tries), force=True)
        self._tries.clear()

    def _fill(self, waiting: Iterator[Window]) -> bool:
        """Submit what fits into the window; False when nothing is left to wait for."""
        if self._stop.asked:
            self._tell_workers()
            return bool(self._tries)
        self._look()
        window = self._window or self._roster.window
        room = window - len(self._tries)
        # In portions: each message has a price of its own for the scheduler.
        if self._hopeless is None and room >= max(1, window // PORTIONS):
            self._submit([Try(b) for b in islice(waiting, room)])
        if not self._tries and self._suspects:
            self._submit([self._suspects.pop()])
        return bool(self._tries)

    def _look(self) -> None:
        """See who is there by now, now and then; a scheduler that is gone is noticed elsewhere."""
        if _connected(self._client):
            with suppress(OSError, TimeoutError, ValueError):
                self._roster.look()

    def _submit(self, tries: list[Try]) -> None:
        """One message to the scheduler for all of ``tries``: half the cost of one for each."""
        if not tries:
            return
        asked_first = self._fit or self._roster.preferred
        futures = self._client.map(
            self._way.task,
            [self._way.told] * len(tries),
            [(t.block.y0, t.block.x0, t.block.y1, t.block.x1) for t in tries],
            key=[(self._way.name, *t.name) for t in tries],
            resources=self._resources or None,
            priority=self._priority,
            workers=asked_first or None,
            allow_other_workers=bool(asked_first),
            retries=0,
            pure=False,
        )
        self._tries.update(zip(futures, tries, strict=True))
        self._completed.update(futures)

    def _ended(self) -> list[Future[Any]]:
        """Wait for answers, with an eye on the cluster."""
        checked, alone_since = time.monotonic(), None
        while not self._completed.has_ready():
            # An answer is heard just before its task is known to have ended.
            if self._heard.wait(WAIT_SECONDS):
                self._heard.clear()
                time.sleep(SOON_SECONDS)
            if self._stop.at_once:
                raise StoppedError("stopped at once; finished blocks are kept")
            if self._stop.asked:
                self._tell_workers()
            now = time.monotonic()
            if now - checked < min(CHECK_SECONDS, self._patience):
                continue
            checked = now
            if self._workers():
                alone_since = None
                continue
            alone_since = now if alone_since is None else alone_since
            if now - alone_since > self._patience:
                raise ClusterLostError(
                    f"cluster: no worker is left that could run blocks, and none came back in "
                    f"{self._patience:g} s; what is done is kept, run again to go on"
                )
        return list(self._completed.next_batch(block=False))

    def _hear(self, key: str, answer: bytes) -> None:
        """An answer came along with the news that its task has ended, or before; any thread's."""
        self._answers[key] = pickle.loads(answer)  # noqa: S301 (of our own workers, as all results)
        self._heard.set()

    def _settle(self, future: Future[Any]) -> Outcome | None:
        """The outcome of a block, or None where it was not begun or is tried again."""
        this = self._tries.pop(future)
        # Not by the future's status, which is "lost" for a while when any worker dies.
        found: Any = self._answers.pop(str(future.key), None)
        if found is None:
            found = self._fetched(future)
        future.release()
        if isinstance(found, Answer):
            return self._judge(this, found)
        if isinstance(found, CancelledError):
            raise ClusterLostError(
                f"cluster: the scheduler forgot the blocks that ran ({message(found)}); what is "
                f"done is kept, run again to go on"
            )
        if isinstance(found, KilledWorker):
            return self._killed(this)
        # Not from the block itself, which answers: a worker could not even take the task.
        return self._judge(this, Answer(failure(this.block, found), again=True))

    def _fetched(self, future: Future[Any]) -> Any:
        """The answer, or the error, of a task whose answer did not come along."""
        try:
            return future.result(timeout=self._patience)
        except (Exception, CancelledError) as error:  # noqa: BLE001 (whatever distributed raises)
            return error

    def _judge(self, this: Try, answer: Answer) -> Outcome | None:
        if answer.unopened and isinstance(answer.outcome, Failed):
            return self._elsewhere(this, answer.outcome, answer.where)
        if answer.again and this.number < self._retries and not self._stop.asked:
            self._submit([replace(this, number=this.number + 1)])
            return None
        return answer.outcome and tried(answer.outcome, this.number + 1)

    def _elsewhere(self, this: Try, failed: Failed, where: str) -> Outcome | None:
        """Try a block on workers that can open the job; without any, all the rest fails."""
        if self._hopeless is None and where not in self._unfit:
            self._unfit.add(where)
            self._fit = sorted(self._workers() - self._unfit)
            if not self._fit:
                self._hopeless = failed
            else:
                tell_of_unfit(self._client, where, failed.error)
        if self._hopeless is not None or this.unopened >= MOST_UNOPENED or self._stop.asked:
            return failed
        self._submit([replace(this, unopened=this.unopened + 1)])
        return None

    def _killed(self, this: Try) -> Outcome | None:
        """Workers died under a block: it may be innocent, so it is tried alone at the end."""
        if not this.alone and not self._stop.asked:
            self._suspects.append(replace(this, alone=True, number=this.number + 1))
            return None
        return Failed(
            this.block,
            "the worker died each time this block ran, with nothing beside it; it may need more "
            "memory than a worker has: smaller tiles, fewer threads or a higher memory limit help",
        )

    def _workers(self) -> set[str]:
        """Addresses of the workers that could run our tasks now."""
        try:
            if self._resources:
                facts = survey(self._client)
                return {who for who, fact in facts.items() if offers(fact, self._resources)}
            return set(self._client.nthreads())
        except (OSError, TimeoutError, ValueError, ClusterError) as error:
            raise ClusterLostError(
                f"cluster: the scheduler does not answer any more ({message(error)}); what is "
                f"done is kept, run again to go on"
            ) from error

    def _tell_workers(self) -> None:
        """Let queued blocks pass by undone, once."""
        if not self._told:
            self._told = True
            way = self._way
            self._client.run(way.stop, way.stopped, wait=False, on_error="ignore")


def _connected(client: Client) -> bool:
    """Whether the scheduler is there: asking one that is gone would take the client's timeout."""
    return bool(client.status == "running")


def survey(client: Client) -> dict[str, WorkerFacts]:
    """What each worker says of itself.

    Raises:
        ClusterError: A worker cannot import geoseg.
    """
    answers: dict[str, Any] = client.run(describe, on_error="return")
    facts = {}
    for who, answer in answers.items():
        if isinstance(answer, WorkerFacts):
            facts[who] = answer
        elif not isinstance(answer, OSError):  # which is one that died just now
            raise ClusterError(
                f"cluster: worker {who} has no geoseg of use ({message(answer)}); install the "
                f"client's version there"
            )
    return facts
