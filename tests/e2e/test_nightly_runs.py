"""Workflows that run night after night: what runs again and why, what is kept, who is told."""

import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import rasterio
from nights import (
    FIRST,
    Listener,
    Season,
    at,
    ledger_of,
    notices,
    one_scheduler,
    prepare,
    webhook,
    works,
    write_catalog,
)

from geoseg.api import run as run_workflow
from geoseg.api.cleaning import clean
from geoseg.api.health import check_health
from geoseg.cli import run as call
from geoseg.errors import GeosegError, InputError, LockedError, NothingFoundError, PlanError
from geoseg.run.lock import hold
from geoseg.run.reporter import Silent

pytestmark = pytest.mark.cluster

SEASON = Season.calm(15)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def scheduler():
    with one_scheduler() as address:
        yield address


@pytest.fixture(scope="module")
def mapped(tmp_path_factory, scheduler):
    """A world after three scenes, one every five days."""
    folder = tmp_path_factory.mktemp("mapped")
    shown = prepare(folder, ("world",), scheduler)
    os.environ.pop("GEOSEG_TEST_HOOK", None)
    with at(folder / "world"):
        for night in (0, 5, 10):
            write_catalog(folder / "world", shown, SEASON, night)
            run_workflow("w.json", now=FIRST + night * DAY)
    return folder, shown


@pytest.fixture
def world(mapped, tmp_path):
    """A copy of that world, beside the same scenes and models, to stand in."""
    place = mapped[0] / tmp_path.name
    shutil.copytree(mapped[0] / "world", place)
    with at(place):
        yield place
    shutil.rmtree(place)


def night(number, **options):
    """Run on the given night; what was said, and what came of it."""
    listener = Listener()
    result = run_workflow("w.json", now=FIRST + number * DAY, reporter=listener, **options)
    return [line for line in listener.lines if "HOOK" not in line], result


def change(**sections):
    data = json.loads(Path("w.json").read_text())
    Path("w.json").write_text(json.dumps(data | sections))


def root(world):
    return world / "products" / "nightly"


def again(lines):
    return [line for line in lines if "runs again" in line]


def test_only_new_work_runs(world):
    lines, result = night(10)
    # Looked at side by side: which says so first is left to chance.
    assert sorted(lines) == [f"scene T31_{day:03}: up to date" for day in (0, 5, 10)]
    assert not any(scene.fresh for scene in result.scenes)
    lines, _ = night(10, overrides=["input.time.last=13 d", "cluster.threads=2"])
    assert again(lines) == []  # which scenes, and how: nothing about any scene changes


def test_why_a_scene_runs_again_is_told(world):
    (root(world) / "2024-01-05" / "classes.tif").unlink()
    lines, result = night(10)
    assert again(lines) == ["scene T31_005 runs again: products are missing or damaged"]
    assert [scene.fresh for scene in result.scenes] == [False, True, False]
    one = ["input.ids=[T31_010]"]
    lines, _ = night(10, overrides=[*one, "output.vector.min_area=1 ha"])
    assert again(lines) == [
        "scene T31_010 runs again: products changed (output.vector.min_area.others 1 ha is new)"
    ]
    lines, _ = night(10, overrides=[*one, "output.vector.min_area=1 ha"], force=True)
    assert again(lines) == ["scene T31_010 runs again: as was asked for (--force)"]
    model = json.loads(Path("w.json").read_text())["model"]["path"]
    newer = world / "newer"
    shutil.copytree(model, newer)
    card = json.loads((newer / "card.json").read_text())
    text = json.dumps(card).replace('"1.0.0"', '"1.1.0"')
    (newer / "card.json").write_text(text)
    change(model={"path": str(newer)})
    lines, _ = night(10, overrides=one)
    (line,) = again(lines)
    assert "model changed (tiny 1.0.0 -> 1.1.0)" in line


def test_a_lost_ledger_costs_no_work(world):
    before = works(world)
    shutil.rmtree(root(world) / ".geoseg")
    _, result = night(10)
    assert not any(scene.fresh for scene in result.scenes)
    assert works(world) == before


