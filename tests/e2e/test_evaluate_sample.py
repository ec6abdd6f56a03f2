"""A sample is drawn, filled in, and gives the true areas of a synthetic scene, by commands."""

import json
import sqlite3

import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio
from affine import Affine
from in_qgis import open_in_qgis
from judges import check_by_gdal
from rasters import UTM, write

import geoseg
from geoseg.api import strata
from geoseg.api.designing import Design
from geoseg.cli import run
from geoseg.errors import InputError
from geoseg.io.sample import SampleSpec, write_sample
from geoseg.legend import LANDCOVER
from geoseg.ops.area_estimation import estimate_areas

SHAPE = (400, 500)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The truth of a sample, and a map that takes some crops and shrub for trees."""
    folder = tmp_path_factory.mktemp("design")
    write_sample(SampleSpec(size=SHAPE, seed=9, clouds=False), folder)
    with rasterio.open(folder / "truth.tif") as file:
        truth, transform = file.read(1), file.transform
    random = np.random.default_rng(2)
    wrong = (random.random(SHAPE) < 0.12) & ((truth == 3) | (truth == 4))
    codes = np.where(wrong, 2, truth).astype(np.uint8)
    write(folder / "map.tif", codes, nodata=255, transform=transform)
    (folder / "map.tif.aux.xml").write_bytes((folder / "truth.tif.aux.xml").read_bytes())
    return folder


@pytest.fixture
def call(capsys):
    """Run a command in this process; gives its exit code and what it says."""

    def called(*args):
        capsys.readouterr()
        code = run([str(a) for a in args])
        told = capsys.readouterr()
        return code, told.out, told.err

    return called


def read(path):
    with rasterio.open(path) as file:
        return file.read(1), file.transform


def at_points(frame, path):
    codes, transform = read(path)
    columns, rows = ~transform @ (frame.geometry.x.to_numpy(), frame.geometry.y.to_numpy())
    assert np.allclose(columns % 1, 0.5)
    assert np.allclose(rows % 1, 0.5)
    return codes[rows.astype(int), columns.astype(int)]


def fill_in(path, out, truth, *, share=1.0, names=True):
    """Do the interpreter's work: the first part of the points, as the truth is."""
    frame = pyogrio.read_dataframe(path, layer="sample")
    codes = at_points(frame, truth)
    by_code = dict(zip(LANDCOVER.values, LANDCOVER.names, strict=True))
    labels = [by_code[int(c)].upper() if names else str(c) for c in codes]
    seen = int(len(frame) * share)
    frame["reference"] = [*labels[:seen], *[None] * (len(frame) - seen)]
    frame.to_file(out, layer="sample", driver="GPKG")
    return frame


