"""Runs that are killed at any moment, and started again: not a block is lost, nothing is half-made."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace

import pytest
from killing import ROOT, Tally, hashes, killed_and_resumed, moments, strays
from watching import check_whole

pytestmark = [pytest.mark.cluster, pytest.mark.long, pytest.mark.timeout(7200)]


@pytest.fixture(scope="module")
def place(tmp_path_factory, chaos_package, chaos):
    """A workflow with every stage, a scene for it, and the products of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("chaos")
    workflow = {
        "geoseg": 1,
        "name": "chaos",
        "input": {"kind": "sample", "size": [190, 250], "seed": 3, "directory": "sample"},
        "model": {"path": str(chaos_package)},
        "tiling": {"size": 128, "margin": 32, "block": 64},
        "postprocess": [{"step": "majority", "size": 3}],
        "output": {
            "directory": "out",
            "raster": {"confidence": True, "probabilities": True},
            "vector": {
                "min_area": "1000 m2",
                "simplify": "8 m",
                "formats": ["gpkg", "geoparquet", "flatgeobuf", "pmtiles"],
            },
        },
        "cluster": {"workers": 2 if chaos > 6 else 1, "threads": 2, "dashboard": False},
    }
    (folder / "workflow.yaml").write_text(json.dumps(workflow))
    run = [sys.executable, "-m", "geoseg", "run", "workflow.yaml", "-q"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run(run, cwd=folder, env=env, check=True, timeout=600)
    wanted = hashes(folder / "out")
    assert len(wanted) > 10
    for path in (folder / "out").iterdir():
        if path.is_file():
            path.unlink()
    return folder, wanted


def test_killed_anywhere_and_started_again(place, chaos):
    folder, wanted = place
    out, tally = folder / "out", Tally()
    plan = moments(chaos, seed=chaos)
    killed_and_resumed(["run", "workflow.yaml"], out, plan, tally, cwd=folder)
    told(tally)
    assert hashes(out) == wanted
    assert not strays(out)
    assert len(tally.kills) >= chaos * 0.8
    for path in out.iterdir():
        if path.is_file():
            check_whole(path)
            path.unlink()


def told(tally):
    """The figures of docs/reliability.md; shown with -s."""
    print(  # noqa: T201 (see above)
        f"\n{len(tally.kills)} kills in {tally.sessions} runs ({tally.missed} moments missed), "
        f"{tally.again} finished blocks not done again, {tally.opened} products opened as they "
        f"appeared, {tally.items} items checked\n" + "; ".join(tally.kills)
    )


class Site:
    """A scheduler and two workers that others started; any of them may be killed."""

    def __init__(self, folder):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder, self.processes = folder, []

    @property
    def address(self):
        return f"tcp://127.0.0.1:{self.port}"

    def start(self):
        """The scheduler if it is gone, and workers up to two."""
        self.processes = [p for p in self.processes if p.poll() is None]
        running = {p.args[3] for p in self.processes if p.args[2].endswith("scheduler")}
        if not running:
            self.stop()
            self._dask(
                "scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard"
            )
        for _ in range(3 - len(self.processes)):
            self._dask(
                "worker", self.address, "--nthreads", "2", "--no-nanny", "--no-dashboard",
                "--host", "127.0.0.1",
            )  # fmt: skip

    def kill(self, what):
        victims = [p for p in self.processes if p.args[2].endswith(what) and p.poll() is None]
        for process in victims[:1]:
            process.kill()
            process.wait()

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes = []

    def _dask(self, what, *args):
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *args]
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        quiet = subprocess.DEVNULL
        # Elsewhere, or -m would find what lies here first; paths in workflows are the client's.
        process = subprocess.Popen(command, stdout=quiet, stderr=quiet, env=env, cwd=self.folder)
        self.processes.append(process)


@pytest.fixture
def site(place):
    site = Site(place[0])
    yield site
    site.stop()


def test_schedulers_and_workers_of_others_are_killed(place, site, chaos):
    if chaos < 8:
        pytest.skip("takes a minute: with --chaos 8, or more")
    folder, wanted = place
    out, tally = folder / "out", Tally()
    workflow = json.loads((folder / "workflow.yaml").read_text())
    (folder / "elsewhere.yaml").write_text(json.dumps(workflow | {"cluster": site.address}))
    plan = moments(max(1, chaos // 4), seed=chaos + 1, victims=("scheduler", "worker"))
    plan = [replace(m, victim="scheduler") if m.product else m for m in plan]
    killed_and_resumed(["run", "elsewhere.yaml"], out, plan, tally, cwd=folder, site=site)
    told(tally)
    assert hashes(out) == wanted
    assert not strays(out)
