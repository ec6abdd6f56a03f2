"""What changed between two maps: products, rules, bad input, by the command and by the call."""

import csv
import json
import shutil
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from affine import Affine
from change_maps import (
    CLEARING,
    CLOUD,
    CROPS,
    FLOOD,
    NAMES,
    SHAPE,
    SPECK,
    TREES,
    WATER,
    land,
    later,
    write_map,
    write_pair,
)
from judges import check_products
from rasters import NORTH_UP, write
from rio_cogeo.cogeo import cog_validate
from scipy import ndimage

import geoseg
from geoseg.api import machine
from geoseg.api.change import Known
from geoseg.cli import run as cli
from geoseg.errors import InputError

CODE = {("Trees", "Crops"): 4, ("Crops", "Water"): 5}
"""Of three classes: Water to Trees, Water to Crops, Trees to Water, Trees to Crops, ..."""


def read(path):
    with rasterio.open(path) as file:
        return file.read(1)


def polygons(folder, layer="change"):
    return geopandas.read_file(folder / "polygons.gpkg", layer=layer)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("change")
    one, two = write_pair(folder)
    return geoseg.change(one, two, folder / "out"), folder / "out", (one, two)


def test_the_raster_says_which_class_became_which(made):
    _, out, _ = made
    expected = np.zeros(SHAPE, np.uint8)
    expected[CLEARING] = expected[SPECK] = CODE["Trees", "Crops"]
    expected[FLOOD] = CODE["Crops", "Water"]
    expected[CLOUD] = 255
    np.testing.assert_array_equal(read(out / "change.tif"), expected)
    assert cog_validate(str(out / "change.tif"), quiet=True)[0]
    with rasterio.open(out / "change.tif") as file:
        assert file.nodata == 255
        assert file.colormap(1)[4][:3] != (0, 0, 0)
    assert "Trees to Crops" in (out / "change.tif.aux.xml").read_text()
    assert "Crops to Water" in (out / "change.qml").read_text()


def test_polygons_say_from_to_when_and_how_much(made):
    _, out, _ = made
    found = polygons(out)
    assert len(found) == 3
    row = found[found.pixels == 240].iloc[0]
    assert (row.from_name, row.to_name, row.from_code, row.to_code) == ("Trees", "Crops", 2, 3)
    assert (row.date_from, row.date_to) == ("2021-06-05", "2022-06-10")
    metres = found.to_crs("+proj=laea +lat_0=53 +lon_0=-9 +ellps=WGS84").area
    np.testing.assert_allclose(found.area_m2, metres, rtol=1e-4)
    assert found.polygon_id.is_unique
    table = geopandas.read_parquet(out / "polygons.parquet")
    assert sorted(table.polygon_id) == sorted(found.polygon_id)


def test_the_matrix_adds_up_to_what_was_compared(made):
    _, out, _ = made
    matrix = json.loads((out / "transitions.json").read_text())
    one, two = land(), later()
    for i, before in enumerate((WATER, TREES, CROPS)):
        for j, after in enumerate((WATER, TREES, CROPS)):
            pixels = ((one == before) & (two == after)).sum()
            assert matrix["matrix_ha"][i][j] == pytest.approx(pixels / 100, rel=1e-3)
    assert matrix["classes"] == ["Water", "Trees", "Crops"]
    assert matrix["not_seen_ha"] == pytest.approx(3.0, rel=1e-3)
    assert matrix["changed_ha"] == pytest.approx(3.94, rel=1e-3)
    assert "Olofsson" in matrix["note"]
    trees = matrix["by_class"][1]
    assert trees["net_ha"] == pytest.approx(-trees["loss_ha"])
    with (out / "transitions.csv").open() as file:
        rows = {(r["from"], r["to"]): r for r in csv.DictReader(file)}
    assert rows["Trees", "Crops"]["pixels"] == "244"
    assert rows["Trees", "(not seen)"]["pixels"] == "300"
    assert sum(int(r["pixels"]) for r in rows.values()) == SHAPE[0] * SHAPE[1]


