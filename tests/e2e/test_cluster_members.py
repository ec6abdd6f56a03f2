"""Members of a cluster that stays: what they are told by nobody, they know."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.request import urlopen

import pytest
from distributed import Client
from test_cluster_processes import children_of, free_port, process_at

from geoseg.errors import ClusterError
from geoseg.run.member import worker_arguments, workers_of
from geoseg.run.on_scheduler import Silence
from geoseg.run.resources import available_cores, worker_environment


def test_what_is_given_counts():
    plain = ["tcp://h:1", "--memory-limit", "2GB"]
    assert worker_arguments(plain) == [
        *plain,
        "--nthreads",
        "3",
        "--preload",
        "geoseg.run.on_worker",
    ]
    given = ["tcp://h:1", "--nthreads=8"]
    assert worker_arguments(given) == [*given, "--preload", "geoseg.run.on_worker"]
    assert workers_of(plain) == 1
    assert workers_of(["--nworkers", "2", "--nworkers=4"]) == 4


@pytest.mark.parametrize("value", ["auto", "0", "-1", "two"])
def test_workers_that_nobody_can_count_are_refused(value):
    with pytest.raises(ClusterError, match=f"--nworkers {value}: expected a number"):
        worker_arguments(["tcp://h:1", f"--nworkers={value}"])


def member(*words, env=None):
    # Plain clusters of other tests leave distributed's own MALLOC_TRIM_THRESHOLD_ behind.
    ours = {k for k in os.environ if k.endswith("_NUM_THREADS") or k.startswith("MALLOC_")}
    kept = {k: v for k, v in os.environ.items() if k not in ours}
    # Members import this file, as what they are asked stands in it.
    path = f"{Path(__file__).parent}{os.pathsep}{kept.get('PYTHONPATH', '')}"
    return subprocess.Popen(
        [sys.executable, "-m", "geoseg.run.member", *words],
        env=kept | {"PYTHONPATH": path} | (env or {}),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def test_an_unknown_role_is_refused():
    done = subprocess.run(
        [sys.executable, "-m", "geoseg.run.member", "nanny"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "error: expected 'scheduler' or 'worker', found 'nanny'\n"


def looked_at():
    import dask

    told = {name: os.environ.get(name) for name in worker_environment(1, 1)}
    return told, dask.config.get("distributed.worker.memory.pause")


def failures():
    import dask

    return dask.config.get("distributed.scheduler.allowed-failures")


@pytest.mark.cluster
def test_members_are_set_up_as_workers_of_our_own():
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    doors = [free_port(), free_port()]

    def quiet(door):
        return ("--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", f"127.0.0.1:{door}")

    processes = [
        member("scheduler", "--port", str(port), *quiet(doors[0])),
        member(
            "worker",
            address,
            "--memory-limit",
            "2GB",
            *quiet(doors[1]),
            env={"OMP_NUM_THREADS": "1"},
        ),
    ]
    try:
        with Client(address, timeout=120, set_as_default=False) as client:
            client.wait_for_workers(1, timeout=120)
            ((environment, pause),) = client.run(looked_at).values()
            (worker,) = client.scheduler_info()["workers"].values()
            assert client.run_on_scheduler(failures) == 1
            for door in doors:  # where probes of containers ask
                with urlopen(f"http://127.0.0.1:{door}/health", timeout=60) as answer:
                    assert answer.read() == b"ok"
    finally:
        for process in reversed(processes):
            for one in filter(None, [process_at(process.pid), *children_of(process.pid)]):
                one.kill()
            process.wait()
    # What somebody has set on purpose stays; everything else is as in a cluster of our own.
    assert environment == worker_environment(available_cores(), 1) | {"OMP_NUM_THREADS": "1"}
    assert pause is False, "a paused worker would never be woken"
    assert (worker["nthreads"], worker["memory_limit"]) == (3, 2 * 10**9)


def test_workers_that_say_nothing_are_silent_whatever_the_clock_says():
    workers = {"a": SimpleNamespace(last_seen=100.0), "b": SimpleNamespace(last_seen=100.0)}
    watch = Silence(SimpleNamespace(workers=workers), 60.0)
    assert watch.silent(0.0) == []
    workers["b"].last_seen = 9e9  # its clock jumps, and back again: signs of life both
    assert watch.silent(59.0) == []
    workers["b"].last_seen = 5.0
    assert watch.silent(61.0) == ["a"]
    workers["c"] = SimpleNamespace(last_seen=100.0)
    assert watch.silent(119.0) == ["a"], "a new one has time"
    del workers["a"]
    assert watch.silent(122.0) == ["b"]
    workers["a"] = SimpleNamespace(last_seen=100.0)
    assert watch.silent(123.0) == ["b"], "who comes again is new"
