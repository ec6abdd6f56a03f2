"""How runs go, as numbers on the scheduler's ``/metrics``: told by the client, once a second."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from threading import Lock
from typing import Any, cast

from distributed import Client, Scheduler, SchedulerPlugin

from geoseg.run.event_log import Event

TOPIC = "geoseg-metrics"
SEND_SECONDS = 1.0
MOST_WORKFLOWS = 200
"""Whose last run a scheduler that stays remembers."""

STATES = ("running", "done", "failed", "stopped", "lost")
SCENE_STATES = ("waiting", "running", "done", "failed", "stopped")

Snapshot = dict[str, Any]
"""Plain values, as a client tells them."""


class RunMetrics:
    """Adds up a run's events, and tells the scheduler. A sink of :class:`RunEvents`."""

    def __init__(self, workflow: str, *, scenes: int, memory_planned: int) -> None:
        self._lock, self._client, self._sent = Lock(), cast("Client | None", None), 0.0
        self._planned = 0  # for the scenes so far, whose engines are known
        self._scenes: dict[str, str] = {}
        self._of_run: Snapshot = {
            "workflow": workflow,
            "state": "running",
            "started": time.time(),
            "scenes": scenes,
            "memory_planned": memory_planned,
            "memory_most": 0,
            "warnings": 0,
            "received": 0,
        }
        self._blocks: Counter[tuple[str, str]] = Counter()
        self._retries: Counter[str] = Counter()
        self._pixels: Counter[str] = Counter()
        self._lanes: Counter[tuple[str, str]] = Counter()

    def connect(self, client: Client) -> None:
        """From now on the scheduler of ``client`` is told; one that cannot be, is not."""
        with suppress(Exception):  # a scheduler without geoseg, or one that refuses plugins
            client.register_plugin(SchedulerMetrics())
            self._client = client
            self._send(client)

    def __call__(self, event: Event) -> None:
        """Count ``event``, and tell of it when it is time."""
        with self._lock:
            self._count(event)
            due = time.monotonic() - self._sent >= SEND_SECONDS
            client = self._client
            what = event["event"]
            # Of one scene each stage, at once; of many, what has come together in a second.
            news = what.endswith(("_started", "_ended")) and (
                what.startswith("run_") or self._of_run["scenes"] == 1
            )
            if client is None or not (due or news):
                return
            self._sent = time.monotonic()
        self._send(client, wait=event["event"] == "run_ended")

    def snapshot(self) -> Snapshot:
        """All numbers as plain values that msgpack knows."""
        with self._lock:
            states = Counter(self._scenes.values())
            waiting = max(0, self._of_run["scenes"] - len(self._scenes))
            return self._of_run | {
                "updated": time.time(),
                "scenes": {state: states[state] for state in SCENE_STATES} | {"waiting": waiting},
                "blocks": [[*key, n] for key, n in self._blocks.items()],
                "retries": [[stage, n] for stage, n in self._retries.items()],
                "pixels": [[stage, n] for stage, n in self._pixels.items()],
                "lanes": [[*key, seconds] for key, seconds in self._lanes.items()],
            }

    def _count(self, event: Event) -> None:
        what, run = event["event"], self._of_run
        if what == "block":
            self._count_block(event)
        elif what == "scene_started":
            self._scenes[event["scene"]] = "running"
            self._planned = max(self._planned, event["memory_planned"])
            run["memory_planned"] = self._planned
        elif what == "scene_ended":
            self._scenes[event["scene"]] = event["state"]
        elif what == "stage_started":
            self._blocks[event["stage"], "resumed"] += event["resumed"]
        elif what == "warning":
            run["warnings"] += 1
        elif what == "run_ended":
            run["state"] = event["state"]

    def _count_block(self, event: Event) -> None:
        run, stage, b = self._of_run, event["stage"], event["block"]
        self._blocks[stage, event["state"]] += 1
        self._retries[stage] += event.get("tries", 1) - 1
        if event["state"] == "done":
            self._pixels[stage] += (b[2] - b[0]) * (b[3] - b[1])
        for lane, seconds in event.get("lanes", {}).items():
            self._lanes[stage, lane] += max(0.0, seconds)
        run["received"] += event.get("received_bytes", 0)
        run["memory_most"] = max(run["memory_most"], event.get("memory_bytes", 0))

    def _send(self, client: Client, *, wait: bool = False) -> None:
        if client.status != "running":
            return
        told = self.snapshot() | {"client": client.id}

        async def send() -> None:
            with suppress(Exception):  # the next one may arrive; blocks are more important
                await cast("Any", client.scheduler).log_event(topic=TOPIC, msg=told)

        if wait:
            with suppress(Exception):
                client.sync(send, callback_timeout=SEND_SECONDS)
        else:
            cast("Any", client.loop).add_callback(send)


