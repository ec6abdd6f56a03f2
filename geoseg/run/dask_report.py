"""Dask's own report of how its workers were used in a run, as one page that needs nothing else."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any, cast

from distributed import Client

SECONDS = 120.0
"""Longest wait for the scheduler to draw it."""

ANSWER_SECONDS = 10.0
"""Longest wait for it to say anything: a run that has ended waits for no scheduler that is mute."""

MOST = 5_000
"""Tasks that it draws: the last ones. Beyond some thousands nobody tells them apart."""

_ICON = re.compile(r'<link rel="shortcut icon"[^>]*>')  # which would be fetched


class DaskReport:
    """What the scheduler of ``client`` notes from now on.

    It keeps times of the last :data:`MOST` tasks for it, or of so many as it was asked for before,
    and draws the page itself: meanwhile it does nothing else, for nobody.

    Raises:
        Exception: Whatever distributed raises where the scheduler cannot.
    """

    def __init__(self, client: Client) -> None:
        self._client, self._began, most = client, time.time(), MOST

        # Within, so that it travels by value: a scheduler may have no geoseg.
        def watch(dask_scheduler: Any) -> int:
            from importlib.util import find_spec  # noqa: PLC0415 (as above)

            if find_spec("bokeh") is None:
                raise ImportError("the scheduler has no bokeh to draw it with")
            from distributed.diagnostics.task_stream import TaskStreamPlugin  # noqa: PLC0415

            if TaskStreamPlugin.name not in dask_scheduler.plugins:
                dask_scheduler.add_plugin(TaskStreamPlugin(dask_scheduler, maxlen=most))
            return int(dask_scheduler.monitor.count)

        self._count = client.run_on_scheduler(watch)

    def page(self) -> bytes:
        """The page (HTML) of what was done so far, as far as the tasks reach that are kept.

        Raises:
            Exception: Whatever distributed raises where the scheduler cannot, or went away.
        """
        client, first = self._client, _first_drawn(self._began, MOST)

        async def ask() -> Any:
            # In the client's own loop this is a coroutine; outside it would wait without an end.
            begin = await asyncio.wait_for(
                cast("Any", client.run_on_scheduler(first)), ANSWER_SECONDS
            )
            return await cast("Any", client.scheduler).performance_report(
                start=begin, last_count=self._count, code="", mode="inline"
            )

        text: str = client.sync(ask, callback_timeout=SECONDS)
        return _ICON.sub("", text).encode()


def _first_drawn(began: float, most: int) -> Any:
    """For the scheduler: from when on no more than ``most`` tasks ended."""

    def when(dask_scheduler: Any) -> float:
        tasks = dask_scheduler.get_task_stream(start=began)
        if len(tasks) <= most:
            return began
        return max(float(one["stop"]) for one in tasks[-most]["startstops"])

    return when
