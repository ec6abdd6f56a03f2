"""Labels looked over by the command line: synthetic scenes with faults that were put in."""

import json

import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from judges import check_by_gdal
from label_cases import kinds, polygons, read, rewrite
from rasters import NORTH_UP, UTM, write
from sklearn import metrics

import geoseg
from geoseg.api import label_alignment, label_shapes
from geoseg.api.label_check import Wishes
from geoseg.api.labels import LabelFile
from geoseg.cli import run
from geoseg.io.read_provenance import read_provenance
from geoseg.io.sample import SampleSpec, write_sample
from geoseg.legend import LANDCOVER

SHAPE = (300, 340)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A sample without clouds."""
    folder = tmp_path_factory.mktemp("labels")
    write_sample(SampleSpec(size=SHAPE, seed=3, clouds=False, swath_edge=False), folder)
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


@pytest.fixture
def check(call):
    """What ``labels check --json`` finds; its exit code comes first."""

    def checked(*args):
        code, out, err = call("labels", "check", *args, "--json", "--quiet")
        assert err == ""
        return code, json.loads(out)

    return checked


def test_the_truth_of_a_sample_has_no_faults(folder, check):
    code, found = check(folder / "truth.tif", "--image", folder / "scene.tif",
                        "--legend", "landcover")  # fmt: skip
    assert code == found["faults"] == 0
    truth, profile = read(folder / "truth.tif")
    pixels = {c["name"]: c["pixels"] for c in found["classes"]}
    for value, name in zip(LANDCOVER.values, LANDCOVER.names, strict=True):
        assert pixels.get(name, 0) == (truth == value).sum()
    area = sum(c["area_ha"] for c in found["classes"])
    assert area == pytest.approx((truth != profile["nodata"]).sum() * 0.01, rel=2e-3)
    assert sum(c["share"] for c in found["classes"]) == pytest.approx(1)
    there = found["alignment"]["all"]
    assert np.hypot(there["rows"], there["columns"]) < 0.5


def test_regions_are_those_of_scipy(folder, check):
    from scipy import ndimage

    _, found = check(folder / "truth.tif")
    truth, _ = read(folder / "truth.tif")
    specks = 0
    for c in found["classes"]:
        value = LANDCOVER.values[LANDCOVER.names.index(c["name"])]
        labels, count = ndimage.label(truth == value, np.ones((3, 3)))
        assert c["regions"] == count
        edge = np.unique(np.r_[labels[0], labels[-1], labels[:, 0], labels[:, -1]])
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        sizes[np.r_[0, edge]] = 99
        specks += (sizes < 3).sum()
    assert kinds(found).get("specks", {"count": 0})["count"] == specks


@pytest.mark.parametrize("shift", [(0, 0), (2, 0), (-3, 4), (0, -1.5), (0.5, 0.5), (-2.5, 1)])
def test_labels_that_were_shifted_are_found_within_half_a_pixel(folder, tmp_path, check, shift):
    """Shifted by their georeference, on a grid of their own: by half pixels, too."""
    truth, profile = read(folder / "truth.tif")
    moved = profile["transform"] @ rasterio.Affine.translation(shift[1], shift[0])
    write(tmp_path / "labels.tif", truth, transform=moved, nodata=255,
          crs=profile["crs"].to_string())  # fmt: skip
    code, found = check(tmp_path / "labels.tif", "--image", folder / "scene.tif")
    there = found["alignment"]["all"]
    off = there["rows"] + shift[0], there["columns"] + shift[1]
    assert np.hypot(*off) < 0.5
    assert code == 0
    if abs(np.hypot(*shift) - 1) > 0.3:
        assert ("shifted" in kinds(found, "warning")) == (np.hypot(*shift) > 1)
    metres = found["alignment"]["images"][0]
    assert metres["rows_m"] == pytest.approx(there["rows"] * 10, abs=1e-6)


def test_blocks_and_threads_change_nothing(folder, monkeypatch):
    wishes = Wishes(images=[folder / "scene.tif"])

    def checked(workers):
        file = LabelFile(folder / "truth.tif")
        return geoseg.check_labels({"": [file]}, wishes, workers=workers).as_dict()

    whole = checked(1)
    monkeypatch.setattr(label_alignment, "BLOCK", 90)
    monkeypatch.setattr(label_shapes, "BLOCK", 70)
    assert checked(3) == whole


def test_another_scene_says_nothing_of_the_shift(folder, tmp_path, check):
    write_sample(SampleSpec(size=SHAPE, seed=77, clouds=False, swath_edge=False), tmp_path)
    code, found = check(folder / "truth.tif", "--image", tmp_path / "scene.tif")
    assert code == 0
    assert found["alignment"]["all"]["rows"] is None
    assert kinds(found, "note")["cannot-tell"]["text"].startswith("cannot tell how")


def test_unknown_codes_have_a_place(folder, tmp_path, check, call):
    truth, profile = read(folder / "truth.tif")
    wrong = truth.copy()
    wrong[100, 50:55] = 77
    rewrite(tmp_path / "wrong.tif", wrong, folder)
    args = (tmp_path / "wrong.tif", "--legend", "landcover")
    code, found = check(*args)
    assert code == 1
    unknown = kinds(found, "fault")["unknown-code"]
    assert unknown["count"] == 5
    assert unknown["places"] == [list(profile["transform"] @ (50.5, 100.5))]
    code, out, err = call("labels", "check", *args, "-q", "-o", tmp_path / "out.json")
    assert (code, err) == (1, "")
    assert "fault   taxonomy (unknown-code)" in out
    assert "code 77 is not in landcover" in out
    assert json.loads((tmp_path / "out.json").read_text()) == found


def test_an_image_in_place_of_labels_is_one_fault(folder, check):
    code, found = check(folder / "scene.tif")
    assert code == 1
    assert [f["what"] for f in found["findings"] if f["level"] == "fault"] == ["no-code"]
    assert "and" in kinds(found)["no-code"]["text"]


def test_legends_from_tables_and_models(folder, tmp_path, check):
    rows = ["code,name,color", *(f"{c.value},{c.name},{c.color}" for c in LANDCOVER.classes[:-1])]
    (tmp_path / "legend.csv").write_text("\n".join(rows))
    for legend, wrong in ((tmp_path / "legend.csv", True), ("landcover-s2", False)):
        code, found = check(folder / "truth.tif", "--legend", legend)
        assert ("unknown-code" in kinds(found)) == wrong
        assert code == int(wrong)


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326"])
def test_faults_of_polygons(tmp_path, check, crs):
    polygons(tmp_path / "fields.gpkg", crs)
    code, found = check(
        tmp_path / "fields.gpkg", "--column", "class", "--min-width", "3 m", "--min-area", "10 m2",
        "--places", tmp_path / "places.gpkg", "--legend", "landcover",
    )  # fmt: skip
    assert code == 1
    faults, warnings = kinds(found, "fault"), kinds(found, "warning")
    assert set(faults) == {"overlap", "invalid"}
    assert {"slivers", "spelling", "unlabelled"} <= set(warnings)
    assert warnings["slivers"]["count"] == 1
    assert "1,000" in faults["overlap"]["text"] or "1,00" in faults["overlap"]["text"]
    shares = {c["name"]: c["regions"] for c in found["classes"]}
    assert shares == {"Water": 2, "Trees": 2, "Crops": 1}
    assert sum(c["area_ha"] for c in found["classes"]) == pytest.approx(
        (10_000 + 11_000 + 200 + 1250 + 3600) / 1e4, rel=2e-3
    )
    check_by_gdal(tmp_path / "places.gpkg")
    told = read_provenance(tmp_path / "places.gpkg")
    assert [one["href"] for one in told["inputs"]] == [str(tmp_path / "fields.gpkg")]
    assert told["settings"]["min_width"] == "3 m"
    places = geopandas.read_file(tmp_path / "places.gpkg", layer="places")
    assert set(places["what"]) == {"overlap", "invalid", "slivers"}
    assert pyogrio.read_info(tmp_path / "places.gpkg", layer="places")["crs"] == crs


def test_no_places_is_a_file_without_any(tmp_path, check):
    write(tmp_path / "flat.tif", np.ones((20, 20), np.uint8))
    code, _ = check(tmp_path / "flat.tif", "--places", tmp_path / "places.gpkg")
    assert code == 0
    assert not len(geopandas.read_file(tmp_path / "places.gpkg", layer="places"))


def test_places_that_nothing_measures_are_said(tmp_path, check):
    polygons(tmp_path / "fields.gpkg")
    _, found = check(tmp_path / "fields.gpkg", "--column", "class")
    assert "not-checked" in kinds(found, "note")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_chips_that_lie_nowhere(tmp_path, check):
    """Chips cut from one picture: overlapping ones are found, by their pixels alone."""
    random = np.random.default_rng(8)
    ground = random.integers(0, 3000, (2, 200, 200)).astype(np.int16)
    corners = {"a": (0, 0), "b": (100, 100), "c": (50, 30), "d": (0, 120)}
    for name, (y, x) in corners.items():
        part = ground[:, y : y + 64, x : x + 64]
        labels = (part[0] > 1500).astype(np.uint8)
        for kind, values in (("images", part), ("labels", labels[None])):
            path = tmp_path / kind / f"{name}.tif"
            path.parent.mkdir(exist_ok=True)
            with rasterio.open(path, "w", driver="GTiff", width=64, height=64,
                               count=len(values), dtype=values.dtype) as file:  # fmt: skip
                file.write(values)
    images = ("--image", tmp_path / "images" / "*.tif")
    labels = tmp_path / "labels"
    code, found = check(f"train={labels}/[ab].tif", f"test={labels}/[cd].tif", *images)
    leak = kinds(found, "fault")["same-pixels"]
    assert (code, leak["count"]) == (1, 1)
    assert "c.tif (test)" in leak["text"]
    assert {c["part"] for c in found["classes"]} == {"train", "test"}
    code, found = check(f"train={labels}/[abc].tif", f"test={labels}/d.tif", *images)
    assert (code, found["faults"]) == (0, 0)
    (tmp_path / "chips.csv").write_text("chip,location\na,1\nb,1\nc,1\nd,1\n")
    code, found = check(
        f"train={labels}/[abc].tif", f"test={labels}/d.tif", *images,
        "--groups", tmp_path / "chips.csv",
    )  # fmt: skip
    assert code == 1
    assert "group-torn" in kinds(found, "fault")


def test_parts_that_lie_on_one_another(tmp_path, check):
    random = np.random.default_rng(9)
    for number in range(3):
        values = random.integers(0, 3, (50, 50)).astype(np.uint8)
        moved = NORTH_UP @ rasterio.Affine.translation(50 * number, 0)
        write(tmp_path / f"{number}.tif", values, transform=moved)
    parts = f"a={tmp_path}/0.tif", f"b={tmp_path}/[12].tif"
    assert check(*parts)[1]["faults"] == 0, "neighbours share a line"
    code, found = check(*parts, "--margin", 3)
    assert code == 1
    assert kinds(found, "fault")["same-ground"]["count"] == 1


def test_two_people_agree_as_scikit_learn_says(folder, tmp_path, call):
    truth, _ = read(folder / "truth.tif")
    other = truth.copy()
    other[50:90, 60:100] = np.where(truth[50:90, 60:100] == 2, 3, 2)
    rewrite(tmp_path / "other.tif", other, folder)
    args = (folder / "truth.tif", tmp_path / "other.tif", "--tolerance", "20 m")
    code, out, err = call("labels", "agree", *args, "--json", "-q",
                          "--differences", tmp_path / "d.gpkg")  # fmt: skip
    assert (code, err) == (0, "")
    found = json.loads(out)
    known = (truth != 255) & (other != 255)
    kappa = metrics.cohen_kappa_score(truth[known], other[known])
    assert found["agreement"]["kappa"] == pytest.approx(kappa)
    assert found["agreement"]["boundary_tolerance_m"] == 20
    check_by_gdal(tmp_path / "d.gpkg")
    assert len(read_provenance(tmp_path / "d.gpkg")["inputs"]) == 2
    places = geopandas.read_file(tmp_path / "d.gpkg", layer="differences")
    assert places["pixels"].sum() == ((truth != other) & known).sum()
    assert len(places) == found["differences"]["regions"]
    inside = places.geometry.union_all().bounds
    with rasterio.open(folder / "truth.tif") as file:
        assert inside[:2] >= tuple(file.transform @ (60, 90))
    names = dict(zip(LANDCOVER.values, LANDCOVER.names, strict=True))
    row = places.iloc[0]
    point = row.geometry.representative_point()
    with rasterio.open(folder / "truth.tif") as file:
        y, x = file.index(point.x, point.y)
    assert (row["one"], row["other"]) == (names[truth[y, x]], names.get(other[y, x], "?"))
    code, out, _ = call("labels", "agree", *args, "-q")
    assert code == 0
    assert "kappa" in out


def test_polygons_of_two_people_are_compared_on_an_image(folder, tmp_path, call):
    with rasterio.open(folder / "scene.tif") as file:
        west, north, crs = file.transform.c, file.transform.f, file.crs.to_string()
    boxes = [shapely.box(west, north - 1000, west + 1000, north),
             shapely.box(west + 1000, north - 1000, west + 2000, north)]  # fmt: skip
    moved = [boxes[0].union(shapely.box(west + 1000, north - 1000, west + 1100, north)),
             shapely.box(west + 1100, north - 1000, west + 2000, north)]  # fmt: skip
    for name, shapes, classes in (("a", boxes, ["Water", "Trees"]), ("b", moved, ["water", "Bog"])):
        frame = geopandas.GeoDataFrame({"class": classes}, geometry=shapes, crs=crs)
        frame.to_crs(4326).to_file(tmp_path / f"{name}.gpkg")
    args = ("labels", "agree", tmp_path / "a.gpkg", tmp_path / "b.gpkg", "--json", "-q")
    code, _, err = call(*args)
    assert code == 2
    assert "on whose pixels" in err
    code, out, _ = call(*args, "--image", folder / "scene.tif")
    assert code == 0
    found = json.loads(out)["agreement"]
    assert {c["name"] for c in found["classes"]} == {"Water", "Trees", "Bog"}
    assert found["pixels"] == pytest.approx(20_000, abs=400)
    assert found["accuracy"] == pytest.approx(0.5, abs=0.02)
    code, out, _ = call(*args, "--image", folder / "scene.tif", "--mapping", "Bog=Trees")
    assert json.loads(out)["agreement"]["accuracy"] == pytest.approx(0.95, abs=0.02)


def test_what_neither_has_drawn_counts_where_outside_is_a_class(folder, tmp_path, call):
    """Two people draw buildings only: without an outside they agree wherever both drew."""
    with rasterio.open(folder / "scene.tif") as file:
        west, north, crs = file.transform.c, file.transform.f, file.crs.to_string()
    ones = {"a": (0, 0, 10, 10), "b": (5, 0, 15, 10)}
    for name, (x0, y0, x1, y1) in ones.items():
        box = shapely.box(west + x0 * 10, north - y1 * 10, west + x1 * 10, north - y0 * 10)
        frame = geopandas.GeoDataFrame({"class": ["house"]}, geometry=[box], crs=crs)
        frame.to_file(tmp_path / f"{name}.gpkg")
    args = ("labels", "agree", tmp_path / "a.gpkg", tmp_path / "b.gpkg", "--json", "-q",
            "--image", folder / "scene.tif")  # fmt: skip
    assert json.loads(call(*args)[1])["agreement"]["accuracy"] == 1
    found = json.loads(call(*args, "--outside", "nothing", "--differences", tmp_path / "d.gpkg")[1])
    scores = {c["name"]: c["iou"] for c in found["agreement"]["classes"]}
    assert scores["house"] == pytest.approx(50 / 150)
    assert found["agreement"]["pixels"] == SHAPE[0] * SHAPE[1]
    assert found["differences"]["regions"] == 2


def test_the_hash_is_that_of_the_check(folder, check, call):
    _, found = check(folder / "truth.tif")
    code, out, _ = call("labels", "hash", folder / "truth.tif")
    assert code == 0
    assert out.strip() == found["content_hash"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("check", "missing.tif"), "no such file"),
        (("check", "{truth}", "--legend", "landcovr"), "legend landcovr: neither a file"),
        (("check", "{truth}", "--image", "{truth}", "--min-area", "few"), "min-area"),
        (("check", "{truth}", "--band", "4"), "no band 4"),
        (("check", "{truth}", "{truth}"), "is there twice"),
        (("check", "a={truth}", "{scene}"), "name the part of all files"),
        (("check", "a={truth}", "b={truth}"), "is there twice"),
        (("check", "{truth}", "--places", "x.shp"), "does not end in .gpkg"),
        (("check", "{truth}", "--groups", "{truth}"), "groups"),
        (("agree", "{truth}", "{truth}", "--differences", "x.tif"), "does not end in .gpkg"),
    ],
)
def test_bad_requests_are_refused_in_one_line(folder, call, tmp_path, monkeypatch, args, said):
    monkeypatch.chdir(tmp_path)
    places = {"truth": folder / "truth.tif", "scene": folder / "scene.tif"}
    code, out, err = call("labels", *(a.format(**places) for a in args), "-q")
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_real_sets_say_what_is_known_of_them(data_dir, check):
    """What the sets' own descriptions warn of."""
    code, found = check(
        data_dir / "amazon_forest_rgb" / "masks" / "Amazon_1[0-8]*.png",
        "--image", data_dir / "amazon_forest_rgb" / "images" / "Amazon_1[0-8]*.tif",
    )  # fmt: skip
    assert code == 1
    wrong = kinds(found, "fault")
    assert set(wrong) == {"size-differs"}
    assert wrong["size-differs"]["file"].endswith("Amazon_181_34.png")
    code, found = check(
        data_dir / "drone_oam_kampala_7cm" / "buildings.geojson", "--class", "building"
    )
    assert kinds(found, "fault")["invalid"]["count"] == 1
