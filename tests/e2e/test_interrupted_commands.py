"""Ctrl-C in the middle of commands that take long: exit code 130, and one line that says what is kept."""

import json
import os
import signal
import subprocess
import sys

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


@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_ends_with_one_line_that_says_what_is_kept(folder, command):
    before = {path.name for path in folder.iterdir()}
    process = subprocess.Popen(
        [sys.executable, "-m", "geoseg", *COMMANDS[command], "--log-json"],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    begun = {"train": '"event": "advance"', "run": '"event": "advance"'}
    for line in process.stderr:  # until work is under way
        if begun.get(command, '"event": "stage"') in line and "sample" not in line:
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
