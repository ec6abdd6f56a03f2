import io
import os
import signal
import threading
from dataclasses import dataclass

import pytest

from geoseg.errors import BlockError, InputError, ModelError, ProductError, StoppedError
from geoseg.grid import Window
from geoseg.run.base import Done, Failed, Stop
from geoseg.run.ledger import Ledger
from geoseg.run.loop import run_blocks
from geoseg.run.opened import Opened
from geoseg.run.patience import LateError, Patience, in_time
from geoseg.run.progress import Plain
from geoseg.run.reporter import Silent
from geoseg.run.resources import available_cores, available_memory, worker_environment
from geoseg.run.serial import Serial
from geoseg.run.stopping import stop_on_signals, terminable

BLOCKS = [Window(i, 0, i + 1, 5) for i in range(10)]


@dataclass
class Counting:
    """A job that counts what it does, and fails or signals where told."""

    key: str = "counting"
    bad: tuple[int, ...] = ()
    signal_at: int = -1
    number: int = signal.SIGINT

    def __post_init__(self):
        self.did = []

    def open(self):
        return self

    def __call__(self, block):
        self.did.append(block)
        if block.y0 in self.bad:
            raise ValueError(f"number {block.y0}")
        if block.y0 == self.signal_at:
            os.kill(os.getpid(), self.number)
        return {"pixels": 5, "seconds": {"read": 1.0, "infer": 2.0}}

    def close(self):
        pass


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path / "l.jsonl", "f", {}) as ledger:
        yield ledger


def one_by_one():
    return Serial(1, retries=0)


def test_does_all_and_sums_up(ledger):
    stream = io.StringIO()
    summary = run_blocks(one_by_one(), Counting(), BLOCKS, ledger, Plain(stream), name="segment")
    assert (summary.blocks, summary.resumed, summary.done, summary.left) == (10, 0, 10, 0)
    assert summary.seconds == {"read": 10.0, "infer": 20.0}
    assert ledger.done == set(BLOCKS)
    assert stream.getvalue().startswith("segment: 10 blocks")
    assert "10/10 blocks" in stream.getvalue()


def test_skips_what_is_done(ledger):
    for block in BLOCKS[:4]:
        ledger.record(Done(block, {}))
    job, stream = Counting(), io.StringIO()
    summary = run_blocks(one_by_one(), job, BLOCKS, ledger, Plain(stream))
    assert (summary.resumed, summary.done) == (4, 6)
    assert job.did == BLOCKS[4:]
    assert "4 of them done before" in stream.getvalue()
    again = Counting()
    assert run_blocks(one_by_one(), again, BLOCKS, ledger, Silent()).resumed == 10
    assert not again.did


def test_stops_at_the_first_failure(ledger):
    job, stream = Counting(bad=(3, 5)), io.StringIO()
    with pytest.raises(BlockError) as told:
        run_blocks(one_by_one(), job, BLOCKS, ledger, Plain(stream), name="segment")
    assert str(told.value) == "segment: block rows 3:4, columns 0:5: ValueError: number 3"
    assert "raise ValueError" in told.value.__notes__[0]
    assert len(job.did) == 4
    assert ledger.done == set(BLOCKS[:3])
    assert "warning: block rows 3:4" in stream.getvalue()


def test_goes_on_over_failures_if_told(ledger):
    job = Counting(bad=(3, 5))
    summary = run_blocks(one_by_one(), job, BLOCKS, ledger, Silent(), on_error="skip_block")
    assert [f.block.y0 for f in summary.failed] == [3, 5]
    assert (summary.done, len(ledger.done)) == (8, 8)


def test_counts_the_other_failures(ledger):
    with pytest.raises(BlockError, match=r"columns 0:5: ValueError: number 0 \(and \d more block"):
        run_blocks(Serial(4, retries=0), Counting(bad=tuple(range(10))), BLOCKS, ledger, Silent())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_stop_in_good_order(ledger, number, code):
    job = Counting(signal_at=4, number=number)
    before = signal.getsignal(number)
    with pytest.raises(StoppedError, match=f"{number.name} with 5 of 10 blocks to go") as told:
        run_blocks(one_by_one(), job, BLOCKS, ledger, Silent())
    assert told.value.exit_code == code
    assert ledger.done == set(BLOCKS[:5])
    assert signal.getsignal(number) == before


def test_a_signal_during_the_last_block_changes_nothing(ledger):
    summary = run_blocks(one_by_one(), Counting(signal_at=9), BLOCKS, ledger, Silent())
    assert summary.done == 10


def test_stopping_is_not_mistaken_for_a_failed_scene():
    assert not issubclass(StoppedError, Exception)


def test_a_second_signal_raises():
    stop = Stop()
    with stop_on_signals(stop, lambda: None) as request:
        signal.raise_signal(signal.SIGTERM)
        assert stop.asked
        assert request.signal == signal.SIGTERM
        with pytest.raises(StoppedError, match="at once") as told:
            signal.raise_signal(signal.SIGINT)
    assert told.value.exit_code == 143, "of the first"


