"""Where the blocks of a job run: on GPUs, or rather on workers that have none."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import floor
from typing import Any

from distributed import Client

from geoseg.run.base import Job
from geoseg.run.clusters.base import GPU

CHECK_SECONDS = 5.0
LEAST_WINDOW = 64


@dataclass(frozen=True, slots=True)
class Offer:
    """What the scheduler knows of a worker."""

    threads: int
    resources: Mapping[str, float] = field(default_factory=dict)


def uses_gpu(job: Job) -> bool:
    """Whether a job computes with a model that may be on a GPU: such jobs say their ``device``."""
    return getattr(job, "device", "cpu") != "cpu"


def gpu_share(facts: Mapping[str, Any]) -> dict[str, float]:
    """The share of a GPU that a task asks for, so that all threads of a worker overlap on it."""
    shares = [f.resources[GPU] / f.threads for f in facts.values() if f.resources.get(GPU)]
    # Rounded down, so that as many shares as there are threads always fit.
    return {GPU: max(0.001, floor(min(shares) * 1000) / 1000)} if shares else {}


def offers(fact: Any, resources: Mapping[str, float]) -> bool:
    """Whether a worker has what a task asks for."""
    return all(fact.resources.get(name, 0.0) >= amount for name, amount in resources.items())


def plain_workers(known: Mapping[str, Any]) -> list[str]:
    """Workers without a GPU, where there are both kinds; else none is better than another."""
    plain = [who for who, fact in known.items() if not fact.resources.get(GPU)]
    return sorted(plain) if 0 < len(plain) < len(known) else []


class Roster:
    """The workers there are, looked at now and then: they come and go while blocks run."""

    def __init__(self, client: Client, job: Job, facts: Mapping[str, Any]) -> None:
        self._client, self._gpu = client, uses_gpu(job)
        self._known: Mapping[str, Any] = facts
        self._looked = time.monotonic()

    @property
    def window(self) -> int:
        """Most blocks in flight: four times the threads there are."""
        threads = sum(int(fact.threads) for fact in self._known.values())
        return max(LEAST_WINDOW, 4 * threads)

    @property
    def preferred(self) -> list[str]:
        """Workers that are asked first; the others take over what these cannot do in time."""
        return [] if self._gpu else plain_workers(self._known)

    def look(self) -> bool:
        """Ask the scheduler again, if that was long ago; says whether it was asked."""
        if time.monotonic() - self._looked < CHECK_SECONDS:
            return False
        self._looked = time.monotonic()
        found = offered(self._client)
        if found:  # with none for a moment, what was known is the best guess
            self._known = found
        return True


def offered(client: Client) -> dict[str, Offer]:
    """The workers that take tasks, as the scheduler knows them; no worker is asked."""
    scheduler: Any = client.scheduler
    told: dict[str, Any] = client.sync(scheduler.identity)
    return {
        address: Offer(int(worker["nthreads"]), dict(worker.get("resources") or {}))
        for address, worker in told["workers"].items()
        if worker.get("status", "running") == "running"
    }
