"""The benchmark for GPUs runs to its end where there is none, and says what one would need."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("scenes")


def told(scratch, out, *arguments):
    """What it wrote: the JSON and the Markdown."""
    command = [sys.executable, SCRIPT, "--device", "cpu", "--quick", "--scratch", scratch]
    done = subprocess.run(
        [*command, "--codecs", "zstd", "--out", out, *arguments],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((out / "gpu.json").read_text()), (out / "gpu.md").read_text()


def test_every_table_that_a_cpu_can_fill(scratch, tmp_path):
    found, text = told(scratch, tmp_path)
    tables = found["rows"]
    assert set(tables) == {"agreement", "kernels", "runs", "cogs", "reading", "calls"}
    assert found["failed"] == []
    assert found["left out"] == {}
    (same,) = tables["agreement"]
    assert same["classes as on a CPU in fp32, %"] == 100.0
    (run,) = tables["runs"]
    assert run["Mpx"] > 0
    assert run["CPU s a Mpx"] > 0
    assert all(f"| {row['variant']} |" in text for row in tables["kernels"])


def test_on_paper_a_faster_gpu_needs_as_many_more_cores(scratch, tmp_path):
    _, text = told(scratch, tmp_path, "--paper", "--gpu-mpx", "1000")
    head, row = (
        line for line in text.splitlines() if "cores in all" in line or "| zstd | 0." in line
    )
    names, values = ([cell.strip() for cell in line.strip("|").split("|")] for line in (head, row))
    cells = dict(zip(names, values, strict=True))
    read, rest, cogs = (
        float(cells[name]) for name in ("reading, CPU s/Mpx", "all but the network", "COGs")
    )
    assert float(cells["cores to read"]) == pytest.approx(1000 * read, abs=0.1)
    assert float(cells["cores in all"]) == pytest.approx(1000 * (rest + cogs), abs=0.2)
