"""Whole runs by the command line, on a real local cluster."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.features
import shapely
from packages import BANDS, write_package
from rasters import DEGREES, ROTATED, SOUTH_UP, write
from small_runs import files_workflow, geoseg, workflow
from test_cluster_processes import site  # noqa: F401 (a fixture)

from geoseg.grid import full_window
from geoseg.io.files import FilesSource
from geoseg.io.reader import ScenePixels
from geoseg.models.base import Batch
from geoseg.models.registry import find, open_segmenter

pytestmark = pytest.mark.cluster

BYTES = (
    "classes.tif", "classes.tif.aux.xml", "classes.qml", "confidence.tif", "polygons.gpkg",
    "polygons.parquet", "project.qgz", "quicklook.png", "item.json",
)  # fmt: skip
"""Products that are the same bytes in every run of the same work; run.json tells times."""

TOLD = ("run.json", "report.html", "item.json")
"""What tells of the others."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, model):
    """The folder of an undisturbed run."""
    folder = tmp_path_factory.mktemp("finished")
    done = geoseg("run", workflow(folder, model), check=0)
    assert "polygons.gpkg" in done.stdout
    return folder / "out"


def read_polygons(path):
    return pyogrio.read_dataframe(path, layer="land_use")


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in BYTES}


def untiled(scene, model):
    """The model on the whole scene as one chip."""
    pixels, package = ScenePixels(scene), find(model)
    patch = pixels.read(package.card.bands, full_window(scene.grid))
    h, w = scene.grid.shape
    pad = (0, -h % 8), (0, -w % 8)
    batch = Batch(
        np.pad(patch.values, ((0, 0), *pad))[None], patch.scale, patch.offset,
        np.pad(patch.valid, pad)[None],
    )  # fmt: skip
    segmenter = open_segmenter(package, device="cpu")
    scores = segmenter.scores(batch)[0, :, :h, :w]
    return scores, patch.valid


def test_the_map_is_the_untiled_models(finished, model):
    from geoseg.io.sample import SampleSource, SampleSpec

    source = SampleSource(SampleSpec(size=(420, 530), seed=3), finished / "sample")
    scores, valid = untiled(source.scenes(BANDS)[0], model)
    with rasterio.open(finished / "classes.tif") as classes:
        found = classes.read(1)
    np.testing.assert_array_equal(found != 255, valid)
    wanted = scores.argmax(axis=0) + 1
    # Sums in another order may differ in the last bit: where two classes are that close, either.
    best = np.sort(scores, axis=0)
    sure = valid & (best[-1] - best[-2] > 1e-4)
    assert sure.sum() > 0.99 * valid.sum()
    np.testing.assert_array_equal(found[sure], wanted[sure])


def test_polygons_are_those_of_the_raster(finished):
    with rasterio.open(finished / "classes.tif") as source:
        shapes = rasterio.features.shapes(
            source.read(1), source.read_masks(1) > 0, 4, source.transform
        )
        wanted = {(int(v), shapely.normalize(shapely.geometry.shape(g)).wkb) for g, v in shapes}
    frame = read_polygons(finished / "polygons.gpkg")
    found = set(
        zip(frame.class_code, shapely.to_wkb(frame.geometry.normalize().values), strict=True)
    )
    assert found == wanted
    assert frame.area_m2.sum() == pytest.approx(frame.geometry.area.sum(), rel=2e-3)
    record = json.loads((finished / "run.json").read_text())
    assert record["polygons"]["count"] == len(frame)
    total = sum(row["area_ha"] for row in record["classes"])
    assert total == pytest.approx(frame.area_ha.sum(), rel=1e-6)


def test_a_second_run_has_nothing_to_do(finished, tmp_path, model):
    before = contents(finished)
    path = workflow(tmp_path, model, output={"directory": str(finished)})
    left = [finished / ".geoseg" / name for name in ("segment.jsonl", "arcs-1/a")]
    left[1].parent.mkdir()
    for file in left:  # as a run leaves them that is killed after its last product
        file.touch()
    done = geoseg("run", path, "--exit-code", check=3)
    assert not [file for file in left if file.exists()]
    assert "up to date" in done.stdout
    assert contents(finished) == before
    state = json.loads(geoseg("status", finished, "--json", check=0).stdout)
    assert [s["state"] for s in state["outputs"]] == ["done"]


@pytest.mark.parametrize(
    "changes", [{"tiling": {"block": 96}}, {"cluster": {"workers": 1, "threads": 1}}]
)
def test_blocks_and_workers_change_no_byte(finished, tmp_path, model, changes):
    geoseg("run", workflow(tmp_path, model, **changes), check=0)
    ours, wanted = contents(tmp_path / "out"), contents(finished)
    # Where the sample lies is part of what is told of the inputs; pixels and polygons are not.
    for name in ("classes.qml", "classes.tif.aux.xml", "quicklook.png"):
        assert ours[name] == wanted[name], name
    for name in ("classes.tif", "confidence.tif"):
        with rasterio.open(finished / name) as a, rasterio.open(tmp_path / "out" / name) as b:
            np.testing.assert_array_equal(a.read(), b.read())
    a, b = (read_polygons(f / "polygons.gpkg") for f in (finished, tmp_path / "out"))
    assert a.equals(b)


