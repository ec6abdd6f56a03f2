"""Pages of alerts, water and land use: whole, true to the products, the same again, in Chromium."""

import csv
import json
from datetime import date, timedelta

import numpy as np
import pytest
from alert_maps import LEGEND, series
from chromium import browser
from map_series import lake_maps

from geoseg.cli import run
from geoseg.io.rat import write_rat

DAYS = ("2023-03-10", "2023-07-15", "2024-03-12", "2024-07-15", "2024-09-01")
KINDS = ("water", "land_use", "alerts")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Products of all three kinds."""
    folder = tmp_path_factory.mktemp("series")
    maps = [str(path) for path in lake_maps(folder / "maps", DAYS)]
    assert run(["water", *maps, str(folder / "water"), "-q"]) == 0
    assert run(["land-use", *maps, str(folder / "land_use"), "-q"]) == 0
    days = [date(2020, 1, 3) + timedelta(days=12 * n) for n in range(8)]
    found = series(folder / "forest", days, shape=(60, 70))
    for dated in found:
        write_rat(dated.classes, LEGEND)
    store, seen = str(folder / "alerts.zarr"), [str(dated.classes.parent) for dated in found]
    assert run(["alerts", "update", store, *seen, "--forest", "trees", "--ignore", "cloud",
                "--chi", "0.9", "--seen-forest", "0", "-q"]) == 0  # fmt: skip
    assert run(["alerts", "export", store, str(folder / "alerts"), "-q"]) == 0
    return folder


@pytest.fixture(scope="module")
def page(folder, tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found.page()


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_makes_the_same_page_again(folder, kind, capsys):
    path = folder / kind / "report.html"
    before = path.read_bytes()
    path.unlink()
    assert run(["report", str(folder / kind), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [str(path)]
    assert path.read_bytes() == before


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_numbers_are_those_of_the_tables(folder):
    text = (folder / "water" / "report.html").read_text()
    for row in rows(folder / "water" / "extents.csv"):
        assert row["date"] in text
    assert f"{float(row['water_ha']):,.1f}" in text
    assert {row["lake"] for row in rows(folder / "water" / "lake_areas.csv")}
    land = (folder / "land_use" / "report.html").read_text()
    last = [r for r in rows(folder / "land_use" / "areas.csv") if r["period"] == "2024"]
    assert all(r["class_name"] in land for r in last if float(r["area_ha"]))
    item = json.loads((folder / "alerts" / "item.json").read_text())
    assert "report.html" not in json.dumps(item)  # reviews and adjusted areas change it
    assert (
        "Bayesian updating, confirmed at a probability of 0.9"
        in (folder / "alerts" / "report.html").read_text()
    )


def test_areas_of_another_map_are_refused(folder, tmp_path, capsys):
    estimate = {"value": 1.0, "plus_minus": 0.1}
    classes = [{"name": "Water", "mapped_area_ha": 1e6, "area_ha": estimate,
                "users_accuracy": estimate, "producers_accuracy": estimate}]  # fmt: skip
    areas = tmp_path / "areas.json"
    areas.write_text(json.dumps({"confidence": 0.95, "points_used": 9, "classes": classes}))
    before = (folder / "land_use" / "report.html").read_bytes()
    assert run(["report", str(folder / "land_use"), "--areas", str(areas)]) == 2
    assert "another map" in capsys.readouterr().err
    assert (folder / "land_use" / "report.html").read_bytes() == before


@pytest.mark.parametrize("kind", KINDS)
def test_it_reads_well_on_phones_and_desks_by_day_and_night(folder, kind, page, tmp_path):
    for width, dark in ((390, True), (1280, False)):
        page.requests.clear()
        page.shape(width, dark=dark)
        page.open(folder / kind / "report.html")
        look = page.look()
        assert look["width"] <= look["view"] == width
        assert look["lang"] == "en"
        assert look["main"] == 1
        assert look["scripts"] == look["unnamed"] == look["headless"] == 0
        assert np.diff(look["headings"]).max() <= 1
        assert look["headings"].count(1) == 1
        assert len(set(look["ids"])) == len(look["ids"])
        assert set(look["anchors"]) <= set(look["ids"])
        assert all(image["ok"] and image["alt"] is not None for image in look["images"])
        assert len(look["images"]) >= 2
        assert look["contrast"][0]["ratio"] >= 4.5, look["contrast"]
        assert len([a for a in page.requests if not a.startswith("data:")]) == 1
    page.pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF-")
