"""When Dask's report of a run is kept, and when the page of a scene links to it."""

from types import SimpleNamespace

import pytest

from geoseg.api.observing import LOG, PERFORMANCE, Observing
from geoseg.api.scene_report import _dask_report
from geoseg.errors import BlockError, ClusterLostError
from geoseg.run.reporter import Silent
from geoseg.workflow import from_data
from geoseg.workflow.schema import LONG_RUN


def workflow(wanted, **more):
    rules = more | ({} if wanted is None else {"run": {"performance_report": wanted}})
    sample = {"kind": "sample"}
    named = {"geoseg": 1, "name": "kept", "model": "m", "output": {"directory": "out"}}
    return from_data({**named, "input": sample, **rules})


@pytest.mark.parametrize(
    ("wanted", "long", "kept"),
    [
        (None, True, True),
        (None, False, False),
        ("auto", True, True),
        (True, False, True),
        (True, True, True),
    ],
)
def test_long_runs_keep_it_and_all_that_ask_for_it(tmp_path, monkeypatch, wanted, long, kept):
    monkeypatch.setattr("geoseg.api.observing.LONG_RUN", 0.0 if long else LONG_RUN)
    plan = SimpleNamespace(workflow=workflow(wanted), tasks=(), blocks=0)
    observing = Observing(plan, tmp_path, Silent())
    observing._dask = SimpleNamespace(page=lambda: b"page")  # a scheduler's, in e2e tests
    observing.ended()
    page = tmp_path / ".geoseg" / LOG / PERFORMANCE
    assert page.exists() == kept


def test_runs_on_clusters_elsewhere_keep_it_however_short(tmp_path):
    there = workflow(None, cluster={"kind": "address", "address": "tcp://there:8786"})
    observing = Observing(SimpleNamespace(workflow=there, tasks=(), blocks=0), tmp_path, Silent())
    observing._dask = SimpleNamespace(page=lambda: b"page")
    observing.ended()
    assert (tmp_path / ".geoseg" / LOG / PERFORMANCE).exists()
    record = {"workflow": there.canonical(), "seconds": {"segment": {"wall": 1.0}}}
    assert _dask_report(record)


@pytest.mark.parametrize(
    ("error", "asked"),
    [(BlockError("b"), True), (ClusterLostError("gone"), False), (KeyboardInterrupt(), False)],
)
def test_a_cluster_that_is_lost_is_asked_for_nothing(tmp_path, error, asked):
    plan = SimpleNamespace(workflow=workflow(wanted=True), tasks=(), blocks=0)
    observing, calls = Observing(plan, tmp_path, Silent()), []
    observing._dask = SimpleNamespace(page=lambda: calls.append(1) or b"page")
    observing.ended(error)
    assert bool(calls) == asked


@pytest.mark.parametrize(
    ("wanted", "seconds", "linked"),
    [("auto", LONG_RUN, True), ("auto", 1.0, False), (True, 1.0, True), (False, LONG_RUN, False)],
)
def test_a_page_is_linked_where_it_will_be(wanted, seconds, linked):
    whole = workflow(wanted).canonical()
    record = {"workflow": whole, "seconds": {"segment": {"wall": seconds}}}
    assert bool(_dask_report(record)) == linked
    whole["output"]["directory"] = "out/{scene}"
    assert not _dask_report(record), "it lies in the folder above"
