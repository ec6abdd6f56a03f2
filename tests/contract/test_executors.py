"""Every executor passes the same tests; the cluster ones on real worker processes."""

import os
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from geoseg.errors import ClusterError, ModelError, PlanError, SceneError
from geoseg.grid import Window, blocks
from geoseg.run import carried
from geoseg.run.base import Done, Failed, Stop
from geoseg.run.cluster import ClusterSpec, connect
from geoseg.run.many_jobs import ManyJobs
from geoseg.run.on_dask import OnDask, gpu_share
from geoseg.run.on_worker import WorkerFacts
from geoseg.run.serial import Serial

BLOCKS = list(blocks((50, 35), 10))
BAD = Window(20, 10, 30, 20)


@dataclass(frozen=True)
class Probe:
    """A job that notes in files what happens to it, and misbehaves as told."""

    key: str
    folder: Path
    bad: str = ""
    open_fails: str = ""
    seconds: float = 0.0

    def open(self):
        self.note("open")
        if self.open_fails == "everywhere" or self.first_of("unfit"):
            raise ModelError("model 'm': weights.safetensors is not there")
        return ProbeWork(self)

    def first_of(self, name):
        """Whether this process is the first that asks, and is to fail opening."""
        if self.open_fails != "once":
            return False
        try:
            (self.folder / name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def note(self, what):
        with (self.folder / "log").open("a") as file:
            file.write(f"{what} {os.getpid()}\n")

    def noted(self, what):
        lines = (self.folder / "log").read_text().splitlines()
        return [line.split()[-1] for line in lines if line.startswith(what)]


class ProbeWork:
    def __init__(self, job):
        self.job = job
        self.closed = False

    def __call__(self, block):
        assert not self.closed
        self.job.note(f"block {block.y0} {block.x0}")
        time.sleep(self.job.seconds)
        if block == BAD:
            self.misbehave(len(self.job.noted(f"block {block.y0} {block.x0} ")))
        assert not self.closed
        return {"pixels": block.shape[0] * block.shape[1]}

    def misbehave(self, tries):
        if self.job.bad == "raises":
            raise ValueError("bad tile")
        if self.job.bad == "raises twice" and tries <= 2:
            raise OSError("connection reset")
        if self.job.bad == "input":
            raise SceneError("scene 'a': no band B08")
        if self.job.bad == "unpicklable":
            raise UnpicklableError("x", 3)
        if self.job.bad == "dies":
            os._exit(3)
        if self.job.bad == "dies once" and tries == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    def close(self):
        self.closed = True
        self.job.note("close")


class UnpicklableError(Exception):
    """Like those of many libraries: cannot be made again from its arguments."""

    def __init__(self, what, number):
        super().__init__(f"{what}{number}")
        self.lock = threading.Lock()


@pytest.fixture(scope="module")
def cluster():
    with connect(ClusterSpec(workers=2, threads=3, dashboard=False)) as connected:
        yield connected


ON_A_CLUSTER = {"dask": OnDask, "many jobs": ManyJobs}


@pytest.fixture(
    params=[
        "serial-1",
        "serial-3",
        *(pytest.param(n, marks=pytest.mark.cluster) for n in ON_A_CLUSTER),
    ]
)
def executor(request):
    if request.param in ON_A_CLUSTER:
        return ON_A_CLUSTER[request.param](request.getfixturevalue("cluster").client)
    return Serial(int(request.param[-1]))


@pytest.fixture
def probe(tmp_path):
    return Probe(f"probe-{tmp_path.name}", tmp_path)


def outcomes_by_block(executor, job, windows=BLOCKS):
    outcomes = list(executor.run(job, windows))
    assert Counter(o.block for o in outcomes) == Counter(windows), "one outcome for each block"
    return {o.block: o for o in outcomes}


def wait_until_closed(job):
    """Nobody waits for workers to let go of a job that travels with its tasks."""
    until = time.monotonic() + 30
    while len(job.noted("close")) < len(job.noted("open")):
        assert time.monotonic() < until, "the job was not closed"
        time.sleep(0.02)
    assert Counter(job.noted("close")) == Counter(job.noted("open"))


def the_failed(found):
    return {block: o for block, o in found.items() if isinstance(o, Failed)}


class TestEveryExecutor:
    def test_each_block_has_one_outcome(self, executor, probe):
        found = outcomes_by_block(executor, probe)
        assert all(o == Done(b, {"pixels": b.shape[0] * b.shape[1]}) for b, o in found.items())

    def test_opens_once_per_process_and_closes(self, executor, probe):
        list(executor.run(probe, BLOCKS))
        opened = Counter(probe.noted("open"))
        assert set(opened.values()) == {1}
        wait_until_closed(probe)

    def test_no_blocks(self, executor, probe):
        assert list(executor.run(probe, [])) == []

    def test_runs_again(self, executor, probe):
        assert len(outcomes_by_block(executor, probe)) == len(BLOCKS)
        assert len(outcomes_by_block(executor, probe)) == len(BLOCKS)
        assert len(probe.noted("block")) == 2 * len(BLOCKS), "nothing is answered from memory"

    def test_blocks_may_come_from_a_generator(self, executor, probe):
        assert len(list(executor.run(probe, (b for b in BLOCKS)))) == len(BLOCKS)

    def test_a_failed_block_does_not_stop_the_others(self, executor, probe):
        failed = the_failed(outcomes_by_block(executor, replace(probe, bad="raises")))
        assert list(failed) == [BAD]
        assert failed[BAD].error == "ValueError: bad tile"
        assert "in misbehave" in failed[BAD].traceback
        assert len(probe.noted("block 20 10")) == 3, "one try and two more"

    def test_flaky_blocks_are_tried_again(self, executor, probe):
        assert not the_failed(outcomes_by_block(executor, replace(probe, bad="raises twice")))

    def test_wrong_input_is_not_tried_again(self, executor, probe):
        failed = the_failed(outcomes_by_block(executor, replace(probe, bad="input")))
        assert failed[BAD].error == "scene 'a': no band B08"
        assert len(probe.noted("block 20 10")) == 1

    def test_errors_that_cannot_travel_are_told_all_the_same(self, executor, probe):
        failed = the_failed(outcomes_by_block(executor, replace(probe, bad="unpicklable")))
        assert failed[BAD].error == "UnpicklableError: x3"

    def test_a_job_that_cannot_be_opened_fails_all_blocks_once(self, executor, probe):
        failed = the_failed(outcomes_by_block(executor, replace(probe, open_fails="everywhere")))
        assert sorted(failed) == BLOCKS
        assert {f.error for f in failed.values()} == {"model 'm': weights.safetensors is not there"}
        assert set(Counter(probe.noted("open")).values()) == {1}
        assert not probe.noted("block")

    def test_stops_when_asked_and_finishes_what_runs(self, executor, probe):
        job, stop = replace(probe, seconds=0.05), Stop()
        found = []
        for outcome in executor.run(job, list(blocks((400, 100), 10)), stop=stop):
            found.append(outcome)
            stop.asked = True
        begun = len(probe.noted("block"))
        assert 1 <= begun < 200
        assert all(isinstance(o, Done) for o in found)
        assert len(found) == begun, "what was begun has its outcome"
        wait_until_closed(probe)

    def test_closing_the_generator_drops_what_is_queued(self, executor, probe):
        run = executor.run(replace(probe, seconds=0.05), list(blocks((400, 100), 10)))
        next(run)
        run.close()
        wait_until_closed(probe)
        assert len(probe.noted("block")) < 200


@pytest.mark.cluster
class TestOnDask:
    def test_workers_share_the_blocks(self, cluster, probe):
        list(OnDask(cluster.client).run(replace(probe, seconds=0.02), BLOCKS))
        assert len(probe.noted("open")) == cluster.workers == 2
        assert set(probe.noted("block")) == set(probe.noted("open"))
        assert str(os.getpid()) not in probe.noted("block")

    def test_a_worker_that_cannot_open_is_avoided(self, cluster, probe):
        job = replace(probe, open_fails="once")
        assert not the_failed(outcomes_by_block(OnDask(cluster.client, retries=0), job))
        assert len(set(probe.noted("block"))) == 1

    def test_a_killed_worker_costs_nothing(self, cluster, probe):
        found = outcomes_by_block(OnDask(cluster.client), replace(probe, bad="dies once"))
        assert not the_failed(found)
        assert len(probe.noted("block 20 10")) >= 2

    def test_a_deadly_block_alone_is_blamed(self, cluster, probe):
        found = outcomes_by_block(OnDask(cluster.client), replace(probe, bad="dies"))
        failed = the_failed(found)
        assert list(failed) == [BAD]
        assert "worker died" in failed[BAD].error

    def test_few_futures_at_a_time(self, cluster, probe):
        taken = 0

        def counted():
            nonlocal taken
            for block in BLOCKS:
                taken += 1
                yield block

        window = 4
        for given, _ in enumerate(OnDask(cluster.client, window=window).run(probe, counted())):
            assert taken <= given + 1 + window * 2
        assert taken == len(BLOCKS)

    def test_missing_resources_are_an_error_not_a_hang(self, cluster, probe):
        with pytest.raises(ClusterError, match=r"no worker offers .*GPU"):
            list(OnDask(cluster.client, resources={"GPU": 1}).run(probe, BLOCKS))

    def test_nothing_is_left_on_the_cluster(self, cluster, probe):
        list(OnDask(cluster.client).run(probe, BLOCKS))
        assert not cluster.client.futures
        plugins = cluster.client.run(lambda dask_worker: list(dask_worker.plugins))
        assert not [name for names in plugins.values() for name in names if "geoseg" in name]


@pytest.mark.cluster
class TestManyJobs:
    def test_no_worker_is_told_of_a_small_job(self, cluster, probe, monkeypatch):
        """It comes along with its blocks, so that nothing waits for a busy worker's answer."""
        monkeypatch.setattr(ManyJobs, "_hand_over", None)
        found = outcomes_by_block(ManyJobs(cluster.client), probe)
        assert not the_failed(found)
        assert len(outcomes_by_block(ManyJobs(cluster.client), probe, BLOCKS[:1])) == 1
        wait_until_closed(probe)
        left = cluster.client.run(lambda: len(carried._OPENED))
        assert set(left.values()) == {0}
        assert not cluster.client.futures

    def test_a_job_that_is_too_large_to_travel_is_handed_over(self, cluster, probe, monkeypatch):
        monkeypatch.setattr(carried, "MOST_BYTES", 0)
        monkeypatch.setattr(carried, "do_carried", None)
        assert not the_failed(outcomes_by_block(ManyJobs(cluster.client), probe))

    def test_a_single_block_is_tried_again_where_the_job_can_be_opened(self, cluster, probe):
        job = replace(probe, open_fails="once")
        assert not the_failed(outcomes_by_block(ManyJobs(cluster.client), job, BLOCKS[:1]))
        assert len(probe.noted("open")) == 2

    def test_workers_with_other_versions_do_nothing_of_it(self, cluster, probe, monkeypatch):
        monkeypatch.setattr(carried, "versions", lambda: ("0.0.1", "3.0"))
        failed = the_failed(outcomes_by_block(ManyJobs(cluster.client), probe, BLOCKS[:3]))
        assert sorted(failed) == BLOCKS[:3]
        assert all("the client runs geoseg 0.0.1" in one.error for one in failed.values())

    def test_missing_resources_are_an_error_not_a_hang(self, cluster, probe):
        with pytest.raises(ClusterError, match=r"no worker offers .*GPU"):
            list(ManyJobs(cluster.client, resources={"GPU": 1}).run(probe, BLOCKS))


def test_lanes_must_be_some():
    with pytest.raises(PlanError, match="at least 1"):
        Serial(0)


def test_shares_of_a_gpu_fit_as_many_as_there_are_threads():
    facts = {
        "a": WorkerFacts("1", "3.11", 3, {"GPU": 1}),
        "b": WorkerFacts("1", "3.11", 7, {"GPU": 2}),
        "c": WorkerFacts("1", "3.11", 4, {}),
    }
    assert gpu_share(facts) == {"GPU": 0.285}
    assert gpu_share({"c": facts["c"]}) == {}
