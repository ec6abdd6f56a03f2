"""Runs that are interrupted, terminated and killed, as whole processes with real signals."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from geoseg.grid import Window
from geoseg.run.ledger import Ledger
from geoseg.run.status import read_status

pytestmark = pytest.mark.cluster

JOBS = """
import time
from dataclasses import dataclass
from pathlib import Path

@dataclass(frozen=True)
class Slow:
    key: str
    folder: str
    seconds: float

    def open(self):
        return self

    def __call__(self, block):
        Path(self.folder, f"begun-{block.y0}").touch()
        time.sleep(self.seconds)
        Path(self.folder, f"ended-{block.y0}").touch()
        return {"seconds": {"read": self.seconds}}

    def close(self):
        pass
"""

DRIVER = """
import sys
from slow_jobs import Slow
from geoseg.errors import GeosegError, StoppedError
from geoseg.grid import Window
from geoseg.run.cluster import ClusterSpec, connect
from geoseg.run.ledger import Ledger
from geoseg.run.lock import hold
from geoseg.run.loop import run_blocks
from geoseg.run.on_dask import OnDask
from geoseg.run.progress import make_reporter
from geoseg.run.reporter import Several
from geoseg.run.serial import Serial
from geoseg.run.status import StatusFile
from geoseg.run.stopping import terminable

def main(how, folder, count, seconds):
    blocks = [Window(i, 0, i + 1, 1) for i in range(int(count))]
    job = Slow("slow", folder, float(seconds))
    reporter = Several([make_reporter("auto", sys.stderr), StatusFile(folder, seconds=0)])
    with terminable(), hold(folder), Ledger.open(f"{folder}/l.jsonl", "f", {}) as ledger:
        reporter.started(scenes=1, blocks=len(blocks), dashboard=None)
        if how == "serial":
            summary = run_blocks(Serial(2), job, blocks, ledger, reporter)
        else:
            with connect(ClusterSpec(workers=2, threads=2, dashboard=False)) as connected:
                summary = run_blocks(OnDask(connected.client), job, blocks, ledger, reporter)
        reporter.done(f"did {summary.done}, had {summary.resumed}")

if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except StoppedError as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(stopped.exit_code)
    except GeosegError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
"""


@pytest.fixture
def driver(tmp_path):
    (tmp_path / "slow_jobs.py").write_text(textwrap.dedent(JOBS))
    (tmp_path / "driver.py").write_text(textwrap.dedent(DRIVER))
    started = []

    def start(how, *, count=200, seconds=0.2, folder="out"):
        process = subprocess.Popen(
            [
                sys.executable,
                tmp_path / "driver.py",
                how,
                tmp_path / folder,
                str(count),
                str(seconds),
            ],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for(ready, *, seconds=60, what="it"):
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.05)


def names(folder, what):
    return {p.name.removeprefix(f"{what}-") for p in Path(folder).glob(f"{what}-*")}


def recorded(folder):
    with Ledger.open(folder / "l.jsonl", "f", {}) as ledger:
        return {str(b.y0) for b in ledger.done}


def group_of(pid):
    return [p for p in psutil.process_iter() if _in_group(p, pid)]


def _in_group(process, group):
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


@pytest.mark.parametrize("how", ["serial", "dask"])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["int", "term"]
)
def test_one_signal_finishes_running_blocks_and_goes_on_later(driver, tmp_path, how, number, code):
    out = tmp_path / "out"
    process = driver(how)
    wait_for(lambda: len(names(out, "ended")) >= 4, what="a finished block")
    # Ctrl-C reaches the whole foreground group; kill and service managers the main process.
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    _, told = process.communicate(timeout=30)
    assert process.returncode == code, told
    assert f"stopped by {number.name}" in told
    assert "Traceback" not in told
    assert "distributed" not in told
    assert names(out, "begun") == names(out, "ended") == recorded(out)
    assert len(recorded(out)) < 200
    wait_for(lambda: not group_of(process.pid), seconds=10, what="the end of all workers")
    assert not list(out.glob(".geoseg.lock"))

    before = len(recorded(out))
    again = driver("serial", count=before + 10, seconds=0)
    _, told = again.communicate(timeout=60)
    assert again.returncode == 0, told
    assert read_status(out).state == "done"
    assert len(recorded(out)) == before + 10


def test_a_second_signal_stops_at_once(driver, tmp_path):
    out = tmp_path / "out"
    process = driver("dask", seconds=15)
    wait_for(lambda: names(out, "begun"), what="a running block")
    process.send_signal(signal.SIGINT)
    wait_for(lambda: "stopping" in read_status(out).text, what="the message")
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=14)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert not names(out, "ended")
    wait_for(lambda: not group_of(process.pid), seconds=10, what="the end of all workers")


def test_workers_die_with_a_killed_client_and_nothing_recorded_is_lost(driver, tmp_path):
    out = tmp_path / "out"
    process = driver("dask", seconds=0.1)
    wait_for(lambda: len(recorded_lines(out)) >= 8, what="a line in the ledger")
    assert len(group_of(process.pid)) > 2
    locked = driver("serial", count=1)
    _, told = locked.communicate(timeout=30)
    assert locked.returncode == 75
    assert f"process {process.pid} on " in told
    process.kill()
    process.wait()
    wait_for(lambda: not group_of(process.pid), seconds=20, what="the end of all workers")
    assert read_status(out).state == "lost"
    done = recorded(out)
    assert 8 <= len(done) < 200
    assert done <= names(out, "ended")

    again = driver("serial", count=200, seconds=0)
    again.communicate(timeout=60)
    assert again.returncode == 0
    assert recorded(out) == {str(i) for i in range(200)}


def recorded_lines(out):
    ledger = out / "l.jsonl"
    return ledger.read_text().splitlines() if ledger.exists() else []


def test_a_job_that_stays_whole_is_done_once(driver, tmp_path):
    out = tmp_path / "out"
    process = driver("dask", count=20, seconds=0.01)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert "did 20, had 0" in told
    assert recorded(out) == {str(i) for i in range(20)}
    with Ledger.open(out / "l.jsonl", "f", {}) as ledger:
        assert [d.block for d in ledger.reports()] == [Window(i, 0, i + 1, 1) for i in range(20)]
