"""Workers as forks: of a process with one thread, that ends when it should."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time

import pytest

from geoseg.run import forking

pytestmark = pytest.mark.skipif(
    forking.METHOD != "forkserver", reason="workers are forks on Linux only"
)


def python(code: str) -> str:
    """What a program prints; it must end well and within a minute."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_workers_load_starts_no_threads() -> None:
    # A process with threads must not be forked: their locks would stay locked for ever.
    said = python(f"""
        import importlib, os
        for name in {[*forking.WORKERS_LOAD, "torch"]!r}:
            importlib.import_module(name)
        print(len(os.listdir("/proc/self/task")))
        """)
    assert said.split() == ["1"]


def test_all_that_is_named_is_there() -> None:
    # Where a name is wrong, the server says nothing and workers load it themselves.
    python(
        f"import importlib\nfor name in {list(forking.WORKERS_LOAD)!r}: importlib.import_module(name)"
    )


@pytest.mark.parametrize("wait", [0.0, 4.0])
def test_the_server_is_ended_and_can_begin_again(wait: float) -> None:
    said = python(f"""
        import os, time
        from multiprocessing import forkserver
        from geoseg.run import forking
        for _ in range(2):
            forking.begin()
            pid = forkserver._forkserver._forkserver_pid
            forking.begin()  # nothing: it runs
            assert forkserver._forkserver._forkserver_pid == pid
            time.sleep({wait})
            forking.end()
            forking.end()  # nothing: it has ended
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                print("ended")
        """)
    assert said.split() == ["ended", "ended"]


def test_the_server_ends_with_its_client() -> None:
    said = python("""
        import os
        from multiprocessing import forkserver
        from geoseg.run import forking
        forking.begin()
        print(forkserver._forkserver._forkserver_pid, flush=True)
        os._exit(0)  # as if killed
        """)
    pid = int(said)
    for _ in range(300):
        if not _alive(pid):
            return
        time.sleep(0.1)
    raise AssertionError(f"process {pid} is still there")


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_environment_of_this_process_stays() -> None:
    said = python("""
        import os, sys
        from multiprocessing import forkserver
        from geoseg.run import forking
        os.environ["OMP_NUM_THREADS"] = "7"
        for name in ("MALLOC_ARENA_MAX", "__DASK_PARENT_PID"):
            os.environ.pop(name, None)
        before = dict(os.environ)
        heard = []
        sys.addaudithook(lambda event, of: heard.append(of) if "env" in event else None)
        forking.begin(environment={"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"})
        named = os.environ.pop("__DASK_PARENT_PID")
        print(dict(os.environ) == before, named == str(os.getpid()))
        server = forkserver._forkserver._forkserver_pid
        theirs = open(f"/proc/{server}/environ").read().split("\\0")
        print("OMP_NUM_THREADS=1" in theirs, "MALLOC_ARENA_MAX=1" in theirs)
        print(sorted({name.decode() for name, *_ in heard}))
        forking.end()
        """)
    assert said.split("\n")[:3] == ["True True", "True True", "['__DASK_PARENT_PID']"]


@pytest.mark.parametrize(
    ("text", "begun", "torch"),
    [
        ("name: a\nmodel: {name: m, engine: torch}\n", True, True),
        ('model: {engine : "torch-compile"}', True, True),
        ('{"model": {"engine": "torch"}}', True, True),
        ("model: {engine: openvino}\ncluster: {workers: 2}", True, False),
        ("", True, False),
        ("cluster: tcp://10.0.0.5:8786", False, False),
        ("cluster: {kind: slurm}", False, False),
        (None, False, False),
    ],
)
def test_a_glance_at_a_workflow_says_what_to_load(tmp_path, text, begun, torch) -> None:
    file = tmp_path / "w.yaml"
    if text is not None:
        file.write_text(text)
    said = python(f"""
        from multiprocessing import forkserver
        from geoseg.run import forking
        forking.begin_early({str(file)!r})
        server = forkserver._forkserver
        print(server._forkserver_pid is not None, "torch" in server._preload_modules)
        forking.end()
        """)
    assert said.split() == [str(begun), str(torch)]
