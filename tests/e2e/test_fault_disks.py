"""Disks that are full or read-only: one clear error, no half product, and the next run goes on."""

import json
import subprocess
import sys
from hashlib import sha256

import pytest
import small_disk
from packages import write_package
from test_fault_blocks import geoseg, workflow, write_scene

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not small_disk.can_mount(), reason="no small disks can be mounted here"),
]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("disks")
    write_scene(folder / "in/a.tif")
    model = write_package(folder / "models", margin=0)
    run = {"on_error": "stop", "retries": 0}
    return folder, lambda out: workflow(
        folder,
        model,
        run=run,
        # What takes a second to load, and is not about rasters, is left out.
        output={"directory": str(out), "vector": False, "quicklook": False, "project": False},
    )


def on_small_disks(path, what, out):
    """How each run ended, what it left, and what it said."""
    done = subprocess.run(
        ["/usr/bin/unshare", "-rm", sys.executable, small_disk.__file__, path, what, out],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    runs = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return [
        (*run.values(), said) for run, said in zip(runs, done.stderr.split("---"), strict=False)
    ]


def test_a_disk_fills_up_and_gets_more_room_again_and_again(work):
    folder, made = work
    geoseg("run", made(folder / "whole"), check=0)
    whole = {
        str(p.relative_to(folder / "whole")): sha256(p.read_bytes()).hexdigest()
        for p in sorted((folder / "whole").rglob("*"))
        if p.is_file() and ".geoseg" not in p.parts
    }
    runs = on_small_disks(made(folder / "small"), "grows", folder / "small")
    assert (runs[0][:2], runs[-1][0]) == ((1, {}), 0)
    for code, files, said in runs:
        for name, digest in files.items():
            assert name in ("run.json", "report.html") or digest == whole[name], name
        if code:
            assert "item.json" not in files
            assert "No space left on device" in said or "0.0 MB are free" in said, said
            assert "a fault of geoseg" not in said
    assert runs[-1][1].keys() == whole.keys()


def test_nothing_can_be_written(work):
    folder, made = work
    out = folder / "read-only"
    ((code, files, said),) = on_small_disks(made(out), "read-only", out)
    assert (code, files) == (2, {})
    line, *_ = said.strip().splitlines()  # and the line of the workflow
    assert line.startswith("error: ")
    assert str(out) in line
    assert "fault of geoseg" not in line


@pytest.mark.skipif(sys.platform != "linux", reason="counts on the size of pages")
def test_a_raster_that_was_cut_off_is_never_taken_for_whole(tmp_path):
    """GDAL says nothing when the last bytes of a file are refused as it is closed."""
    done = subprocess.run(
        ["/usr/bin/unshare", "-rm", sys.executable, small_disk.__file__, "-", "cogs", tmp_path],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    came = json.loads(done.stdout)
    assert came["wrong"] == 0
    assert came["refused"] >= 10
    assert came["whole"] >= 3