def test_the_whole_way(folder, tmp_path, call):
    design = (
        "evaluate", "design", folder / "map.tif", tmp_path / "points.gpkg", "--quiet", "--json",
        "--standard-error", "0.012", "--expected", "0.9", "--expected", "Trees=0.8",
        "--minimum", "30", "--seed", "5",
    )  # fmt: skip
    code, out, err = call(*design)
    assert (code, err) == (0, "")
    planned = json.loads(out)
    assert planned["expected_standard_error"] <= 0.012
    check_by_gdal(tmp_path / "points.gpkg")
    frame = pyogrio.read_dataframe(tmp_path / "points.gpkg", layer="sample")
    assert list(frame.columns) == ["point_id", "stratum", "class_name", "reference", "geometry"]
    assert frame.crs.to_epsg() == 32629
    assert len(frame) == planned["points"] == len(frame.drop_duplicates("geometry"))
    assert (at_points(frame, folder / "map.tif") == frame["stratum"]).all()
    assert frame["reference"].isna().all()
    for row in planned["strata"]:
        mine = frame["stratum"] == row["code"]
        assert mine.sum() == row["points"] >= 30
        assert (frame["class_name"][mine] == row["name"]).all()
    # All mixed: whoever stops half-way has half of every class.
    half = (frame["stratum"][: len(frame) // 2] == 2).mean()
    assert half == pytest.approx((frame["stratum"] == 2).mean(), abs=0.06)

    fill_in(tmp_path / "points.gpkg", tmp_path / "seen.gpkg", folder / "truth.tif")
    answer = ("evaluate", "areas", tmp_path / "seen.gpkg", folder / "map.tif", "--quiet")
    code, out, err = call(*answer, "--json", "--output", tmp_path / "areas.json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found == json.loads((tmp_path / "areas.json").read_text())
    truth, codes = read(folder / "truth.tif")[0], read(folder / "map.tif")[0]
    overall = found["overall_accuracy"]
    assert abs(overall["value"] - (truth == codes).mean()) < 3 * overall["standard_error"]
    for code, row in zip(LANDCOVER.values, found["classes"], strict=True):
        true = (truth == code).sum() / 100  # hectares, but for the projection
        area = row["area_ha"]
        assert abs(area["value"] - true) < 3 * area["standard_error"] + 0.002 * true
    # Trees are mapped too large, which the sample finds out.
    trees = found["classes"][1]
    assert (
        trees["mapped_area_ha"]
        > trees["area_ha"]["value"] + 1.96 * trees["area_ha"]["standard_error"]
    )
    code, out, _ = call(*answer)
    assert code == 0
    for word in ("adjusted area, ha", "producer's accuracy", "Built area", "±"):
        assert word in out


def test_numbers_are_those_of_the_estimator(folder, tmp_path):
    geoseg.design_sample(folder / "map.tif", tmp_path / "p.gpkg", Design(points=400, minimum=20))
    frame = fill_in(tmp_path / "p.gpkg", tmp_path / "seen.gpkg", folder / "truth.tif", names=False)
    found = geoseg.estimate_areas(tmp_path / "seen.gpkg", folder / "map.tif", confidence=0.9)
    sample = np.zeros((6, 6), int)
    np.add.at(sample, (frame["stratum"] - 1, at_points(frame, folder / "truth.tif") - 1), 1)
    assert np.array_equal(found.sample, sample)
    own = estimate_areas(sample, np.bincount(read(folder / "map.tif")[0].ravel())[1:7] * 100.0)
    # The projection's scale is nearly the same all over a small scene.
    assert found.estimates.overall.value == pytest.approx(own.overall.value, rel=1e-4)
    assert found.estimates.areas.error == pytest.approx(own.areas.error, rel=2e-3)
    assert found.estimates.producers.error == pytest.approx(own.producers.error, rel=1e-3)
    margin = found.as_dict()["overall_accuracy"]["plus_minus"]
    assert margin == pytest.approx(1.644854 * float(own.overall.error), rel=1e-3)


def test_points_that_wait_are_left_out(folder, tmp_path):
    geoseg.design_sample(folder / "map.tif", tmp_path / "p.gpkg", Design(points=600, minimum=60))
    fill_in(tmp_path / "p.gpkg", tmp_path / "seen.gpkg", folder / "truth.tif", share=0.5)
    found = geoseg.estimate_areas(tmp_path / "seen.gpkg", folder / "map.tif")
    assert found.unlabelled == 300
    assert found.sample.sum() == 300


def test_the_same_points_from_any_blocks_and_the_same_bytes(folder, tmp_path, monkeypatch):
    def drawn(name, **options):
        geoseg.design_sample(folder / "map.tif", tmp_path / name, Design(points=300, **options))
        return (tmp_path / name).read_bytes()

    first = drawn("a.gpkg", seed=3)
    monkeypatch.setattr(strata, "BLOCK", 77)
    assert drawn("a.gpkg", seed=3) == first
    assert drawn("a.gpkg", seed=4) != first


def test_classes_left_out_and_strata_of_few_pixels(folder, tmp_path):
    codes, transform = read(folder / "map.tif")
    codes = np.where(codes == 6, 5, codes)
    codes[0, :1] = 6
    path = write(tmp_path / "few.tif", codes.astype(np.uint8), transform=transform, nodata=255)
    sample = geoseg.design_sample(path, tmp_path / "p.gpkg", Design(points=200, ignore=["2"]))
    assert sample.strata.codes == (1, 3, 4, 5, 6)
    assert sample.points[-1] == 1
    assert sample.points.sum() >= 200
    assert sample.strata.weights.sum() == pytest.approx(1)
    fill_in(tmp_path / "p.gpkg", tmp_path / "seen.gpkg", folder / "truth.tif", names=False)
    with pytest.raises(InputError, match=r"class '2' covers .* of the map but has 0 points"):
        geoseg.estimate_areas(tmp_path / "seen.gpkg", path)
    found = geoseg.estimate_areas(tmp_path / "seen.gpkg", path, ignore=["2"])
    assert np.isfinite(found.estimates.areas.error).all()


def test_pixels_of_degrees_weigh_by_their_ground(tmp_path):
    codes = np.ones((90, 60), np.uint8)
    path = write(
        tmp_path / "world.tif", codes, transform=Affine(1, 0, 0, 0, -1, 90), crs="EPSG:4326"
    )
    sample = geoseg.design_sample(path, tmp_path / "p.gpkg", Design(points=1500))
    # A sixth of the northern hemisphere of WGS 84.
    assert sample.strata.areas.sum() == pytest.approx(510_065_621e6 / 12, rel=1e-4)
    south = pyogrio.read_dataframe(tmp_path / "p.gpkg", layer="sample").geometry.y < 30
    assert south.mean() == pytest.approx(0.5, abs=0.05)


def test_a_geopackage_of_the_right_kind(folder, tmp_path):
    geoseg.design_sample(folder / "map.tif", tmp_path / "p.gpkg", Design(points=50, minimum=2))
    info = pyogrio.read_info(tmp_path / "p.gpkg", layer="sample")
    assert info["geometry_type"] == "Point"
    with sqlite3.connect(tmp_path / "p.gpkg") as connection:
        (style,) = connection.execute("SELECT styleQML FROM layer_styles").fetchone()
        (tags,) = connection.execute("SELECT metadata FROM gpkg_metadata").fetchone()
    connection.close()
    assert 'value="Grass and shrub"' in style
    assert json.loads(tags)["settings"]["points"] == 50
    assert json.loads(tags)["inputs"][0]["href"] == "map.tif"


@pytest.mark.qgis
def test_qgis_shows_rings(folder, tmp_path):
    geoseg.design_sample(folder / "map.tif", tmp_path / "p.gpkg", Design(points=50, minimum=2))
    told = open_in_qgis(tmp_path / "qgis", tmp_path / "p.gpkg", size=(300, 300))
    (layer,) = told["layers"]
    assert layer["valid"]


def bad_requests(folder, tmp_path):
    """Arguments, and what must be said of them."""
    tif, out = folder / "map.tif", tmp_path / "new.gpkg"
    geoseg.design_sample(tif, tmp_path / "p.gpkg", Design(points=100, minimum=5))
    frame = fill_in(tmp_path / "p.gpkg", tmp_path / "seen.gpkg", folder / "truth.tif")
    odd = frame.assign(reference=["Wter", *frame["reference"][1:]])
    odd.to_file(tmp_path / "odd.gpkg")
    far = geopandas.GeoDataFrame(
        {"reference": ["Water"]}, geometry=geopandas.points_from_xy([0], [0]), crs=UTM
    )
    far.to_file(tmp_path / "far.gpkg")
    frame.assign(geometry=frame.buffer(10)).to_file(tmp_path / "discs.gpkg")
    moved = frame.assign(stratum=frame["stratum"] % 6 + 1)
    moved.to_file(tmp_path / "moved.gpkg")
    empty = write(tmp_path / "empty.tif", np.zeros((9, 9), np.uint8), nodata=0)
    yield ("design", tif, tmp_path / "points.shp"), "write to a file that ends in .gpkg"
    yield ("design", "none.tif", out), "none.tif: no such file"
    yield ("design", empty, out), "empty.tif: no pixel has a class"
    yield ("design", tif, out, "--standard-error", "2"), "standard error: found 2; it lies between"
    yield ("design", tif, out, "--standard-error", "0.0001"), "more than 100,000"
    yield ("design", tif, out, "--expected", "x"), "expected: 'x' is not like 0.9 or Water=0.95"
    yield ("design", tif, out, "--expected", "Lake=0.9"), "expected: "
    yield ("design", tif, out, "--expected", "85"), "accuracy 85 of '*' is not within 0 to 1"
    yield ("design", tif, out, "--allocation", "some"), "found 'some'; proportional or equal"
    yield ("design", tif, out, "--points", "1"), "points: found 1; expected 2 to 100,000"
    yield ("design", tif, out, "--minimum=-1"), "minimum: found -1; expected 0 to 100,000"
    yield ("design", tif, out, "--seed=-1"), "seed: found -1"
    yield ("areas", tmp_path / "p.gpkg", tif), "none of 100 features has a label in column 'refere"
    yield ("areas", "none.gpkg", tif), "none.gpkg: no such file"
    yield ("areas", tmp_path / "seen.gpkg", tif, "--confidence", "95"), "confidence: found 95; it"
    yield ("areas", tmp_path / "seen.gpkg", tif, "--column", "x"), "no column 'x'; choose"
    yield ("areas", tmp_path / "odd.gpkg", tif), "has no class 'Wter', did you mean 'Water'?"
    yield ("areas", tmp_path / "far.gpkg", tif), "far.gpkg: 1 points lie beside"
    yield ("areas", tmp_path / "discs.gpkg", tif), "discs.gpkg: has polygons; a sample is points"
    yield ("areas", tmp_path / "moved.gpkg", tif), "was the sample drawn from another raster?"


def test_bad_requests_are_refused_in_one_line(folder, tmp_path, call):
    for args, said in bad_requests(folder, tmp_path):
        code, out, err = call("evaluate", *args, "-q")
        assert (code, out) == (2, ""), (args, out, err)
        assert said in err, (said, err)
        assert err.count("\n") == 1, err
    assert not (tmp_path / "new.gpkg").exists()
