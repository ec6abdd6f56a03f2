"""The dashboard and alerts that ship ask for metrics that there are, with labels that they have."""

import asyncio
import json
import re

import msgpack
import pytest
from conftest import ROOT
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from geoseg.run import metrics
from geoseg.run.run_metrics import TOPIC, RunMetrics, SchedulerMetrics, families

FOLDER = ROOT / "deploy" / "observability"
OURS = re.compile(r"\b(geoseg_[a-z_]+|dask_[a-z_]+)(\{[^}]*\})?")
LABEL = re.compile(r"(\w+)\s*[=!~]{1,2}")
DASKS = {"dask_scheduler_workers": {"state"}}
"""Dask's own that we ask for; tests/e2e/test_observability.py sees them beside ours."""


def event(what, **values):
    return {"time": "2026-11-26T00:00:00.000Z", "event": what, "run": "0", **values}


def counted():
    run = RunMetrics("nightly", scenes=3, memory_planned=10)
    run(event("scene_started", scene="a", memory_planned=8))
    run(event("stage_started", scene="a", stage="segment", resumed=4))
    block = {"scene": "a", "stage": "segment", "block": [0, 0, 10, 20], "tries": 3}
    run(
        event("block", **block, state="done", lanes={"read": 0.5}, received_bytes=7, memory_bytes=9)
    )
    run(event("block", **block, state="failed", error="no"))
    run(event("warning", scene="a", text="look"))
    run(event("scene_ended", scene="a", state="done"))
    return run


@pytest.fixture(scope="module")
def known():
    """Labels of each metric, as they are exposed."""
    counts = metrics.counts_of_worker()
    with counts.trying("segment", 200) as done:
        done({"seconds": {"read": 0.5}, "remote": {"bytes": 7}, "memory": 9})
    registry = CollectorRegistry()
    sent = msgpack.unpackb(msgpack.packb(counted().snapshot() | {"client": "c"}), use_list=False)
    registry.register(_Families([sent]))  # as distributed brings it to the scheduler
    text = generate_latest(registry).decode() + generate_latest().decode()
    return {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("geoseg_")
    } | DASKS


class _Families:
    def __init__(self, runs):
        self.runs = runs

    def collect(self):
        return families(self.runs)


def expressions():
    board = json.loads((FOLDER / "grafana-dashboard.json").read_text())
    found = [t["expr"] for panel in board["panels"] for t in panel["targets"]]
    rules = YAML(typ="safe").load((FOLDER / "alerts.yaml").read_text())
    return found + [rule["expr"] for group in rules["groups"] for rule in group["rules"]]


def test_what_is_asked_for_is_there(known):
    asked = [match for expr in expressions() for match in OURS.findall(expr)]
    assert len({name for name, _ in asked}) > 10
    for name, selector in asked:
        assert name in known, name
        assert set(LABEL.findall(selector)) <= known[name], (name, selector)
    text = " ".join(expressions())
    for labels in re.findall(r"by \(([^)]*)\)", text):
        whole = set().union(*known.values()) | {"instance", "le"}
        assert set(re.split(r",\s*", labels)) <= whole


def test_every_metric_of_ours_is_told_of(known):
    page = (ROOT / "docs" / "observability.md").read_text()
    for name in known:
        if name.endswith("_created") or name in DASKS:  # prometheus_client adds when one began
            continue
        plain = re.sub(r"_(bucket|sum|count)$", "", name)
        assert f"`{plain}`" in page, plain


def test_targets_of_the_scrape_are_those_of_compose():
    """Ports are where compose.yaml has them; workers listen wider there than they ship with."""
    scrape = YAML(typ="safe").load((FOLDER / "prometheus.yml").read_text())
    assert scrape["rule_files"] == ["alerts.yaml"]
    compose = (ROOT / "deploy" / "compose.yaml").read_text()
    scheduler, worker = scrape["scrape_configs"]
    assert scheduler["static_configs"][0]["targets"] == ["scheduler:8787"]
    assert "--dashboard-address=:8787" in compose
    assert worker["dns_sd_configs"][0]["port"] == 8790
    assert ":8790" in compose


def test_numbers_are_those_of_the_events():
    run = counted()
    told = run.snapshot()
    assert told["scenes"] == {"waiting": 2, "running": 0, "done": 1, "failed": 0, "stopped": 0}
    assert sorted(told["blocks"]) == [
        ["segment", "done", 1], ["segment", "failed", 1], ["segment", "resumed", 4],
    ]  # fmt: skip
    assert told["retries"] == [["segment", 4]]
    assert told["pixels"] == [["segment", 200]], "of what is done"
    assert (told["received"], told["memory_most"], told["warnings"]) == (7, 9, 1)
    assert told["memory_planned"] == 8, "of the engine that was chosen"


def test_a_scheduler_keeps_the_last_run_of_each_workflow():
    held = SchedulerMetrics()
    for number in range(210):
        held.log_event(TOPIC, {"workflow": f"w{number}", "client": "c", "state": "running"})
    held.log_event("something-else", {"workflow": "x"})
    assert len(held.runs) == 200
    assert "w9" not in held.runs
    assert held.runs["w209"]["state"] == "running"
    held.remove_client(None, "c")
    assert held.runs["w209"]["state"] == "lost", "its client went without a word"


def test_a_scheduler_is_asked_while_it_is_there():
    from prometheus_client import REGISTRY

    held = SchedulerMetrics()
    asyncio.run(held.start(None))
    held.log_event(TOPIC, counted().snapshot() | {"client": "c"})
    assert REGISTRY.get_sample_value("geoseg_warnings_total", {"workflow": "nightly"}) == 1
    asyncio.run(held.close())
    assert REGISTRY.get_sample_value("geoseg_warnings_total", {"workflow": "nightly"}) is None
