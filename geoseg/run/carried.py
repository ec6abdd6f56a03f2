"""Jobs of few blocks travel with their tasks: no worker is asked or told of them before or after."""

from __future__ import annotations

import pickle
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

from distributed import Worker, get_worker
from distributed.protocol.pickle import dumps, loads

from geoseg.errors import ClusterError
from geoseg.grid import Window
from geoseg.run.base import Failed, Job
from geoseg.run.clusters.joining import Joining
from geoseg.run.on_worker import disagreement, versions
from geoseg.run.opened import Answer, Opened, message

MOST_BYTES = 1 << 20
"""Of all tasks of a job together: the scheduler keeps them while they wait."""

MOST_OVER = 4096
"""Jobs that have ended whose names a worker remembers: tasks of theirs that come late do nothing."""


@dataclass(frozen=True, slots=True)
class Carried:
    """A job on its way with each of its tasks.

    Attributes:
        name: As that of a plugin that holds the job.
        topic: Where the client listens for answers.
        token: Of this run of the job: another run of the same has another.
        job: Pickled.
        timeout: Seconds of a block.
        versions: Of the client.
        joining: Name of the plugin that looks whether a worker sees what it should; ``""``: none.
        single: Whether this is its only task, and ends it.
    """

    name: str
    topic: str
    token: str
    job: bytes
    timeout: float | None
    versions: tuple[str, str]
    joining: str
    single: bool

    @classmethod
    def of(
        cls,
        job: Job,
        blocks: Sequence[Window],
        topic: str,
        *,
        timeout: float | None = None,
        joining: str = "",
    ) -> Carried | None:
        """The job of these blocks, where it is small enough."""
        try:
            packed = dumps(job)
        except Exception:  # noqa: BLE001 (whoever hands it over otherwise says what is wrong)
            return None
        if len(packed) * len(blocks) > MOST_BYTES:
            return None
        token, name = secrets.token_hex(8), f"geoseg-{job.key}"
        single = len(blocks) == 1
        return cls(name, topic, token, packed, timeout, versions(), joining, single)


_LOCK = Lock()
_OPENED: dict[tuple[str, str], Opened] = {}
"""By worker and token; several workers may be in one process."""

_OVER: dict[tuple[str, str], None] = {}


def do_carried(carried: Carried, window: tuple[int, int, int, int]) -> Answer:
    """The task of one block, with its job; answers as :func:`geoseg.run.on_worker.do_block` does."""
    worker = get_worker()
    answer = _answer(carried, Window(*window), worker)
    key = str(worker.get_current_task())
    worker.log_event(carried.topic, (carried.name, key, pickle.dumps(answer)))
    return answer


def _answer(carried: Carried, block: Window, worker: Worker) -> Answer:
    where = worker.address
    place = where, carried.token
    try:
        opened = _held(carried, place, worker)
    except ClusterError as error:
        return Answer(Failed(block, str(error), everywhere=True), unopened=True, where=where)
    except Exception as error:  # noqa: BLE001 (what a job needs may lack here)
        text = f"the job cannot be taken: {message(error)}; workers need the client's packages"
        return Answer(Failed(block, text, everywhere=True), unopened=True, where=where)
    if opened is None:
        return Answer(None, where=where)
    try:
        return opened(block)
    finally:
        if carried.single:
            with _LOCK:
                _OPENED.pop(place, None)
            opened.close()


def _held(carried: Carried, place: tuple[str, str], worker: Worker) -> Opened | None:
    """The job as this worker holds it, from its first block on; None where it has ended."""
    with _LOCK:
        if place in _OVER:
            return None
        held = _OPENED.get(place)
    if held is not None:
        return held
    if versions() != carried.versions:
        raise ClusterError(disagreement({"this worker": versions()}, carried.versions))
    looking = worker.plugins.get(carried.joining)
    if isinstance(looking, Joining):
        looking.check()
    fresh = Opened(loads(carried.job), where=place[0], timeout=carried.timeout)
    with _LOCK:
        return None if place in _OVER else _OPENED.setdefault(place, fresh)


async def end_carried(token: str, dask_worker: Worker) -> None:
    """Begin no further block of a job on this worker, and let go of it when the last one ends."""
    place = dask_worker.address, token
    with _LOCK:
        _OVER[place] = None
        while len(_OVER) > MOST_OVER:
            del _OVER[next(iter(_OVER))]
        opened = _OPENED.pop(place, None)
    if opened is not None:
        opened.close()
