"""Runs around blocks that cannot be done: what lacks is nodata, listed, and tried again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from packages import BANDS, write_package
from range_server import Faults, serving
from rasters import write

from geoseg import api
from geoseg.api.pipeline import run_plan
from geoseg.run.reporter import Silent

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


def write_scene(path, *, dtype="uint16", huge=None):
    random = np.random.default_rng(4)
    coarse = random.integers(200, 4000, (len(BANDS), SIZE[0] // 8, SIZE[1] // 8))
    values = coarse.repeat(8, axis=1).repeat(8, axis=2).astype(dtype)
    if huge is not None:
        values[0, *huge] = 3e38
    return write(
        path, values, nodata=0, tiled=True, blockxsize=BLOCK, blockysize=BLOCK, compress="deflate"
    )  # fmt: skip


def spoil(path, row, col):
    """Overwrite one tile of the first band with what cannot be decoded."""
    with rasterio.open(path) as file:
        at = int(file.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=1))
        size = int(file.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", bidx=1))
    with Path(path).open("r+b") as file:
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
            "project": False,
            "quicklook": False,
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


class Said(Silent):
    """Keeps what it is told."""

    def __init__(self):
        self.lines, self.stages = [], {}

    def message(self, text):
        self.lines.append(text)

    def warning(self, text):
        self.lines.append(text)

    def stage(self, name, *, blocks, pixels, done_blocks=0, done_pixels=0, unit=""):
        self.stages[name] = blocks, done_blocks


LIGHT = {"vector": False, "quicklook": False, "project": False}
"""Without what takes long to load."""


def test_a_damaged_tile_is_a_hole_until_its_server_has_it_whole(tmp_path, model):
    served = tmp_path / "served"
    scene = write_scene(served / "a.tif")
    whole = Path(scene).read_bytes()
    with serving(served) as server:
        source = {"path": f"{server.url}/a.tif"}
        api.run(workflow(tmp_path, model, input=source))
        undisturbed = (tmp_path / "out/a").rename(tmp_path / "undisturbed")
        (tmp_path / "out/.geoseg/ledger.sqlite").unlink()

        spoil(scene, 1, 1)
        done = geoseg("run", workflow(tmp_path, model, input=source), check=4)
        out, hole = tmp_path / "out/a", [96, 96, 192, 192]
        check_hole(out, hole)
        record = json.loads((out / "run.json").read_text())
        (failed,) = record["failed_blocks"]
        assert (failed["rows"], failed["columns"]) == ([96, 192], [96, 192])
        assert "a.tif was not delivered at rows 96-192, columns 96-192" in failed["error"]
        item = json.loads((out / "item.json").read_text())
        assert item["properties"]["geoseg:failed_blocks"] == [hole]
        said = "scene a: 1 of 6 blocks failed and are nodata; the same command tries them again"
        assert said in done.stderr
        assert said in record["warnings"]
        assert "a (1 blocks failed and are nodata" in done.stdout
        assert record["blocks"] == 5

        Path(scene).write_bytes(whole)
        told = Said()
        result = api.run(workflow(tmp_path, model, input=source), reporter=told)
    assert result.exit_code == 0
    assert "scene a runs again: 1 blocks failed before" in told.lines
    assert told.stages["segment"] == (6, 5)
    for name in ("classes.tif", "confidence.tif", "entropy.tif", "polygons.gpkg", "item.json"):
        assert (out / name).read_bytes() == (undisturbed / name).read_bytes(), name
    assert not (out / ".geoseg/work.zarr").exists()


def test_what_a_step_cannot_see_is_a_hole_too(tmp_path, model):
    """A guided step looks at the scene around each block: the neighbours of damage fail, too."""
    spoil(write_scene(tmp_path / "in/a.tif"), 0, 2)
    path = workflow(tmp_path, model, output=LIGHT, postprocess=[{"step": "smooth", "radius": 4}])
    result = api.run(path)
    (scene,) = result.scenes
    assert result.exit_code == 4
    holes = [(f["rows"][0], f["columns"][0]) for f in scene.record["failed_blocks"]]
    # Right of it there is nothing, the others touch it with their halo.
    assert holes == [(0, 96), (0, 192), (96, 96), (96, 192)]
    for name in ("classes.tif", "confidence.tif", "entropy.tif"):
        values, nodata, _ = read(scene.products["classes"].with_name(name))
        assert (values[:, 96:] == nodata).all()
        assert (values[:, :96] != nodata).all()
    assert scene.record["classes"]
    assert sum(row["pixels"] for row in scene.record["classes"]) == SIZE[0] * 96


def test_numbers_that_break_the_model_are_named_by_block(tmp_path, model):
    path = write_scene(tmp_path / "in/a.tif", dtype="float32", huge=(100, 200))
    assert path
    done = api.run(workflow(tmp_path, model, output=LIGHT, input={"scale": 1, "offset": 0}))
    (failed,) = done.scenes[0].record["failed_blocks"]
    assert (failed["rows"], failed["columns"]) == ([96, 192], [192, 288])
    assert "the network gave NaN" in failed["error"]
    assert "e+38" in failed["error"]


def test_a_file_that_vanished_fails_its_scene_and_no_other(tmp_path, model):
    for name in ("a", "b"):
        write_scene(tmp_path / f"in/{name}.tif")
    path = workflow(tmp_path, model, output=LIGHT)
    plan = api.plan(path)
    (tmp_path / "in/a.tif").unlink()
    result = run_plan(plan, Silent())
    assert result.exit_code == 4
    gone, kept = result.scenes
    assert "a.tif" in gone.error
    assert kept.error is None
    assert kept.failed_blocks == 0
    assert not (gone.directory / "classes.tif").exists()


HANGS = """
import sys
from geoseg import api
from geoseg.api.pipeline import run_plan
from geoseg.errors import GeosegError
from geoseg.run.reporter import Silent

plan = api.plan(sys.argv[1])
print("planned", flush=True)
sys.stdin.readline()
try:
    run_plan(plan, Silent())
except GeosegError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


def test_a_read_that_hangs_fails_its_block_and_the_process_ends(tmp_path, model):
    write_scene(tmp_path / "served/a.tif")
    rules = {"on_error": "stop", "block_timeout": "2 s"}
    with serving(tmp_path / "served") as server:
        source = {"path": f"{server.url}/a.tif"}
        path = workflow(tmp_path, model, output=LIGHT, run=rules, input=source)
        process = subprocess.Popen(
            [sys.executable, "-c", HANGS, path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout.readline() == "planned\n"
        server.reset(Faults(latency=3600))
        _, told = process.communicate("go\n", timeout=120)
    assert process.returncode == 1, told
    assert "segment: block rows" in told
    assert "not done within 2 s (run.block_timeout)" in told
    assert "Traceback" not in told
