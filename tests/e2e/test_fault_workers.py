"""Workers that run out of memory, hang, or whose clock jumps: the other blocks are done."""

import time
from dataclasses import dataclass
from threading import Timer

import numpy as np
import pytest
from test_cluster_processes import Site, WhoWorks

from geoseg.errors import ClusterLostError
from geoseg.grid import Window
from geoseg.run.base import Done, Failed
from geoseg.run.cluster import ClusterSpec, connect
from geoseg.run.ledger import Ledger
from geoseg.run.loop import run_blocks
from geoseg.run.on_dask import OnDask
from geoseg.run.reporter import Silent

pytestmark = pytest.mark.cluster

BLOCKS = [Window(i, 0, i + 1, 1) for i in range(6)]
MEMORY = 600 * 2**20


@dataclass(frozen=True)
class Misbehaves:
    """A job one of whose blocks does what it should not."""

    key: str
    what: str
    bad: int = 2

    def open(self):
        return self

    def __call__(self, block):
        if block.y0 == self.bad and self.what == "takes too much memory":
            held = [np.ones(32 * 2**20, np.uint8) for _ in range(40)]
            time.sleep(5)  # the worker is looked at several times a second
            return {"held": len(held)}
        if block.y0 == self.bad and self.what == "hangs":
            time.sleep(3600)
        if self.what == "takes its time":
            time.sleep(12)
        return {"time": time.time()}

    def close(self):
        pass


def outcomes(what, *, blocks=BLOCKS, **options):
    spec = ClusterSpec(workers=1, threads=2, memory=MEMORY, dashboard=False)
    with connect(spec) as connected:
        executor = OnDask(connected.client, retries=0, **options)
        return {
            o.block.y0: o for o in executor.run(Misbehaves(what.replace(" ", "-"), what), blocks)
        }


def test_a_block_that_takes_too_much_memory_fails_alone():
    came = outcomes("takes too much memory")
    assert isinstance(came[2], Failed)
    assert "it may need more memory than a worker has" in came[2].error
    assert not came[2].everywhere
    assert all(isinstance(came[i], Done) for i in (0, 1, 3, 4, 5))


def test_a_block_that_hangs_fails_and_nothing_waits_for_it():
    came = outcomes("hangs", timeout=1.0)
    assert isinstance(came[2], Failed)
    assert came[2].error.startswith("not done within 1 s (run.block_timeout)")
    assert all(isinstance(came[i], Done) for i in (0, 1, 3, 4, 5))


JUMPING = """
import time
from random import Random

real, hours = time.time, Random(3)
time.time = lambda: real() + 3600 * hours.choice((-5, 0, 0, 2))
"""


def test_clocks_that_jump_lose_no_block(tmp_path, monkeypatch):
    """Each call of the workers' clocks, and of the scheduler's, is hours off, either way."""
    (tmp_path / "sitecustomize.py").write_text(JUMPING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.setattr("distributed.scheduler.time", jumping())
    monkeypatch.setattr("time.time", jumping())
    # Longer than the ten seconds after which a scheduler looks for workers that went silent.
    came = outcomes("takes its time", blocks=BLOCKS[:2])
    assert [type(came[i]) for i in (0, 1)] == [Done, Done]
    assert len(came) == 2


def jumping():
    space = {}
    exec(JUMPING.replace("time.time = ", "jumps = "), space)  # noqa: S102 (as the workers do)
    return space["jumps"]


def test_a_scheduler_that_comes_back_is_gone_on_with(tmp_path):
    """One message, all that was done kept, and only the rest is done when there is one again."""
    blocks, job = [Window(i, 0, i + 1, 1) for i in range(40)], WhoWorks("restarts", seconds=0.2)
    with Ledger.open(tmp_path / "l.jsonl", "f", {}) as ledger:
        first = Site()
        try:
            first.worker("--no-nanny")
            with connect(address(first)) as connected:
                Timer(2, first.scheduler.kill).start()
                with pytest.raises(ClusterLostError, match="what is done is kept, run again"):
                    run_blocks(OnDask(connected.client, patience=2), job, blocks, ledger, Silent())
        finally:
            first.close()
        done = len(ledger.done)
        assert 0 < done < 40
        second = Site()
        try:
            second.worker("--no-nanny")
            with connect(address(second)) as connected:
                came = run_blocks(OnDask(connected.client), job, blocks, ledger, Silent())
        finally:
            second.close()
    assert (came.resumed, came.done, came.left) == (done, 40 - done, 0)


def address(site):
    return ClusterSpec(kind="address", address=site.address, timeout=60)
