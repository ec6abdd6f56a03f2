"""Reviews in GeoPackages: one after the other, kept when files are replaced."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pyogrio
import pytest
from map_products import alert_batch, write_alerts

from geoseg.errors import InputError, ProductError
from geoseg.io.geopackage import read_polygons
from geoseg.io.reviews import ConflictError, Review, add_review, carrying, latest_of

FIRST = Review("alerts", "2022-001", 1, "accepted", "", "", "Anna", "2026-01-01T00:00:00.000Z")


@pytest.fixture
def alerts(tmp_path):
    return write_alerts(tmp_path / "alerts.gpkg")


def latest(path):
    with closing(sqlite3.connect(path)) as connection:
        return latest_of(connection, "alerts")


def test_the_last_word_counts_and_the_first_is_kept(alerts):
    second = replace(FIRST, version=2, verdict="relabelled", label="fire", note="smoke")
    other = replace(FIRST, feature="2022-004", verdict="rejected")
    for review in (FIRST, second, other):
        assert add_review(alerts, review) == review
    assert latest(alerts) == [second, other]
    with closing(sqlite3.connect(alerts)) as connection:
        count = connection.execute("SELECT count(*) FROM geoseg_reviews").fetchone()
    assert count == (3,)


def test_who_has_not_seen_the_last_word_is_told(alerts):
    add_review(alerts, FIRST)
    with pytest.raises(ConflictError, match="Anna has accepted 2022-001") as conflict:
        add_review(alerts, replace(FIRST, reviewer="Ben", verdict="rejected"))
    assert conflict.value.current == FIRST
    assert latest(alerts) == [FIRST]


def test_of_many_at_once_exactly_one_is_first(alerts):
    together = threading.Barrier(8)

    def said(number):
        together.wait()
        try:
            add_review(alerts, replace(FIRST, reviewer=f"R{number}"))
        except ConflictError as conflict:
            return conflict.current.reviewer
        return f"R{number}"

    with ThreadPoolExecutor(8) as pool:
        winners = set(pool.map(said, range(8)))
    assert len(winners) == 1
    assert [review.reviewer for review in latest(alerts)] == [*winners]


def test_reviews_survive_exports_in_their_midst(alerts):
    """Exports replace the file again and again while people review: nothing is lost."""
    ids = [f"2022-{n:03d}" for n in range(6)]
    done = threading.Event()

    def export():
        while not done.is_set():
            write_alerts(alerts, alert_batch())

    with ThreadPoolExecutor(4) as pool:
        exporting = pool.submit(export)
        try:
            list(pool.map(lambda n: add_review(alerts, replace(FIRST, feature=n)), ids))
        finally:
            done.set()
        exporting.result()
    assert [review.feature for review in latest(alerts)] == ids


def test_a_file_with_reviews_is_still_a_geopackage(alerts):
    add_review(alerts, FIRST)
    layers = dict(pyogrio.list_layers(alerts))
    assert layers["alerts"] == "Polygon"
    assert "geoseg_reviews" in layers
    assert sum(batch.num_rows for batch in read_polygons(alerts, "alerts")) == 6
    frame = pyogrio.read_dataframe(alerts, layer="geoseg_reviews")
    assert list(frame["reviewer"]) == ["Anna"]
    with closing(sqlite3.connect(alerts)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_exports_without_reviews_stay_the_same_bytes(alerts):
    before = alerts.read_bytes()
    assert write_alerts(alerts).read_bytes() == before


def test_what_is_no_database_is_replaced_all_the_same(tmp_path):
    path = tmp_path / "alerts.gpkg"
    path.write_bytes(b"no database" * 100)
    write_alerts(path)
    assert latest(path) == []


def test_a_failed_export_lets_go_of_the_file(alerts):
    add_review(alerts, FIRST)

    def fails():
        with carrying(alerts) as carry:
            carry(alerts.with_name("new.gpkg"))

    with pytest.raises(sqlite3.Error):  # the new file has no tables of a GeoPackage
        fails()
    add_review(alerts, replace(FIRST, version=2, verdict="open"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"verdict": "maybe"}, "is one of accepted"),
        ({"verdict": "relabelled"}, "the class is missing"),
        ({"reviewer": " "}, "the name of who reviews"),
        ({"note": "x" * 2001}, "at most 2000"),
    ],
)
def test_what_is_no_review_is_refused(change, words):
    with pytest.raises(InputError, match=words):
        replace(FIRST, **change)


def test_a_file_that_is_gone_is_told(tmp_path):
    with pytest.raises(ProductError, match=r"gone\.gpkg: the review cannot be saved"):
        add_review(tmp_path / "gone.gpkg", FIRST)
