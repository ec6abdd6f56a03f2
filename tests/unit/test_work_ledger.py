"""The ledger of all runs: what it asks to be done, for which reason, whoever else writes to it."""

import multiprocessing
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import ProductError
from geoseg.run.clock import Clock
from geoseg.run.reasons import changed, flat
from geoseg.run.work_ledger import FORMAT, WorkLedger, ledger_path, workflows_in

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
PARTS = {"inputs": "a", "model": "b", "settings": "c", "code": "d"}
ABOUT = {"model": {"landcover-s2": "1.0"}, "settings": {"tiling.margin": "64"}}


@pytest.fixture
def ledger(tmp_path):
    with WorkLedger(tmp_path, "water", Clock.at(NOON)) as ledger:
        yield ledger


def test_nothing_is_written_before_something_is_noted(ledger, tmp_path):
    assert str(ledger.need("scene", "s", PARTS)) == "new"
    assert (ledger.works("scene"), ledger.runs(), ledger.notices()) == ([], [], [])
    assert list(tmp_path.iterdir()) == []
    ledger.note("scene", "s", PARTS)
    assert ledger_path(tmp_path).exists()


def test_only_new_work_is_needed_and_the_reason_names_what_changed(ledger):
    ledger.note("scene", "s", PARTS, about=ABOUT, date="2024-05-01")
    assert ledger.need("scene", "s", PARTS, about=ABOUT) is None
    assert str(ledger.need("scene", "other", PARTS)) == "new"
    assert str(ledger.need("change", "s", PARTS)) == "new"
    newer = {**ABOUT, "model": {"landcover-s2": "1.1"}}
    reason = ledger.need("scene", "s", PARTS | {"model": "e"}, about=newer)
    assert (reason.why, reason.changed) == ("changed", ("model",))
    assert str(reason) == "model changed (landcover-s2 1.0 -> 1.1)"
    edited = ledger.need("scene", "s", PARTS | {"code": "e"}, about=ABOUT)
    assert str(edited) == "code changed"


def test_what_failed_is_tried_again_and_what_was_removed_is_not(ledger):
    ledger.note("scene", "s", {}, state="failed", text="https://u:p@host/a.tif: HTTP 500")
    assert str(ledger.need("scene", "s", PARTS)) == "failed before: https://host/a.tif: HTTP 500"
    ledger.note("scene", "s", PARTS, state="removed")
    assert ledger.need("scene", "s", PARTS | {"model": "e"}) is None


def test_works_come_by_date_whatever_their_order(ledger):
    for name, date in (("c", "2024-03-01"), ("a", "2024-04-01"), ("b", "2024-01-01")):
        ledger.note("scene", name, PARTS, date=date)
    assert [work.name for work in ledger.works("scene")] == ["b", "c", "a"]


def test_works_of_one_place_are_found_among_all(ledger):
    for name, place in (("a", "maps/1"), ("b", "maps/2"), ("c", "maps/1")):
        ledger.note("scene", name, PARTS, place=place)
    assert [work.name for work in ledger.works("scene", place="maps/1")] == ["a", "c"]
    assert ledger.works("scene", "failed", place="maps/1") == []
    assert len(ledger.works("scene")) == 3


def test_workflows_in_one_folder_do_not_see_each_other(ledger, tmp_path):
    ledger.note("scene", "s", PARTS)
    with WorkLedger(tmp_path, "forest", Clock.at(NOON)) as other:
        assert str(other.need("scene", "s", PARTS)) == "new"
        other.begin()
    assert workflows_in(tmp_path) == ["forest", "water"]


def test_a_transaction_is_whole_or_nothing(ledger):
    ledger.note("scene", "before", PARTS)

    def half():
        with ledger.transaction():
            ledger.note("scene", "s", PARTS)
            ledger.tell("alerts", "a", "text")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert [work.name for work in ledger.works("scene")] == ["before"]
    assert ledger.notices() == []


