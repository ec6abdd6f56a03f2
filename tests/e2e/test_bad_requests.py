"""Bad models, arguments and places; from outside, too: what a shell sees of a refusal."""

import json
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packages import BANDS, write_package
from refusals import Cases, Desk, ask, check_refused, check_words, contents


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("models"))


@pytest.fixture
def desk(tmp_path, model, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path, model)


case = Cases()


# --- models -----------------------------------------------------------------------------------


def _package(desk: Desk) -> Path:
    return Path(shutil.copytree(desk.model, desk.folder / "models/tiny"))


def _card(desk: Desk, change) -> list[str]:
    card = _package(desk) / "card.json"
    data = json.loads(card.read_text())
    change(data["properties"])
    card.write_text(json.dumps(data))
    return desk.workflow(model={"path": "models/tiny"})


@case("'landcover-s3'", "did you mean 'landcover-s2'?", "known: ")
def a_model_of_unknown_name(desk):
    return desk.workflow(model="landcover-s3")


@case("models/none", "does not exist", "card.json")
def a_model_folder_that_is_not_there(desk):
    return desk.workflow(model={"path": "models/none"})


@case("models/empty", "has no card.json")
def a_model_folder_without_a_card(desk):
    desk.write("models/empty/notes.txt", "")
    return desk.workflow(model={"path": "models/empty"})


@case("weights.safetensors", "missing")
def a_model_without_weights(desk):
    (_package(desk) / "weights.safetensors").unlink()
    return desk.workflow(model={"path": "models/tiny"})


@case("weights.safetensors", "sha256", "damaged")
def a_model_whose_weights_are_cut(desk):
    weights = _package(desk) / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    return desk.workflow(model={"path": "models/tiny"})


@case("weights.safetensors", "sha256", "damaged")
def a_model_with_the_weights_of_another(desk):
    other = write_package(
        desk.folder / "others", "other", bands=BANDS[:3], mean=(0.1,) * 3, std=(0.1,) * 3
    )
    shutil.copy(other / "weights.safetensors", _package(desk))
    return desk.workflow(model={"path": "models/tiny"})


@case("weights.safetensors", "not a safetensors file")
def a_pickle_called_safetensors(desk):
    weights = _package(desk) / "weights.safetensors"
    weights.write_bytes(pickle.dumps({"weight": [1.0]}))
    card = weights.with_name("card.json")
    data = json.loads(card.read_text())
    del data["assets"]["weights"]["file:checksum"]
    card.write_text(json.dumps(data))
    return desk.workflow(model={"path": "models/tiny"})


@case("model.pt", "pickle", "geoseg models convert", "weights.safetensors")
def a_pickle_as_model(desk):
    desk.write("models/model.pt", pickle.dumps({"weight": [1.0]}))
    return desk.workflow(model={"path": "models/model.pt"})


@case("card.json:1:", "not JSON")
def a_card_that_is_not_json(desk):
    (_package(desk) / "card.json").write_text('{"type": "Feature",,}')
    return desk.workflow(model={"path": "models/tiny"})


@case("card.json", "geoseg:stride", "found nothing", "a whole number from 1")
def a_card_without_a_stride(desk):
    return _card(desk, lambda card: card.pop("geoseg:stride"))


@case("card.json", "geoseg:strides", "unknown key, did you mean 'geoseg:stride'?")
def a_card_with_a_misspelt_key(desk):
    return _card(desk, lambda card: card.update({"geoseg:strides": 8}))


# --- commands ---------------------------------------------------------------------------------


def _classes(desk: Desk, **more) -> str:
    return desk.scene("in/classes.tif", **({"bands": 1, "dtype": "uint8"} | more))


@case("in/none.tif", "no such file")
def vectorize_a_missing_file(desk):
    return ["vectorize", "in/none.tif", "out/polygons.gpkg"]


@case("in/classes.tif", "float32", "class codes", "gdal_translate -ot Byte")
def vectorize_floats(desk):
    return ["vectorize", _classes(desk, dtype="float32"), "out/polygons.gpkg"]


