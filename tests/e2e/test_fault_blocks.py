"""Runs around blocks that cannot be done: what lacks is nodata, listed, and tried again."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pyogrio
import pytest
import rasterio
import shapely
from packages import BANDS, write_package
from rasters import write

from geoseg.grid import Window
from geoseg.run.ledger import Ledger

pytestmark = pytest.mark.cluster

BLOCK = 96
SIZE = 192, 288
"""Six blocks of the scene, which lie as its tiles do."""


def geoseg(*args, env=None, check=None):
    done = subprocess.run(
        [sys.executable, "-m", "geoseg", *map(str, args)],
        capture_output=True, text=True, env=os.environ | (env or {}), check=False, timeout=120,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    if check is not None:
        assert done.returncode == check, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    # Sees nothing but a pixel's neighbours, so that a block needs no other block's tiles.
    return write_package(tmp_path_factory.mktemp("models"), margin=0)


def write_scene(path, *, seed=4):
    random = np.random.default_rng(seed)
    coarse = random.integers(200, 4000, (len(BANDS), SIZE[0] // 8, SIZE[1] // 8))
    values = coarse.repeat(8, axis=1).repeat(8, axis=2).astype(np.uint16)
    return write(
        path, values, nodata=0, tiled=True, blockxsize=BLOCK, blockysize=BLOCK, compress="deflate"
    )  # fmt: skip


def spoil(path, row, col):
    """Overwrite one tile of the first band with what cannot be decoded."""
    with rasterio.open(path) as file:
        at = int(file.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=1))
        size = int(file.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", bidx=1))
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(b"\xff" * size)


def workflow(folder, model, **changes):
    data = {
        "geoseg": 1,
        "name": "faulty",
        "input": {
            "kind": "files", "path": str(folder / "in" / "*.tif"), "bands": list(BANDS),
            "scale": 1e-4, "units": "reflectance",
        },
        "model": {"path": str(model)},
        "tiling": {"size": BLOCK, "margin": 0, "block": BLOCK},
        "output": {
            "directory": str(folder / "out" / "{scene}"),
            "raster": {"confidence": True, "entropy": True},
        },
        "cluster": {"workers": 1, "dashboard": False},
        "run": {"on_error": "skip_block", "retries": 0},
    }  # fmt: skip
    for key, value in changes.items():
        data[key] = data[key] | value if isinstance(data.get(key), dict) else value
    path = folder / "workflow.yaml"
    path.write_text(json.dumps(data))
    return path


def read(path, band=1):
    with rasterio.open(path) as file:
        return file.read(band), file.nodata, file.tags()


def check_hole(out, hole):
    """A block is nodata in every product, and the others are not."""
    window = np.s_[hole[0] : hole[2], hole[1] : hole[3]]
    for name in ("classes.tif", "confidence.tif", "entropy.tif"):
        values, nodata, tags = read(out / name)
        where = values == nodata
        assert where[window].all(), name
        assert where.sum() == where[window].size, name
        assert json.loads(tags["GEOSEG_FAILED_BLOCKS"]) == [hole]
    land = pyogrio.read_dataframe(out / "polygons.gpkg", layer="land_use").geometry
    with rasterio.open(out / "classes.tif") as file:
        y0, x0, y1, x1 = hole
        (left, top), (right, bottom) = file.xy(y0, x0, offset="ul"), file.xy(y1, x1, offset="ul")
    inside = shapely.box(left, bottom, right, top).buffer(-1)
    assert not land.intersects(inside).any()
    assert land.area.sum() == pytest.approx((where.size - where.sum()) * 100)


def test_a_damaged_tile_is_a_hole_that_is_listed_and_tried_again(tmp_path, model):
    scene = write_scene(tmp_path / "in/a.tif")
    spoil(scene, 1, 1)
    path, out = workflow(tmp_path, model), tmp_path / "out/a"
    done = geoseg("run", path, check=4)
    hole = [96, 96, 192, 192]
    check_hole(out, hole)
    record = json.loads((out / "run.json").read_text())
    (failed,) = record["failed_blocks"]
    assert (failed["rows"], failed["columns"]) == ([96, 192], [96, 192])
    assert "a.tif cannot be read at rows 96-192, columns 96-192" in failed["error"]
    item = json.loads((out / "item.json").read_text())
    assert item["properties"]["geoseg:failed_blocks"] == [hole]
    said = "scene a: 1 of 6 blocks failed and are nodata; the same command tries them again"
    assert said in done.stderr
    assert said in record["warnings"]
    assert "a (1 blocks failed and are nodata" in done.stdout
    assert record["blocks"] == 5

    again = geoseg("run", path, "--progress", "jsonl", check=4)
    assert "scene a runs again: 1 blocks failed before" in again.stderr
    stage = next(e for e in map(json.loads, again.stderr.splitlines()) if e.get("name") == "segment")
    assert (stage["blocks"], stage["done_blocks"]) == (6, 5)