def test_the_item_lists_every_product_and_the_record_says_how(made):
    result, out, _ = made
    item = json.loads((out / "item.json").read_text())
    files = {Path(a["href"]).name for a in item["assets"].values()}
    assert files >= {
        "change.tif",
        "polygons.gpkg",
        "polygons.parquet",
        "transitions.csv",
        "project.qgz",
    }
    assert item["properties"]["start_datetime"].startswith("2021-06-05")
    assert item["properties"]["end_datetime"].startswith("2022-06-10")
    record = json.loads((out / "run.json").read_text())
    assert record["settings"]["edges"] == "weigh"
    assert "edges are too few" in record["shift"]["why"]
    assert not result.warnings
    assert all(path.exists() for path in result.products.values())


def test_a_rerun_gives_the_same_bytes(made, tmp_path):
    _, out, (one, two) = made
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    geoseg.change(one, two, out)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before


@pytest.mark.parametrize("edges", ["weigh", "erode"])
def test_nothing_depends_on_blocks(tmp_path, monkeypatch, edges):
    rng = np.random.default_rng(1)
    one = np.kron(rng.integers(1, 4, (23, 30)), np.ones((4, 4))).astype(np.uint8)[:90, :120]
    two = np.roll(one, 1, 1)
    two[rng.random(SHAPE) < 0.1] = 2
    paths = [write_map(tmp_path / f"{n}.tif", c) for n, c in (("one", one), ("two", two))]
    outs = []
    for size in (1024, 37):
        for place in (machine, __import__("geoseg.api.changes.run", fromlist=["run"])):
            monkeypatch.setattr(place, "BLOCK", size)
        outs.append(tmp_path / f"out-{size}")
        geoseg.change(*paths, outs[-1], edges=edges, min_area="7 px", from_=["Trees"])
    first, second = outs
    names = sorted(p.name for p in first.iterdir())
    assert names == sorted(p.name for p in second.iterdir())
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_worker_processes_make_the_same(tmp_path, made):
    _, out, (one, two) = made
    geoseg.change(one, two, tmp_path / "out", workers=1)
    for name in ("change.tif", "transitions.json", "polygons.parquet"):
        assert (tmp_path / "out" / name).read_bytes() == (out / name).read_bytes()


def test_small_patches_are_no_change_in_any_product(tmp_path):
    one, two = write_pair(tmp_path)
    result = geoseg.change(one, two, tmp_path / "out", min_area="0.1 ha")
    codes = read(tmp_path / "out" / "change.tif")
    assert (codes[SPECK] == 0).all()
    assert len(polygons(tmp_path / "out")) == 2
    assert polygons(tmp_path / "out").pixels.sum() == ((codes > 0) & (codes < 250)).sum()
    assert result.record["left_out_ha"]["small"] == pytest.approx(0.04, rel=1e-3)
    matrix = json.loads((tmp_path / "out" / "transitions.json").read_text())
    assert matrix["matrix_ha"][1][2] == pytest.approx(2.40, rel=1e-3)


def test_a_clearing_of_two_kinds_is_one_patch_unless_transitions_are_asked_for(tmp_path):
    one = write_map(tmp_path / "one.tif", land())
    codes = land()
    codes[20:30, 60:65], codes[20:30, 65:70] = CROPS, WATER  # 50 pixels each
    two = write_map(tmp_path / "two.tif", codes)
    for patches, count in (("from", 2), ("transition", 0)):
        out = tmp_path / patches
        geoseg.change(one, two, out, min_area="60 px", patches=patches)
        assert len(polygons(out)) == count


def test_loss_and_gain_are_told_apart_for_the_classes_asked_for(tmp_path):
    one = write_map(tmp_path / "one.tif", land())
    codes = later()
    codes[70:78, 0:20] = TREES  # planted
    two = write_map(tmp_path / "two.tif", codes)
    geoseg.change(one, two, tmp_path / "out", from_=["trees"])
    found = read(tmp_path / "out" / "loss_gain.tif")
    before, after = land() == TREES, codes == TREES
    expected = np.where(before, np.where(after, 1, 2), np.where(after, 3, 0))
    expected[CLOUD] = 255
    np.testing.assert_array_equal(found, expected)
    change = read(tmp_path / "out" / "change.tif")
    assert set(np.unique(change)) == {0, CODE["Trees", "Crops"], 255}
    assert "No such change" in (tmp_path / "out" / "change.qml").read_text()


