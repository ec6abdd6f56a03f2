"""One QGIS project of all scenes of a run, in real QGIS: a group for each, by date, styled."""

import pytest
from in_qgis import open_in_qgis
from packages import write_package
from test_fault_blocks import geoseg, workflow, write_scene

pytestmark = pytest.mark.qgis
SCENES = ("a_20240601", "b_20240620")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    model = write_package(folder / "models", margin=0)
    for name in SCENES:
        write_scene(folder / "in" / f"{name}.tif")
    vector = {"formats": ["gpkg"]}
    path = workflow(folder, model, output={"project": True, "vector": vector})
    geoseg("run", path, check=0)
    return folder


def test_all_scenes_open_in_groups_styled_and_by_date(folder, tmp_path):
    path = folder / "out" / "project.qgz"
    frames = [("2024-06-01T00:00:00Z", "2024-06-02T00:00:00Z"),
              ("2024-06-20T00:00:00Z", "2024-06-20T12:00:00Z")]  # fmt: skip
    said = open_in_qgis(tmp_path / "seen", path, size=(200, 200), frames=frames)
    (project,) = said["projects"]
    titles = [title for title, _, _ in project["groups"]]
    assert titles == ["2024-06-20 b_20240620", "2024-06-01 a_20240601"]
    assert all(shown for _, shown, _ in project["groups"])
    layers = said["layers"]
    assert [layer["valid"] for layer in layers] == [True] * 6
    assert "singlebandgray" not in [layer["renderer"] for layer in layers]
    times = [layer["temporal"] for layer in layers if layer["name"] == "Classes"]
    assert times == [
        [0, "2024-06-20T00:00:00Z", "2024-06-20T23:59:59Z"],
        [0, "2024-06-01T00:00:00Z", "2024-06-19T23:59:59Z"],
    ]
    assert project["time"][:2] == ["2024-06-01T00:00:00Z", "2024-06-20T23:59:59Z"]


def test_it_is_the_same_again_and_follows_what_is_there(folder):
    from geoseg.api.run_project import write_run_project

    path = folder / "out" / "project.qgz"
    before = path.read_bytes()
    assert '<a href="project.qgz">' in (folder / "out" / "report.html").read_text()
    assert write_run_project(folder / "out") == path
    assert path.read_bytes() == before
    kept = folder / "out" / SCENES[1]
    kept.rename(folder / "aside")
    write_run_project(folder / "out")
    assert path.read_bytes() != before
    (folder / "aside").rename(kept)
    write_run_project(folder / "out")
    assert path.read_bytes() == before
