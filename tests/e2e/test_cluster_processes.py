"""Schedulers and workers that were started by someone else, and what may become of them."""

import gc
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

import geoseg
from geoseg.errors import ClusterError, ClusterLostError
from geoseg.grid import Window
from geoseg.run import forking
from geoseg.run.base import Done
from geoseg.run.cluster import ClusterSpec, connect
from geoseg.run.clusters import local
from geoseg.run.on_dask import OnDask
from geoseg.run.resources import available_cores

pytestmark = pytest.mark.cluster

MANY = [Window(i, 0, i + 1, 1) for i in range(120)]
BLOCKS = MANY[:30]


@dataclass(frozen=True)
class WhoWorks:
    """A job whose reports say which process did them."""

    key: str
    seconds: float = 0.0
    device: str = "cpu"

    def open(self):
        return self

    def __call__(self, block):
        time.sleep(self.seconds)
        return {"pid": os.getpid()}

    def close(self):
        pass


def dask(*args, env=None):
    return subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_" + args[0], *args[1:]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | (env or {}),
        cwd="/",  # or -m would find this repository's geoseg first
    )


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Site:
    """A scheduler with workers, as an administrator starts them."""

    def __init__(self):
        port = free_port()
        self.address = f"tcp://127.0.0.1:{port}"
        self.processes = []
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"
        )

    def worker(self, *args, env=None, importing=True):
        # Other processes can import this file, as its job must be.
        path = f"{Path(__file__).parent}{os.pathsep}{(env or {}).get('PYTHONPATH', '')}"
        env = {"PYTHONPATH": path} if importing else env
        fixed = ("--nthreads", "2", "--host", "127.0.0.1", "--no-dashboard")
        return self._start("worker", self.address, *fixed, *args, env=env)

    def _start(self, *args, env=None):
        self.processes.append(dask(*args, env=env))
        return self.processes[-1]

    def close(self):
        for process in reversed(self.processes):
            family = [process_at(process.pid), *children_of(process.pid)]
            for member in filter(None, family):
                member.kill()
            process.wait()


def process_at(pid):
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


def children_of(pid):
    parent = process_at(pid)
    return parent.children(recursive=True) if parent else []


@pytest.fixture
def site():
    site = Site()
    yield site
    site.close()


def spec(site, timeout=30.0):
    return ClusterSpec(kind="address", address=site.address, timeout=timeout)


def test_gpu_workers_get_the_blocks_and_late_workers_help(site):
    site.worker("--resources", "GPU=1", "--no-nanny")
    site.worker("--no-nanny")
    with connect(spec(site)) as connected:
        connected.client.wait_for_workers(2, timeout=30)
        executor = OnDask(connected.client)
        pids = {o.report["pid"] for o in executor.run(WhoWorks("gpu", device="auto"), BLOCKS)}
        assert pids == {site.processes[1].pid}
        pids = {o.report["pid"] for o in executor.run(WhoWorks("plain", 0.2), BLOCKS[:2])}
        assert pids == {site.processes[2].pid}, "who needs no GPU leaves it to those who do"

        found = []
        for outcome in executor.run(WhoWorks("late", 0.2, "auto"), MANY[:60]):
            if not found:
                site.worker("--resources", "GPU=1", "--no-nanny")
            found.append(outcome)
        assert len(found) == 60
        assert all(isinstance(o, Done) for o in found)
    assert site.scheduler.poll() is None, "somebody else's scheduler stays"


def test_workers_that_lack_a_package_are_an_error(site):
    site.worker("--no-nanny", importing=False)
    with connect(spec(site)) as connected:
        with pytest.raises(ClusterError, match=r"cannot take the job: .*test_cluster_processes"):
            list(OnDask(connected.client).run(WhoWorks("lacking"), BLOCKS))
        plugins = connected.client.run(lambda dask_worker: list(dask_worker.plugins))
        assert not any("geoseg" in name for names in plugins.values() for name in names)


def test_a_scheduler_that_dies_ends_the_run_with_one_message(site):
    site.worker("--no-nanny")
    with connect(spec(site)) as connected:
        run = OnDask(connected.client).run(WhoWorks("lost", 0.1), MANY)
        next(run)
        site.scheduler.kill()
        with pytest.raises(ClusterLostError, match="run again to go on"):
            list(run)


