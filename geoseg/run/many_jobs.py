"""Many small jobs on a Dask cluster: what each of them asks of client, scheduler and workers is little."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from weakref import WeakKeyDictionary

from distributed import Client

from geoseg.grid import Window
from geoseg.run.answers import topic_of
from geoseg.run.base import Job, Outcome, Stop
from geoseg.run.carried import Carried, do_carried, end_carried
from geoseg.run.clusters.joining import expected
from geoseg.run.on_dask import OnDask
from geoseg.run.placing import CHECK_SECONDS, Offer, gpu_share, offered, offers, uses_gpu
from geoseg.run.tasks import Way

_KNOWN: WeakKeyDictionary[Client, tuple[float, Mapping[str, Offer]]] = WeakKeyDictionary()
"""The workers of each cluster, and when they were looked at."""


class ManyJobs(OnDask):
    """Implements :class:`geoseg.run.base.Executor` as :class:`OnDask`, for jobs of few blocks.

    Such a job travels with its tasks. A job of many blocks, or one whose workers are not there just
    now, is handed to all workers first.
    """

    def run(
        self, job: Job, blocks: Iterable[Window], *, stop: Stop | None = None
    ) -> Generator[Outcome, None, None]:
        """As :meth:`OnDask.run`."""
        carried = None
        if isinstance(blocks, Sequence):
            topic, joining = topic_of(self.client), expected(self.client)
            carried = Carried.of(job, blocks, topic, timeout=self.timeout, joining=joining)
        facts = self._known() if carried is not None else {}
        resources = self._asked(job, facts)
        lacks = self.gpus and uses_gpu(job) and not gpu_share(facts)
        if carried is None or lacks or not any(offers(one, resources) for one in facts.values()):
            yield from super().run(job, blocks, stop=stop)
            return
        way = Way(job, carried.name, do_carried, carried, end_carried, carried.token)
        asked = stop or Stop()
        try:
            yield from self._outcomes(way, blocks, resources, asked, facts)
        finally:
            if not carried.single and self.client.status == "running":
                with suppress(Exception):  # workers that died have nothing to let go of
                    self.client.run(end_carried, carried.token, wait=False, on_error="ignore")

    def _known(self) -> Mapping[str, Offer]:
        """The workers there are, as they were a few seconds ago."""
        when, found = _KNOWN.get(self.client, (float("-inf"), {}))
        if found and time.monotonic() - when < CHECK_SECONDS:
            return found
        try:
            found = offered(self.client)
        except (OSError, TimeoutError, ValueError):
            return {}
        _KNOWN[self.client] = time.monotonic(), found
        return found