def test_what_was_removed_stays_away_until_it_is_forced(world):
    mine = root(world) / "2023-12-31" / "mine.txt"
    mine.write_text("a note")
    now = FIRST + 10 * DAY
    would = clean(Path("w.json"), Silent(), keep="8 d", dry_run=True, now=now)
    assert [one.scene for one in would] == ["T31_000"]
    assert (root(world) / "2023-12-31" / "item.json").exists()
    went = clean(Path("w.json"), Silent(), keep="8 d", now=now)
    assert went == would
    assert went[0].bytes > 1000
    assert [path.name for path in mine.parent.iterdir()] == ["mine.txt"]
    collection = json.loads((root(world) / "collection.json").read_text())
    links = [link["href"] for link in collection["links"] if link["rel"] == "item"]
    assert links == ["./2024-01-05/item.json", "./2024-01-10/item.json"]
    assert clean(Path("w.json"), Silent(), keep="8 d", now=now) == []
    lines, _ = night(10)
    assert "scene T31_000: was removed to make room, stays away" in lines
    lines, _ = night(10, overrides=["input.ids=[T31_000]"], force=True)
    assert (root(world) / "2023-12-31" / "item.json").exists()


def test_the_newest_stays_however_old_it_is(world):
    went = clean(Path("w.json"), Silent(), now=FIRST + 999 * DAY)
    assert [one.scene for one in went] == ["T31_000", "T31_005"]
    assert (root(world) / "2024-01-10" / "item.json").exists()
    assert not (root(world) / "2024-01-05").exists()


def test_products_of_the_last_runs_are_kept(world):
    night(10)  # makes nothing, and counts for nothing
    went = clean(world / "products" / "nightly", Silent(), keep="2 runs")
    assert [one.scene for one in went] == ["T31_000"]
    with pytest.raises(InputError, match="say --keep '90 d'"):
        clean(world / "products" / "nightly", Silent())


def test_what_is_in_use_stays(world):
    listener = Listener()
    with hold(root(world) / "2023-12-31" / ".geoseg"):
        went = clean(Path("w.json"), listener, keep="8 d", now=FIRST + 10 * DAY)
    assert went[0].locked
    assert "stays, as it is in use" in listener.lines[0]
    assert (root(world) / "2023-12-31" / "item.json").exists()


def test_an_interrupted_clean_is_finished_by_the_next(world):
    with ledger_of(world) as ledger:
        work = ledger.work("scene", "T31_000")
        ledger.note("scene", work.name, work.parts, state="removed", date=work.date,
                    place=work.place, facts=work.facts)  # fmt: skip
    (root(world) / "2023-12-31" / "classes.tif").unlink()
    (went,) = clean(Path("w.json"), Silent(), now=FIRST + 10 * DAY)
    assert went.scene == "T31_000"
    assert not (root(world) / "2023-12-31").exists()


def test_one_run_at_a_time(world, capsys):
    with hold(root(world) / ".geoseg"):
        with pytest.raises(LockedError):
            night(10)
        assert call(["run", "w.json", "-q", "--set", "input.time=2023-12-01/2024-02-01"]) == 75
    with ledger_of(world) as ledger:
        assert {run.state for run in ledger.runs()} == {"good"}


def test_scenes_do_not_take_each_others_place(world, mapped):
    write_catalog(world, mapped[1], SEASON, 10)
    catalog = json.loads(Path("catalog.json").read_text())
    for feature in catalog["features"]:
        feature["id"] += "_again"
    Path("catalog.json").write_text(json.dumps(catalog))
    with pytest.raises(PlanError, match=r"has the products of scene T31_000.*add {scene} to it"):
        night(10)
    change(name="other", output={"directory": "products/nightly/{scene}"})
    with pytest.raises(InputError, match="holds the products of workflow nightly"):
        night(10)


