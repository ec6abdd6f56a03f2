"""Projects of series in real QGIS: groups, styles, a slider over the dates, labels, legends."""

from datetime import date, timedelta
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from alert_maps import LEGEND, series
from in_qgis import open_in_qgis
from map_series import WATER, lake_maps
from PIL import Image

from geoseg.api.alert_products import STATES
from geoseg.cli import run
from geoseg.io.rat import write_rat

pytestmark = pytest.mark.qgis

DAYS = ("2023-03-10", "2023-07-15", "2024-03-12", "2024-07-15", "2024-09-01")
FIRST, LAST = "2023-03-10T00:00:00Z", "2024-09-01T23:59:59Z"
FRAMES = [
    ("2023-03-01T00:00:00Z", "2023-03-31T00:00:00Z"),
    ("2024-08-01T00:00:00Z", "2024-08-31T00:00:00Z"),
    ("2031-01-01T00:00:00Z", "2031-02-01T00:00:00Z"),
    ("2020-01-03T00:00:00Z", "2020-03-31T00:00:00Z"),
]
TALLEST = 130
"""Of a legend, mm; a page has 297."""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Four products in one QGIS: what it says of each one's project and layers, by product."""
    folder = tmp_path_factory.mktemp("series")
    maps = [str(path) for path in lake_maps(folder / "maps", DAYS)]
    assert run(["water", *maps, str(folder / "water"), "-q"]) == 0
    assert run(["land-use", *maps, str(folder / "land_use"), "-q"]) == 0
    assert run(["change", *maps[:2], str(folder / "change"), "-q"]) == 0
    days = [date(2020, 1, 3) + timedelta(days=12 * n) for n in range(8)]
    found = series(folder / "forest", days, shape=(60, 70))
    for dated in found:
        write_rat(dated.classes, LEGEND)
    seen = [str(dated.classes.parent) for dated in found]
    store, out = str(folder / "alerts.zarr"), str(folder / "alerts")
    assert run(["alerts", "update", store, *seen, "--forest", "trees", "--ignore", "cloud",
                "--chi", "0.9", "--seen-forest", "0", "-q"]) == 0  # fmt: skip
    assert run(["alerts", "export", store, out, "-q"]) == 0
    names = ("water", "land_use", "change", "alerts")
    said = open_in_qgis(
        folder / "seen",
        *(folder / name / "project.qgz" for name in names),
        size=(440, 360), labels=[5_000, 60_000], frames=FRAMES,
    )  # fmt: skip
    layers = iter(said["layers"])
    return {
        name: SimpleNamespace(
            **{key: value for key, value in project.items() if key != "layers"},
            layers={title: next(layers) for title in project["layers"]},
        )
        for name, project in zip(names, said["projects"], strict=True)
    }


def picture(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def colors(path):
    """Share of a picture by colour ``#rrggbb``."""
    values, counts = np.unique(picture(path).reshape(-1, 3), axis=0, return_counts=True)
    total = counts.sum()
    return {
        "#{:02x}{:02x}{:02x}".format(*v): c / total for v, c in zip(values, counts, strict=True)
    }


@pytest.mark.parametrize("name", ["water", "land_use", "change", "alerts"])
def test_all_layers_open_styled_in_groups_with_legends_of_a_sane_height(told, name):
    project = told[name]
    assert project.crs == ("EPSG:32720" if name == "alerts" else "EPSG:32629")
    grouped = [title for _, _, inside in project.groups for title in inside]
    assert grouped == list(project.layers)
    for title, layer in project.layers.items():
        assert layer["valid"], title
        assert layer["renderer"] != "singlebandgray", title
        assert 5 < layer["legend"][1] < TALLEST, title


def test_water_has_floods_dates_and_water_over_time(told):
    water = told["water"]
    assert [(group, shown) for group, shown, _ in water.groups] == [
        ("Lakes", True), ("Floods", True), ("Maps by date", False), ("Water over time", True),
    ]  # fmt: skip
    assert water.time == [FIRST, LAST, 1, "months"]
    times = {day: water.layers[day]["temporal"] for day in DAYS}
    for day, later in pairwise(DAYS):
        last = date.fromisoformat(later) - timedelta(days=1)
        assert times[day] == [0, f"{day}T00:00:00Z", f"{last}T23:59:59Z"]
        assert water.layers[day]["classes"] == [[c.value, c.name, c.color] for c in WATER.classes]
    assert water.layers["Flooded 2024-09-01"]["temporal"][0] == 0
    assert water.layers["How often"]["temporal"] is None
    assert water.layers["Lakes"]["aliases"]["max_ha"] == "Greatest area (ha)"


def test_the_slider_shows_one_year_after_the_other(told):
    land_use = told["land_use"]
    assert land_use.time == ["2023-01-01T00:00:00Z", "2024-12-31T23:59:59Z", 1, "years"]
    frames = [picture(path) for path in land_use.frames]
    for frame, year in zip(frames, ("2023", "2024"), strict=False):
        np.testing.assert_array_equal(frame, picture(land_use.layers[year]["png"]))
    assert (frames[0] != frames[1]).any()
    assert (frames[2] == 255).all()


def test_change_lies_between_its_dates(told):
    change = told["change"]
    mode, first, last = change.layers["Change"]["temporal"]
    assert (mode, '"date_from"' in first, '"date_to"' in last) == (4, True, True)
    assert change.layers["Before"]["temporal"][1:] == [FIRST, "2023-07-14T23:59:59Z"]
    assert change.time == [FIRST, "2023-07-15T23:59:59Z", 1, "months"]
    drawn = {color for _, _, color in change.layers["Change"]["classes"]}
    assert drawn <= set(colors(change.frames[0]))
    assert not drawn & set(colors(change.frames[2]))


def test_alerts_are_seen_over_their_states_while_they_last(told):
    alerts = told["alerts"]
    assert alerts.time == ["2020-01-03T00:00:00Z", "2020-03-27T23:59:59Z", 1, "days"]
    layer = alerts.layers["Alerts"]
    assert layer["temporal"] == [2, "start", "end"]
    assert layer["features"] > 0
    assert alerts.layers["State"]["classes"] == [[c.value, c.name, c.color] for c in STATES.classes]
    assert alerts.layers["First detection"]["rows"][1:] == [
        "2020-01-03", "2020-01-24", "2020-02-14", "2020-03-06", "2020-03-27",
    ]  # fmt: skip
    levels = {color for _, _, color in layer["classes"]}
    assert levels & set(colors(alerts.frames[3]))
    assert not levels & set(colors(alerts.frames[2]))


def test_labels_are_drawn_from_a_scale_on_and_say_class_and_area(told):
    flooded = told["water"].layers["Flooded 2024-09-01"]
    expression, below = flooded["labels"]
    assert below == 25_000  # pixels of 10 m
    assert '"class_name"' in expression
    assert '"area_ha"' in expression
    (near, labelled), (far, unlabelled) = flooded["labelled"]
    assert (picture(near) != picture(labelled)).any()
    np.testing.assert_array_equal(picture(far), picture(unlabelled))
