"""Water and land use as sections of a workflow: made of the run's own maps and of earlier ones."""

import json

import pytest
import rasterio
from map_series import put
from packages import write_package
from test_run import geoseg, workflow

from geoseg.cli import run
from geoseg.legend import LANDCOVER

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of a run of two nights; the first one's map is an earlier map of the second."""
    folder = tmp_path_factory.mktemp("nights")
    model = write_package(folder / "models")
    sections = {
        "input": {"size": [96, 120]},
        "cluster": {"workers": 1},
        "water": {
            "directory": str(folder / "water"),
            "maps": [str(folder / "earlier/*")],
            "find_lakes": False,
            "flood": ["all"],
        },
        "land_use": {
            "directory": str(folder / "land_use"),
            "by": "month",
            "maps": [str(folder / "earlier/*"), str(folder / "nothing/*")],
        },
    }
    path = workflow(folder, model, **sections)
    geoseg("validate", path, check=0)
    geoseg("run", path, check=0)
    return folder


def test_products_are_made_once_scenes_are_mapped(folder):
    for name in ("occurrence.tif", "seasonality.tif", "extents.csv", "item.json"):
        assert (folder / "water" / name).is_file()
    head, first = (folder / "water" / "extents.csv").read_text().split()
    assert head.startswith("date,water_ha")
    day = first.partition(",")[0]
    assert (folder / "land_use" / day[:7] / "classes.tif").is_file()
    assert (folder / "land_use" / "accounts.csv").is_file()


def test_earlier_maps_belong_to_the_history(folder):
    first = (folder / "water" / "extents.csv").read_text().split()[1]
    with rasterio.open(folder / "out" / "classes.tif") as file:
        codes, transform, crs = file.read(1), file.transform, file.crs.to_string()
    put(folder / "earlier" / "2001-02-03", codes, LANDCOVER, transform=transform, crs=crs)
    done = geoseg("run", folder / "workflow.yaml", check=0)
    assert "nothing matches" in done.stderr
    _, *rows = (folder / "water" / "extents.csv").read_text().split()
    assert len(rows) == 2
    assert rows[0].startswith("2001-02-03")
    assert rows[1] == first
    assert (folder / "land_use" / "2001-02" / "classes.tif").is_file()
    assert "2001-02" in (folder / "land_use" / "changes.csv").read_text()


def test_a_section_that_does_not_fit_is_told_by_line(folder, tmp_path):
    data = json.loads((folder / "workflow.yaml").read_text())
    data["water"]["flod"] = ["last"]
    data["land_use"]["changes"] = {"Water > Trees": 0}
    path = tmp_path / "wrong.yaml"
    path.write_text(json.dumps(data, indent=1))
    done = geoseg("validate", path, check=2)
    assert "water.flod: unknown key, did you mean 'flood'?" in done.stderr
    assert "land_use.changes: only used with rule: hmm" in done.stderr


def test_a_section_that_cannot_be_done_is_refused_before_any_scene_is_mapped(
    folder, tmp_path, capsys
):
    known = json.loads((folder / "workflow.yaml").read_text())
    known["output"]["directory"] = str(tmp_path / "out")
    wrong = {
        "water": [
            ({"lakes": "nowhere.gpkg"}, "nowhere.gpkg: no such file"),
            ({"classes": ["Lava"]}, "water: the model has no class Lava; it has Water"),
            ({"directory": str(tmp_path / "out")}, "water.directory: is that of scene"),
        ],
        "land_use": [
            ({"rule": "hmm", "changes": {"Lava > *": 0}}, "speaks of a class 'Lava'"),
            ({"zones": "nowhere.gpkg"}, "nowhere.gpkg: no such file"),
        ],
    }
    for section, cases in wrong.items():
        for change, message in cases:
            path = tmp_path / "wrong.yaml"
            path.write_text(json.dumps(known | {section: known[section] | change}))
            assert run(["run", str(path), "-q"]) == 2
            assert message in capsys.readouterr().err
            assert not (tmp_path / "out").exists()
