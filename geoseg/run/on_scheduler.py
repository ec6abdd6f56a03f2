"""What a scheduler that stays has beside Dask's: workers that fell silent are given up.

A worker that is frozen (a paused machine, swapping, a disk that hangs) keeps its connection: the
system of its host answers for it. Dask's own ``worker-ttl`` reads the time of day, and would take
all workers for dead when that jumps; see :func:`geoseg.run.resources.dask_settings`.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import Any

import dask
from dask.utils import parse_timedelta
from distributed import Scheduler
from tornado.ioloop import PeriodicCallback

SILENCE = "geoseg.worker-silence"
"""Key of Dask's configuration (``DASK_GEOSEG__WORKER_SILENCE``): a worker that says nothing for so
long is replaced. Kernels that compile hold a worker's interpreter for up to a minute."""
LEAST = "5 minutes"

LOG = logging.getLogger("distributed.scheduler.geoseg")


class Silence:
    """Looks which workers have not been heard of for ``seconds``, by a clock that cannot jump."""

    def __init__(self, scheduler: Scheduler, seconds: float) -> None:
        self._scheduler, self._seconds = scheduler, seconds
        self._heard: dict[str, tuple[float, float]] = {}

    async def check(self) -> None:
        """Have silent workers restarted by what watches them; who does not answer is removed."""
        silent = self.silent(monotonic())
        if silent:
            LOG.warning("nothing heard for %g s of %s", self._seconds, ", ".join(silent))
            await self._scheduler.restart_workers(
                silent, wait_for_workers=False, on_error="return", stimulus_id="geoseg-silence"
            )

    def silent(self, now: float) -> list[str]:
        """Addresses of workers whose last sign of life has not changed since ``now - seconds``."""
        workers = self._scheduler.workers
        seen = {address: float(worker.last_seen) for address, worker in workers.items()}
        before = self._heard
        # Whether the time of the last sign changed counts, not the time itself.
        self._heard = {
            address: before[address] if address in before and before[address][0] == sign
            else (sign, now)
            for address, sign in seen.items()
        }  # fmt: skip
        return [a for a, (_, since) in self._heard.items() if now - since > self._seconds]


def dask_setup(scheduler: Any) -> None:
    """Preload of our schedulers: the name and argument distributed looks for."""
    seconds = parse_timedelta(dask.config.get(SILENCE, LEAST))
    every = PeriodicCallback(Silence(scheduler, seconds).check, seconds * 1000 / 10)
    # There it ends with the scheduler's own.
    scheduler.periodic_callbacks["geoseg-silence"] = every
    every.start()
