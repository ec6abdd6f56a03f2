"""Thousands of blocks on a real cluster: what is in flight at once stays small."""

import time
from dataclasses import dataclass

import pytest

from geoseg.grid import Window
from geoseg.run import placing
from geoseg.run.base import Done
from geoseg.run.cluster import ClusterSpec, connect
from geoseg.run.clusters import scaling
from geoseg.run.clusters.base import Elastic
from geoseg.run.ledger import Ledger
from geoseg.run.loop import run_blocks
from geoseg.run.on_dask import OnDask, _Running
from geoseg.run.reporter import Silent

pytestmark = pytest.mark.cluster

COUNT, WINDOW = 2000, 40


@dataclass(frozen=True)
class Nothing:
    """A job whose blocks cost nothing, so that what is seen is the scheduling alone."""

    key: str
    seconds: float = 0.0

    def open(self):
        return self

    def __call__(self, block):
        time.sleep(self.seconds)
        return {"row": block.y0}

    def close(self):
        pass


@pytest.fixture(scope="module")
def client():
    with connect(ClusterSpec(workers=2, threads=3, dashboard=False)) as connected:
        yield connected.client


def blocks(count):
    return [Window(i // 50, i % 50, i // 50 + 1, i % 50 + 1) for i in range(count)]


class Drawn:
    """Blocks that are made one by one, as they are asked for."""

    def __init__(self, count):
        self.count, self.taken = count, 0

    def __iter__(self):
        for block in blocks(self.count):
            self.taken += 1
            yield block


def test_never_more_than_the_window_is_submitted(client):
    drawn, seen, most, held = Drawn(COUNT), set(), 0, 0
    for outcome in OnDask(client, window=WINDOW).run(Nothing("window"), drawn):
        assert outcome.report == {"row": outcome.block.y0}
        # This one is answered, and others of its batch may be; none was drawn before its time.
        most = max(most, drawn.taken - len(seen))
        held = max(held, len(client.futures))
        seen.add(outcome.block)
    assert seen == set(blocks(COUNT))
    # Futures that are let go may linger for a message or two.
    assert WINDOW // 2 < most <= WINDOW
    assert held <= 3 * WINDOW


def test_as_workers_come_more_blocks_are_submitted(monkeypatch):
    monkeypatch.setattr(scaling, "INTERVAL", "100ms")
    monkeypatch.setattr(placing, "CHECK_SECONDS", 0.1)
    elastic = ClusterSpec(elastic=Elastic(1, 2), threads=20, dashboard=False)
    drawn, most = Drawn(6000), {1: 0, 2: 0}
    with connect(elastic) as connected:
        run = OnDask(connected.client).run(Nothing("grows", 0.1), drawn)
        for answered, _ in enumerate(run):
            workers = len(connected.client.nthreads())
            most[workers] = max(most[workers], drawn.taken - answered)
            if most[2] > 80:
                break
        run.close()
    assert most[1] == 80, "four times the threads that are there at first"
    assert 80 < most[2] <= 160


def test_answers_that_do_not_come_along_are_fetched(client, monkeypatch):
    """As where a scheduler drops what it should pass on."""
    monkeypatch.setattr(_Running, "_hear", lambda self, event: None)
    done = list(OnDask(client).run(Nothing("unheard"), blocks(60)))
    assert {d.block: d.report for d in done} == {b: {"row": b.y0} for b in blocks(60)}


def test_one_run_after_the_other_hears_its_own_answers(client):
    for key in ("first", "second", "first"):
        done = list(OnDask(client).run(Nothing(key), blocks(30)))
        assert all(isinstance(d, Done) for d in done)
        assert {d.block for d in done} == set(blocks(30))


def test_a_long_ledger_is_gone_on_from(client, tmp_path):
    """Ten thousand lines, of which an interrupted run has all but a few."""
    every, path = blocks(10_000), tmp_path / "l.jsonl"
    with Ledger.open(path, "f", {}) as ledger:
        for block in every[:9_900]:
            ledger.record(Done(block, {"row": -1}))
    with Ledger.open(path, "f", {}) as ledger:
        summary = run_blocks(OnDask(client), Nothing("on"), every, ledger, Silent())
        rows = [done.report["row"] for done in ledger.reports()]
    assert (summary.resumed, summary.done, summary.left) == (9_900, 100, 0)
    assert rows == [-1] * 9_900 + [block.y0 for block in every[9_900:]]
