"""Ctrl-C in the middle of commands that take long: exit code 130, and one line that says what is kept."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress

import numpy as np
import pytest
from class_rasters import NAMES, codes, name, paint
from rasters import write

pytestmark = pytest.mark.cluster

TILED = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
FOREVER = ("training.steps=100000", "training.validate_every=5000", "output.directory=models/long")

COMMANDS = {
    "run": ("run", "long.yaml"),
    "vectorize": ("vectorize", "2021-06-05.tif", "patches.gpkg"),
    "change": ("change", "2021-06-05.tif", "2022-06-10.tif", "changed"),
    "alerts update": ("alerts", "update", "a.zarr", "2021-06-05.tif", "2022-06-10.tif", "--forest", "Trees"),
    "train": ("train", "train.yaml"),
}  # fmt: skip
AT_ONCE = """
import sys, threading, time

start, seconds = threading.Thread.start, float(sys.argv.pop())

def interrupted(thread):
    start(thread)
    if thread.name.startswith("background"):
        time.sleep(seconds)  # by then the thread is in its first block, or beyond
        raise KeyboardInterrupt

threading.Thread.start = interrupted
from geoseg.cli import main

main()
"""
SAID = {
    "run": "blocks",
    "vectorize": "nothing half-made has a product's name",
    "change": "nothing half-made has a product's name",
    "alerts update": "the same command goes on from there",
    "train": "the same command goes on",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two maps of 4096 pixels, and workflows that would take minutes."""
    folder = tmp_path_factory.mktemp("long")
    made = np.tile(codes((512, 512)), (8, 8))
    for number, day in enumerate(("2021-06-05", "2022-06-10")):
        path = folder / f"{day}.tif"
        write(path, np.roll(made, 40 * number, axis=1), nodata=0, **TILED)
        paint(path)
        name(path, NAMES)
    scene = {"kind": "sample", "size": 512, "seed": 3}
    tiling = {"size": 64, "margin": 16, "block": 64}
    run = {"geoseg": 1, "name": "long", "input": scene, "tiling": tiling}
    run |= {"model": {"name": "landcover-s2", "tta": "d4"}, "output": {"directory": "long"}}
    run |= {"cluster": {"workers": 1, "threads": 1, "dashboard": False}}
    (folder / "long.yaml").write_text(json.dumps(run))
    train = {
        "geoseg": 1, "name": "long", "model": {"start": "landcover-s2"},
        "data": [{"name": "one", "input": {"kind": "sample", "size": 192, "seed": 3}}],
        "sampling": {"size": "64 px", "batch": 2}, "output": {"directory": "models/long"},
        "training": {"steps": 100_000, "validate_every": 5000},
    }  # fmt: skip
    (folder / "train.yaml").write_text(json.dumps(train))
    return folder


@contextmanager
def begun(arguments, folder, *, start=("-m", "geoseg")):
    """A command under way, in a process group of its own; killed where the test fails."""
    with subprocess.Popen(
        [sys.executable, *start, *arguments],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_ends_with_one_line_that_says_what_is_kept(folder, command):
    before = {path.name for path in folder.iterdir()}
    with begun([*COMMANDS[command], "--log-json"], folder) as process:
        last = {"train": '"event": "advance"', "run": '"event": "advance"'}
        for line in process.stderr:  # until work is under way
            if last.get(command, '"event": "stage"') in line and "sample" not in line:
                break
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        out, told = process.communicate(timeout=60)
    said = [line for line in told.splitlines() if not line.startswith("{")]
    assert process.returncode == 130, f"{out}\n{told}"
    assert out == ""
    assert len(said) == 1, told
    assert SAID[command] in said[0]
    left = {path.name for path in folder.iterdir()} - before
    assert not left & {"patches.gpkg", "changed"}


@pytest.mark.parametrize("seconds", [0, 0.05, 0.5])
def test_ctrl_c_as_polygons_begin_ends_as_well(folder, seconds):
    # They are begun on a thread, which at that moment nobody has who could close it.
    arguments = [*COMMANDS["vectorize"], "--log-json", str(seconds)]
    with begun(arguments, folder, start=("-c", AT_ONCE)) as process:
        out, told = process.communicate(timeout=60)
    said = [line for line in told.splitlines() if not line.startswith("{")]
    assert (process.returncode, out, len(said)) == (130, "", 1), told
    assert SAID["vectorize"] in said[0]
    assert not list(folder.glob("*patches*"))


def test_ctrl_c_with_worker_processes_says_what_is_so(folder):
    arguments = [*COMMANDS["vectorize"], "--workers", "1", "--log-json"]
    with begun(arguments, folder) as process:
        for line in process.stderr:
            if '"event": "advance"' in line:
                break
        os.killpg(process.pid, signal.SIGINT)
        out, told = process.communicate(timeout=60)
    said = [line for line in told.splitlines() if not line.startswith("{")]
    assert (process.returncode, out, len(said)) == (130, "", 1), told
    assert "trace: stopped by SIGINT with" in said[0]
    assert "the same command begins again" in said[0]
    assert not list(folder.glob("*patches*"))