@case("in/classes.tif", "no CRS", "gdal_edit.py")
def vectorize_without_crs(desk):
    return ["vectorize", _classes(desk, crs=None), "out/polygons.gpkg"]


@case("out/polygons.shp", ".gpkg or .parquet")
def vectorize_to_a_shapefile(desk):
    return ["vectorize", _classes(desk), "out/polygons.shp"]


@case("'corine'", "known: ", "landcover")
def vectorize_with_an_unknown_legend(desk):
    return ["vectorize", _classes(desk), "out/polygons.gpkg", "--legend", "corine"]


@case("no class 'wate'", "Water")
def vectorize_an_unknown_class(desk):
    return [
        "vectorize", _classes(desk), "out/polygons.gpkg", "--legend", "landcover", "--classes",
        "wate",
    ]  # fmt: skip


@case("min_area", "'5 hectars'", "0.25 ha")
def vectorize_with_a_bad_area(desk):
    return ["vectorize", _classes(desk), "out/polygons.gpkg", "--min-area", "5 hectars"]


@case("connectivity", "found 6", "4 or 8")
def vectorize_with_a_bad_connectivity(desk):
    return ["vectorize", _classes(desk), "out/polygons.gpkg", "--connectivity", "6"]


@case("in", "is a folder", "name a file")
def vectorize_to_a_folder(desk):
    raster = _classes(desk)
    (desk.folder / "in/polygons.gpkg").mkdir()
    return ["vectorize", raster, "in/polygons.gpkg"]


@case("size '10 x 10'", "1024 or 512x2048")
def a_sample_of_bad_size(desk):
    return ["sample", "out", "--size", "10 x 10"]


@case("size", "0")
def a_sample_without_pixels(desk):
    return ["sample", "out", "--size", "0"]


@case("seed", "-1")
def a_sample_with_a_negative_seed(desk):
    return ["sample", "out", "--seed", "-1"]


@case("date", "3", "1 or 2")
def a_sample_of_a_third_date(desk):
    return ["sample", "out", "--date", "3"]


@case("none", "no such folder")
def the_status_of_nothing(desk):
    return ["status", "none"]


@case("in", "no run has written here")
def the_status_of_a_folder_without_runs(desk):
    desk.scene()
    return ["status", "in"]


@case("test.yaml", "is there already", "another name")
def init_over_a_file(desk):
    desk.workflow()
    return ["init", "test.yaml"]


@case("'landcover-s3'", "did you mean 'landcover-s2'?")
def init_with_an_unknown_model(desk):
    return ["init", "new.yaml", "--model", "landcover-s3"]


@case("--scene or --catalog")
def init_with_scene_and_catalog(desk):
    return ["init", "new.yaml", "--scene", "a.tif", "--catalog", "b.json"]


@case("in/scene.tif", "is not a folder")
def init_below_a_file(desk):
    return ["init", f"{desk.scene()}/new.yaml"]


@case("in/scene.tif", "is not a folder", "choose another")
def a_sample_below_a_file(desk):
    return ["sample", f"{desk.scene()}/sample"]


@case("in/scene.tif", "no sample of geoseg's", "choose another")
def a_sample_over_a_scene(desk):
    return ["sample", str(Path(desk.scene()).parent)]


@case("in/classes.tif", "is not a folder", "choose another")
def vectorize_below_a_file(desk):
    return ["vectorize", _classes(desk), "in/classes.tif/polygons.gpkg"]


@case("'landcover-s3'", "did you mean")
def show_an_unknown_model(desk):
    return ["models", "show", "landcover-s3"]


@case("predict: input.scale", "expected a number", "nan")
def a_scale_that_is_not_finite(desk):
    return ["predict", desk.scene(), "out", "--scale", "nan", "--model", desk.model]