def test_both_dates_must_be_sure_and_polygons_say_how_sure(tmp_path):
    one, two = write_pair(tmp_path)
    sure = np.full(SHAPE, 90, np.uint8)
    doubt = sure.copy()
    doubt[FLOOD], doubt[CLEARING] = 40, 70
    files = [
        Path(write(tmp_path / f"{n}-sure.tif", v, nodata=255)) for n, v in ((1, sure), (2, doubt))
    ]
    known = Known(before_confidence=files[1], after_confidence=files[0])
    result = geoseg.change(one, two, tmp_path / "out", known=known, min_confidence=60)
    codes = read(tmp_path / "out" / "change.tif")
    assert (codes[FLOOD] == 0).all()
    assert (codes[CLEARING] == 4).all()
    assert result.record["left_out_ha"]["unsure"] == pytest.approx(1.5, rel=1e-3)
    found = polygons(tmp_path / "out").set_index("pixels")
    assert found.confidence_mean[240] == 70
    assert (found.valid_share == 100).all()
    lower = read(tmp_path / "out" / "confidence.tif")
    assert (lower[CLOUD] == 255).all()
    assert lower[FLOOD].max() == 40


def test_only_the_forest_of_a_mask_is_looked_at(tmp_path):
    one, two = write_pair(tmp_path)
    mask = np.zeros(SHAPE, np.uint8)
    mask[:26] = 7
    mask[26:40] = 9
    write(tmp_path / "forest.tif", mask)
    result = geoseg.change(one, two, tmp_path / "a", forest_mask=f"{tmp_path}/forest.tif:7")
    codes = read(tmp_path / "a" / "change.tif")
    assert (codes[mask != 7] == 254).all()
    assert (codes[20:26, 60:80] == 4).all()
    assert result.record["not_looked_at_ha"] == pytest.approx(64 * 120 / 100, rel=1e-3)
    geoseg.change(one, two, tmp_path / "b", forest_mask=str(tmp_path / "forest.tif"))
    assert (read(tmp_path / "b" / "change.tif")[mask > 0] != 254).all()


def test_a_later_map_that_lies_aside_is_told(tmp_path):
    rng = np.random.default_rng(5)
    fine = ndimage.gaussian_filter(rng.normal(size=(400, 402)), 6)
    codes = (1 + (fine > 0) + (fine > 0.03)).astype(np.uint8)
    one = write_map(tmp_path / "one.tif", codes[:, 1:-1])
    two = write_map(tmp_path / "two.tif", codes[:, :-2])
    result = geoseg.change(one, two, tmp_path / "out")
    assert result.record["shift"]["pixels"] == pytest.approx([0, 1], abs=0.1)
    assert result.record["shift"]["metres"] == pytest.approx([0, 10], abs=1)
    assert "seems to lie 1.0" in result.warnings[0]
    assert result.record["changed_ha"] < 0.05 * result.record["left_out_ha"]["edges"]


def test_maps_of_other_grids_and_extents_are_compared_where_both_are(tmp_path):
    one = write_map(tmp_path / "one.tif", land())
    fine = np.kron(later(), np.ones((2, 2), np.uint8))[20:, 60:]
    moved = NORTH_UP @ Affine.translation(30, 10) @ Affine.scale(0.5)
    two = write_map(tmp_path / "two.tif", fine, transform=moved)
    result = geoseg.change(one, two, tmp_path / "out")
    with rasterio.open(tmp_path / "out" / "change.tif") as file:
        assert file.shape == (80, 90)
        assert file.transform == NORTH_UP @ Affine.translation(30, 10)
        codes = file.read(1)
    assert (codes[10:22, 30:50] == 4).all()
    assert "lie on different grids" in result.warnings[0]
    geoseg.change(one, two, tmp_path / "fine", grid="after")
    codes = read(tmp_path / "fine" / "change.tif")
    assert codes.shape == fine.shape
    np.testing.assert_array_equal(
        codes == 4, np.kron(land(), np.ones((2, 2)))[20:, 60:] - fine == -1
    )


