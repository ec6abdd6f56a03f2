"""A scheduler that is there and says nothing: what is asked of it at the end of a run does not wait."""

import gzip
import json
import signal
import time

import pytest
from test_cluster_processes import site, spec  # noqa: F401 (site is a fixture)

from geoseg.run import dask_report
from geoseg.run.cluster import connect
from geoseg.run.dask_page import page_of

pytestmark = pytest.mark.cluster


def test_a_worker_that_says_nothing_costs_profiles_and_no_more(site, monkeypatch):  # noqa: F811
    monkeypatch.setattr(dask_report, "ANSWER_SECONDS", 4.0)
    worker = site.worker("--no-nanny")
    with connect(spec(site)) as connected:
        report = dask_report.DaskReport(connected.client)
        assert connected.client.submit(int, "7", key="seven-1").result() == 7
        worker.send_signal(signal.SIGSTOP)
        try:
            record = json.loads(gzip.decompress(report.record()))
        finally:
            worker.send_signal(signal.SIGCONT)
        assert "seven-1" in [task["key"] for task in record["tasks"]]
        assert len(record["profiles"]["server"]) == 1


def test_no_report_is_waited_for(site, monkeypatch):  # noqa: F811 (the fixture)
    monkeypatch.setattr(dask_report, "ANSWER_SECONDS", 1.0)
    site.worker("--no-nanny")
    with connect(spec(site)) as connected:
        report = dask_report.DaskReport(connected.client)
        site.scheduler.send_signal(signal.SIGSTOP)
        try:
            begun = time.monotonic()
            with pytest.raises(TimeoutError, match="the scheduler said nothing for 1 s"):
                report.record()
            assert time.monotonic() - begun < 60
        finally:
            site.scheduler.send_signal(signal.SIGCONT)
        assert b"<html" in page_of(report.record(), named="it")
