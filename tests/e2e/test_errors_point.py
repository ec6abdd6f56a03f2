"""Values that a valid workflow should not have: the error says in which file and line they stand."""

import pickle

import geopandas
import pytest
import shapely
from conftest import ROOT
from packages import write_package
from refusals import Desk, check_refused

from geoseg.errors import ModelError, PlanError, SceneError
from geoseg.workflow import from_data, load, load_training, loads

YAML = """\
geoseg: 1
name: test
input:
  kind: files
  path: in/scene.tif
  bands: [blue, green, red, nir, swir16, swir22]
  units: reflectance
  scale: 0.0001
model:
  path: models/tiny
output:
  directory: out
cluster: {workers: 1, dashboard: false}
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """One folder for all: nothing is written there."""
    folder = tmp_path_factory.mktemp("desk")
    made = Desk(folder, write_package(folder / "models"))
    made.model.rename(folder / "models/tiny")
    made.scene()
    made.write("file", "not a folder")
    lake = geopandas.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:32629")
    lake.to_file(folder / "in/lake.gpkg", layer="lake", engine="pyogrio")
    return made


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("blue, green", "bleu, green", ("test.yaml:6:3: input.bands: no blue", "   6 |", "bleu")),
        ("in/scene.tif", "in/scnee.tif", ("test.yaml:5:9: input.path: in/scnee.tif: no such",)),
        ("in/scene.tif", "nowhere/*.tif", ("test.yaml:5:9: input.path: nowhere/*.tif:",)),
        ("  units: reflectance\n", "  crs: EPSG:3035\n", ("test.yaml:7:8: ", "input.crs says EPSG:3035")),
        ("kind: files", "kind: files\n  mask: {method: scl, path: in/m.tif}",
         ("test.yaml:5:29: input.mask.path: ", "no such file")),
        ("models/tiny", "models/tyni", ("test.yaml:10:9: model.path: model ", "does not exist")),
        ("path: models/tiny", "name: landcover-s3",
         ("test.yaml:10:9: model.name: model 'landcover-s3': there is none", "landcover-s2")),
        ("directory: out", "directory: file", ("test.yaml:12:14: output.directory: ", "file is not a folder",)),
        ("directory: out", "directory: out\n  vector: {classes: [Watr]}",
         ("test.yaml:13:12: output.vector.classes: ", "did you mean 'Water'?")),
        ("output:", "tiling: {size: 204, margin: 48}\noutput:",
         ("test.yaml:11:1: tiling: size 204 px", "try 208")),
        ("output:", "area: {file: in/lake.gpkg, layer: laek}\noutput:",
         ("test.yaml:11:14: area.file: area in/lake.gpkg: ", "laek", "it has lake")),
        ("output:", "area: {file: in/sea.gpkg}\noutput:",
         ("test.yaml:11:14: area.file: area in/sea.gpkg: no such file",)),
        ("output:", "grid: {crs: 'EPSG:99999', resolution: 10 m}\noutput:",
         ("test.yaml:11:13: grid.crs: EPSG:99999 is not understood",)),
        ("output:", "grid: {crs: 'EPSG:3035', resolution: 1 deg}\noutput:",
         ("test.yaml:11:38: grid.resolution: ",)),
        ("output:", "grid: {like: in/none.tif}\noutput:", ("test.yaml:11:14: grid.like: ",)),
        ("output:", "alerts: {store: kept.zarr, forest: Wood}\noutput:",
         ("test.yaml:11:36: alerts.forest: ", "Wood")),
        ("output:", "change: {before: '2020-01-01', after: '2021-01-01'}\noutput:",
         ("test.yaml:11:18: change.before: '2020-01-01' is no scene",)),
        ("cluster: {workers: 1, dashboard: false}", "cluster: {workers: 1, memory: 9 MB}",
         ("test.yaml:13:", "cluster.memory")),
    ],
)  # fmt: skip
def test_a_wrong_value_is_shown_in_its_line(desk, monkeypatch, capfd, was, becomes, said):
    monkeypatch.chdir(desk.folder)
    assert was in YAML
    check_refused(desk, desk.text(YAML.replace(was, becomes, 1)), said, capfd)


def test_values_of_bases_and_settings_are_shown_where_they_stand(desk, monkeypatch, capfd):
    monkeypatch.chdir(desk.folder)
    desk.write("base.yaml", YAML.replace("blue, green", "bleu, green"))
    desk.text("extends: base.yaml\nname: other\ngeoseg: 1\n")
    check_refused(desk, ["plan", "test.yaml"], ("base.yaml:6:3: input.bands: no blue",), capfd)
    desk.text(YAML)
    asked = ["plan", "test.yaml", "--set", "tiling.size=96"]
    check_refused(desk, asked, ("error: --set tiling.size=96: tiling: ", "margin 48"), capfd)


def test_sections_that_nobody_wrote_have_a_file_and_no_line(desk, monkeypatch, capfd):
    with (
        pytest.raises(PlanError, match=r"^a\.yaml: tiling: size"),
        loads(YAML, "a.yaml").pointing(),
    ):
        raise PlanError("tiling: size 204 px")


def test_trainings_point_too():
    path = ROOT / "workflows/train/fine-tuning.yaml"
    line = 1 + path.read_text().splitlines().index("data:")
    with pytest.raises(SceneError) as raised, load_training(path).pointing():
        raise SceneError("data.0.input.bands: no blue, which the model needs")
    place, text = str(raised.value).split(": data.0.input.bands: no blue")
    assert place.startswith(f"{path}:")
    assert int(place.split(":")[1]) > line
    assert text.splitlines()[0] == ", which the model needs"


@pytest.mark.parametrize(
    "message",
    [
        "in/other.tif: truncated, 12 bytes are missing",
        "scene a: 30 GB are needed",
        "reflectance",
        "",
        "x: y: z",
    ],
)
def test_what_is_not_about_the_file_is_left_alone(message):
    with pytest.raises(SceneError) as raised, loads(YAML, "a.yaml").pointing():
        raise SceneError(message)
    assert str(raised.value) == message


def test_an_error_is_told_once_and_stays_what_it_is():
    workflow = loads(YAML, "a.yaml")
    with pytest.raises(ModelError) as raised, workflow.pointing(), workflow.pointing():
        raise ModelError("model.path: models/tiny is no model")
    assert str(raised.value).splitlines()[0] == ("a.yaml:10:9: model.path: models/tiny is no model")
    assert str(raised.value).count("a.yaml") == 1


def test_what_stands_in_no_file_is_told_as_it_was():
    data = {"geoseg": 1, "name": "x", "input": {"kind": "sample"}, "model": "m",
            "output": {"directory": "o"}}  # fmt: skip
    with pytest.raises(ModelError, match=r"^model 'm': none$"), from_data(data).pointing():
        raise ModelError("model 'm': none")


def test_where_it_stands_is_no_part_of_a_workflow(tmp_path):
    path = tmp_path / "w.yaml"
    path.write_text("# a line more\n" + YAML)
    there = load(path)
    assert there == loads(YAML)
    sent = pickle.loads(pickle.dumps(there))  # noqa: S301 (our own)
    assert sent == there
    assert b"a line more" not in pickle.dumps(there)
    with pytest.raises(SceneError, match=r"^input\.bands: no"), sent.pointing():
        raise SceneError("input.bands: no blue")
