"""Workflows that are wrong, or that ask for what cannot be: one clear error, nothing written."""

import os
import socket

import pytest
from packages import write_package
from refusals import Cases, Desk, ask, check_refused


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("models"))


@pytest.fixture
def desk(tmp_path, model, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path, model)


YAML = """\
geoseg: 1
name: test
input:
  kind: files
  path: in/scene.tif
model: landcover-s2
output:
  directory: out
"""

case = Cases()


# --- YAML -------------------------------------------------------------------------------------


@case("none.yaml", "no such workflow file")
def a_missing_workflow(desk):
    return ["run", "none.yaml"]


@case("tset.yaml", "did you mean 'test.yaml'?")
def a_misspelt_workflow(desk):
    desk.text(YAML)
    return ["run", "tset.yaml"]


@case("in", "cannot be read: Is a directory")
def a_folder_as_workflow(desk):
    desk.scene()
    return ["run", "in"]


@case("test.yaml", "the workflow is empty")
def an_empty_workflow(desk):
    return desk.text("")


@case("test.yaml", "the workflow is empty")
def a_workflow_of_comments(desk):
    return desk.text("# nothing yet\n")


@case("test.yaml:1:1", "expected keys and values")
def a_workflow_that_is_prose(desk):
    return desk.text("Dear computer, please map my scene.\n")


@case("test.yaml:5:6", "not valid YAML", "expected ',' or ']'")
def yaml_with_a_bracket_left_open(desk):
    return desk.text(YAML.replace("  kind: files\n  path: in/scene.tif", "  path: [in/scene.tif"))


@case("test.yaml:4:1", "tab")
def yaml_with_tabs(desk):
    return desk.text(YAML.replace("  kind", "\tkind"))


@case("test.yaml:9:", "document")
def two_documents(desk):
    return desk.text(YAML + "---\n" + YAML)


@case("test.yaml:2:7", "!!python/object/apply:os.system")
def python_in_yaml(desk):
    return desk.text(YAML.replace("name: test", "name: !!python/object/apply:os.system ls"))


@case("test.yaml:3:1", "name", "again")
def a_key_twice(desk):
    return desk.text(YAML.replace("input:", "name: again\ninput:"))


@case("test.yaml", "not UTF-8 text", "save it as UTF-8")
def yaml_in_latin_1(desk):
    desk.write("test.yaml", YAML.replace("test", "Fläche").encode("latin-1"))
    return ["run", "test.yaml"]


@case("in/scene.tif", "not UTF-8 text")
def an_image_as_workflow(desk):
    return ["run", desk.scene()]


# --- keys and values --------------------------------------------------------------------------


@case("test.yaml:9:1", "tilling: unknown key, did you mean 'tiling'?", "^")
def an_unknown_section(desk):
    return desk.text(YAML + "tilling: {size: 512}\n")


@case("test.yaml:10:3", "tiling.overlap: unknown key, did you mean 'margin'?")
def an_unknown_key(desk):
    return desk.text(YAML + "tiling:\n  overlap: 64\n")


@case("test.yaml", "output.directory", "required")
def a_missing_key(desk):
    return desk.text(YAML.replace("  directory: out\n", "  quicklook: false\n"))


@case("test.yaml:1:9", "geoseg", "expected 1", "found 2")
def a_workflow_of_a_later_version(desk):
    return desk.text(YAML.replace("geoseg: 1", "geoseg: 2"))


@case("input.kind", "'fils'", "did you mean 'files'?")
def an_unknown_kind(desk):
    return desk.workflow(input={"kind": "fils"})


@case("output.vector.min_area", "'5 hectars'", "'0.25 ha'")
def an_area_in_hectars(desk):
    return desk.workflow(output={"directory": "out", "vector": {"min_area": "5 hectars"}})


@case("output.vector.min_area", "'10 sec'", "m2, ha, km2")
def an_area_in_seconds(desk):
    return desk.workflow(output={"directory": "out", "vector": {"min_area": "10 sec"}})


@case("output.vector.min_area", "found 5", "m2")
def an_area_without_unit(desk):
    return desk.workflow(output={"directory": "out", "vector": {"min_area": 5}})


@case("cluster.memory", "'lots'", "GB")
def memory_in_words(desk):
    return desk.workflow(cluster={"memory": "lots"})


@case("input.mask.dilate", "'60 seconds'", "m")
def a_dilation_in_seconds(desk):
    return desk.workflow(input={"mask": {"method": "scl", "dilate": "60 seconds"}})


@case("output.vector.formats", "'shp'", "gpkg")
def an_unknown_format(desk):
    return desk.workflow(output={"vector": {"formats": ["shp"]}})


@case("test.yaml", "model", "expected exactly one of name, path and ensemble")
def a_model_by_name_and_path(desk):
    return desk.workflow(model={"name": "landcover-s2"})


@case("test.yaml:6:8", "GEOSEG_TEST_MODEL", "not set")
def a_variable_that_is_not_set(desk):
    return desk.text(YAML.replace("landcover-s2", "${GEOSEG_TEST_MODEL}"))


@case("test.yaml:2:10", "extends", "base.yaml", "no such workflow file")
def a_base_that_is_missing(desk):
    return desk.text(YAML.replace("name: test", "extends: base.yaml"))


@case("base.yaml", "extends", "would extend itself")
def bases_that_extend_one_another(desk):
    desk.write("base.yaml", "extends: test.yaml\n")
    return desk.text("extends: base.yaml\n" + YAML)