class SchedulerMetrics(SchedulerPlugin):
    """Holds what clients tell of their runs, for whoever asks the scheduler for ``/metrics``."""

    name = "geoseg-metrics"
    idempotent = True

    def __init__(self) -> None:
        self.runs: dict[str, Snapshot] = {}
        self._registered = False

    async def start(self, scheduler: Scheduler) -> None:  # noqa: ARG002 - distributed passes it
        """Be among what is asked."""
        with suppress(ImportError):
            from prometheus_client import REGISTRY  # noqa: PLC0415 (an extra)

            REGISTRY.register(cast("Any", self))
            self._registered = True

    async def close(self) -> None:
        """Be asked no more."""
        if self._registered:
            from prometheus_client import REGISTRY  # noqa: PLC0415 (an extra)

            self._registered = False
            with suppress(KeyError):
                REGISTRY.unregister(cast("Any", self))

    def log_event(self, topic: str, msg: Any) -> None:
        """What a client tells; of each workflow its last run is kept."""
        if topic != TOPIC:
            return
        self.runs.pop(msg["workflow"], None)
        self.runs[msg["workflow"]] = msg
        while len(self.runs) > MOST_WORKFLOWS:
            del self.runs[next(iter(self.runs))]

    def remove_client(self, scheduler: Scheduler, client: str) -> None:  # noqa: ARG002 - as above
        """A client that goes without a word has lost its run."""
        for run in self.runs.values():
            if run["client"] == client and run["state"] == "running":
                run["state"] = "lost"

    def describe(self) -> list[Any]:
        """What will be told, for the registry; nothing is known before a run."""
        return []

    def collect(self) -> Iterator[Any]:
        """The metrics of all runs."""
        yield from families(deepcopy(list(self.runs.values())))


def families(runs: list[Snapshot]) -> Iterator[Any]:
    """``runs`` as metrics of prometheus_client."""
    from prometheus_client.core import (  # noqa: PLC0415 (an extra)
        CounterMetricFamily,
        GaugeMetricFamily,
    )

    for name, what, key, labels in _COUNTERS:
        family = CounterMetricFamily(f"geoseg_{name}", what, labels=["workflow", *labels])
        for run in runs:
            for row in _rows(run[key]):
                family.add_metric([run["workflow"], *row[:-1]], row[-1])
        yield family
    for name, what, key in _GAUGES:
        gauge = GaugeMetricFamily(f"geoseg_{name}", what, labels=["workflow"])
        for run in runs:
            gauge.add_metric([run["workflow"]], run[key])
        yield gauge
    states = GaugeMetricFamily(
        "geoseg_run_state", "1 for what the last run is.", labels=["workflow", "state"]
    )
    scenes = GaugeMetricFamily("geoseg_scenes", "Scenes of a run.", labels=["workflow", "state"])
    for run in runs:
        for state in STATES:
            states.add_metric([run["workflow"], state], run["state"] == state)
        for state, number in run["scenes"].items():
            scenes.add_metric([run["workflow"], state], number)
    yield from (states, scenes)


def _rows(found: Any) -> Sequence[Sequence[Any]]:
    """Labels and a number each; messages to the scheduler make tuples of lists."""
    return found if isinstance(found, (list, tuple)) else [[found]]


_COUNTERS = (
    ("blocks", "Blocks by what came of them.", "blocks", ("stage", "state")),
    ("block_retries", "Tries of blocks beyond the first.", "retries", ("stage",)),
    ("pixels", "Pixels of blocks that are done.", "pixels", ("stage",)),
    ("lane_seconds", "Time of blocks by what took it.", "lanes", ("stage", "lane")),
    ("received_bytes", "Bytes of scenes that servers sent.", "received", ()),
    ("warnings", "Warnings of the run.", "warnings", ()),
)
_GAUGES = (
    ("memory_planned_bytes", "Memory that a worker was planned to take.", "memory_planned"),
    ("memory_most_bytes", "Most memory that a worker had.", "memory_most"),
    ("run_started_timestamp_seconds", "When the run began.", "started"),
    ("run_updated_timestamp_seconds", "When the client last told of it.", "updated"),
)
