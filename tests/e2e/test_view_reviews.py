"""Reviews of alerts on the map: by keyboard, by two people at once, kept by new exports, learnt from."""

import json
import sqlite3
from contextlib import closing

import pytest
from chromium import browser, needs_browser
from map_products import alert_batch, write_alerts, write_product
from test_view import serving

from geoseg.cli import run
from geoseg.io.reviews import REVIEWS

pytest.importorskip("rio_tiler")
pytestmark = [
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
    needs_browser,
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("reviews")
    write_product(place, "2024-05-01")
    return place


@pytest.fixture(scope="module")
def alerts(folder):
    return write_alerts(folder / "alerts.gpkg")


@pytest.fixture(scope="module")
def pages(folder, alerts, tmp_path_factory):
    """The pages of two reviewers, of two servers of one file."""
    with (
        serving(alerts) as one,
        serving(alerts) as two,
        browser(tmp_path_factory.mktemp("browser")) as opened,
    ):
        tabs = [opened.page(server.address, size=(900, 700)) for server in (one, two)]
        for tab, name in zip(tabs, ("Anna", "Ben"), strict=True):
            tab.until("window.view?.ready")
            tab.choose("reviewer", name)
        yield tabs


def rows_of(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(
            f"SELECT feature, version, verdict, class, note, reviewer FROM {REVIEWS} ORDER BY id"  # noqa: S608 (a constant)
        ).fetchall()


def standing(page, words):
    return page.until(f"document.getElementById('standing').textContent.includes({words!r})")


def keys(page, *pressed):
    page.js("document.activeElement.blur()")
    for key in pressed:
        page.press(key)


def at(page, place):
    page.until(f"document.getElementById('progress').textContent.startsWith('{place} of 6')")


def test_one_polygon_after_the_other_by_keyboard(pages, alerts):
    page, _ = pages
    keys(page, "j")
    at(page, 1)
    page.until("document.getElementById('panel').scrollTop > 0")
    assert page.js("document.scrollingElement.scrollTop") == 0  # the map stays where it is
    assert "2022-005" in page.js("document.getElementById('facts').innerText")  # the largest
    keys(page, "a")
    standing(page, "accepted by Anna")
    keys(page, "j")
    at(page, 2)
    keys(page, "r")
    standing(page, "rejected by Anna")
    keys(page, "n")
    page.write("cloud shadow")
    page.press("Escape")
    standing(page, "cloud shadow")
    keys(page, "j")
    at(page, 3)
    keys(page, "l")
    assert page.js("document.activeElement.id") == "label"
    page.choose("label", "mining")
    page.press("Enter")
    standing(page, "relabelled as mining")
    # However fast: what is taken back is the one before, not the one that is still shown.
    keys(page, "k", "u")
    at(page, 2)
    standing(page, "taken back by Anna")
    assert rows_of(alerts) == [
        ("2022-005", 1, "accepted", None, None, "Anna"),
        ("2022-004", 1, "rejected", None, None, "Anna"),
        ("2022-004", 2, "rejected", None, "cloud shadow", "Anna"),
        ("2022-003", 1, "relabelled", "mining", None, "Anna"),
        ("2022-004", 3, "open", None, "cloud shadow", "Anna"),
    ]
    page.choose("verdicts", "-")
    page.until("document.getElementById('progress').textContent.includes('4 polygons')")
    page.choose("verdicts", "")
    page.until("document.getElementById('progress').textContent.includes('6 polygons')")


def test_of_two_who_review_at_once_the_second_is_told(pages, alerts):
    anna, ben = pages
    for page in pages:
        page.js("void view.choose(3)")
        page.until("document.getElementById('facts').innerText.includes('2022-002')")
        standing(page, "Not reviewed yet")
    keys(anna, "a")
    standing(anna, "accepted by Anna")
    keys(ben, "r")
    told = ben.until("!conflict.hidden && conflict.textContent")
    assert "accepted by Anna" in told
    assert [row[5] for row in rows_of(alerts) if row[0] == "2022-002"] == ["Anna"]
    ben.js("conflict.querySelectorAll('button')[1].click()")
    standing(ben, "rejected by Ben")
    assert [row[1:3] for row in rows_of(alerts) if row[0] == "2022-002"] == [
        (1, "accepted"),
        (2, "rejected"),
    ]
    # Anna has not seen it yet; what she says next is not lost in silence, either.
    keys(anna, "u")
    assert "rejected by Ben" in anna.until("!conflict.hidden && conflict.textContent")
    anna.js("conflict.querySelectorAll('button')[0].click()")
    standing(anna, "rejected by Ben")
    assert anna.js("document.querySelectorAll('#history li').length") == 2


def test_a_new_export_keeps_the_reviews_and_the_map_goes_on(pages, alerts):
    page, _ = pages
    before = rows_of(alerts)
    assert len(before) >= 6
    write_alerts(alerts, alert_batch(5))
    assert rows_of(alerts) == before
    page.js("void view.choose(2)")
    standing(page, "Not reviewed yet")
    keys(page, "a", "2")
    standing(page, "relabelled as logging")
    assert rows_of(alerts)[-2:] == [
        ("2022-001", 1, "accepted", None, None, "Anna"),
        ("2022-001", 2, "relabelled", "logging", None, "Anna"),
    ]


def test_labels_of_what_was_reviewed_train_a_model(pages, alerts, folder, tmp_path, capsys):
    out = tmp_path / "labels.geojson"
    assert run(["view", str(alerts), "--labels", str(out)]) == 0
    assert "3 labels" in capsys.readouterr().out
    found = {
        f["properties"]["id"]: f["properties"]["label"]
        for f in json.loads(out.read_text())["features"]
    }
    # Not that of 2022-004, which was taken back, nor of 2022-005, which the last export has not.
    assert found == {
        "2022-001": "logging",
        "2022-002": "no loss",
        "2022-003": "mining",
    }
    # What training reads labels with takes them, on the scene.
    scene = folder / "scene-2024-05-01.tif"
    assert run(["labels", "check", str(out), "--column", "label", "--image", str(scene)]) == 0
    assert "mining" in capsys.readouterr().out
    page, _ = pages
    served = page.js("fetch(document.getElementById('labels').href).then((r) => r.text())")
    assert json.loads(served)["features"] == json.loads(out.read_text())["features"]
    # The browser itself notes that a request was answered with a conflict.
    assert [text for text in page.complaints if "409" not in text] == []