def test_all_workers_gone(site):
    worker = site.worker("--no-nanny")
    with connect(spec(site)) as connected:
        run = OnDask(connected.client, patience=1.0).run(WhoWorks("gone", 0.1), MANY)
        next(run)
        worker.kill()
        with pytest.raises(ClusterLostError, match="no worker is left"):
            list(run)


def test_nothing_answers():
    address = f"tcp://127.0.0.1:{free_port()}"
    with (
        pytest.raises(ClusterError, match=f"no scheduler answers at {re.escape(address)}"),
        connect(ClusterSpec(kind="address", address=address, timeout=1.0)),
    ):
        pass


def test_no_workers(site):
    with (
        pytest.raises(ClusterError, match="has no workers; start some with 'dask worker"),
        connect(spec(site, timeout=8.0)),
    ):
        pass


def test_nonsense_address():
    with (
        pytest.raises(ClusterError, match="no scheduler answers at what://ever"),
        connect(ClusterSpec(kind="address", address="what://ever", timeout=1.0)),
    ):
        pass


def test_workers_of_another_version_are_refused(site, tmp_path):
    package = Path(geoseg.__file__).parent
    shutil.copytree(package, tmp_path / "geoseg", ignore=shutil.ignore_patterns("__pycache__"))
    init = tmp_path / "geoseg" / "__init__.py"
    init.write_text(init.read_text().replace(geoseg.__version__, "0.0.9"))
    site.worker("--no-nanny", env={"PYTHONPATH": str(tmp_path)})
    with (
        pytest.raises(ClusterError, match=r"run geoseg 0\.0\.9 on Python .*, but the client runs"),
        connect(spec(site)),
    ):
        pass


def test_workers_without_geoseg_are_refused(site, tmp_path):
    (tmp_path / "geoseg").mkdir()
    (tmp_path / "geoseg" / "__init__.py").touch()
    site.worker("--no-nanny", env={"PYTHONPATH": str(tmp_path)})
    with (
        pytest.raises(ClusterError, match="has no geoseg of use"),
        connect(spec(site)),
    ):
        pass


def listening(process):
    return {c.laddr.ip for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}


def test_local_clusters_are_seen_from_this_machine_only_and_leave_nothing_behind(recwarn):
    before, environment = set(psutil.Process().children(recursive=True)), dict(os.environ)
    environment.pop("__DASK_PARENT_PID", None)
    spec = ClusterSpec(workers=3, threads=1, memory=2**30)
    with connect(spec, blocks=2) as connected:
        assert (connected.workers, connected.threads) == (2, 2), "no more workers than blocks"
        assert re.match(r"http://127\.0\.0\.1:\d+/status$", connected.dashboard_link)
        workers = set(psutil.Process().children(recursive=True)) - before
        for process in {psutil.Process()} | workers:
            assert listening(process) <= {"127.0.0.1"}, process
        facts = connected.client.run(
            lambda dask_worker: (
                os.environ["GDAL_CACHEMAX"],
                os.environ["OMP_NUM_THREADS"],
                dask_worker.memory_manager.memory_limit,
                Path.cwd(),
            )
        )
        assert {f[0] for f in facts.values()} == {"64"}
        assert {f[2] for f in facts.values()} == {2**30}
        rooms = set(connected.client.run(lambda dask_worker: dask_worker.local_directory).values())
        with connect(ClusterSpec(workers=1)) as second:
            assert second.dashboard_link != connected.dashboard_link
    psutil.wait_procs(workers, timeout=5)
    left = [p for p in psutil.Process().children(recursive=True) if p not in before]
    forking.end()  # what workers are forked from stays for the next cluster
    left = [p for p in left if p.is_running()]
    assert not [p for p in left if "multiprocessing.resource_tracker" not in " ".join(p.cmdline())]
    assert not [room for room in rooms if Path(room).exists()]
    assert {n: v for n, v in os.environ.items() if n != "__DASK_PARENT_PID"} == environment
    # Another program may take the port between our look at it and the dashboard's; Dask leaves its try.
    said = [str(one.message) for one in recwarn.list]
    assert not [text for text in said if "unclosed <socket" not in text]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "address"}, "needs an address"),
        ({"address": "tcp://a:1"}, "needs kind 'address'"),
        ({"workers": 0}, "workers: found 0"),
        ({"threads": -1}, "threads: found -1"),
    ],
)
def test_specs_that_make_no_sense(wrong, message):
    with pytest.raises(ClusterError, match=message):
        ClusterSpec(**wrong)


