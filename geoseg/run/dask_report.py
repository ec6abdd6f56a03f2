"""Dask's own report of how its workers were used in a run, as one page that needs nothing else."""

from __future__ import annotations

import re
import time
from typing import Any, cast

from distributed import Client

SECONDS = 120.0
"""Longest wait for the scheduler to draw it."""

_ICON = re.compile(r'<link rel="shortcut icon"[^>]*>')  # which would be fetched


class DaskReport:
    """What the scheduler of ``client`` notes from now on.

    It keeps times of the last 100,000 tasks for it, and draws the page itself: meanwhile it does
    nothing else, for nobody.

    Raises:
        Exception: Whatever distributed raises where the scheduler cannot.
    """

    def __init__(self, client: Client) -> None:
        self._client, self._began = client, time.time()
        self._count = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.monitor.count)
        client.get_task_stream(start=0, stop=0)  # from now on, if not before

    def page(self) -> bytes:
        """The page (HTML) of what was done so far.

        Raises:
            Exception: Whatever distributed raises where the scheduler cannot, or went away.
        """

        async def ask() -> Any:
            return await cast("Any", self._client.scheduler).performance_report(
                start=self._began, last_count=self._count, code="", mode="inline"
            )

        text: str = self._client.sync(ask, callback_timeout=SECONDS)
        return _ICON.sub("", text).encode()
