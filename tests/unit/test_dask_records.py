"""Records of Dask that are damaged, of others, or made to mislead, and their command."""

import gzip
import json

import pytest
from dask_pages import Panels

from geoseg.cli import run
from geoseg.errors import InputError
from geoseg.run import dask_page, dask_report
from geoseg.run.dask_page import page_of

MARK = "<img src=x onerror=alert(1)>"
ROOT = [-1, 2, "root", "", "", 0, ""]
RECORD = {
    "kind": "geoseg.dask_record",
    "version": 1,
    "versions": {"dask": "2024.1.0", "distributed": "2024.1.1"},
    "address": "tcp://127.0.0.1:8786",
    "start": 100.0,
    "stop": 103.5,
    "workers": [{"address": "tcp://a:1", "name": "0", "threads": 2, "memory": 2**30}],
    "tasks": [
        {
            "key": ["block-1", 0, {"bytes": "00ff"}],
            "worker": "tcp://a:1",
            "thread": 7,
            "status": "OK",
            "startstops": [["compute", 101.0, 102.0]],
        },
        {"key": "lost", "status": "error", "startstops": [["compute", 1, 2]]},
    ],
    "bandwidth": 1e8,
    "bandwidth_workers": [["tcp://a:1", "tcp://b:1", 1e6]],
    "bandwidth_types": [["bytes", 1e6]],
    "monitor": {
        name: [1.0, 2.0]
        for name in (
            "cpu", "memory", "time", "num_fds", "host_net_io.read_bps", "host_net_io.write_bps",
        )
    },
    "logs": [[101.0, "INFO", "a line"]],
    "profiles": {
        name: [ROOT, [0, 1, "f;a.py;1", "a.py", "f", 2, "f()"], [0, 1, "g;a.py;5", "a.py", "g", 6, ""]]
        for name in ("compute", "scheduler", "server")
    },
}  # fmt: skip


def packed(**changed):
    return gzip.compress(json.dumps(RECORD | changed).encode())


def test_a_record_says_what_it_is():
    assert (RECORD["kind"], RECORD["version"]) == (dask_report.KIND, dask_report.VERSION)


def test_keys_come_back_as_they_were():
    keys = ["a", 1, ("b-1", 2, ("c", b"\x00\xff"), 1.5)]
    told = json.loads(json.dumps(keys, default=dask_report._plain))
    tasks = [RECORD["tasks"][0] | {"key": key} for key in told]
    drawn = Panels(page_of(packed(tasks=tasks), named="it").decode()).drawn("Task Stream")
    assert drawn["key"] == ["a", 1, ["b-1", 2, ["c", b"\x00\xff"], 1.5]]
    assert drawn["name"] == ["a", "Other", "b"]


def test_a_profile_is_nested_again():
    child = {"count": 1, "identifier": "f", "description": None, "children": {}}
    child["description"] = {"filename": "a.py", "name": "f", "line_number": 1, "line": "f()"}
    deep = child | {"children": {"g": child | {"identifier": "g"}}, "count": 2}
    whole = child | {"count": 3, "identifier": "root", "children": {"f": deep}}
    whole["children"]["h"] = child | {"identifier": "h"}
    rows = dask_report._rows(whole)
    assert [row[0] for row in rows] == [-1, 0, 1, 0]
    profiles = RECORD["profiles"] | {"compute": rows}
    page = Panels(page_of(packed(profiles=profiles), named="it").decode())
    drawn = page.drawn("Worker Profile (compute)")
    assert drawn["bottom"] == [0, 1, 2, 1]
    assert drawn["right"] == pytest.approx([1, 2 / 3, 1 / 3, 1])


def test_the_versions_and_the_duration_are_those_of_the_run():
    text = Panels(page_of(packed(), named="it").decode()).text("Summary")
    assert " Dask Version: 2024.1.0 " in text
    assert " Dask.Distributed Version: 2024.1.1 " in text
    assert "Duration: 3.5" in text
    assert "number of tasks: 2 " in text


