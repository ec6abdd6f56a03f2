"""How two maps differ and why: layer, table, exit codes, and what records say."""

import json
import shutil

import numpy as np
import pytest
import rasterio
from change_maps import CLEARING, CLOUD, FLOOD, SHAPE, land, later, write_map, write_pair

import geoseg
from geoseg.cli import run as cli
from geoseg.errors import InputError
from geoseg.io.read_provenance import read_provenance

RECORD = {
    "inputs": [{"href": "a/scene.tif", "sha256": "11"}],
    "acquired": "2021-06-05",
    "model": {"name": "net", "version": "1", "sha256": "aa"},
    "workflow": {"input": {"path": ["a/scene.tif"]}, "tiling": {"size": 512}, "cluster": {"workers": 1}},
    "software": {"geoseg": "1", "numpy": "2"},
    "hashes": {"inputs": "i", "model": "m", "settings": "s", "code": "c"},
}  # fmt: skip


def run_folder(path, codes, **changes):
    path.mkdir()
    write_map(path / "classes.tif", codes)
    record = json.loads(json.dumps(RECORD))
    for key, value in changes.items():
        record[key] = {**record[key], **value} if isinstance(value, dict) else value
    (path / "run.json").write_text(json.dumps(record))
    return path


def test_the_layer_and_the_table_say_where_and_how_much(tmp_path):
    one, two = write_pair(tmp_path)
    result = geoseg.diff(two, one, tmp_path / "out")
    told = read_provenance(tmp_path / "out" / "diff.tif")
    assert [one.keys() >= {"href", "sha256"} for one in told["inputs"]] == [True, True]
    with rasterio.open(tmp_path / "out" / "diff.tif") as file:
        codes = file.read(1)
    first, second = later(), land()
    assert (codes[CLOUD] == 253).all()  # only in the second
    np.testing.assert_array_equal(codes == 0, first == second)
    assert len(np.unique(codes[CLEARING])) == 1
    assert not result.same
    assert result.record["differing_pixels"] == (first != second).sum()
    assert result.record["pixels"] == SHAPE[0] * SHAPE[1]
    rows = {(r["a"], r["b"]): r["pixels"] for r in result.record["differences"]}
    assert rows == {("Crops", "Trees"): 244, ("Water", "Crops"): 150, ("(not seen)", "Trees"): 300}
    assert json.loads((tmp_path / "out" / "diff.json").read_text()) == result.record
    assert "Crops to Trees" in (tmp_path / "out" / "diff.qml").read_text()
    assert "why is not known" in result.record["why"]["sentence"]
    assert codes[FLOOD].min() > 0


def test_without_a_folder_nothing_is_written(tmp_path, capfd):
    one, two = write_pair(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert cli(["diff", str(one), str(two), "--quiet"]) == 0
    assert "694 of 10,800 pixels differ" in capfd.readouterr().out
    assert sorted(tmp_path.iterdir()) == before


def test_exit_codes_are_those_of_diff(tmp_path, capfd):
    one, two = write_pair(tmp_path)
    shutil.copytree(tmp_path, tmp_path.parent / f"{tmp_path.name}-copy")
    same = tmp_path.parent / f"{tmp_path.name}-copy" / "one.tif"
    assert cli(["diff", str(one), str(same), "--exit-code", "--quiet"]) == 0
    assert "the same in all 10,800 pixels" in capfd.readouterr().out
    assert cli(["diff", str(one), str(two), "--exit-code", "--quiet"]) == 1
    assert cli(["diff", str(one), str(tmp_path / "none.tif"), "--exit-code", "--quiet"]) == 2


@pytest.mark.parametrize(
    ("changes", "parts", "words"),
    [
        ({}, [], "made from the same input, model, settings and code"),
        ({"inputs": [{"href": "b/scene.tif", "sha256": "22"}],
          "workflow": {"input": {"path": ["b/scene.tif"]}},
          "hashes": {"inputs": "j", "settings": "t"}}, ["input"], "input alone"),
        ({"model": {"version": "2", "sha256": "bb"}, "hashes": {"model": "n"}}, ["model"], "model alone"),
        ({"workflow": {"tiling": {"size": 256}}, "hashes": {"settings": "t"}}, ["settings"], "settings alone"),
        ({"software": {"numpy": "3"}, "hashes": {"code": "d"}}, ["code"], "code alone"),
        ({"workflow": {"cluster": {"workers": 9}}}, [], "made from the same"),
        ({"hashes": {"code": "d"}, "model": {"version": "2"}}, ["model", "code"], "cannot be told apart"),
        ({"hashes": {"settings": "t"}}, ["settings"], "settings alone"),
    ],
)  # fmt: skip
def test_the_cause_is_what_records_tell_apart(tmp_path, changes, parts, words):
    one = run_folder(tmp_path / "one", land())
    two = run_folder(tmp_path / "two", later(), **changes)
    found = geoseg.diff(one, two)
    assert found.record["why"]["parts"] == parts
    assert words in found.record["why"]["sentence"]
    assert bool(found.reasons.reasons) == bool(parts)


def test_maps_of_different_extent_are_not_the_same(tmp_path):
    one = write_map(tmp_path / "one.tif", land())
    two = write_map(tmp_path / "two.tif", land()[:50])
    found = geoseg.diff(one, two)
    assert found.record["differing_pixels"] == 0
    assert not found.same
    with pytest.raises(InputError, match="no class in common"):
        geoseg.diff(one, write_map(tmp_path / "x.tif", land(), names=["", "A", "B", "C"]))
