"""The section ``change`` of workflows: after the scenes, between the two that are meant."""

import json

import numpy as np
import pytest
import rasterio

import geoseg
from geoseg.api import run
from geoseg.api.samples import write_sample
from geoseg.cli import run as cli
from geoseg.errors import InputError, PlanError, WorkflowError
from geoseg.workflow import from_data, load


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    paths = []
    for date, name in ((1, "june"), (2, "september")):
        made = write_sample(folder / name, size=256, date=date, clouds=False)
        paths.append(made.rename(folder / f"{name}.tif"))
    return folder


def workflow(scenes, tmp_path, change, **more):
    data = {
        "geoseg": 1,
        "name": "two",
        "input": {"kind": "files", "path": f"{scenes}/*.tif", "units": "reflectance",
                  "scale": 0.0001, "offset": -0.1},
        "model": "landcover-s2",
        "output": {"directory": f"{tmp_path}/maps/{{scene}}", "project": False, "quicklook": False},
        "cluster": {"workers": 1},
        "change": change,
    }  # fmt: skip
    return from_data(data | more, name="two")


def test_a_run_of_two_scenes_tells_their_change_once(scenes, tmp_path):
    wanted = workflow(scenes, tmp_path, {"min_area": "0.2 ha", "from": ["Trees"]})
    assert not run(wanted).failed
    (out,) = (tmp_path / "maps" / "change").iterdir()
    assert out.name == "2024-06-15_2024-09-13"
    record = json.loads((out / "run.json").read_text())
    assert record["changed_ha"] > 0
    assert record["settings"]["from"] == ["Trees"]
    with rasterio.open(out / "change.tif") as file:
        assert file.shape == (256, 256)
        assert (file.read(1) != 255).mean() > 0.5
    stamp = (out / "item.json").stat().st_mtime_ns
    run(wanted)
    assert (out / "item.json").stat().st_mtime_ns == stamp
    run(workflow(scenes, tmp_path, {"min_area": "0.5 ha", "from": ["Trees"]}))
    assert (out / "item.json").stat().st_mtime_ns != stamp
    again = json.loads((out / "run.json").read_text())
    assert again["changed_ha"] < record["changed_ha"]


def test_which_scenes_are_meant_is_known_before_any_is_mapped(scenes, tmp_path):
    wanted = workflow(scenes, tmp_path, {"before": "june", "after": "2025-01-01"})
    with pytest.raises(
        PlanError, match=r"change.after: '2025-01-01' is no scene.*june \(2024-06-15"
    ):
        run(wanted)
    one = {"kind": "files", "path": f"{scenes}/june.tif", "units": "dn"}
    with pytest.raises(InputError, match="change: the workflow has 1 scenes"):
        run(workflow(scenes, tmp_path, {}, input=one | {"units": "reflectance", "scale": 0.0001, "offset": -0.1}))  # fmt: skip
    assert not (tmp_path / "maps").exists()


def test_the_section_is_checked_like_all_others(tmp_path):
    path = tmp_path / "w.yaml"
    text = (
        "geoseg: 1\nname: w\ninput: {kind: files, path: a.tif}\nmodel: landcover-s2\n"
        "output: {directory: out}\nchange:\n  from: [Trees]\n  min_area: 0.5 ha\n"
    )
    path.write_text(text)
    found = load(path)
    assert found.change.from_ == ("Trees",)
    assert found.canonical()["change"]["from"] == ["Trees"]
    assert found.canonical()["change"]["min_area"] == "0.5 ha"
    for wrong, words in (
        ("  edge: weigh\n", "did you mean 'edges'"),
        ("  before: june\n", "expected both of before and after"),
        ("  edge_width: 0\n", "edge_width"),
    ):
        path.write_text(text + wrong)
        with pytest.raises(WorkflowError, match=words):
            load(path)
    path.write_text(text)
    assert cli(["validate", str(path)]) == 0


def test_the_change_of_the_section_is_that_of_the_call(scenes, tmp_path):
    run(workflow(scenes, tmp_path, {"directory": f"{tmp_path}/change", "edges": "erode"}))
    maps = tmp_path / "maps"
    geoseg.change(maps / "june", maps / "september", tmp_path / "call", edges="erode")
    one, two = (
        rasterio.open(tmp_path / name / "change.tif").read(1) for name in ("change", "call")
    )
    np.testing.assert_array_equal(one, two)