@case("predict: input.units", "'percent'", "reflectance or dn")
def units_that_are_unknown(desk):
    return ["predict", desk.scene(), "out", "--units", "percent", "--model", desk.model]


@pytest.mark.parametrize(("make", "said"), case.all)
def test_refused(desk, capfd, make, said):
    check_refused(desk, make(desk), said, capfd)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (["plann", "test.yaml"], ("No such command 'plann'", "plan")),
        (
            ["predict", "in/scene.tif", "out", "--bandz", "red"],
            ("No such option: --bandz", "--bands"),
        ),
        (["predict", "in/scene.tif", "out", "--scale", "tenth"], ("Invalid value for '--scale'",)),
        (["predict", "in/scene.tif"], ("Missing argument", "out")),
        (["run"], ("Missing argument", "workflow")),
        (["vectorize", "a.tif", "b.gpkg", "--connectivity", "12"], ("'--connectivity'", "8")),
        (["sample", "out", "--seed", "seven"], ("Invalid value for '--seed'",)),
    ],
)
def test_a_command_that_is_not_understood_shows_its_usage(desk, capfd, request_, said):
    assert ask(request_) == 2
    told = capfd.readouterr().err
    assert told.startswith("Usage: geoseg")
    assert "Traceback" not in told
    for part in said:
        assert part.lower() in told.lower()
    assert not contents(desk.folder)


def geoseg(*arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "geoseg", *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (["run", "cut.yaml"], ("in/cut.tif", "truncated")),
        (["plan", "cut.yaml"], ("in/cut.tif", "truncated")),
        (["run", "test.yaml", "--set", "tiling.sise=5"], ("--set tiling.sise=5", "'size'")),
        (["predict", "in/none.tif", "out"], ("in/none.tif", "no such file")),
        (["vectorize", "in/scene.tif", "out.shp"], ("out.shp", ".gpkg or .parquet")),
        (["status", "none"], ("none: there is no such folder",)),
        (["sample", "in/scene.tif/x"], ("is not a folder", "choose another")),
    ],
)
def test_what_a_shell_sees(desk, request_, said):
    desk.workflow()
    path = desk.folder / desk.scene("in/cut.tif", side=300)
    path.write_bytes(path.read_bytes()[:300_000])
    desk.write("cut.yaml", json.dumps(desk.settings(input={"path": "in/cut.tif"})))
    before = contents(desk.folder)
    code, out, told = geoseg(*request_)
    check_words(told, said)
    assert code == 2
    assert not out
    assert contents(desk.folder) == before


def test_debug_shows_where_it_came_from(desk):
    desk.workflow(input={"path": "in/none.tif"})
    code, _, told = geoseg("run", "test.yaml", "--debug")
    assert code == 2
    assert told.startswith("Traceback (most recent call last):")
    assert "SceneError" in told
    assert re.search(r"\nerror: test.yaml:1:\d+: input.path: in/none.tif: no such file", told)


def test_a_tile_that_cannot_be_decoded_fails_its_block(desk):
    options = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    path = desk.folder / desk.scene(side=260, **options)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4000] = b"\xff" * 4000
    path.write_bytes(data)
    code, out, told = geoseg(*desk.workflow(), "--quiet")
    check_words(told, ("error: segment: block rows", "in/scene.tif", "cannot be read at rows"))
    assert code == 1
    assert not out


def test_weights_of_another_network_fail_where_they_are_loaded(desk):
    """Their checksum is right, and shapes are only known to the network."""
    other = write_package(
        desk.folder / "models",
        "other",
        architecture={"name": "geoseg-unet", "widths": [8, 16, 24, 32]},
    )
    card = json.loads((desk.model / "card.json").read_text())
    card["assets"] = json.loads((other / "card.json").read_text())["assets"]
    (other / "card.json").write_text(json.dumps(card))
    code, _, told = geoseg(*desk.workflow(model={"path": "models/other"}), "--quiet")
    check_words(told, ("weights.safetensors", "the card's network needs"))
    assert code == 1