HEARD = """
import os, signal, sys, time
from geoseg.run import forking
from geoseg.run.cluster import ClusterSpec, connect

def listen(event, about):
    if event in ("os.putenv", "os.unsetenv"):
        heard.add(os.fsdecode(about[0]))

def told(name):
    return os.environ[name], os.getpid()

if __name__ == "__main__":
    os.environ |= {"OMP_NUM_THREADS": "7", "GDAL_NUM_THREADS": "5"}
    forking.begin()
    import numpy, rasterio  # which set some themselves
    heard = set()
    sys.addaudithook(listen)
    with connect(ClusterSpec(workers=2, threads=1, dashboard=False)) as connected:
        client = connected.client
        first = client.run(told, "GDAL_NUM_THREADS")
        os.kill(min(pid for _, pid in first.values()), signal.SIGKILL)
        while first.keys() == client.run(told, "OMP_NUM_THREADS", on_error="ignore").keys():
            time.sleep(0.1)
        client.wait_for_workers(2)
        second = client.run(told, "OMP_NUM_THREADS")
    print(sorted({n for n, _ in [*first.values(), *second.values()]}), sorted(heard))
    print(os.environ["OMP_NUM_THREADS"], os.environ["GDAL_NUM_THREADS"])
"""


def test_workers_come_and_go_while_the_environment_stays(tmp_path):
    """Threads that read files look at it: where it moves, they end the process."""
    file = tmp_path / "heard.py"
    file.write_text(HEARD)
    done = subprocess.run(
        [sys.executable, str(file)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    threads = str(max(1, available_cores() // 2))
    assert done.stdout.split("\n")[:2] == [f"['{threads}'] ['__DASK_PARENT_PID']", "7 5"]


def test_what_distributed_says_of_workers_is_handed_on(capfd):
    said = []
    with connect(ClusterSpec(workers=1, threads=1, dashboard=False), tell=said.append) as connected:
        client = connected.client
        (first,) = client.run(os.getpid).values()
        os.kill(first, signal.SIGKILL)
        until = time.monotonic() + 60
        while first in client.run(os.getpid, on_error="ignore").values() or not said:
            assert time.monotonic() < until
            time.sleep(0.1)
        client.wait_for_workers(1)
    assert any("Restarting worker" in text for text in said), said
    assert not capfd.readouterr().err


@pytest.mark.filterwarnings("ignore:unclosed <socket")  # the one that Dask tried
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_dashboard_whose_port_is_taken_at_that_moment_gets_another(monkeypatch):
    look, others = local.free_port, []

    def taken(first):
        others.append(socket.create_server(("127.0.0.1", look(first))))
        return others[-1].getsockname()[1]

    monkeypatch.setattr(local, "free_port", taken)
    with connect(ClusterSpec(workers=1)) as connected:
        (other,) = others
        assert f":{other.getsockname()[1]}/" not in connected.dashboard_link
        with urllib.request.urlopen(connected.dashboard_link, timeout=10) as page:  # noqa: S310 (ours)
            assert page.status == 200
        gc.collect()
    other.close()


def test_warnings_of_python_are_lines_like_all_others(tmp_path):
    code = (
        "import sys, warnings\nfrom geoseg.cli import options, starting\nstarting.start_fast()\n"
        "options.reporter(log_json=True, quiet=False)\nwarnings.warn('Port 8787 is taken.\\nHosting')"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    (line,) = done.stderr.splitlines()
    assert json.loads(line) | {"time": ""} == {
        "time": "", "event": "warning", "text": "Port 8787 is taken. Hosting",
    }  # fmt: skip