def test_names_are_never_code():
    workers = [RECORD["workers"][0] | {"name": MARK}]
    page = page_of(packed(address=MARK, logs=[[1.0, "INFO", MARK]], workers=workers), named="it")
    panels = Panels(page.decode())
    assert MARK.encode() not in page
    for title in ("Summary", "Scheduler Logs"):
        assert MARK not in panels.text(title)
        assert "&lt;img" in panels.text(title)


def test_a_worker_that_said_nothing_leaves_the_profiles_empty():
    profiles = {name: [[-1, 0, "root", "", "", 0, ""]] for name in RECORD["profiles"]}
    page = Panels(page_of(packed(profiles=profiles), named="it").decode())
    assert page.drawn("Worker Profile (compute)")["name"] == []


SPAN = RECORD["tasks"][0] | {"startstops": [[MARK, 1, 2]]}
DAMAGED = {
    "empty": b"",
    "no gzip": b"{}",
    "cut off": packed()[:-40],
    "bits": packed()[:40] + b"\0\0\0\0" + packed()[44:],
    "no JSON": gzip.compress(b"\xff\xfe"),
    "deep": gzip.compress(b"[" * 100_000),
    "other data": gzip.compress(b"[1]"),
    "another kind": packed(kind="x"),
    "later version": packed(version=2),
    "versions": packed(versions={"dask": MARK, "distributed": "1"}),
    "action": packed(tasks=[SPAN]),
    "unknown action": packed(tasks=[SPAN | {"startstops": [["dance", 1, 2]]}]),
    "key": packed(tasks=[SPAN | {"key": {"a": 1}}]),
    "hex": packed(tasks=[SPAN | {"key": {"bytes": "x"}}]),
    "backwards": packed(stop=1.0),
    "moments": packed(monitor=RECORD["monitor"] | {"cpu": [1.0]}),
    "no moment": packed(monitor={}),
    "half a moment": packed(monitor=RECORD["monitor"] | {"cpu": [None, 1.0]}),
    "no root": packed(profiles=RECORD["profiles"] | {"compute": []}),
    "own caller": packed(profiles=RECORD["profiles"] | {"compute": [ROOT, [1, *ROOT[1:]]]}),
    "deep calls": packed(
        profiles=RECORD["profiles"] | {"server": [[i - 1, *ROOT[1:]] for i in range(3000)]}
    ),
}


@pytest.mark.parametrize("how", DAMAGED)
def test_what_is_damaged_is_one_error_and_no_page(tmp_path, capsys, how):
    log = tmp_path / ".geoseg/log"
    log.mkdir(parents=True)
    (log / "performance.json.gz").write_bytes(DAMAGED[how])
    assert run(["report", str(tmp_path), "--dask"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    (line,) = told.err.strip().splitlines()
    assert str(log / "performance.json.gz") in line
    assert [path.name for path in log.iterdir()] == ["performance.json.gz"]


def test_a_bomb_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(dask_page, "LARGEST", 10_000)
    with pytest.raises(InputError, match="larger than"):
        page_of(gzip.compress(b" " * 20_000), named="it")


def test_the_command_draws_it(tmp_path, capsys):
    log = tmp_path / ".geoseg/log"
    log.mkdir(parents=True)
    (log / "performance.json.gz").write_bytes(packed())
    page = log / "performance.html"
    assert run(["report", str(tmp_path), "--dask"]) == 0
    assert capsys.readouterr().out.strip() == str(page)
    first = Panels(page.read_text()).drawn("Task Stream")
    assert run(["report", str(tmp_path), "--dask", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [str(page)]
    assert Panels(page.read_text()).drawn("Task Stream") == first
    assert run(["report", str(tmp_path), "--dask", "-q"]) == 0
    assert capsys.readouterr().out == ""


def test_without_a_record_it_says_which_file_it_looked_for(tmp_path, capsys):
    assert run(["report", str(tmp_path), "--dask"]) == 2
    told = capsys.readouterr().err
    for word in (".geoseg/log/performance.json.gz", "run.performance_report: false", "threads"):
        assert word in told, word
    assert list(tmp_path.iterdir()) == []
    assert run(["report", str(tmp_path), "--dask", "--areas", "a.json"]) == 2
