"""What a workflow can say of the grid of its products and of its area, and what it cannot."""

import pytest

from geoseg.errors import WorkflowError
from geoseg.workflow import from_data, load, loads

GOOD = """\
geoseg: 1
name: w
input: {kind: files, path: a.tif}
model: landcover-s2
output: {directory: products}
"""


def grid_of(text):
    return loads(f"{GOOD}grid: {text}\n").grid


@pytest.mark.parametrize(
    ("text", "crs", "resolution", "snap"),
    [
        ("{crs: EPSG:32633}", "EPSG:32633", "auto", True),
        ("{crs: UTM, resolution: 10 m}", "utm", ["10 m", "10 m"], True),
        ("{resolution: [0.5 km, 20 m], snap: [5, -5]}", None, ["0.5 km", "20 m"], (5.0, -5.0)),
        ("{crs: EPSG:4326, resolution: 1e-4 deg}", "EPSG:4326", ["0.0001 deg", "0.0001 deg"], True),
        ("{resolution: auto, snap: true}", None, "auto", True),
    ],
)
def test_what_can_be_said(text, crs, resolution, snap):
    grid = grid_of(text)
    assert (grid.crs, grid.snap) == (crs, snap)
    assert grid.model_dump(mode="json")["resolution"] == resolution
    # What is written back is read as the same.
    again = from_data({**loads(GOOD).model_dump(mode="json"), "grid": grid.model_dump(mode="json")})
    assert again.grid == grid


@pytest.mark.parametrize(
    ("line", "key", "message"),
    [
        ("grid: {crs: 32633}", "grid.crs", "or utm, found 32633, write EPSG:32633"),
        ("grid: {resolution: 10}", "grid.resolution", "10 without a unit, add ' m'"),
        ("grid: {resolution: 3 px}", "grid.resolution", "(units: cm, m, km, deg)"),
        ("grid: {resolution: 0 m}", "grid.resolution", "expected pixels with a size"),
        ("grid: {resolution: [10 m]}", "grid.resolution", "[height, width], found a list of 1"),
        ("grid: {resolution: [10 m, 1 deg]}", "grid.resolution", "both in degrees, or both in"),
        ("grid: {resolution: [10 m, x]}", "grid.resolution.1", "expected a pixel's size"),
        ("grid: {snap: false}", "grid.snap", "expected true, or the corner [x, y]"),
        ("grid: {snap: [1, a]}", "grid.snap", "expected a number, found 'a'"),
        ("grid: {like: a.tif, crs: utm}", "grid.crs", "a file has its own"),
        ("grid: {like: a.tif, snap: [0, 0]}", "grid.snap", "a file has its own"),
        ("grid: {}", "grid", "expected crs, resolution, snap or like"),
        ("grid: {epsg: 32633}", "grid.epsg", "did you mean 'crs'"),
        ("area: {wkt: 'POLYGON ((0 0))', crop: 1}", "area.crop", "expected true or false"),
        ("area: {crop: true}", "area", "expected exactly one of file, bbox and wkt"),
        ("area: {bbox: [10, 1, 5, 2]}", "area.bbox", "with west < east"),
        ("area: {bbox: [10, 1, 5, 2], crs: EPSG:32633}", "area.bbox", "with west < east"),
    ],
)
def test_what_cannot(line, key, message):
    with pytest.raises(WorkflowError) as caught:
        loads(f"{GOOD}{line}\n")
    (problem,) = caught.value.problems
    assert (problem.line, problem.key) == (6, key)
    assert message in problem.message


def test_an_area_may_lie_across_the_antimeridian():
    area = loads(f"{GOOD}area: {{bbox: [179, -20, -178, -15], crop: true}}\n").area
    assert area.bbox == (179, -20, -178, -15)
    assert area.crop


def test_results_depend_on_grid_and_crop():
    lines = [
        "",
        "grid: {crs: utm}",
        "grid: {crs: utm, resolution: 20 m}",
        "area: {bbox: [1, 2, 3, 4]}",
        "area: {bbox: [1, 2, 3, 4], crop: true}",
    ]
    assert len({loads(f"{GOOD}{line}\n").results_key() for line in lines}) == len(lines)


def test_a_file_takes_the_place_of_what_a_base_says(tmp_path):
    (tmp_path / "base.yaml").write_text(f"{GOOD}grid: {{crs: utm, resolution: 10 m}}\n")
    child = tmp_path / "child.yaml"
    child.write_text("extends: base.yaml\ngrid: {like: a.tif}\n")
    grid = load(child).grid
    assert (grid.like, grid.crs) == ("a.tif", None)
