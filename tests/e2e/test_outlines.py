"""Minimum units and shaped outlines through the real command line, in files that others read."""

import json
import sqlite3

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from class_rasters import NAMES, codes, name
from in_qgis import open_in_qgis
from packages import write_package
from rasters import write
from scipy import ndimage
from test_run import geoseg, workflow

from geoseg.cli import run
from geoseg.grid import GeoBox
from geoseg.legend import LEGENDS
from geoseg.steps.mmu import MinimumUnit, reassign_array
from geoseg.steps.vectorize import vectorize_array

pytestmark = pytest.mark.cluster

SHAPED = ("--min-area", "5 px", "--fill-holes", "Trees=9 px", "--simplify", "12 m", "--smooth")
VECTOR = {
    "min_area": {"Water": "300 m2", "others": "0.1 ha"},
    "fill_holes": {"Trees": "0.2 ha"},
    "simplify": "15 m",
    "smooth": "corners",
    "layers": {"land_use": [], "water": ["Water"]},
    "formats": ["gpkg", "geoparquet", "flatgeobuf", "pmtiles"],
}


@pytest.fixture(scope="module")
def raster(tmp_path_factory):
    """Larger than a block of the command, so that outlines cross seams."""
    path = tmp_path_factory.mktemp("raster") / "in.tif"
    write(path, codes((150, 2100), seed=4), nodata=0)
    name(path, NAMES)
    return path


def table(path, layer="land_use"):
    return pyogrio.read_dataframe(path, layer=layer)


def provenance(path):
    """What a GeoPackage says of how it was made."""
    with sqlite3.connect(path) as db:
        (text,) = db.execute("SELECT metadata FROM gpkg_metadata").fetchone()
    return json.loads(text)


@pytest.fixture(scope="module")
def shaped(raster):
    out = raster.parent / "out.gpkg"
    assert run(["vectorize", str(raster), str(out), "-q", *SHAPED, "corners"]) == 0
    return out


def test_threads_and_worker_processes_write_the_same_bytes(raster, shaped):
    other = raster.parent / "processes" / "out.gpkg"
    asked = ["vectorize", raster, other, "-q", *SHAPED, "corners", "--workers", "2"]
    geoseg(*asked, check=0)
    assert other.read_bytes() == shaped.read_bytes()


def test_neighbours_share_every_edge(shaped):
    frame = table(shaped)
    assert shapely.is_valid(frame.geometry.values).all()
    assert shapely.coverage_is_valid(frame.geometry.values)


def test_nothing_small_is_left_and_areas_add_up(raster, shaped):
    with rasterio.open(raster) as source:
        before, transform = source.read(1), source.transform
    unit = MinimumUnit(5.0, unit="px", fill_holes={2: 9.0})
    grid = GeoBox(before.shape, transform, "EPSG:32629")
    after, _ = reassign_array(before, grid, unit, nodata=0)
    frame, told = table(shaped), provenance(shaped)["polygons"]
    assert len(frame) == len(vectorize_array(after, grid, nodata=0).read_all())
    assert frame.pixels.sum() == (after > 0).sum()
    for row in told["balance"]["classes"]:
        assert row["before"]["pixels"] == (before == row["code"]).sum()
        assert row["after"]["pixels"] == (after == row["code"]).sum()
    alone = [region for region in range_of_small(after) if len(neighbours(after, region))]
    assert alone == []


def range_of_small(array):
    """Masks of regions below 5 px."""
    for code in np.unique(array[array > 0]):
        labels, count = ndimage.label(array == code)
        sizes = ndimage.sum_labels(array == code, labels, range(1, count + 1))
        yield from (labels == k for k, size in enumerate(sizes, 1) if size < 5)


def neighbours(array, region):
    around = ndimage.binary_dilation(region) & ~region
    return np.setdiff1d(array[around], 0)


def test_what_outlines_lost_or_won_is_told(shaped):
    frame = table(shaped)
    for row in provenance(shaped)["polygons"]["areas"]:
        mine = frame[frame.class_code == row["code"]]
        assert row["pixels_ha"] == pytest.approx(mine.area_ha.sum(), abs=1e-3)
        written = shapely.area(mine.geometry.values).sum() / 1e4
        assert row["written_ha"] == pytest.approx(written, rel=2e-3)  # plane against ellipsoid


