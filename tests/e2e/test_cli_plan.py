"""``geoseg plan``: right numbers, from headers alone, and nothing is written."""

import json
from itertools import product
from math import ceil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import shapely
from packages import BANDS, write_package
from rasters import write
from test_run import workflow

from geoseg.cli import run


@pytest.fixture
def call(capsys):
    """Run a command in this process."""

    def called(*args):
        capsys.readouterr()
        code = run([str(a) for a in args])
        told = capsys.readouterr()
        return SimpleNamespace(code=code, out=told.out, err=told.err)

    return called


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("models"))


def listing(folder):
    return {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*")}


def recounted(shape, size, margin, block, wanted=None):
    """Blocks, chips and pixels of chips, counted from the lattice by hand."""
    stride = size - 2 * margin
    corners = product(range(0, shape[0], block), range(0, shape[1], block))
    every = [(y, x, min(y + block, shape[0]), min(x + block, shape[1])) for y, x in corners]
    kept = [b for b in every if wanted is None or wanted.intersects(shapely.box(*b))]
    chips = sum(ceil((b[2] - b[0]) / stride) * ceil((b[3] - b[1]) / stride) for b in kept)
    pixels = sum((b[2] - b[0]) * (b[3] - b[1]) for b in kept)
    return {
        "blocks": len(kept),
        "skipped_blocks": len(every) - len(kept),
        "chips": chips,
        "predictions_per_pixel": round(chips * size**2 / pixels, 3),
        "bytes_written": 2 * pixels,
    }


def test_plan_states_right_numbers(call, tmp_path, model, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = listing(tmp_path)
    path = workflow(tmp_path, model, tiling={"block": 192})
    told = call("plan", path, "--json")
    assert told.code == 0
    (found,) = json.loads(told.out)["scenes"]
    numbers = recounted((420, 530), 192, 48, 192)
    assert {key: found[key] for key in numbers} == numbers
    assert (found["shape"], found["block"], found["exact"]) == ([420, 530], 192, True)
    text = call("plan", path).out
    assert f"420 x 530 pixels in {numbers['blocks']} blocks of 192 px (0 skipped" in text
    assert f"{numbers['chips']} chips of 192 px, margin 48: " in text
    assert f"{numbers['predictions_per_pixel']:.2f} predictions per pixel" in text
    assert "the map equals the model run on the whole scene" in text
    assert set(listing(tmp_path)) - set(before) == {path}, "not even the sample is written"


def test_plan_skips_blocks_outside_of_the_area(call, tmp_path, model):
    # In pixels: rows 100 to 260, columns 15 to 300.
    box = {"bbox": [560_150, 5_897_400, 563_000, 5_899_000], "crs": "EPSG:32629"}
    told = call("plan", workflow(tmp_path, model, area=box, tiling={"block": 96}), "--json")
    (found,) = json.loads(told.out)["scenes"]
    numbers = recounted((420, 530), 192, 48, 96, shapely.box(100, 15, 260, 300).buffer(-1))
    assert numbers["skipped_blocks"] > 10
    assert {key: found[key] for key in numbers} == numbers


def test_plan_tells_the_grid_that_is_chosen(call, tmp_path, model):
    grid = {"crs": "EPSG:3035", "resolution": "30 m"}
    told = {}
    for name, changes in (("native", {}), ("chosen", {"grid": grid})):
        path = workflow(tmp_path, model, tiling={"block": 96}, **changes)
        answer = call("plan", path, "--json")
        assert answer.code == 0, answer.err
        (told[name],) = json.loads(answer.out)["scenes"]
    native, chosen = told["native"], told["chosen"]
    assert (native["crs"], native["pixel"], native["unit"]) == ("EPSG:32629", [10, 10], "metre")
    assert (chosen["crs"], chosen["pixel"]) == ("EPSG:3035", [30, 30])
    # 4.2 x 5.3 km, turned by 15 degrees; corners of the new grid lie beside the scene.
    assert chosen["shape"] == pytest.approx([182, 207], abs=2)
    assert chosen["skipped_blocks"] == 0
    # Nine pixels are read for each that is made.
    per_pixel = chosen["bytes_read"] / (chosen["chips"] * 192 * 192)
    assert per_pixel == pytest.approx(9 * 14, rel=0.1)
    assert "pixels of 30 x 30 metre in EPSG:3035" in call("plan", path).out
    refused = call("plan", path, "--set", "grid.crs=EPSG:999999")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "grid.crs: EPSG:999999 is not understood" in refused.err


def huge(path, side=60_000):
    """A scene of many gigabytes that has no pixels yet."""
    with rasterio.open(
        path, "w", driver="GTiff", width=side, height=side, count=6, dtype="uint16",
        crs="EPSG:32629", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 5.9e6),
        tiled=True, blockxsize=512, blockysize=512, SPARSE_OK=True, BIGTIFF="YES",
    ) as file:  # fmt: skip
        file.descriptions = BANDS
        file.scales, file.offsets = (1e-4,) * 6, (0.0,) * 6
    return path


def test_plan_of_a_huge_scene_reads_no_pixel_and_writes_nothing(call, tmp_path, model):
    scene = huge(tmp_path / "huge.tif")
    path = workflow(tmp_path, model)
    data = json.loads(path.read_text())
    source = {"kind": "files", "path": str(scene), "units": "reflectance"}
    data |= {"input": source, "tiling": {"size": 512}}
    path.write_text(json.dumps(data))
    before = listing(tmp_path)
    told = call("plan", path, "--json")
    assert told.code == 0, told.err
    assert listing(tmp_path) == before
    values = json.loads(told.out)
    (found,) = values["scenes"]
    assert found["shape"] == [60_000, 60_000]
    assert found["bytes_read"] > 12 * 60_000**2
    numbers = recounted((60_000, 60_000), 512, found["margin"], found["block"])
    assert {key: found[key] for key in numbers} == numbers
    assert found["memory_per_worker"] <= values["memory_allowed"]
    refused = call("plan", path, "--set", "cluster.memory=1 GB")
    assert refused.code == 2
    assert "GB are allowed" in refused.err
    assert len(refused.err.splitlines()) == 3


def test_plan_does_not_notice_pixels_that_cannot_be_read(call, tmp_path, model):
    values = np.random.default_rng(0).integers(0, 4000, (6, 256, 256)).astype(np.uint16)
    scene = Path(write(tmp_path / "a.tif", values, names=BANDS, compress="deflate"))
    data = bytearray(scene.read_bytes())
    data[5000:-5000] = bytes(len(data) - 10_000)
    scene.write_bytes(data)
    with pytest.raises(rasterio.errors.RasterioError), rasterio.open(scene) as file:
        file.read()
    path = workflow(tmp_path, model)
    source = {"kind": "files", "path": str(scene), "scale": 1e-4, "units": "reflectance"}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"input": source}))
    assert call("plan", path).code == 0
