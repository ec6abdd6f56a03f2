"""One run of the command line, watched from outside: events, metrics by HTTP, traces by OTLP."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from datetime import datetime

import jsonschema
import pytest
from dask_pages import Panels
from otlp_receiver import about, receiving
from packages import write_package
from prometheus_client.parser import text_string_to_metric_families

from geoseg.cli import run
from geoseg.run.event_log import read_events
from geoseg.run.event_schema import event_schema

pytestmark = pytest.mark.cluster

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
BLOCKS, PIXELS = 9, 420 * 300


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 (of our own run)
        return answer.read().decode()


def metrics(url):
    """All numbers of a page, by name and labels."""
    found = {}
    for family in text_string_to_metric_families(get(url)):
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


def number(found, name, **labels):
    return found.get((name, tuple(sorted(labels.items()))))


class Watched:
    """What a run said, and what was asked of it while it was at work."""

    def __init__(self, folder):
        self.folder = folder
        self.out = folder / "out"
        self.lines, self.scheduler, self.workers, self.spans = [], {}, [], []

    def run(self, workflow, endpoint):
        env = os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "TRACEPARENT": PARENT}
        command = [sys.executable, "-m", "geoseg", "run", str(workflow), "--log-json"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, env=env, text=True) as process:
            for line in process.stderr:
                assert line.startswith("{"), line + process.stderr.read()[:4000]
                event = json.loads(line)
                self.lines.append(event)
                if event["event"] == "stage_started" and event["stage"] == "products":
                    self.ask()
        assert process.returncode == 0, self.lines[-3:]

    def ask(self):
        """The scheduler, once it knows of the blocks, and all workers."""
        link = next(e["dashboard"] for e in self.lines if e["event"] == "started")
        root, until = link.rsplit("/", 1)[0], time.monotonic() + 20
        done = {"workflow": "watched", "stage": "segment", "state": "done"}
        while number(self.scheduler, "geoseg_blocks_total", **done) != BLOCKS:
            assert time.monotonic() < until, self.scheduler
            self.scheduler = metrics(f"{root}/metrics")
        table = get(f"{root}/info/main/workers.html")
        ports = sorted(set(re.findall(r"/proxy/(\d+)/", table)))
        self.workers = [metrics(f"http://127.0.0.1:{port}/metrics") for port in ports]


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("watched")
    data = {
        "geoseg": 1,
        "name": "watched",
        "input": {"kind": "sample", "size": [420, 300], "seed": 3},
        "model": {"path": str(write_package(folder))},
        "tiling": {"size": 192, "margin": 24, "block": 144},
        "output": {"directory": str(folder / "out")},
        "cluster": {"workers": 2},
        "run": {"performance_report": True},
    }
    workflow = folder / "workflow.yaml"
    workflow.write_text(json.dumps(data))
    told = Watched(folder)
    with receiving() as receiver:
        told.run(workflow, receiver.endpoint)
        told.spans = receiver.spans
    return told


def test_every_line_is_as_the_schema_says(watched):
    check = jsonschema.Draft202012Validator(event_schema())
    kept = list(read_events(watched.out / ".geoseg" / "log"))
    for event in (*kept, *watched.lines):
        check.validate(event)
    told = [e for e in watched.lines if "run" in e]
    assert [e for e in kept if e["event"] not in ("message", "warning")] == told
    assert len({e["run"] for e in told}) == 1
    assert (told[0]["event"], told[-1]["event"]) == ("run_started", "run_ended")


def test_each_block_says_where_and_when_it_was_done(watched):
    blocks = [e for e in watched.lines if e["event"] == "block"]
    assert Counter(e["stage"] for e in blocks) == {"segment": BLOCKS, "trace": BLOCKS}
    for event in blocks:
        assert (event["state"], event["tries"]) == ("done", 1)
        assert event["worker"].startswith("tcp://127.0.0.1:")
        assert datetime.fromisoformat(event["began"]) <= datetime.fromisoformat(event["time"])
    first = blocks[0]
    assert {"read", "infer", "write"} <= first["lanes"].keys()
    assert first["memory_bytes"] > 10**8
    assert sum(first["lanes"][lane] for lane in ("read", "infer", "write")) <= first["seconds"]


def test_the_command_sums_up_and_follows(watched, capsys):
    assert run(["events", str(watched.folder)]) == 0
    told = capsys.readouterr().out
    assert f"segment: {BLOCKS} blocks" in told
    assert told.count("tcp://127.0.0.1:") == 2
    assert run(["events", str(watched.out), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["state"], found["failures"], found["lost"]) == ("done", [], 0)
    assert sum(worker["blocks"] for worker in found["workers"]) == 2 * BLOCKS
    assert run(["events", str(watched.out), "--follow", "--json"]) == 0
    followed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert followed[-1]["event"] == "scene_ended"
    assert run(["events", str(watched.folder / "models")]) == 2


def test_dasks_report_needs_nothing_else(watched):
    name = ".geoseg/log/performance.html"
    page = (watched.out / name).read_text()
    assert "Dask Performance Report" in page
    # Tags only: bokeh would fetch a typesetter for formulas, of which there are none.
    assert re.findall(r"""<(?:script|link|img)\b[^>]*\b(?:src|href)=["']?https?:""", page) == []
    assert name in (watched.out / "report.html").read_text()


