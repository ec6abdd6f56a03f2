"""When Dask's record of a run is kept, when its page is drawn, and when that of a scene links to it."""

import gzip
import json
from types import SimpleNamespace

import pytest
from test_dask_records import packed

from geoseg.api.dask_files import LOG, PAGE, RECORD
from geoseg.api.observing import Observing
from geoseg.api.scene_report import _dask_page
from geoseg.errors import BlockError, ClusterLostError
from geoseg.run.reporter import Silent
from geoseg.workflow import from_data
from geoseg.workflow.schema import LONG_RUN


class Heard(Silent):
    """Warnings."""

    def __init__(self):
        self.warnings = []

    def warning(self, text):
        self.warnings.append(text)


def workflow(wanted, **more):
    rules = more | ({} if wanted is None else {"run": {"performance_report": wanted}})
    sample = {"kind": "sample"}
    named = {"geoseg": 1, "name": "kept", "model": "m", "output": {"directory": "out"}}
    return from_data({**named, "input": sample, **rules})


def observing(folder, rules, record=packed, reporter=None):
    plan = SimpleNamespace(workflow=rules, tasks=(), blocks=0)
    made = Observing(plan, folder, reporter or Silent())
    made._dask = SimpleNamespace(record=record)  # a scheduler's, in e2e tests
    return made


def kept(folder):
    log = folder / ".geoseg" / LOG
    return {path.name for path in log.iterdir()} if log.exists() else set()


@pytest.mark.parametrize(
    ("wanted", "long", "drawn"),
    [
        (None, True, True),
        (None, False, False),
        ("auto", True, True),
        (True, False, True),
        (True, True, True),
    ],
)
def test_every_record_is_kept_and_long_runs_draw_it(tmp_path, monkeypatch, wanted, long, drawn):
    monkeypatch.setattr("geoseg.api.observing.LONG_RUN", 0.0 if long else LONG_RUN)
    observing(tmp_path, workflow(wanted)).ended()
    assert kept(tmp_path) == ({RECORD, PAGE} if drawn else {RECORD})


def test_runs_on_clusters_elsewhere_draw_it_however_short(tmp_path):
    there = workflow(None, cluster={"kind": "address", "address": "tcp://there:8786"})
    observing(tmp_path, there).ended()
    assert kept(tmp_path) == {RECORD, PAGE}
    record = {"workflow": there.canonical(), "seconds": {"segment": {"wall": 1.0}}}
    assert _dask_page(tmp_path, record, running=True)


def test_no_page_of_an_earlier_run_lies_beside_a_record(tmp_path):
    observing(tmp_path, workflow(wanted=True)).ended()
    observing(tmp_path, workflow(None)).ended()
    assert kept(tmp_path) == {RECORD}


def test_nobody_is_asked_where_none_is_wanted(tmp_path):
    plan = SimpleNamespace(workflow=workflow(wanted=False), tasks=(), blocks=0)
    made = Observing(plan, tmp_path, Silent())
    made.connected(None)
    made.ended()
    assert kept(tmp_path) == set()


@pytest.mark.parametrize("wanted", ["auto", True])
@pytest.mark.parametrize("fails", ["record", "page"])
def test_no_run_fails_by_it_and_who_asked_is_told(tmp_path, wanted, fails):
    def mute():
        raise TimeoutError("the scheduler said nothing")

    def older():
        return gzip.compress(json.dumps({"kind": "x"}).encode())

    heard = Heard()
    observing(tmp_path, workflow(wanted), mute if fails == "record" else older, heard).ended()
    assert kept(tmp_path) == (set() if fails == "record" else {RECORD})
    how = "was not kept: the scheduler" if fails == "record" else f"was not drawn: {tmp_path}"
    assert [how in text for text in heard.warnings] == ([True] if wanted is True else [])


@pytest.mark.parametrize(
    ("error", "asked"),
    [(BlockError("b"), True), (ClusterLostError("gone"), False), (KeyboardInterrupt(), False)],
)
def test_a_cluster_that_is_lost_is_asked_for_nothing(tmp_path, error, asked):
    calls = []
    observing(tmp_path, workflow(None), lambda: calls.append(1) or packed()).ended(error)
    assert bool(calls) == asked


@pytest.mark.parametrize(
    ("wanted", "seconds", "linked"),
    [("auto", LONG_RUN, True), ("auto", 1.0, False), (True, 1.0, True), (False, LONG_RUN, False)],
)
def test_a_run_links_to_the_page_where_it_will_be(tmp_path, wanted, seconds, linked):
    whole = workflow(wanted).canonical()
    record = {"workflow": whole, "seconds": {"segment": {"wall": seconds}}}
    assert bool(_dask_page(tmp_path, record, running=True)) == linked
    for directory in ("out/{scene}", "s3://bucket/out"):
        whole["output"]["directory"] = directory
        assert not _dask_page(tmp_path, record, running=True), "it lies elsewhere"


def test_after_a_run_the_page_is_linked_if_it_is_there(tmp_path):
    record = {"workflow": workflow(None).canonical(), "seconds": {"segment": {"wall": LONG_RUN}}}
    assert not _dask_page(tmp_path, record, running=False)
    observing(tmp_path, workflow(wanted=True)).ended()
    (page,) = _dask_page(tmp_path, record, running=False)
    assert (tmp_path / page.name).exists()
