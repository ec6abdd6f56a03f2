"""A scheduler that is frozen keeps its connections: the run ends all the same."""

import os
import signal

import pytest
from test_cluster_processes import MANY, Site, WhoWorks, spec

from geoseg.errors import ClusterLostError
from geoseg.run import attending
from geoseg.run.cluster import connect
from geoseg.run.on_dask import OnDask

pytestmark = [pytest.mark.cluster, pytest.mark.long]


@pytest.mark.parametrize("moment", ["while blocks run", "between two stages"])
def test_a_scheduler_that_is_frozen_is_given_up(monkeypatch, moment):
    monkeypatch.setattr(attending, "ASK_SECONDS", 0.5)
    monkeypatch.setattr(attending, "PATIENCE_SECONDS", 3.0)
    site = Site()
    try:
        site.worker("--no-nanny")
        with connect(spec(site, timeout=20.0)) as connected:
            run = OnDask(connected.client).run(WhoWorks("frozen", 0.1), MANY)
            if moment == "while blocks run":
                next(run)
            os.kill(site.scheduler.pid, signal.SIGSTOP)
            with pytest.raises(ClusterLostError, match="run again to go on"):
                list(run)
    finally:
        site.close()