def test_killed_and_started_again_it_ends_with_the_same_bytes(tmp_path, model):
    path = workflow(tmp_path, model, tiling={"block": 96})
    out = tmp_path / "out"
    geoseg("run", path, check=0)
    wanted = contents(out)
    for name in (*BYTES, "run.json"):
        (out / name).unlink()
    killed = subprocess.Popen(
        [sys.executable, "-m", "geoseg", "run", str(path)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    ledger = out / ".geoseg" / "segment.jsonl"
    deadline = time.monotonic() + 120
    while not (ledger.exists() and len(ledger.read_bytes().splitlines()) > 3):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (out / "item.json").exists()
    assert (
        json.loads(geoseg("status", out, "--json", check=0).stdout)["outputs"][0]["state"] == "lost"
    )
    geoseg("run", path, check=0)
    assert contents(out) == wanted
    record = json.loads((out / "run.json").read_text())
    assert record["seconds"]["segment"]["resumed_blocks"] >= 3


def test_a_changed_setting_starts_anew_and_says_why(tmp_path, model):
    path = workflow(tmp_path, model)
    geoseg("run", path, "--set", "output.keep_work=true", check=0)
    done = geoseg("run", path, "--set", "tiling.seams=blend", check=0)
    assert "settings changed" in done.stderr
    assert json.loads((tmp_path / "out/run.json").read_text())["tiling"]["seams"] == "blend"


@pytest.mark.parametrize(
    ("name", "transform", "crs"),
    [
        ("rotated", ROTATED, "EPSG:32629"),
        ("south-up", SOUTH_UP, "EPSG:32629"),
        ("geographic", DEGREES, "EPSG:4326"),
    ],
)
def test_grids_of_any_kind_come_out_where_they_went_in(tmp_path, model, name, transform, crs):
    random = np.random.default_rng(0)
    values = random.integers(200, 4000, (6, 130, 170)).astype(np.uint16)
    values[:, :20, :30] = 0
    scene = write(tmp_path / f"{name}.tif", values, transform=transform, crs=crs, nodata=0)
    out = tmp_path / "out"
    geoseg(
        "predict", scene, out, "--model", model, "--bands", ",".join(BANDS),
        "--units", "reflectance", "--scale", 1e-4, "--set", "cluster.workers=1", check=0,
    )  # fmt: skip
    for product in ("classes.tif", "confidence.tif"):
        with rasterio.open(out / product) as made:
            assert tuple(made.transform) == tuple(transform)
            assert made.crs == rasterio.crs.CRS.from_string(crs)
            assert (made.read(1)[:20, :30] == 255).all()
    frame = read_polygons(out / "polygons.gpkg")
    assert frame.geometry.is_valid.all()
    whole = rasterio.features.shapes(np.ones((130, 170), np.uint8), transform=transform)
    outline = shapely.geometry.shape(next(whole)[0])
    hole = shapely.Polygon([transform @ p for p in ((0, 0), (30, 0), (30, 20), (0, 20))])
    covered = shapely.union_all(frame.geometry.values)
    assert covered.symmetric_difference(outline - hole).area < 1e-9 * outline.area


def test_one_pixel(tmp_path, model):
    scene = write(tmp_path / "one.tif", np.full((6, 1, 1), 1500, np.uint16))
    geoseg(
        "predict", scene, tmp_path / "out", "--model", model, "--bands", ",".join(BANDS),
        "--units", "reflectance", "--scale", 1e-4, check=0,
    )  # fmt: skip
    source = FilesSource((scene,), BANDS, scale=1e-4, units="reflectance").scenes(BANDS)[0]
    scores, _ = untiled(source, model)
    with rasterio.open(tmp_path / "out/classes.tif") as made:
        assert made.read(1).tolist() == [[scores[:, 0, 0].argmax() + 1]]


@pytest.fixture
def scenes(tmp_path):
    """Two scenes, the second of which has a tile that cannot be decoded."""
    rows, cols = np.indices((260, 260))
    values = np.stack([(rows * (b + 2) + cols * 3) % 4000 + 200 for b in range(6)]).astype("u2")
    options = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    for name in ("a", "b"):
        write(
            tmp_path / "in" / f"{name}.tif",
            values,
            scales=(1e-4,) * 6,
            offsets=(0.0,) * 6,
            **options,
        )
    broken = tmp_path / "in" / "b.tif"
    data = bytearray(broken.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4000] = b"\xff" * 4000
    broken.write_bytes(data)
    return {
        "kind": "files", "path": str(tmp_path / "in" / "*.tif"), "bands": list(BANDS),
        "units": "reflectance",
    }  # fmt: skip


def test_a_failed_scene_is_skipped_where_asked(tmp_path, model, scenes):
    output = {"directory": str(tmp_path / "out" / "{scene}")}
    path = files_workflow(tmp_path, model, scenes, output=output)
    done = geoseg("run", path, "--set", "run.on_error=skip_scene", check=4)
    assert "b.tif" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "out/a/item.json").exists()
    assert not (tmp_path / "out/b/classes.tif").exists()
    done = geoseg("run", path, check=1)
    assert "b.tif" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_scenes_do_not_write_over_each_other(tmp_path, model, scenes):
    done = geoseg("run", files_workflow(tmp_path, model, scenes), check=2)
    assert "add {scene}" in done.stderr
    assert not (tmp_path / "out").exists()


def test_only_blocks_inside_the_area_are_done(tmp_path, model):
    # The upper left quarter of the sample, in its own coordinates.
    box = {"bbox": [560_000, 5_897_900, 562_650, 5_900_000], "crs": "EPSG:32629"}
    path = workflow(tmp_path, model, area=box, tiling={"block": 96})
    planned = json.loads(geoseg("plan", path, "--json", check=0).stdout)["scenes"][0]
    assert planned["skipped_blocks"] > planned["blocks"]
    geoseg("run", path, check=0)
    with rasterio.open(tmp_path / "out/classes.tif") as made:
        classes = made.read(1)
    assert (classes[:210, :265] != 255).any()
    assert (classes[210:] == 255).all()
    assert (classes[:, 265:] == 255).all()
    bounds = read_polygons(tmp_path / "out/polygons.gpkg").total_bounds
    assert bounds[2] <= 562_650
    assert bounds[1] >= 5_897_900


def test_without_polygons_and_pictures(tmp_path, model):
    output = {
        "vector": False,
        "quicklook": False,
        "project": False,
        "raster": {"confidence": False},
    }
    geoseg("run", workflow(tmp_path, model, output=output), check=0)
    made = {p.name for p in (tmp_path / "out").iterdir() if p.is_file()}
    assert made == {"classes.tif", "classes.tif.aux.xml", "classes.qml", *TOLD}


def test_two_runs_on_one_output(tmp_path, model):
    path = workflow(tmp_path, model, tiling={"block": 96})
    first = subprocess.Popen(
        [sys.executable, "-m", "geoseg", "run", str(path)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while not (tmp_path / "out/.geoseg/.geoseg.lock").exists():
            assert first.poll() is None
            time.sleep(0.02)
        done = geoseg("run", path, check=75)
        assert "holds this output" in done.stderr
    finally:
        first.wait(timeout=200)
    assert first.returncode == 0


def test_progress_as_json_lines(tmp_path, model):
    done = geoseg("run", workflow(tmp_path, model), "--log-json", check=0)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert {"segment", "trace"} <= {e.get("stage") or e.get("name") for e in events}


def test_the_quickstart_as_shipped(tmp_path):
    root = Path(__file__).parents[2]
    shutil.copy(root / "workflows/quickstart.yaml", tmp_path)
    out = tmp_path / "quick"
    done = geoseg(
        "run", tmp_path / "quickstart.yaml", "--set", f"output.directory={out}", "--set",
        "input.size=512", check=0,
    )  # fmt: skip
    assert str(out / "quicklook.png") in done.stdout
    with rasterio.open(out / "classes.tif") as a, rasterio.open(out / "sample/truth.tif") as b:
        classes, truth = a.read(1), b.read(1)
    valid = classes != 255
    assert (classes[valid] == truth[valid]).mean() > 0.8


def test_a_cluster_that_others_started_gives_the_same_map(
    finished,
    tmp_path,
    model,
    site,  # noqa: F811 (the fixture)
):
    site.worker("--name", "w1")
    site.worker("--name", "w2")
    path = workflow(tmp_path, model)
    data = json.loads(path.read_text())
    data["cluster"] = site.address
    path.write_text(json.dumps(data))
    geoseg("run", path, check=0)
    for name in ("classes.tif", "confidence.tif"):
        with rasterio.open(finished / name) as a, rasterio.open(tmp_path / "out" / name) as b:
            np.testing.assert_array_equal(a.read(), b.read())


def test_a_static_stac_catalog(tmp_path, model):
    geoseg("sample", tmp_path / "sample", "--size", "200x230", check=0)
    source = {
        "kind": "stac",
        "catalog": str(tmp_path / "sample" / "catalog.json"),
        "mask": {"method": "scl", "dilate": "20 m"},
    }
    output = {"directory": str(tmp_path / "out" / "{date:%Y}")}
    geoseg("run", files_workflow(tmp_path, model, source, output=output), check=0)
    with (
        rasterio.open(tmp_path / "out/2024/classes.tif") as made,
        rasterio.open(tmp_path / "sample/scene.tif") as scene,
    ):
        assert made.transform == scene.transform
        assert made.shape == (200, 230)
        assert ((made.read(1) == 255) >= (scene.read(1) == 0)).all()
        assert (made.read(1) != 255).any()