@case("--set tiling.sise=512", "unknown key, did you mean 'size'?")
def a_setting_with_an_unknown_key(desk):
    return [*desk.workflow(), "--set", "tiling.sise=512"]


@case("--set tiling.size=big", "found 'big'", "pixels")
def a_setting_with_a_bad_value(desk):
    return [*desk.workflow(), "--set", "tiling.size=big"]


@case("--set tiling", "expected key=value, like output.directory=maps")
def a_setting_without_value(desk):
    return [*desk.workflow(), "--set", "tiling"]


# --- model, tiling, memory --------------------------------------------------------------------


@case(
    "output.vector.classes",
    "no class 'Watr'",
    "did you mean 'Water'? its classes are",
    "Bare ground",
)
def a_class_that_the_model_does_not_know(desk):
    return desk.workflow(output={"directory": "out", "vector": {"classes": ["Watr"]}})


@case("test.yaml", "tiling.margin", "less than half of 'size'", "found 128 px")
def a_margin_as_wide_as_the_chip(desk):
    return desk.workflow(tiling={"size": 256, "margin": 128})


@case("tiling", "96", "margin 48")
def a_chip_that_the_models_margin_uses_up(desk):
    return desk.workflow(tiling={"size": 96})


@case("tiling: size 204 px", "multiple of 8", "try 208")
def a_chip_that_does_not_fit_the_stride(desk):
    return desk.workflow(tiling={"size": 204, "margin": 48})


@case("tiling", "block 100 px is not a multiple", "try 96")
def a_block_that_does_not_fit_the_stride(desk):
    return desk.workflow(tiling={"size": 192, "margin": 48, "block": 100})


@case("scene scene", "GB", "cluster.memory", "tiling.size")
def too_little_memory(desk):
    desk.scene(side=600)
    return desk.workflow(cluster={"workers": 1, "memory": "100 MB"})


@case("model.device", "'cuda:9'", "auto, cpu or cuda")
def an_unknown_device(desk):
    return desk.workflow(model={"device": "cuda:9"})


# --- output -----------------------------------------------------------------------------------


@case("output.directory", "out", "is not a folder", "choose another")
def an_output_that_is_a_file(desk):
    desk.write("out", "mine")
    return desk.workflow()


@case("output.directory", "in/scene.tif is not a folder", "choose another")
def an_output_below_a_file(desk):
    return desk.workflow(output={"directory": "in/scene.tif/maps"})


@case("output.directory", "cannot be written to", "choose another")
def an_output_that_is_read_only(desk):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    folder = desk.folder / "out"
    folder.mkdir(mode=0o500)
    return desk.workflow()


@case("output.directory", "2 scenes would be written to", "a, b", "add {scene}")
def two_scenes_in_one_folder(desk):
    desk.scene("in/a.tif")
    desk.scene("in/b.tif")
    return desk.workflow(input={"path": "in/*.tif"})


@case("output.directory", "{date}", "scene scene", "no date")
def a_date_that_the_scene_does_not_have(desk):
    return desk.workflow(output={"directory": "out/{date:%Y}"})


@case("output.directory", "{sceen}", "{scene}")
def an_unknown_field_in_the_output(desk):
    return desk.workflow(output={"directory": "out/{sceen}"})


@case("output.directory", "}")
def a_brace_left_open_in_the_output(desk):
    return desk.workflow(output={"directory": "out/{scene"})


# --- cluster ----------------------------------------------------------------------------------


@case("cluster.address", "tcp://10.0.0.5:8786", "found 'localhost'")
def an_address_without_a_port(desk):
    return desk.workflow(cluster={"kind": "address", "address": "localhost", "workers": ...})


@case("cluster.workers", "a running cluster has its own")
def workers_of_a_running_cluster(desk):
    return desk.workflow(cluster={"kind": "address", "address": "tcp://127.0.0.1:1"})


@case("cluster.workers", "at least 1", "found 0")
def no_workers(desk):
    return desk.workflow(cluster={"workers": 0})


@pytest.mark.parametrize(("make", "said"), case.all)
def test_refused(desk, capfd, make, said):
    check_refused(desk, make(desk), said, capfd)


def _silent_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.cluster
@pytest.mark.parametrize("source", ["sample"])  # the wait is long
def test_a_cluster_that_does_not_answer(desk, capfd, source):
    cluster = {"kind": "address", "address": _silent_address(), "workers": ...}
    sample = {"kind": "sample", "size": 64, "path": ..., "bands": ..., "units": ..., "scale": ...}
    request = desk.workflow(cluster=cluster, input=sample if source == "sample" else {})
    said = "no scheduler answers at tcp://127.0.0.1", "dask scheduler", "kind 'local'"
    check_refused(desk, request, said, capfd)


def test_all_that_is_wrong_is_told_at_once(desk, capfd):
    request = desk.text(YAML.replace("kind: files", "kind: files\n  crs: 32629\n  scale: big"))
    assert ask(request) == 2
    told = capfd.readouterr().err
    assert "test.yaml:5:8: input.crs: " in told
    assert "write EPSG:32629" in told
    assert "test.yaml:6:10: input.scale: " in told


def test_validate_tells_of_every_file(desk, capfd):
    desk.text(YAML)
    desk.write("bad.yaml", YAML.replace("name: test", "nmae: test"))
    assert ask(["validate", "test.yaml", "bad.yaml", "none.yaml"]) == 2
    out, told = capfd.readouterr()
    assert out == "test.yaml: ok\n"
    assert "bad.yaml:2:1: nmae: unknown key, did you mean 'name'?" in told
    assert "none.yaml: no such workflow file" in told