def test_a_notice_is_told_once_to_each_channel(ledger):
    for _ in range(2):
        ledger.tell("alerts", "a", "one", {"area_ha": 2.5})
    (notice,) = ledger.notices()
    ledger.settle(notice, "waiting", ["email"])
    (notice,) = ledger.notices()
    assert (notice.told, notice.tries, notice.details) == (("email",), 1, {"area_ha": 2.5})
    ledger.settle(notice, "told", ["email", "webhook"])
    ledger.tell("alerts", "a", "one")
    assert ledger.notices() == []
    assert [one.key for one in ledger.notices("told")] == ["a"]


KILLED = """
import os, signal, sys
from pathlib import Path
from geoseg.run.clock import Clock
from geoseg.run.work_ledger import WorkLedger
ledger = WorkLedger(Path(sys.argv[1]), "water", Clock.at())
ledger.begin()
ledger.note("scene", "done", {"a": "1"})
ledger._do("BEGIN IMMEDIATE")
ledger.note("scene", "half", {"a": "1"})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_whole_notes_and_a_lost_run(ledger, tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [work.name for work in ledger.works("scene")] == ["done"]
    (lost,) = ledger.begin()
    assert "ended without a word" in ledger.runs("lost")[0].text
    assert ledger.begin() == []  # the run that just began lives, as this process does
    assert lost.id == ledger.runs("lost")[0].id


def test_a_run_of_another_machine_is_only_lost_where_we_are_alone(ledger):
    ledger.begin()
    ledger._do("UPDATE runs SET host = 'elsewhere', pid = 1")
    assert ledger.begin() == []
    assert len(ledger.begin(alone=True)) == 2


def _note_many(root, name):
    with WorkLedger(root, "water", Clock.at(NOON)) as ledger:
        for k in range(25):
            ledger.note("scene", f"{name}-{k}", PARTS)


def test_two_processes_write_at_once(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    several = [spawn.Process(target=_note_many, args=(tmp_path, name)) for name in "ab"]
    for process in several:
        process.start()
    for process in several:
        process.join()
    assert [process.exitcode for process in several] == [0, 0]
    with WorkLedger(tmp_path, "water", Clock.at(NOON)) as ledger:
        assert len(ledger.works("scene")) == 50


def test_a_newer_or_damaged_ledger_is_refused(ledger, tmp_path):
    ledger.note("scene", "s", PARTS)
    ledger.close()
    path = ledger_path(tmp_path)
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
    connection.close()
    with pytest.raises(ProductError, match="written by a newer geoseg"):
        ledger.works("scene")
    path.write_bytes(b"no tables here" * 100)
    with pytest.raises(ProductError, match="finished products are found again"):
        ledger.works("scene")


def test_times_are_the_clocks(ledger):
    ledger.begin()
    ledger.end("good", {"made": 2})
    (run,) = ledger.runs("good")
    assert (run.began, run.counts) == ("2024-05-01T12:00:00+00:00", {"made": 2})
    ended = datetime.fromisoformat(run.ended)
    assert NOON <= ended < NOON + timedelta(minutes=5)
    assert Clock.at(datetime(2024, 5, 1, 12)).began == NOON  # noqa: DTZ001 (naive times are UTC)


texts = st.text("abc", max_size=2)
maps = st.dictionaries(st.sampled_from("pqrs"), texts, max_size=4)


@given(maps, maps)
def test_a_change_names_just_the_parts_that_differ(before, now):
    reason = changed(before, now, {}, {})
    differing = {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)}
    assert (set() if reason is None else set(reason.changed)) == differing


def test_settings_are_told_by_their_keys():
    before = flat({"output": {"vector": {"min_area": "1 ha"}, "raster": None}})
    assert before == {"output.vector.min_area": "1 ha", "output.raster": "None"}
    now = {key: "2 ha" if "area" in key else text for key, text in before.items()}
    reason = changed({"settings": "1"}, {"settings": "2"}, {"settings": before}, {"settings": now})
    assert str(reason) == "settings changed (output.vector.min_area 1 ha -> 2 ha)"
    many = {"settings": {str(k): "x" for k in range(9)}}
    reason = changed({"settings": "1"}, {"settings": "2"}, {}, many)
    assert str(reason).endswith("2 x is new and 6 more)")


def test_its_folder_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    ledger = WorkLedger(tmp_path / "file", "water", Clock.at(NOON))
    with pytest.raises(ProductError, match="cannot be used as ledger"):
        ledger.begin()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
