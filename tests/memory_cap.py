"""Workflows under a hard cap of memory: what ``geoseg plan`` says of the workers, and a client.

    python tests/memory_cap.py workflows/quickstart.yaml workflows/forest.yaml

runs each in a folder of its own, in a control group that kills whoever goes beyond the cap, with
workers that are replaced beyond what the plan says of each. Prints a JSON line for each. A plan knows
the engine of a large scene once there was a trial: until then it is of the engine that takes the most.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

CLIENT = 1200 * 2**20
"""Bytes of the process that plans, asks, and writes products, and of Dask's scheduler in it."""

GROUPS = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
LIMITS = "memory.limit_in_bytes", "memory.max"
"""Version 1 and 2 of control groups."""


@contextmanager
def capped(limit: int) -> Iterator[Path]:
    """A control group of at most ``limit`` bytes, to which processes may be added.

    Raises:
        OSError: There are no control groups of memory here, or not for us.
    """
    for root, name in zip(GROUPS, LIMITS, strict=True):
        if not (root / "cgroup.procs").exists():
            continue
        group = root / f"geoseg-{os.getpid()}"
        group.mkdir()
        try:
            (group / name).write_text(str(limit))
            yield group
            return
        finally:
            with suppress(OSError):
                group.rmdir()
    raise OSError("no control groups of memory")


def can_cap() -> bool:
    """Whether memory can be capped here."""
    try:
        with capped(2**30):
            return True
    except OSError:
        return False


def run_capped(workflow: Path, folder: Path, *settings: str) -> dict[str, object]:
    """Run a workflow in ``folder`` with no more than its plan says; returns what came of it."""
    asked = [word for setting in settings for word in ("--set", setting)]
    plan = _geoseg(["plan", str(workflow), "--json", *asked], folder)
    if plan.returncode:
        return {"workflow": workflow.name, "code": plan.returncode, "said": plan.stderr.strip()}
    said = json.loads(plan.stdout)
    worker, most = (
        max(scene[key] for scene in said["scenes"])
        for key in ("memory_per_worker", "memory_at_most")
    )
    cap = CLIENT + said["workers"] * worker
    with capped(cap) as group:
        # What is granted has to do for whichever engine may be taken; the cap is that of the one that is.
        run = ["run", str(workflow), "--quiet", *asked, "--set", f"cluster.memory={most} B"]
        done, peaks = _watched(run, folder, group)
        kills = _counted(group)
    return {
        "workflow": workflow.name,
        "code": done.returncode,
        "workers": said["workers"],
        "engine": said["scenes"][0]["engine"],
        "plan_mb": round(worker / 1e6),
        "worker_peak_mb": round(peaks["workers"] / 1e6),
        "client_peak_mb": round(peaks["client"] / 1e6),
        "cap_mb": round(cap / 1e6),
        "killed": kills,
        "said": done.stderr.strip()[-300:],
    }


def _geoseg(words: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "geoseg", *words],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


def _watched(
    words: Sequence[str], folder: Path, group: Path
) -> tuple[subprocess.CompletedProcess[str], dict[str, int]]:
    """Run in the group, and look several times a second what each process holds."""
    enter = f'echo $$ > {group}/cgroup.procs && exec "$@"'
    started = subprocess.Popen(
        ["/bin/sh", "-c", enter, "sh", sys.executable, "-m", "geoseg", *words],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    peaks, ended = {"client": 0, "workers": 0}, threading.Event()

    def look() -> None:
        process = psutil.Process(started.pid)
        while not ended.wait(0.2):
            with suppress(psutil.Error):
                peaks["client"] = max(peaks["client"], process.memory_info().rss)
                for child in process.children(recursive=True):
                    peaks["workers"] = max(peaks["workers"], child.memory_info().rss)

    looking = threading.Thread(target=look)
    looking.start()
    _, stderr = started.communicate()
    ended.set()
    looking.join()
    return subprocess.CompletedProcess(words, started.returncode, "", stderr), peaks


def _counted(group: Path) -> int:
    """Processes that were killed for memory."""
    for name in ("memory.oom_control", "memory.events"):
        if (group / name).exists():
            rows = dict(line.split() for line in (group / name).read_text().splitlines())
            return int(rows.get("oom_kill", 0))
    return 0


def make_samples(folder: Path) -> None:
    """The synthetic scenes that workflows name in their first lines."""
    for place, *options in (
        ["products/sample"],
        ["products/dates/june", "--date", "1"],
        ["products/dates/september", "--date", "2"],
    ):
        command = [sys.executable, "-m", "geoseg", "sample", place, "-q", *options]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        with tempfile.TemporaryDirectory() as room:
            make_samples(Path(room))
            came = run_capped(path.absolute(), Path(room), "cluster.workers=1")
            print(json.dumps(came), flush=True)  # noqa: T201 (the answer)
