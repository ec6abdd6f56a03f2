"""Dask's page of a run, drawn later by who has its record, beside that which the scheduler draws."""

import gzip
import json
import re
import subprocess
import sys
import time

import pytest
from dask_pages import Panels, do_something
from distributed import Client, LocalCluster
from packages import write_package
from small_runs import geoseg, workflow

from geoseg.cli import run
from geoseg.run.dask_page import page_of
from geoseg.run.dask_report import DaskReport

pytestmark = pytest.mark.cluster

PROFILES = ("Worker Profile (compute)", "Worker Profile (administrative)")
PROFILES += ("Scheduler Profile (administrative)",)


@pytest.fixture(scope="module")
def noted():
    """A record, the scheduler's own page of the same time, and how many tasks there were."""
    # Dask's own, as those of geoseg keep no profile of blocks.
    cluster = LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None)
    with cluster, Client(cluster) as client:
        report = DaskReport(client)
        count = do_something(client)
        # Heartbeats tell how fast data came, seconds where threads were.
        until = time.monotonic() + 60

        def known(dask_scheduler):
            return bool(dask_scheduler.bandwidth_workers and dask_scheduler.bandwidth_types)

        while not (
            client.run_on_scheduler(known) and "doze" in str(client.profile(start=report._began))
        ):
            assert time.monotonic() < until
            time.sleep(0.1)

        async def draw():
            return await client.scheduler.performance_report(
                start=report._began, last_count=report._count, code="", mode="inline"
            )

        def sent(dask_scheduler):
            s = dask_scheduler
            return s.bandwidth, dict(s.bandwidth_workers), dict(s.bandwidth_types)

        def quiet(dask_worker):
            dask_worker.periodic_callbacks["heartbeat"].stop()

        # Each heartbeat moves what the scheduler thinks of bandwidth; one may be on its way.
        client.run(quiet)
        while True:
            before = client.run_on_scheduler(sent)
            record, page = report.record(), client.sync(draw)
            if client.run_on_scheduler(sent) == before:
                return record, page, count
            assert time.monotonic() < until


@pytest.fixture(scope="module")
def pages(noted):
    """Both pages: drawn from the record, and by the scheduler."""
    return Panels(page_of(noted[0], named="it").decode()), Panels(noted[1])


def told(text):
    """The summary without how long until now."""
    return re.sub(r"Duration: [^<]*", "", text)


def test_the_summary_is_that_of_the_scheduler(noted, pages):
    ours, theirs = (told(one.text("Summary")) for one in pages)
    assert ours == theirs
    assert f"number of tasks: {noted[2]} " in ours
    for word in ("compute time", "transfer time", "Workers: 2", "Threads: 4"):
        assert word in ours, word


def test_all_tasks_are_the_same_rectangles(noted, pages):
    ours, theirs = (one.drawn("Task Stream") for one in pages)
    assert ours == theirs
    assert len(ours["start"]) >= noted[2]
    assert {"doze", "nap", "make", "transfer-count"} <= set(ours["name"])
    assert "black" in ours["color"], "the one that failed"


def test_what_was_sent_is_the_same(pages):
    for title in ("Bandwidth (Workers)", "Bandwidth (Types)"):
        ours, theirs = pages
        assert ours.drawn(title)["bandwidth"], title
        assert ours.drawn(title) == theirs.drawn(title)
        assert ours.by_title[title].y_range.factors == theirs.by_title[title].y_range.factors
    title = "Bandwidth (Types)"
    assert ours.by_title[title].title.text == theirs.by_title[title].title.text


def test_profiles_are_the_same(pages):
    ours, theirs = pages
    lines = ("name", "filename", "line", "line_number", "bottom")
    for title in PROFILES:
        drawn, live = (
            list(zip(*(one.drawn(title)[k] for k in lines), strict=True)) for one in pages
        )
        assert set(drawn) <= set(live), "loops may have done more since"
    assert ours.drawn(PROFILES[0]) == theirs.drawn(PROFILES[0])
    assert "doze" in ours.drawn(PROFILES[0])["name"]


def test_the_schedulers_process_and_logs_are_the_same(pages):
    ours, theirs = pages
    assert len(ours.moments()) == len(theirs.moments())
    for drawn, live in zip(ours.moments(), theirs.moments(), strict=True):
        assert drawn.keys() == live.keys()
        count = len(drawn["time"])
        assert count > 0
        assert all(values == live[name][:count] for name, values in drawn.items())
    assert ours.text("Scheduler Logs") == theirs.text("Scheduler Logs")


def test_a_record_is_data_and_small(noted):
    data = json.loads(gzip.decompress(noted[0]))
    assert len(noted[0]) < 100_000
    assert [t["key"] for t in data["tasks"] if t["key"][1:2] == [0]] == [["doze-1", 0, [0, "a"]]]


def test_noting_needs_no_bokeh_and_drawing_says_that_it_does(noted, tmp_path):
    (tmp_path / "record").write_bytes(noted[0])
    code = (
        "import sys; sys.modules['bokeh'] = None\n"
        "from pathlib import Path\n"
        "from distributed.diagnostics.task_stream import TaskStreamPlugin\n"
        "import geoseg.run.dask_report\n"
        "from geoseg.errors import InputError\n"
        "from geoseg.run.dask_page import page_of\n"
        "try:\n"
        "    page_of(Path(sys.argv[1]).read_bytes(), named='it')\n"
        "except InputError as error:\n"
        "    print(error)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "record")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("it: to draw it takes bokeh: pip install bokeh")
    assert done.stderr == ""


def test_drawing_says_nothing_and_leaves_no_warning(noted, tmp_path):
    (tmp_path / "record").write_bytes(noted[0])
    code = (
        "import sys; from pathlib import Path\n"
        "from geoseg.run.dask_page import page_of\n"
        "assert 'bokeh' not in sys.modules\n"
        "import asyncio\n"
        "async def notebook(): return page_of(Path(sys.argv[1]).read_bytes(), named='it')\n"
        "assert b'Dask Performance Report' in asyncio.run(notebook())\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "record")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_short_run_keeps_its_record_and_no_page(tmp_path):
    path = workflow(tmp_path, write_package(tmp_path), output={"vector": False})
    geoseg("run", path, "-q", check=0)
    log = tmp_path / "out/.geoseg/log"
    assert (log / "performance.json.gz").exists()
    assert not (log / "performance.html").exists()
    linked = b"performance.html"
    assert linked not in (tmp_path / "out/report.html").read_bytes()
    assert run(["report", str(tmp_path / "out"), "--dask"]) == 0
    assert run(["report", str(tmp_path / "out"), "-q"]) == 0
    assert linked in (tmp_path / "out/report.html").read_bytes()
    drawn = Panels((log / "performance.html").read_text()).drawn("Task Stream")
    assert len(drawn["start"]) > 0


def test_a_run_that_wants_none_keeps_none(tmp_path):
    package, none = write_package(tmp_path), {"performance_report": False}
    path = workflow(tmp_path, package, output={"vector": False}, run=none)
    geoseg("run", path, "-q", check=0)
    assert {one.name for one in (tmp_path / "out/.geoseg/log").iterdir()} == {"events.jsonl"}