def test_a_night_without_scenes_is_a_good_one_where_there_were_some(world):
    lines, result = night(100)
    assert (result.scenes, result.exit_code) == ((), 0)
    assert lines[0].startswith("nothing new: ")
    (health,) = check_health(Path("w.json"), now=FIRST + 100 * DAY)
    assert (health.state, health.silent) == ("good", False)
    shutil.rmtree("products")
    with pytest.raises(NothingFoundError):
        night(100)
    assert not Path("products").exists()


def damage(world, mapped):
    """Make the newest scene unreadable beyond its header; returns how it was."""
    catalog = json.loads(Path("catalog.json").read_text())
    asset = catalog["features"][-1]["assets"]["scene"]
    whole = Path(asset["href"])
    broken = world / "broken.tif"
    data = bytearray(whole.read_bytes())
    with rasterio.open(whole) as file:
        assert file.profile["compress"]
    data[len(data) // 2 :] = os.urandom(len(data) - len(data) // 2)
    broken.write_bytes(data)
    asset["href"] = str(broken)
    before = Path("catalog.json").read_text()
    Path("catalog.json").write_text(json.dumps(catalog))
    return before


def test_a_scene_that_fails_is_told_once_and_mapped_when_it_is_mended(world, mapped):
    shutil.rmtree(root(world) / "2024-01-10")
    with ledger_of(world) as ledger:
        ledger.forget("scene", "T31_010")
    before = damage(world, mapped)
    change(run={"on_error": "skip_scene", "retries": 0})
    for number in (11, 12):
        lines, result = night(number)
        assert result.exit_code == 4
        assert [scene.error is None for scene in result.scenes] == [True, True, False]
    assert "scene T31_010 runs again: failed before: " in again(lines)[0]
    assert len(notices(world, "failure")) == 1
    (health,) = check_health(Path("w.json"), now=FIRST + 20 * DAY)
    assert (health.state, health.silent, health.failed) == ("partial", True, 1)
    latest = json.loads((root(world) / "latest.json").read_text())
    assert latest["date"] == "2024-01-05"
    Path("catalog.json").write_text(before)
    lines, result = night(13)
    assert result.exit_code == 0
    assert check_health(Path("w.json"), now=FIRST + 20 * DAY)[0].failed == 0
    assert json.loads((root(world) / "latest.json").read_text())["date"] == "2024-01-10"


def test_a_run_that_fails_is_told_with_a_ledger_and_without(world, monkeypatch):
    Path("catalog.json").write_text("{")
    with webhook() as server:
        monkeypatch.setenv("GEOSEG_TEST_HOOK", server.address)
        with pytest.raises(InputError, match="not JSON"):
            night(11)
        shutil.rmtree("products")
        with pytest.raises(InputError, match="not JSON"):
            night(12)
        assert [body["event"] for _, body in server.told].count("failure") == 2
    assert not Path("products").exists()


def test_silence_is_told_once_until_there_is_a_good_run(world, monkeypatch):
    with webhook() as server:
        monkeypatch.setenv("GEOSEG_TEST_HOOK", server.address)
        night(10)
        server.told.clear()
        for number in (12, 19, 20, 40):
            (health,) = check_health(Path("w.json"), tell=True, now=FIRST + number * DAY)
            assert health.silent == (number > 18)
        night(41)
        check_health(Path("w.json"), tell=True, now=FIRST + 60 * DAY)
        told = [one["key"] for _, body in server.told for one in body["notices"]]
    assert [key[:16] for key in told] == ["since 2024-01-11", "since 2024-02-11"]


def test_status_is_a_dead_mans_check(world, capsys):
    assert call(["status", "w.json", "--max-age", "99999 d"]) == 0
    assert "nightly: last good run 2024-01-11" in capsys.readouterr().out
    assert call(["status", "w.json"]) == 1  # by monitor.max_age, for years
    assert call(["status", "products", "--json", "--max-age", "1 h"]) == 1
    capsys.readouterr()
    call(["status", "products", "--json", "--max-age", "1 h"])
    (found,) = json.loads(capsys.readouterr().out)["workflows"]
    assert (found["scenes"], found["silent"], found["state"]) == (3, True, "good")
    Path("empty").mkdir()
    assert call(["status", "empty", "--max-age", "1 h"]) == 1
    assert call(["status", "empty"]) == 2
    assert call(["clean", "w.json", "--dry-run"]) == 0
    assert "2 scenes would be removed" in capsys.readouterr().out
    assert call(["schedule", "w.json", "--every", "week", "--kind", "cron"]) == 0
    assert "30 3 * * 1 cd " in capsys.readouterr().out


TELLING = """
import sys
from datetime import datetime
from geoseg.api import run
run("w.json", now=datetime.fromisoformat(sys.argv[1]), overrides=["input.ids=[T31_010]"])
"""


def test_killed_while_it_tells_the_next_run_tells_again_by_the_same_id(world, monkeypatch):
    with ledger_of(world) as ledger:
        ledger.tell("products", "late news", "something was mapped")
    with webhook() as server:
        env = os.environ | {"GEOSEG_TEST_HOOK": server.address}
        words = [sys.executable, "-c", TELLING, (FIRST + 11 * DAY).isoformat()]
        process = subprocess.Popen(words, env=env, stderr=subprocess.DEVNULL)
        server.on_told = process.kill  # it has told, and will never know
        assert process.wait(timeout=120) == -signal.SIGKILL
        server.on_told = lambda: None
        monkeypatch.setenv("GEOSEG_TEST_HOOK", server.address)
        night(12)
        bodies = [body for _, body in server.told if body["event"] == "products"]
    assert len(bodies) == 2
    assert bodies[0]["id"] == bodies[1]["id"]


def test_secrets_stay_out_of_ledger_products_and_words(world, monkeypatch, capfd):
    change(notify={"webhook_env": "GEOSEG_TEST_HOOK", "email": True, "events": ["products"]})
    monkeypatch.setenv("GEOSEG_SMTP", "smtp://me:S3CRET@127.0.0.1:9")
    monkeypatch.setenv("GEOSEG_MAIL_TO", "S3CRET@example.org")
    with webhook(failing=99, answer=404) as server:
        monkeypatch.setenv("GEOSEG_TEST_HOOK", server.address)
        words = ["--set", "input.time=2023-12-01/2024-02-01", "--force"]
        assert call(["run", "w.json", "--log-json", *words]) == 0
        assert call(["status", "w.json", "--json", "--max-age", "9 d"]) == 0
    out, err = capfd.readouterr()
    assert "notice of products not delivered by webhook: HTTP 404" in err
    assert "not delivered by email" in err
    assert "S3CRET" not in out + err
    for path in world.rglob("*"):
        assert not path.is_file() or b"S3CRET" not in path.read_bytes(), path


def test_an_address_in_the_workflow_is_refused_without_repeating_it(world, capsys):
    change(notify={"webhook_env": "https://hooks.example.org/S3CRET"})
    assert call(["validate", "w.json"]) == 2
    said = capsys.readouterr().err
    assert "the name of an environment variable that holds it" in said
    assert "hooks.example.org" not in said.partition("\n")[0]


def test_nights_that_fail_are_no_good_ones(world):
    change(model={"path": "nowhere"})
    with pytest.raises(GeosegError):
        night(12)
    (health,) = check_health(Path("w.json"), now=FIRST + 12 * DAY)
    assert (health.state, health.last_good[:10]) == ("failed", "2024-01-11")


def test_a_failure_is_told_again_after_a_good_night(world):
    good = Path("catalog.json").read_text()
    for number, text in ((11, "{"), (12, "{"), (13, good), (14, "{")):
        Path("catalog.json").write_text(text)
        try:
            night(number)
        except InputError:
            assert text == "{"
    assert len(notices(world, "failure")) == 2


def test_products_stand_until_there_are_new_ones(world, mapped):
    before = works(world)
    damage(world, mapped)
    change(run={"on_error": "skip_scene", "retries": 0})
    lines, result = night(11)
    assert result.exit_code == 4
    assert "runs again: inputs changed" in again(lines)[0]
    assert works(world) == before
    assert json.loads((root(world) / "latest.json").read_text())["date"] == "2024-01-10"
