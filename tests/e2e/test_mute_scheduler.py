"""A scheduler that is there and says nothing: what is asked of it at the end of a run does not wait."""

import signal
import time

import pytest
from test_cluster_processes import site, spec  # noqa: F401 (site is a fixture)

from geoseg.run import dask_report
from geoseg.run.cluster import connect

pytestmark = pytest.mark.cluster


def test_no_report_is_waited_for(site, monkeypatch):  # noqa: F811 (the fixture)
    monkeypatch.setattr(dask_report, "ANSWER_SECONDS", 1.0)
    site.worker("--no-nanny")
    with connect(spec(site)) as connected:
        report = dask_report.DaskReport(connected.client)
        site.scheduler.send_signal(signal.SIGSTOP)
        try:
            begun = time.monotonic()
            with pytest.raises(TimeoutError):
                report.page()
            assert time.monotonic() - begun < dask_report.SECONDS / 2
        finally:
            site.scheduler.send_signal(signal.SIGCONT)
        assert b"<html" in report.page()