def test_confidence_and_probabilities_belong_to_polygons(raster, tmp_path, capsys):
    with rasterio.open(raster) as source:
        classes, profile = source.read(1), source.profile
    percent = np.random.default_rng(0).integers(0, 101, classes.shape, np.uint8)
    percent[:, :50] = 255
    with rasterio.open(tmp_path / "c.tif", "w", **profile | {"nodata": 255}) as file:
        file.write(percent, 1)
    with rasterio.open(tmp_path / "p.tif", "w", **profile | {"nodata": 255, "count": 4}) as file:
        for band, (code, text) in enumerate(
            [(1, "Water"), (2, "Trees"), (3, "Shade"), (5, "Built")]
        ):
            file.write(np.where(classes == code, 60, 7 * band).astype(np.uint8), band + 1)
            file.set_band_description(band + 1, text)
    asked = ["vectorize", str(raster), str(tmp_path / "o.gpkg"), "-q", "--min-area", "4 px"]
    asked += ["--confidence", str(tmp_path / "c.tif"), "--merge-by", "probability"]
    assert run([*asked, "--probabilities", str(tmp_path / "p.tif"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["balance"]["reassigned_regions"] > 50
    # Of what is not there the last band is always likeliest.
    taken = {row["to"] for row in told["balance"]["moved"]}
    assert "Built" in taken
    frame = table(tmp_path / "o.gpkg")
    row = frame.loc[frame.pixels.idxmax()]
    inside = rasterio.features.geometry_mask(
        [row.geometry], classes.shape, profile["transform"], invert=True
    )
    seen = percent[inside & (percent != 255)]
    assert row.confidence_mean == pytest.approx(seen.mean())
    assert row.confidence_min == seen.min()
    assert row.valid_share == pytest.approx(100 * len(seen) / row.pixels)
    assert run(asked) == 2
    assert "merge_by: probability needs a raster" in capsys.readouterr().err


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, model):
    folder = tmp_path_factory.mktemp("run")
    geoseg("run", outlined(folder, model), check=0)
    return folder / "out"


def outlined(folder, model, **vector):
    output = {"directory": str(folder / "out"), "vector": VECTOR | vector, "keep_work": True}
    return workflow(folder, model, input={"size": [260, 330]}, output=output)


def test_a_run_writes_layers_and_all_formats(finished):
    everything, water = (
        table(finished / "polygons.gpkg"),
        table(finished / "polygons.gpkg", "water"),
    )
    assert set(water.class_name) == {"Water"}
    assert len(water) == (everything.class_name == "Water").sum() > 0
    assert shapely.coverage_is_valid(everything.geometry.values)
    flat = pyogrio.read_dataframe(finished / "polygons.fgb")
    assert set(flat.polygon_id) == set(everything.polygon_id)
    item = json.loads((finished / "item.json").read_text())
    assert {"flatgeobuf", "pmtiles", "geopackage", "geoparquet"} <= item["assets"].keys()
    assert (finished / "polygons.pmtiles").read_bytes()[:7] == b"PMTiles"


def test_a_run_says_what_went_where(finished):
    record = json.loads((finished / "run.json").read_text())
    with rasterio.open(finished / "classes.tif") as source:
        counts = np.bincount(source.read(1).ravel(), minlength=256)
    balance = record["polygons"]["balance"]
    for row in balance["classes"]:
        assert row["before"]["pixels"] == counts[row["code"]]
    frame = table(finished / "polygons.gpkg")
    after = {row["code"]: row["after"]["pixels"] for row in balance["classes"]}
    assert frame.groupby("class_code").pixels.sum().to_dict() == {
        code: pixels for code, pixels in after.items() if pixels
    }
    small = np.where(frame.class_name == "Water", 300, 1000)
    assert ((frame.area_m2 < small).sum()) == balance["isolated_regions"]
    assert {row["name"] for row in record["polygons"]["areas"]} == set(frame.class_name)


def test_other_outlines_need_no_other_map(finished, model, tmp_path):
    """The second run predicts nothing, and its polygons are those of a run of its own."""
    geoseg("run", outlined(finished.parent, model, simplify="200 m2", min_area="0.2 ha"), check=0)
    record = json.loads((finished / "run.json").read_text())
    assert "infer" not in record["seconds"]["segment"] or not record["seconds"]["segment"]["infer"]
    geoseg("run", outlined(tmp_path, model, simplify="200 m2", min_area="0.2 ha"), check=0)
    mine, other = table(tmp_path / "out/polygons.gpkg"), table(finished / "polygons.gpkg")
    assert mine.equals(other)
    told = provenance(finished / "polygons.gpkg")["polygons"]
    assert told["settings"]["simplify"] == "200 m2"
    assert told["balance"] == record["polygons"]["balance"]


@pytest.mark.qgis
def test_qgis_opens_shaped_layers_in_their_styles(finished, tmp_path):
    both = finished / "polygons.gpkg", finished / "polygons.fgb"
    land_use, themed, flat = open_in_qgis(tmp_path, *both, size=(400, 300))["layers"]
    assert (land_use["valid"], land_use["invalid"]) == (True, 0)
    assert (themed["valid"], themed["renderer"], themed["invalid"]) == (
        True,
        "categorizedSymbol",
        0,
    )
    assert [name for _, name, _ in themed["classes"]] == ["Water"]
    assert themed["aliases"]["confidence_min"] == "Lowest confidence (%)"
    assert (flat["valid"], flat["renderer"], flat["invalid"]) == (True, "categorizedSymbol", 0)
    assert flat["features"] == land_use["features"] == len(table(both[0]))
    names = [name for _, name, _ in flat["classes"]]
    assert names == [c.name for c in LEGENDS["landcover"].classes]
