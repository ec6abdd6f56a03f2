import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from geoseg.errors import LockedError, ProductError
from geoseg.grid import Window
from geoseg.run.base import Done
from geoseg.run.ledger import SYNC_LINES, Ledger
from geoseg.run.lock import hold

A, B = Window(0, 0, 8, 8), Window(0, 8, 8, 12)
PARTS = {"inputs": "1", "model": "2", "settings": "3", "code": "4"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "work" / "ledger.jsonl"


def test_goes_on_where_it_was(path):
    with Ledger.open(path, "f", PARTS) as ledger:
        assert (ledger.done, ledger.changed) == (set(), [])
        ledger.record(Done(B, {"crc": [1, 2], "counts": {3: np.int64(4)}}))
        ledger.record(Done(A, {"mean": np.float32(0.5)}))
    with Ledger.open(path, "f", PARTS) as ledger:
        assert (ledger.done, ledger.changed) == ({A, B}, [])
        assert list(ledger.reports()) == [
            Done(A, {"mean": 0.5}),
            Done(B, {"crc": [1, 2], "counts": {"3": 4}}),
        ], "in reading order"


@pytest.mark.parametrize(
    ("now", "changed"),
    [
        (PARTS | {"model": "9"}, ["model"]),
        (PARTS | {"code": "9", "inputs": "9"}, ["code", "inputs"]),
        ({"inputs": "1"}, ["code", "model", "settings"]),
        (PARTS, ["fingerprint"]),
    ],
)
def test_says_what_changed_and_forgets_the_rest(path, now, changed):
    with Ledger.open(path, "f", PARTS) as ledger:
        ledger.record(Done(A, {}))
    with Ledger.open(path, "g", now) as ledger:
        assert (ledger.done, ledger.changed) == (set(), changed)
        ledger.record(Done(B, {}))
    with Ledger.open(path, "g", now) as ledger:
        assert (ledger.done, ledger.changed) == ({B}, [])
    assert list(path.parent.iterdir()) == [path]


def test_what_is_recorded_outlives_a_killed_process(path):
    ledger = Ledger.open(path, "f", PARTS)
    ledger.record(Done(A, {}))
    with Ledger.open(path, "f", PARTS) as other:
        assert other.done == {A}, "without a sync"
    for _ in range(SYNC_LINES):
        ledger.record(Done(B, {}))
    ledger.close()
    ledger.close()


def test_reports_must_be_plain(path):
    with Ledger.open(path, "f", PARTS) as ledger:
        with pytest.raises(TypeError, match="a report holds a object"):
            ledger.record(Done(A, {"what": object()}))
        assert not ledger.done


def test_a_folder_in_its_place(path):
    path.mkdir(parents=True)
    with pytest.raises(ProductError, match=r"ledger\.jsonl: cannot be used as ledger: Is a dir"):
        Ledger.open(path, "f", PARTS)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk(path):
    path.parent.mkdir()
    with Ledger.open(path, "f", PARTS) as ledger:
        with Path("/dev/full").open("ab", buffering=0) as full:
            os.dup2(full.fileno(), ledger._file.fileno())
        with pytest.raises(ProductError, match="No space left on device"):
            ledger.record(Done(A, {}))
        assert not ledger.done
        with path.open("ab", buffering=0) as mended:
            os.dup2(mended.fileno(), ledger._file.fileno())


HOLDER = """
import sys, time
from geoseg.run.lock import hold
with hold(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_run_is_told_who_holds_the_output(holder, tmp_path):
    with (
        pytest.raises(LockedError, match=rf"process {holder.pid} on .* since 20.*; wait") as told,
        hold(tmp_path),
    ):
        pass
    assert told.value.exit_code == 75


def test_the_lock_of_a_killed_run_is_free(holder, tmp_path):
    holder.kill()
    holder.wait()
    assert (tmp_path / ".geoseg.lock").exists()
    with hold(tmp_path):
        pass
    assert not (tmp_path / ".geoseg.lock").exists()


def test_locks_are_free_after_use_and_after_errors(tmp_path):
    with pytest.raises(KeyError), hold(tmp_path / "new"):
        raise KeyError
    with hold(tmp_path / "new"), pytest.raises(LockedError), hold(tmp_path / "new"):
        pass
    with hold(tmp_path / "new"), hold(tmp_path / "other"):
        pass


def test_a_race_has_one_winner_at_a_time(tmp_path):
    """Processes that take, check and drop the lock over and over never meet inside."""
    code = """
import os, sys, time
from geoseg.errors import LockedError
from geoseg.run.lock import hold
won = 0
end = time.monotonic() + 1.5
while time.monotonic() < end:
    try:
        with hold(sys.argv[1]):
            os.close(os.open(sys.argv[1] + "/inside", os.O_CREAT | os.O_EXCL))
            os.unlink(sys.argv[1] + "/inside")
            won += 1
    except LockedError:
        pass
print(won)
"""
    racers = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    won = [int(r.communicate(timeout=60)[0]) for r in racers]
    assert all(r.returncode == 0 for r in racers)
    assert sum(won) > 10


def test_a_lock_file_that_says_nothing(tmp_path, holder):
    (tmp_path / ".geoseg.lock").write_text("")
    with pytest.raises(LockedError, match="another run holds this output"), hold(tmp_path):
        pass


def test_a_place_that_cannot_be_locked(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ProductError, match=r"cannot be locked: "), hold(tmp_path / "file"):
        pass


def test_a_big_ledger_opens(path):
    with Ledger.open(path, "f", PARTS) as ledger:
        for i in range(2000):
            ledger.record(Done(Window(i, 0, i + 1, 1), {"i": i}))
    with Ledger.open(path, "f", PARTS) as ledger:
        assert len(ledger.done) == 2000
        assert [d.report["i"] for d in ledger.reports()] == list(range(2000))
