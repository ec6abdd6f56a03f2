"""Whether the workers of a cluster see what the client sees, before the first block."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.api import fingerprint
from geoseg.api.holding import STATE
from geoseg.api.places import place_of_blocks
from geoseg.api.planning import RunPlan
from geoseg.errors import ClusterError
from geoseg.io.bucket import BucketPath
from geoseg.run.clusters.base import GPU
from geoseg.run.clusters.joining import expect
from geoseg.run.clusters.probe import Needs, Seen, ask, clocks, installed, other_packages
from geoseg.run.lock import NAME as LOCK

if TYPE_CHECKING:
    from distributed import Client

MOST_FILES = 1000
"""Files of scenes that each worker looks for; of more, one in so many."""

CLOCK_SECONDS = 5.0
"""Clocks that differ by more are told of: certificates and times of files are judged by them."""

_FOLDERS = "mount the folders of scenes, models and products at the same paths on every host"
_PACKAGES = "install the same packages on both"


@dataclass(frozen=True, slots=True)
class WorkerState:
    """One worker: ``faults`` keep a run from beginning, ``doubts`` are told; each with what helps."""

    address: str
    seen: Seen
    clock: float
    faults: tuple[tuple[str, str], ...]
    doubts: tuple[str, ...]

    def __str__(self) -> str:
        """What there is to know where nothing is wrong."""
        seen = self.seen
        limit = "no limit" if seen.limit is None else f"may use {seen.limit / 1e9:.1f} GB"
        offers = "".join(f", {name}={count:g}" for name, count in seen.resources.items())
        gpus = "".join(f", {' driver '.join(gpu)}" for gpu in seen.gpus)
        return (
            f"{seen.threads} threads, {seen.cores} cores, {limit}, {seen.free / 1e9:.1f} GB free"
            f"{offers}{gpus}, clock {self.clock:+.1f} s"
        )


def check_workers(client: Client, plan: RunPlan) -> list[str]:
    """Refuse a cluster whose workers lack something; returns what is doubtful.

    Workers that come later look by themselves; who lacks something does no block.

    Raises:
        ClusterError: A worker does not see a file, a model or a folder as the client does, has
            other packages, or too little memory; says which, and what would help.
    """
    needs = needs_of(plan)
    states = examine_workers(client, plan, needs)
    refuse(states)
    expect(client, needs, installed(fingerprint.LIBRARIES), tuple(_locks(plan)))
    return sorted({doubt for state in states for doubt in state.doubts})


def _locks(plan: RunPlan) -> Iterator[str]:
    """Files that this run has in the folders of its products as long as it lasts."""
    # Where blocks are kept elsewhere, workers need not see the folder of the products.
    near = (
        str(task.directory / STATE)
        for task in plan.tasks
        if place_of_blocks(plan.workflow.run.work, task.plan.scene.id, task.directory) is None
    )
    for folder in _some(near):
        lock = Path(folder) / LOCK
        if lock.is_file():
            yield str(lock)


def refuse(states: Sequence[WorkerState]) -> None:
    """One line about the first fault, and how many workers have it.

    Raises:
        ClusterError: There is one.
    """
    bad = [state for state in states if state.faults]
    if not bad:
        return
    what, mend = bad[0].faults[0]
    alike = [state for state in bad if (what, mend) in state.faults]
    who = f"worker {alike[0].address} on {alike[0].seen.host}"
    if len(alike) > 1:
        who += f" (and {len(alike) - 1} more)"
    others = sum(len(state.faults) for state in bad) - len(alike)
    more = f"; 'geoseg doctor --cluster' tells of {others} more" if others else ""
    raise ClusterError(f"cluster: {who} {what}; {mend}{more}")


def examine_workers(
    client: Client, plan: RunPlan | None, needs: Needs | None = None
) -> list[WorkerState]:
    """Ask each worker; without a plan only what there is to know of any."""
    needs = needs_of(plan) if needs is None else needs
    seen, ahead = ask(client, needs), clocks(client)
    ours = installed(fingerprint.LIBRARIES)
    states = []
    for address in sorted(seen):
        worker = seen[address]
        helps = (
            _FOLDERS if worker.threads else _PACKAGES
        )  # who says nothing may have another geoseg
        faults = [(lack, helps) for lack in worker.lacks]
        faults += [
            (f"cannot write to {folder}", "give its user the right to")
            for folder in worker.unwritable
        ]
        if worker.threads:
            others = other_packages(ours, worker.packages)
            faults += [(other, _PACKAGES) for other in others]
        if plan is not None and worker.threads:
            faults += _too_small(worker, seen, plan)
        clock = ahead.get(address, 0.0)
        doubts = _doubts(address, worker, clock)
        states.append(WorkerState(address, worker, clock, tuple(faults), tuple(doubts)))
    return states if plan is None else list(_with_gpus(states, plan))


def needs_of(plan: RunPlan | None) -> Needs:
    """What the jobs of ``plan`` open and write, as they will call it."""
    mark, packages = uuid.uuid4().hex[:8], (*fingerprint.LIBRARIES, "distributed")
    if plan is None:
        return Needs(packages=packages, mark=mark)
    files: dict[str, int] = {}
    for uri in _some(dict.fromkeys(u for task in plan.tasks for u in task.plan.scene.sources)):
        for file in fingerprint.files([uri]):
            if Path(file).is_file():  # what is remote, or made only when the run begins, is not
                files[file] = Path(file).stat().st_size
    weights = {
        str(member.weights): member.card.sha256
        for member in plan.committee.members
        if member.weights is not None and member.card.sha256 is not None
    }
    return Needs(files, weights, _folders(plan), packages, mark)


def _some(uris: Iterable[str]) -> list[str]:
    every = list(uris)
    return every[:: -(-len(every) // MOST_FILES)] if every else []


def _folders(plan: RunPlan) -> tuple[str, ...]:
    """What is written to, or the folder above that there is; one for all beside each other."""
    beside: dict[Path, Path] = {}
    stores: dict[str, str] = {}
    for task in plan.tasks:
        # Where blocks are kept elsewhere, workers need not see the folder of the products.
        blocks = place_of_blocks(plan.workflow.run.work, task.plan.scene.id, task.directory)
        folder = blocks or task.directory
        if isinstance(folder, BucketPath):
            stores.setdefault(folder.bucket, str(folder))
            continue
        there = next((place for place in (folder, *folder.parents) if place.is_dir()), None)
        if there is not None:
            beside.setdefault(there.parent, there)
    return (*(str(folder) for folder in beside.values()), *stores.values())


def _too_small(worker: Seen, all_seen: Mapping[str, Seen], plan: RunPlan) -> list[tuple[str, str]]:
    """Whether it has less memory than a block needs; who does not segment needs less than is known."""
    gpus = any(other.resources.get(GPU) for other in all_seen.values())
    if gpus and plan.workflow.model.device != "cpu" and not worker.resources.get(GPU):
        return []
    needed = max((task.plan.memory_per_worker for task in plan.tasks), default=0)
    if worker.limit is None or worker.limit >= needed or worker.threads < plan.resources.lanes:
        return []
    what = f"may use {worker.limit / 1e9:.1f} GB, and {needed / 1e9:.1f} GB are needed"
    return [(what, "give it more, or use fewer cluster.threads or a smaller tiling.block")]


def _with_gpus(states: Sequence[WorkerState], plan: RunPlan) -> Iterator[WorkerState]:
    """With what does not fit between the model's device and the workers' GPUs."""
    device = plan.workflow.model.device
    offering = [state for state in states if state.seen.resources.get(GPU)]
    seeing = [state for state in states if state.seen.gpus]
    models = sorted({gpu[0] for state in offering for gpu in state.seen.gpus})
    start = "start those that have one with --resources GPU=1"
    for state in states:
        faults, doubts = list(state.faults), list(state.doubts)
        if device == "cuda" and not offering and not state.seen.gpus:
            faults.append(("has no GPU, and model.device is cuda", start))
        elif device == "auto" and not offering and seeing and not state.seen.gpus:
            what = "has no GPU, and others have: the same block would come out differently"
            faults.append((what, f"{start}, or set model.device"))
        if state in offering and not state.seen.gpus and device != "cpu":
            doubts.append(f"worker {state.address} offers a GPU, and its driver shows none")
        if len(models) > 1:
            doubts.append(f"GPUs of several models segment, whose last bits differ: {models}")
        yield WorkerState(state.address, state.seen, state.clock, tuple(faults), tuple(doubts))


def _doubts(address: str, worker: Seen, clock: float) -> Iterator[str]:
    if abs(clock) > CLOCK_SECONDS:
        yield f"worker {address} on {worker.host}: its clock is {clock:+.0f} s off; let it ask a time server"
    (ours,) = installed(["distributed"]).values()
    theirs = worker.packages.get("distributed", "")
    if theirs and theirs != ours:
        yield f"worker {address} has distributed {theirs}, the client {ours}"


def is_address(text: str) -> bool:
    """Whether this is a scheduler or gateway, and no file."""
    return "://" in text and not os.path.exists(text)  # noqa: PTH110 (a URL is no path)
