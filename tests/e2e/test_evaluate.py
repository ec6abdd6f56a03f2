"""A map against the truth of a synthetic scene: rasters, polygons and points, by the command line."""

import json

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.warp
import shapely
from affine import Affine
from pyproj import Transformer
from rasterio.features import shapes
from rasters import NORTH_UP, SOUTH_UP, UTM, write
from sklearn import metrics

import geoseg
from geoseg.api import evaluation
from geoseg.api.evaluation import Truth
from geoseg.cli import run
from geoseg.errors import InputError
from geoseg.io.sample import SampleSpec, write_sample
from geoseg.legend import LANDCOVER

NAMES = dict(zip(LANDCOVER.values, LANDCOVER.names, strict=True))
SHAPE = (150, 211)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The truth of a sample, and a map that errs where a river was moved and at random."""
    folder = tmp_path_factory.mktemp("evaluate")
    write_sample(SampleSpec(size=SHAPE, seed=4), folder)
    with rasterio.open(folder / "truth.tif") as file:
        truth, transform, crs = file.read(1), file.transform, file.crs.to_string()
    random = np.random.default_rng(1)
    noise = random.random(SHAPE) < 0.1
    codes = np.where(noise, random.integers(1, 7, SHAPE), np.roll(truth, 1, axis=1))
    codes[:20, :10] = 255
    sure = np.where(noise, 40, 90) + random.integers(-5, 6, SHAPE)
    sure[codes == 255] = 255
    place = {"transform": transform, "crs": crs}
    write(folder / "map.tif", codes.astype(np.uint8), nodata=255, **place)
    (folder / "map.tif.aux.xml").write_bytes((folder / "truth.tif.aux.xml").read_bytes())
    write(folder / "confidence.tif", sure.astype(np.uint8), nodata=255, **place)
    return folder


def read(path):
    with rasterio.open(path) as file:
        return file.read(1)


def judged(folder):
    truth, codes = read(folder / "truth.tif"), read(folder / "map.tif")
    known = (truth != 255) & (codes != 255)
    return truth[known], codes[known]


@pytest.fixture
def call(capsys):
    """Run a command in this process; gives its exit code and what it says."""

    def called(*args):
        capsys.readouterr()
        code = run([str(a) for a in args])
        told = capsys.readouterr()
        return code, told.out, told.err

    return called


def test_the_whole_map_against_scikit_learn(folder, call):
    code, out, err = call(
        "evaluate", folder / "map.tif", folder / "truth.tif", "--json", "--quiet",
        "--confidence", folder / "confidence.tif", "--tolerance", "20 m",
    )  # fmt: skip
    assert (code, err) == (0, "")
    found = json.loads(out)
    truth, codes = judged(folder)
    assert found["pixels"] == len(truth)
    assert (
        found["unmapped"]
        == (read(folder / "truth.tif")[read(folder / "map.tif") == 255] != 255).sum()
    )
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, codes))
    assert found["kappa"] == pytest.approx(metrics.cohen_kappa_score(truth, codes))
    assert found["mean_iou"] == pytest.approx(metrics.jaccard_score(truth, codes, average="macro"))
    assert [c["name"] for c in found["classes"]] == list(LANDCOVER.names)
    f1 = metrics.f1_score(truth, codes, average=None)
    assert [c["f1"] for c in found["classes"]] == pytest.approx(f1.tolist())
    table = metrics.confusion_matrix(truth, codes)
    assert found["confusion"]["counts"] == table.tolist()
    # Everything lies one pixel to the side: its boundaries are met within 20 m.
    strict = geoseg.evaluate(folder / "map.tif", folder / "truth.tif", tolerance="0 m")
    assert found["boundary_tolerance_m"] == 20
    assert found["mean_boundary_f1"] > strict.boundaries.mean_f1 + 0.1
    # 90 percent sure where it is right, but for moved boundaries; 40 where it was noise.
    assert 0.02 < found["expected_calibration_error"] < 0.4
    assert sum(b["pixels"] for b in found["calibration"]["bins"]) == len(truth)


def test_the_command_says_it_in_tables(folder, call):
    code, out, _ = call(
        "evaluate", "map", folder / "map.tif", folder / "truth.tif", "--quiet",
        "--confidence", folder / "confidence.tif", "--output", folder / "out" / "scores.json",
    )  # fmt: skip
    assert code == 0
    for word in ("kappa", "boundary F1", "Grass and shrub", "truth \\ map", "not mapped", "█"):
        assert word in out
    assert json.loads((folder / "out" / "scores.json").read_text())["kind"] == "raster"


def test_blocks_and_threads_change_nothing(folder, monkeypatch):
    def scores(**options):
        return geoseg.evaluate(
            folder / "map.tif", folder / "truth.tif", tolerance="45 m",
            confidence=folder / "confidence.tif", **options,
        ).as_dict()  # fmt: skip

    whole = scores()
    for size, workers in ((64, 1), (33, 3), (7, 2)):
        monkeypatch.setattr(evaluation, "BLOCK", size)
        assert scores(workers=workers) == whole


@pytest.mark.parametrize(
    ("crs", "size", "part"), [("EPSG:4326", (420, 330), 1.0), ("EPSG:32630", (70, 90), 0.5)]
)
def test_truth_on_another_grid_is_what_lies_below_the_centres(
    folder, tmp_path, monkeypatch, crs, size, part
):
    with rasterio.open(folder / "map.tif") as file:
        codes, transform = file.read(1), file.transform
        west, south, east, north = rasterio.warp.transform_bounds(file.crs, crs, *file.bounds)
    across, down = (east - west) * part / size[1], (south - north) / size[0]
    other = np.random.default_rng(6).integers(1, 7, size).astype(np.uint8)
    place = Affine(across, 0, west, 0, down, north)
    write(tmp_path / "other.tif", other, transform=place, crs=crs, nodata=3)
    rows, columns = np.indices(SHAPE) + 0.5
    x, y = transform @ (columns.ravel(), rows.ravel())
    x, y = Transformer.from_crs(UTM, crs, always_xy=True).transform(x, y)
    columns, rows = ~place @ (x, y)
    clear = [np.abs(v - np.rint(v)) > 1e-4 for v in (rows, columns)]
    inner = (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
    below = np.full(codes.size, 3)
    below[inner] = other[rows[inner].astype(int), columns[inner].astype(int)]
    known = (below != 3) & (codes.ravel() != 255)
    sure = known & clear[0] & clear[1]
    monkeypatch.setattr(evaluation, "BLOCK", 50)
    found = geoseg.evaluate(folder / "map.tif", tmp_path / "other.tif")
    at = [LANDCOVER.names.index(name) for name in found.classes]
    table = metrics.confusion_matrix(below[sure], codes.ravel()[sure], labels=LANDCOVER.values)
    more = found.confusion.counts - table[np.ix_(at, at)]
    assert (more >= 0).all()
    # Centres on an edge between two pixels may go to either.
    unsure = (codes.ravel() != 255) & ~(clear[0] & clear[1])
    assert more.sum() <= unsure.sum() < 60
    assert sure.sum() > 10_000


def polygons(folder):
    """The truth as polygons with names of classes."""
    with rasterio.open(folder / "truth.tif") as file:
        codes = file.read(1)
        pairs = list(shapes(codes, codes != 255, transform=file.transform))
        crs = file.crs.to_string()
    return geopandas.GeoDataFrame(
        {"kind": [NAMES[int(value)] for _, value in pairs], "n": range(len(pairs))},
        geometry=[shapely.geometry.shape(shape) for shape, _ in pairs],
        crs=crs,
    )


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326", "EPSG:3035"])
def test_polygons_say_what_the_raster_says(folder, tmp_path, crs):
    raster = geoseg.evaluate(folder / "map.tif", folder / "truth.tif").as_dict()
    polygons(folder).to_crs(crs).to_file(tmp_path / "truth.gpkg", layer="truth")
    found = geoseg.evaluate(folder / "map.tif", Truth(tmp_path / "truth.gpkg", None, "kind"))
    found = found.as_dict()
    assert found.pop("kind") == "polygons"
    assert found.pop("unlabelled_features") == 0
    differ = {key for key in found if found[key] != raster[key]}
    assert differ == {"truth"}


def test_the_last_polygon_wins_and_unlabelled_ones_are_told(folder, tmp_path):
    with rasterio.open(folder / "map.tif") as file:
        box = shapely.box(*file.bounds)
    frame = geopandas.GeoDataFrame(
        {"code": [1.0, 2.0, None]}, geometry=[box, box, box.buffer(-100)], crs=UTM
    )
    frame.to_parquet(tmp_path / "truth.parquet")
    found = geoseg.evaluate(folder / "map.tif", tmp_path / "truth.parquet")
    assert found.left_out == {"unlabelled_features": 1}
    trees = found.classes.index("Trees")
    assert found.confusion.counts.sum() == found.confusion.counts[trees].sum()


def test_points_judge_the_pixels_they_lie_in(folder, tmp_path, call):
    with rasterio.open(folder / "truth.tif") as file:
        truth, transform = file.read(1), file.transform
    random = np.random.default_rng(3)
    rows, columns = random.integers(0, SHAPE[0], 300), random.integers(0, SHAPE[1], 300)
    x, y = transform @ (columns + random.random(300), rows + random.random(300))
    values = [NAMES.get(int(code)) for code in truth[rows, columns]]
    x[0], values[0] = x[0] - 50_000, "Water"
    frame = geopandas.GeoDataFrame(
        {"seen": values, "who": "me"}, geometry=geopandas.points_from_xy(x, y), crs=UTM
    )
    frame.to_crs(4326).to_file(tmp_path / "points.geojson")
    code, out, _ = call(
        "evaluate", folder / "map.tif", tmp_path / "points.geojson", "--column", "seen", "--json",
        "-q", "--confidence", folder / "confidence.tif",
    )  # fmt: skip
    assert code == 0
    found = json.loads(out)
    t, p = (read(folder / name)[rows[1:], columns[1:]] for name in ("truth.tif", "map.tif"))
    known = (t != 255) & (p != 255)
    assert found["kind"] == "points"
    assert found["points_outside"] == 1
    assert found["unlabelled_features"] == (t == 255).sum()
    assert found["pixels"] == known.sum()
    assert found["unmapped"] == ((t != 255) & (p == 255)).sum()
    assert found["accuracy"] == pytest.approx((t == p)[known].mean())
    assert found["mean_boundary_f1"] is None
    assert found["expected_calibration_error"] > 0


def test_classes_are_merged_and_left_out(folder, call):
    args = ("evaluate", folder / "map.tif", folder / "truth.tif", "--json", "-q")
    code, out, _ = call(
        *args, "--mapping", "prediction:*=Land,*=Land", "--mapping", "prediction:1=Water,1=Water"
    )
    truth, codes = judged(folder)
    found = json.loads(out)
    assert code == 0
    assert [c["name"] for c in found["classes"]] == ["Water", "Land"]
    iou = metrics.jaccard_score(truth == 1, codes == 1)
    assert found["classes"][0]["iou"] == pytest.approx(iou)
    code, out, _ = call(*args, "--ignore", "Trees", "--ignore", "1")
    keep = (truth != 2) & (truth != 1)
    assert json.loads(out)["pixels"] == keep.sum()


def test_other_grids_other_numbers(tmp_path):
    codes = np.random.default_rng(0).integers(1, 4, (30, 40)).astype(np.uint8)
    south_up = write(tmp_path / "south.tif", codes, transform=SOUTH_UP)
    whole = write(tmp_path / "float.tif", codes.astype(np.float32), transform=SOUTH_UP)
    found = geoseg.evaluate(south_up, whole, tolerance="0 m")
    assert found.scores.accuracy == found.scores.mean_iou == found.boundaries.mean_f1 == 1
    # The same place, north-up.
    turned = write(
        tmp_path / "north.tif", codes[::-1].astype(np.int32), nodata=-9999,
        transform=SOUTH_UP @ Affine.translation(0, 30) @ Affine.scale(1, -1),
    )  # fmt: skip
    assert geoseg.evaluate(south_up, turned).scores.accuracy == 1
    one = write(tmp_path / "one.tif", codes[:1, :1], transform=SOUTH_UP)
    found = geoseg.evaluate(one, one)
    assert found.scores.accuracy == 1
    assert found.as_dict()["kappa"] is None
    assert json.dumps(found.as_dict(), allow_nan=False)


def bad_requests(folder, tmp_path):
    """Arguments, and what must be said of them."""
    tif, truth = folder / "map.tif", folder / "truth.tif"
    codes = np.ones((20, 20), np.uint8)
    far = write(tmp_path / "far.tif", codes, transform=NORTH_UP @ Affine.translation(1e5, 0))
    floats = write(tmp_path / "floats.tif", codes + np.float32(0.5))
    strange = write(tmp_path / "strange.tif", codes.astype(np.int16) - 5)
    nowhere = write(tmp_path / "nowhere.tif", codes, crs=None)
    sure = write(tmp_path / "sure.tif", codes + 100)
    place = write(tmp_path / "place.tif", codes)
    frame = polygons(folder)
    two = tmp_path / "two.gpkg"
    frame.to_file(two, layer="a")
    frame.set_crs(None, allow_override=True).to_parquet(tmp_path / "nowhere.parquet")
    frame.to_file(two, layer="b")
    lines = tmp_path / "lines.gpkg"
    frame.assign(geometry=frame.boundary).to_file(lines)
    (tmp_path / "text.gpkg").write_text("no")
    yield (tif, "none.tif"), "none.tif: no such file"
    yield ("none.tif", truth), "none.tif: no such file"
    yield (tif, "none.gpkg"), "none.gpkg: no such file"
    yield (tif, nowhere), "nowhere.tif: no CRS; give it one first (gdal_edit.py -a_srs"
    yield (place, far), "nowhere on"
    yield (floats, place), "floats.tif: holds 1.5; class codes are whole numbers 0 to 255"
    yield (place, strange), "strange.tif: holds -4; class codes"
    yield (place, place, "--confidence", sure), "sure.tif: holds 101; a confidence is"
    yield (tif, truth, "--tolerance", "5"), "tolerance: expected a length like '10 m'"
    yield (tif, truth, "--tolerance", "50 km"), "tolerance: 50 km spans 5000 pixels; at most"
    yield (tif, truth, "--ignore", "Wter"), "has no class 'Wter', did you mean 'Water'?"
    yield (tif, truth, "--mapping", "Water"), "mapping: 'Water' is not like CLASS=CLASS"
    yield (tif, truth, "--mapping", "Water=Trees,Water=Crops"), "mapping: 'Water' is there twice"
    yield (tif, two), "two.gpkg: 2 layers with shapes; choose a layer: a, b"
    yield (tif, two, "--layer", "c"), "no layer 'c'; choose a layer: a, b"
    yield (
        (tif, two, "--layer", "a"),
        "2 columns; choose the column of class names or codes: kind, n",
    )
    yield (tif, two, "--layer", "a", "--column", "x"), "no column 'x'"
    yield (tif, two, "--layer", "a", "--column", "n"), "which is none of the prediction's classes"
    yield (tif, tmp_path / "nowhere.parquet"), "nowhere.parquet: no CRS; give it one first"
    yield (
        (tif, lines, "--column", "kind"),
        "lines.gpkg: has MultiLineString; labels are polygons or points",
    )
    yield (tif, tmp_path / "text.gpkg"), "text.gpkg: not a vector file that can be read"


def test_bad_requests_are_refused_in_one_line(folder, tmp_path, call):
    for args, said in bad_requests(folder, tmp_path):
        code, out, err = call("evaluate", *args, "-q")
        assert (code, out) == (2, ""), (args, out, err)
        assert said in err, (said, err)
        assert err.count("\n") == 1, err
        assert err.startswith("error: ")


def test_from_python(folder):
    with pytest.raises(InputError, match="no such file"):
        geoseg.evaluate("none.tif", folder / "truth.tif")
    found = geoseg.evaluate(str(folder / "map.tif"), str(folder / "truth.tif"))
    assert found.classes == LANDCOVER.names
