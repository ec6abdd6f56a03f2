"""What Dask notes of how its workers were used in a run, as the data that its page is drawn from."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any, cast

from distributed import Client

ANSWER_SECONDS = 10.0
"""Longest wait for the scheduler: a run that has ended waits for none that is mute."""

MOST = 5_000
"""Tasks that are kept: the last ones. Beyond some thousands nobody tells them apart."""

SHOWN = 1_000
"""Moments of the scheduler's process that the page shows: the last ones, two a second."""

KIND, VERSION = "geoseg.dask_record", 1
"""What the record says that it is."""


class DaskReport:
    """What the scheduler of ``client`` notes from now on.

    It keeps times of the last :data:`MOST` tasks for it, or of so many as it was asked for before.

    Raises:
        Exception: Whatever distributed raises where the scheduler cannot.
    """

    def __init__(self, client: Client) -> None:
        self._client, most = client, MOST

        # Within, so that it travels by value: a scheduler may have no geoseg.
        def watch(dask_scheduler: Any) -> tuple[float, int]:
            from time import time  # noqa: PLC0415 (as above)

            from distributed.diagnostics.task_stream import TaskStreamPlugin  # noqa: PLC0415 (as above)

            if TaskStreamPlugin.name not in dask_scheduler.plugins:
                dask_scheduler.add_plugin(TaskStreamPlugin(dask_scheduler, maxlen=most))
            return time(), int(dask_scheduler.monitor.count)

        self._began, self._count = self._answer(watch)

    def record(self) -> bytes:
        """All that Dask's page of the run so far is drawn from, as JSON, gzip'd.

        ``dask_page.page_of`` draws it, in whichever process. It is data and nothing else: whoever
        reads it back may have it from somebody.

        Raises:
            Exception: Whatever distributed raises where the scheduler cannot, or went away.
        """
        note = _noted(self._began, self._count, MOST, SHOWN)
        # A worker that is mute costs all profiles, and nothing else.
        profile = _profiled(self._began, ANSWER_SECONDS / 2)

        async def tell(dask_scheduler: Any) -> Any:
            return note(dask_scheduler), await profile(dask_scheduler)

        noted, profiles = self._answer(tell)
        rows = {name: _rows(one) for name, one in profiles.items()}
        told = {"kind": KIND, "version": VERSION} | noted | {"profiles": rows}
        return gzip.compress(json.dumps(told, default=_plain).encode(), 6, mtime=0)

    def _answer(self, asked: Any) -> Any:
        async def ask() -> Any:
            # In the client's own loop this is a coroutine; outside it would wait without an end.
            answer = cast("Any", self._client.run_on_scheduler(asked))
            return await asyncio.wait_for(answer, ANSWER_SECONDS)

        try:
            return self._client.sync(ask)
        except TimeoutError as error:
            raise TimeoutError(f"the scheduler said nothing for {ANSWER_SECONDS:g} s") from error


def _profiled(began: float, patience: float) -> Any:
    """For the scheduler: where threads were, of tasks, of the scheduler, and of workers' loops."""

    async def tell(dask_scheduler: Any) -> dict[str, Any]:
        import asyncio  # noqa: PLC0415 (travels by value)

        from distributed import profile  # noqa: PLC0415 (travels by value)

        async def one(**which: bool) -> Any:
            try:
                asked = dask_scheduler.get_profile(start=began, **which)
                return await asyncio.wait_for(asked, patience)
            except TimeoutError:
                return profile.create()

        kinds: dict[str, dict[str, bool]] = {
            "compute": {},
            "scheduler": {"scheduler": True},
            "server": {"server": True},
        }
        found = await asyncio.gather(*(one(**which) for which in kinds.values()))
        return dict(zip(kinds, found, strict=True))

    return tell


def _noted(began: float, count: int, most: int, shown: int) -> Any:
    """For the scheduler: all but profiles that ``Scheduler.performance_report`` draws from."""

    def task(noted: Any) -> dict[str, Any]:
        kept = {key: noted[key] for key in ("key", "worker", "thread", "status") if key in noted}
        spans = [[one[key] for key in ("action", "start", "stop")] for one in noted["startstops"]]
        return kept | {"startstops": spans}

    def tell(dask_scheduler: Any) -> dict[str, Any]:
        from importlib.metadata import version  # noqa: PLC0415 (travels by value)
        from time import time  # noqa: PLC0415 (travels by value)

        dask_scheduler.monitor.update()  # its page does so, too: a short run has a moment at least
        moments = dask_scheduler.monitor.range_query(start=count)
        workers = dask_scheduler.workers.values()
        return {
            "versions": {name: version(name) for name in ("dask", "distributed")},
            "address": dask_scheduler.address,
            "start": began,
            "stop": time(),
            "workers": [
                {
                    "address": one.address,
                    "name": None if one.name is None else str(one.name),
                    "threads": one.nthreads,
                    "memory": one.memory_limit,
                }
                for one in workers
            ],
            "tasks": [task(one) for one in dask_scheduler.get_task_stream(start=began)[-most:]],
            "bandwidth": dask_scheduler.bandwidth,
            "bandwidth_workers": [[*two, b] for two, b in dask_scheduler.bandwidth_workers.items()],
            "bandwidth_types": [[str(k), b] for k, b in dask_scheduler.bandwidth_types.items()],
            "monitor": {name: list(values)[-shown:] for name, values in moments.items()},
            "logs": dask_scheduler.get_logs(start=began, timestamps=True),
        }

    return tell


def _rows(profile: Any) -> list[list[Any]]:
    """A profile without nesting, as parsers count that: each line with the row of its caller."""
    rows: list[list[Any]] = []
    waiting = [(profile, -1)]
    while waiting:
        one, above = waiting.pop()
        waiting.extend((below, len(rows)) for below in reversed(one["children"].values()))
        line = [one["description"][key] for key in ("filename", "name", "line_number", "line")]
        rows.append([above, one["count"], one["identifier"], *line])
    return rows


def _plain(value: Any) -> Any:
    """What JSON has no word for, and keys of tasks may be or hold; read by ``dask_page``."""
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    return value.item() if hasattr(value, "item") else str(value)
