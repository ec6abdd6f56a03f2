"""The benchmark of peers, on a tiny scene with those that need no environment of their own."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def rows(text):
    """Cells of each row of the table, by name."""
    cells = [line.strip("| \n").split(" | ") for line in text.splitlines() if line[:2] == "| "]
    return {row[0]: row[1:] for row in cells}


@pytest.mark.long
def test_a_plain_loop_differs_from_the_untiled_answer_and_overlap_by_the_reach_does_not(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import peers

    asked = ["--size", "264", "--chip", "160", "--margin", "48", "--repeat", "0"]
    asked += ["--work", str(tmp_path), "--only", "plain-loop", "dask", "monai"]
    monkeypatch.setattr(sys, "argv", ["peers.py", *asked])
    peers.main()
    table = rows(capsys.readouterr().out)
    _, cpu, memory, differ, inside, *_ = table["dask"]
    assert (differ, inside) == ("0 %", "0 %")
    assert float(cpu) > 0
    assert 0.1 < float(memory) < 4, "Python with torch is within these"
    assert float(table["plain-loop"][3].removesuffix(" %")) > 0
    assert "torch" in table["plain-loop"][-1]
    assert "say --envs" in table["monai"][0], "a peer that cannot run is a row with its reason"


@pytest.fixture
def measure(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from peer_table import measure

    return measure


def test_memory_and_cpu_count_children_too(measure, tmp_path):
    hold = "x = bytearray(80_000_000); import time; time.sleep(0.6); sum(range(3_000_000))"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}], check=True)"
    felt = measure.felt(
        [sys.executable, "-c", code], log=tmp_path / "log", environment={}, timeout=60
    )
    assert felt.memory > 80_000_000
    assert 0 < felt.cpu < felt.wall


def test_what_fails_or_takes_too_long_says_so(measure, tmp_path):
    log = tmp_path / "log"
    with pytest.raises(measure.CommandError, match="exit code 3: broken"):
        measure.felt(
            [sys.executable, "-c", "print('broken'); raise SystemExit(3)"],
            log=log, environment={}, timeout=60,
        )  # fmt: skip
    with pytest.raises(measure.CommandError, match="stopped after 1 s"):
        measure.felt(
            [sys.executable, "-c", "import time; time.sleep(120)"],
            log=log, environment={}, timeout=1,
        )  # fmt: skip