def test_what_dask_noted_draws_the_same_page_again(watched, tmp_path, capsys):
    log = tmp_path / ".geoseg/log"
    log.mkdir(parents=True)
    shutil.copy(watched.out / ".geoseg/log/performance.json.gz", log)
    assert run(["report", str(tmp_path), "--dask"]) == 0
    assert capsys.readouterr().out.strip() == str(log / "performance.html")
    first, again = (
        Panels((folder / ".geoseg/log/performance.html").read_text())
        for folder in (watched.out, tmp_path)
    )
    drawn = first.drawn("Task Stream")
    assert again.drawn("Task Stream") == drawn
    assert len(drawn["start"]) >= 2 * BLOCKS
    assert len(set(drawn["worker"])) == 2


def test_products_are_told_once_they_are_there(watched):
    products = {e["file"]: e["bytes"] for e in watched.lines if e["event"] == "product"}
    assert {"classes.tif", "polygons.gpkg", "item.json"} <= products.keys()
    for name, size in products.items():
        assert (watched.out / name).stat().st_size == size


def test_the_scheduler_tells_how_the_run_goes(watched):
    found, ours = watched.scheduler, {"workflow": "watched"}
    assert number(found, "geoseg_run_state", **ours, state="running") == 1
    assert number(found, "geoseg_scenes", **ours, state="running") == 1
    assert number(found, "geoseg_scenes", **ours, state="waiting") == 0
    assert number(found, "geoseg_pixels_total", **ours, stage="segment") == PIXELS
    assert number(found, "geoseg_lane_seconds_total", **ours, stage="segment", lane="infer") > 0
    assert number(found, "geoseg_block_retries_total", **ours, stage="segment") == 0
    planned = number(found, "geoseg_memory_planned_bytes", **ours)
    assert 0 < number(found, "geoseg_memory_most_bytes", **ours) < 2 * planned
    assert any(name.startswith("dask_scheduler_") for name, _ in found), "on the same port"


def test_workers_count_what_they_do(watched):
    assert len(watched.workers) == 2

    def total(name, **labels):
        return sum(number(one, name, **labels) or 0 for one in watched.workers)

    assert total("geoseg_worker_tries_total", stage="segment", state="done") == BLOCKS
    assert total("geoseg_worker_pixels_total", stage="segment") == PIXELS
    assert total("geoseg_worker_try_seconds_count", stage="segment") == BLOCKS
    assert total("geoseg_worker_lane_seconds_total", stage="segment", lane="read") > 0
    assert total("geoseg_worker_blocks_running", stage="segment") == 0
    assert total("geoseg_worker_model_queue") == 0
    assert total("geoseg_worker_memory_most_bytes") > 10**8
    assert any(name.startswith("dask_worker_") for name, _ in watched.workers[0])


def test_the_trace_is_a_tree_from_the_run_to_its_blocks(watched):
    trace, parent = PARENT.split("-")[1:3]
    assert {span.trace_id.hex() for _, span in watched.spans} == {trace}
    assert {resource["service.name"] for resource, _ in watched.spans} == {"geoseg"}
    by_id = {span.span_id: span for _, span in watched.spans}
    above = Counter(
        (span.name, by_id[span.parent_span_id].name if span.parent_span_id in by_id else "")
        for span in by_id.values()
    )
    (scene,) = [e["scene"] for e in watched.lines if e["event"] == "scene_started"]
    assert above == {
        ("run", ""): 1,
        (f"scene {scene}", "run"): 1,
        ("stage segment", f"scene {scene}"): 1,
        ("stage trace", f"scene {scene}"): 1,
        ("stage products", f"scene {scene}"): 1,
        ("block", "stage segment"): BLOCKS,
        ("block", "stage trace"): BLOCKS,
    }
    (whole,) = [span for span in by_id.values() if span.name == "run"]
    assert whole.parent_span_id.hex() == parent, "who started geoseg is above"


def test_blocks_are_spans_of_their_workers(watched):
    blocks = [about(span) for _, span in watched.spans if span.name == "block"]
    client = next(e["pid"] for e in watched.lines if e["event"] == "run_started")
    assert client not in {one["process.pid"] for one in blocks}
    told = {tuple(e["block"]) for e in watched.lines if e["event"] == "block"}
    assert {tuple(one["geoseg.block"]) for one in blocks} == told
    segment = [one for one in blocks if one["geoseg.stage"] == "segment"]
    assert all(one["geoseg.seconds.infer"] >= 0 for one in segment)