def test_files_that_name_nothing_are_compared_by_code(tmp_path):
    options = {"names": None, "palette": None, "date": None}
    one = write_map(tmp_path / "one.tif", land(), **options)
    two = write_map(tmp_path / "two.tif", later(), **options)
    result = geoseg.change(one, two, tmp_path / "out")
    assert {(t["from"], t["to"]) for t in result.record["transitions"]} == {
        ("Class 2", "Class 3"),
        ("Class 3", "Class 1"),
    }
    assert polygons(tmp_path / "out").date_from.isna().all()


def test_the_command_tells_areas_and_writes_the_same(tmp_path, capfd):
    one, two = write_pair(tmp_path)
    arguments = ["change", str(one), str(two), str(tmp_path / "out"), "--quiet"]
    assert cli([*arguments, "--from", "trees", "--min-area", "0.1ha"]) == 0
    told = capfd.readouterr().out
    assert "2021-06-05 to 2022-06-10" in told
    assert "2.40 ha  Trees → Crops" in told
    assert "too small" in told
    assert cli([*arguments, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["change"]["polygons"]["count"] == 3


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"from_": ["Tres"]}, "no class 'Tres', did you mean 'Trees'"),
        ({"min_area": "5"}, "expected an area like"),
        ({"edges": "blur"}, "edges"),
        ({"min_confidence": 101}, "min_confidence"),
        ({"minimum": 1}, "minimum: unknown; known are before, after"),
        ({"forest_mask": "none.tif"}, "no such file"),
        ({"names": {"Forest": "Trees"}}, "later map has no class 'Forest'"),
    ],
)
def test_settings_that_do_not_fit_leave_nothing_behind(tmp_path, settings, words):
    one, two = write_pair(tmp_path)
    with pytest.raises(InputError, match=words):
        geoseg.change(one, two, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_maps_that_cannot_be_compared_are_refused(tmp_path):
    one, two = write_pair(tmp_path)
    with pytest.raises(InputError, match="name the earlier one first"):
        geoseg.change(two, one, tmp_path / "out")
    far = write_map(
        tmp_path / "far.tif", land(), transform=Affine(10, 0, 900_000, 0, -10, 5_900_000)
    )
    with pytest.raises(InputError, match="do not overlap"):
        geoseg.change(one, far, tmp_path / "out")
    strange = land()
    strange[0, 0] = 9
    with pytest.raises(InputError, match=r"holds the code 9, which it does not name; .* ignore"):
        geoseg.change(write_map(tmp_path / "s.tif", strange), two, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    geoseg.change(tmp_path / "s.tif", two, tmp_path / "out", ignore=["9"])
    assert read(tmp_path / "out" / "change.tif")[0, 0] == 255


def test_maps_without_a_class_in_common_need_to_be_told(tmp_path):
    one = write_map(tmp_path / "one.tif", land())
    two = write_map(tmp_path / "two.tif", later(), names=["", "Wasser", "Wald", "Acker"])
    with pytest.raises(InputError, match="no class in common"):
        geoseg.change(one, two, tmp_path / "out")
    names = {"Wasser": "Water", "Wald": "Trees", "Acker": "Crops"}
    result = geoseg.change(one, two, tmp_path / "out", names=names)
    assert result.record["changed_ha"] == pytest.approx(3.94, rel=1e-3)
    assert NAMES[1:] == [row["class"] for row in result.record["by_class"]]


def test_a_damaged_earlier_product_is_replaced(tmp_path):
    one, two = write_pair(tmp_path)
    out = tmp_path / "out"
    geoseg.change(one, two, out)
    shutil.copy(one, out / "change.tif")
    geoseg.change(one, two, out)
    assert (read(out / "change.tif")[CLEARING] == 4).all()


def test_all_of_it_is_standard_and_says_what_it_is_made_of(made):
    _, out, maps = made
    told = check_products(out, "change")
    assert {Path(one["href"]) for one in told["inputs"]} >= set(maps)