def test_sigterm_unwinds():
    with pytest.raises(StoppedError) as told, terminable():
        signal.raise_signal(signal.SIGTERM)
    assert told.value.exit_code == 143


def test_threads_leave_signals_alone(ledger):
    done = []
    thread = threading.Thread(
        target=lambda: done.append(
            run_blocks(one_by_one(), Counting(), BLOCKS, ledger, Silent()).done
        )
    )
    thread.start()
    thread.join()
    assert done == [10]


class Held:
    """A job whose blocks wait until they are let go."""

    key = "held"

    def __init__(self):
        self.closed, self.entered, self.go = False, threading.Event(), threading.Event()

    def open(self):
        return self

    def __call__(self, block):
        self.entered.set()
        self.go.wait(10)
        return {"closed": self.closed}

    def close(self):
        self.closed = True


def test_closing_waits_for_the_last_user():
    job, answers = Held(), []
    opened = Opened(job)
    thread = threading.Thread(target=lambda: answers.append(opened(BLOCKS[0])))
    thread.start()
    job.entered.wait(10)
    opened.close()
    opened.close()
    assert not job.closed
    assert opened(BLOCKS[1]).outcome is None, "nothing is begun any more"
    job.go.set()
    thread.join()
    assert job.closed
    assert answers[0].outcome == Done(BLOCKS[0], {"closed": False})


def test_checks_come_before_opening():
    def check():
        raise InputError("other version")

    answer = Opened(Held(), check=check)(BLOCKS[0])
    assert answer.unopened
    assert isinstance(answer.outcome, Failed)
    assert answer.outcome.error == "other version"


def test_failures_without_words_say_their_kind():
    class Mute(Counting):
        def open(self):
            raise MemoryError

    assert Opened(Mute())(BLOCKS[0]).outcome.error == "MemoryError"
    assert str(ModelError("x")) == "x"


def test_cores_are_shared_out(tmp_path):
    assert worker_environment(16, 4)["OMP_NUM_THREADS"] == "4"
    assert worker_environment(2, 3)["OMP_NUM_THREADS"] == "1"
    assert set(worker_environment(8, 2).values()) >= {"4", "64"}
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text("1048576\n")
    assert available_cores(tmp_path) == 1
    assert available_memory(tmp_path) == 1048576
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert available_cores(tmp_path) >= 1
    assert available_memory(tmp_path) > 1048576
    assert available_memory(tmp_path / "missing") > 1048576
    old = tmp_path / "version-1"
    for name, text in (
        ("cpu/cpu.cfs_quota_us", "50000"),
        ("cpu/cpu.cfs_period_us", "100000"),
        ("memory/memory.limit_in_bytes", "1048576"),
    ):
        (old / name).parent.mkdir(parents=True, exist_ok=True)
        (old / name).write_text(f"{text}\n")
    assert (available_cores(old), available_memory(old)) == (1, 1048576)
    (old / "cpu/cpu.cfs_quota_us").write_text("-1\n")
    assert available_cores(old) == available_cores(tmp_path / "missing")


@dataclass
class FullDisk(Counting):
    """A job whose disk is full from some block on."""

    def __call__(self, block):
        if block.y0 >= 4:
            raise ProductError("disk: No space left on device")
        return super().__call__(block)


def test_what_would_fail_everywhere_is_no_hole(ledger):
    with pytest.raises(BlockError, match="block rows 4:5, columns 0:5: disk: No space left"):
        run_blocks(one_by_one(), FullDisk(), BLOCKS, ledger, Silent(), on_error="skip_block")
    assert ledger.done == set(BLOCKS[:4])


def test_a_job_that_cannot_be_opened_makes_no_holes(ledger):
    class Closed(Counting):
        def open(self):
            raise ModelError("no weights")

    ledger.record(Done(BLOCKS[0], {}))
    with pytest.raises(BlockError, match="no weights"):
        run_blocks(one_by_one(), Closed(), BLOCKS, ledger, Silent(), on_error="skip_block")


def test_a_map_of_nothing_but_holes_is_an_error(ledger):
    job = Counting(bad=tuple(range(10)))
    with pytest.raises(BlockError, match=r"number 0 \(and 9 more blocks\)"):
        run_blocks(one_by_one(), job, BLOCKS, ledger, Silent(), on_error="skip_block")


def test_nobody_waits_longer_than_they_want():
    goes_on, patience = threading.Event(), Patience(0.05)
    with pytest.raises(LateError, match=r"not done within 0\.05 s"):
        patience.call(goes_on.wait)
    goes_on.set()
    assert in_time(60, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        in_time(60, lambda: 1 // 0)


def test_threads_are_used_again_and_end():
    patience = Patience(60)
    first = patience.call(threading.current_thread)
    assert patience.call(threading.current_thread) is first
    assert first.daemon
    patience.close()
    first.join(10)
    assert not first.is_alive()
