"""Memory: a run stays below what its plan says, and what shares it out is one place."""

import os
import re
from pathlib import Path

import pytest
from memory_cap import can_cap, run_capped
from packages import write_package
from test_fault_blocks import LIGHT, workflow, write_scene

import geoseg
from geoseg.io import environment
from geoseg.run import resources
from geoseg.run.cluster import ClusterSpec, connect

SETS = re.compile(
    r"GDAL_CACHEMAX|distributed\.worker\.memory|(OMP|MKL|OPENBLAS|NUMBA|GDAL)_NUM_THREADS|MALLOC_"
)
PLACES = {
    "run/resources.py": "the one place for a run's processes",
    "io/environment.py": "GDAL inside a process: rasterio must be told in bytes",
    "io/cog.py": "while a COG is written, on the client",
    "io/sample.py": "while a sample is written, on the client",
}


def test_nothing_else_shares_out_memory_and_threads():
    root = Path(geoseg.__file__).parent
    found = {
        str(path.relative_to(root)): [
            line for line in path.read_text().splitlines() if SETS.search(line.partition("#")[0])
        ]
        for path in root.rglob("*.py")
    }
    assert {name for name, lines in found.items() if lines} <= PLACES.keys()
    assert environment._SETTINGS["GDAL_CACHEMAX"] == resources.GDAL_CACHE_MB * 2**20


def said_by_a_worker(dask_worker):
    """What holds on a worker; runs there."""
    import dask
    import rasterio
    import torch
    from rasterio._env import get_gdal_config

    from geoseg.io.environment import gdal_env

    with gdal_env():
        cache = get_gdal_config("GDAL_CACHEMAX")
    return {
        "environment": {
            k: v for k, v in os.environ.items() if k in resources.worker_environment(4, 2)
        },
        "gdal": int(cache),
        "torch": torch.get_num_threads(),
        "limit": dask_worker.memory_manager.memory_limit,
        "memory": [
            dask.config.get(f"distributed.worker.memory.{what}")
            for what in ("target", "spill", "pause", "terminate")
        ],
        "rasterio": rasterio.__version__,
    }


@pytest.mark.cluster
def test_a_real_worker_has_what_that_place_says(monkeypatch):
    monkeypatch.setenv("GDAL_CACHEMAX", "4096")
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    cores = resources.available_cores()
    with connect(ClusterSpec(workers=1, memory=2**30, dashboard=False)) as connected:
        (said,) = connected.client.run(said_by_a_worker).values()
    assert said["environment"] == resources.worker_environment(cores, 1)
    assert said["gdal"] == resources.GDAL_CACHE_MB * 2**20
    assert said["torch"] == cores
    assert said["limit"] == 2**30
    assert said["memory"] == [False, False, False, 1.0]


@pytest.mark.cluster
@pytest.mark.skipif(not can_cap(), reason="no control groups of memory here")
def test_a_run_stays_below_what_its_plan_says(tmp_path):
    """The others that are shipped: ``python tests/memory_cap.py workflows/*.yaml``."""
    write_scene(tmp_path / "in/a.tif")
    path = workflow(tmp_path, write_package(tmp_path, margin=0), output=LIGHT)
    came = run_capped(path, tmp_path)
    assert (came["code"], came["killed"]) == (0, 0), came["said"]
    assert 0 < came["worker_peak_mb"] <= came["plan_mb"]
