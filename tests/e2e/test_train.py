"""Training through the command line: from labelled files to a package that maps others."""

import io
import json
import os
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import rasterio
from training_scenes import image_of, patches, workflow, write

from geoseg import cli
from geoseg.api.labels import LabelFile, content_hash
from geoseg.run.lock import hold

SHAPE = (320, 320)


def geoseg(*arguments, cwd, code=0):
    """Run a command in this process (torch takes seconds to load); what it said."""
    out, err = io.StringIO(), io.StringIO()
    before = Path.cwd()
    os.chdir(cwd)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            found = cli.run([str(a) for a in arguments])
    finally:
        os.chdir(before)
    assert found == code, err.getvalue()
    return Said(out.getvalue(), err.getvalue())


class Said(NamedTuple):
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A scene of patches with its labels, and another one to map."""
    folder = tmp_path_factory.mktemp("data")
    for name, seed in (("scene", 1), ("other", 2)):
        labels = patches(SHAPE, 2, 16, seed)
        write(folder / f"{name}.tif", image_of(labels, seed))
        write(folder / f"{name}-labels.tif", labels + 1)
    return folder


def write_workflow(folder: Path, data: Path, name="w.yaml", **more) -> Path:
    labels = {"path": str(data / "{stem}-labels.tif"), "classes": {"1": "Low", "2": "High"}}
    path = folder / name
    path.write_text(json.dumps(workflow(data / "scene.tif", labels, **more)))
    return path


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    found = geoseg("train", write_workflow(folder, data), cwd=folder)
    return folder, found


FILES = {
    "card.json", "weights.safetensors", "metrics.jsonl", "split.json", "training.json",
    "report.html", "curves.png", "confusion.png", "check.json",
}  # fmt: skip


def test_a_package_comes_out_with_all_that_is_known_of_it(trained, data):
    folder, found = trained
    model = folder / "models" / "patches"
    assert {p.name for p in model.iterdir() if not p.name.startswith(".")} == FILES
    assert "test ground: mean IoU" in found.stdout
    record = json.loads((model / "training.json").read_text())
    assert record["scores"]["test"]["mean_iou"] > 0.8, (
        "chance is a third: half the pixels, of two classes"
    )
    about = json.loads((model / "card.json").read_text())["properties"]["geoseg:about"]
    assert about["held_out"]["test"]["mean_iou"] == record["scores"]["test"]["mean_iou"]
    assert about["temperature"] > 0
    assert about["labels_content_hash"] == record["labels"]
    assert record["labels"] == content_hash([LabelFile(data / "scene-labels.tif")])
    assert about["training"]["steps"] == 60
    assert about["calibration"]["on"] == "test"
    lines = [json.loads(line) for line in (model / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [20, 40, 60]
    page = (model / "report.html").read_text()
    assert "<svg" in page
    assert "http" not in page.replace("http://www.w3.org/", ""), "it needs nothing else"


def test_the_split_file_is_what_was_held_out(trained):
    folder, _ = trained
    model = folder / "models" / "patches"
    record = json.loads((model / "training.json").read_text())
    division = json.loads((model / "split.json").read_text())
    (scene,) = division["scenes"]
    letters = np.array([list(row) for row in scene["cells"]])
    assert letters.shape == (10, 10)
    by_pixel = np.kron(letters == "T", np.ones((32, 32), bool))
    labels = patches(SHAPE, 2, 16, 1)
    counts = np.bincount(labels[by_pixel], minlength=2)
    assert list(division["summary"]["pixels"]["test"].values()) == counts.tolist()
    assert record["scores"]["test"]["pixels"] == counts.sum()


@pytest.mark.cluster
def test_the_package_maps_a_scene_that_it_has_never_seen(trained, data):
    folder, _ = trained
    geoseg(
        "predict", data / "other.tif", "maps", "--model", "models/patches", "--bands", "red,nir",
        "--units", "dn", "--set", "cluster={workers: 1, dashboard: false}", cwd=folder,
    )  # fmt: skip
    with rasterio.open(folder / "maps" / "classes.tif") as mapped:
        found = mapped.read(1)
    right = found == patches(SHAPE, 2, 16, 2) + 1
    assert right.mean() > 0.9


def test_a_finished_training_is_not_done_again(trained):
    folder, _ = trained
    model = folder / "models" / "patches"
    before = {p.name: p.stat().st_mtime_ns for p in model.iterdir()}
    found = geoseg("train", "w.yaml", cwd=folder)
    assert "nothing new" in found.stdout
    after = {p.name: p.stat().st_mtime_ns for p in model.iterdir()}
    assert before == after


def test_planning_writes_nothing_and_needs_no_torch(data, tmp_path):
    path = write_workflow(tmp_path, data)
    found = geoseg("train", path, "--plan", cwd=tmp_path)
    assert "1 scene cut into squares of 64 px" in found.stdout
    assert {p.name for p in tmp_path.iterdir()} == {"w.yaml"}
    plan = json.loads(geoseg("train", path, "--plan", "--json", cwd=tmp_path).stdout)
    pixels = np.array([list(part.values()) for part in plan["pixels"].values()])
    assert pixels.shape == (3, 2)
    assert (pixels > 0).all()
    code = (
        "import sys; from geoseg.api import plan_training; plan_training(sys.argv[1]);"
        "print(sorted(m for m in ('torch', 'distributed', 'matplotlib') if m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=tmp_path, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def curve(model: Path):
    lines = [json.loads(line) for line in (model / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def start(path, cwd):
    return subprocess.Popen(
        [sys.executable, "-m", "geoseg", "train", str(path), "--log-json"],
        cwd=cwd,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for_step(process, step):
    for line in process.stderr:
        event = json.loads(line)
        if event["event"] == "advance" and event.get("done_steps", 0) >= step:
            return
    raise AssertionError("it ended before")


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143)])
@pytest.mark.long
def test_interrupted_anyhow_it_follows_the_same_curve(trained, data, tmp_path, sent, code):
    path = write_workflow(tmp_path, data)
    process = start(path, tmp_path)
    wait_for_step(process, 15)
    process.send_signal(sent)
    _, said = process.communicate(timeout=120)
    assert process.returncode == code
    model = tmp_path / "models" / "patches"
    assert not (model / "card.json").exists()
    if sent != signal.SIGKILL:
        assert "the same command goes on from here" in said
    found = geoseg("train", path, cwd=tmp_path)
    assert "training goes on after step" in found.stderr
    whole = trained[0] / "models" / "patches"
    assert curve(model) == curve(whole)
    weights = "weights.safetensors"
    assert (model / weights).read_bytes() == (whole / weights).read_bytes()


def test_a_second_training_waits_its_turn(data, tmp_path):
    path = write_workflow(tmp_path, data)
    with hold(tmp_path / "models" / "patches"):
        found = geoseg("train", path, cwd=tmp_path, code=75)
    assert "holds this output" in found.stderr
    assert not list((tmp_path / "models" / "patches").iterdir())


def test_changed_settings_begin_anew_and_never_leave_a_mixture(data, tmp_path):
    path = write_workflow(tmp_path, data)
    geoseg("train", path, "--set", "training.steps=20", cwd=tmp_path)
    model = tmp_path / "models" / "patches"
    first = json.loads((model / "card.json").read_text())
    geoseg("train", path, "--set", "training.steps=20", "--set", "training.seed=5", cwd=tmp_path)
    second = json.loads((model / "card.json").read_text())
    assert (
        first["assets"]["weights"]["file:checksum"] != second["assets"]["weights"]["file:checksum"]
    )
    geoseg("models", "show", model, cwd=tmp_path)


def test_scenes_without_labels_teach_too(data, tmp_path):
    more = {
        "unlabelled": [
            {
                "input": {
                    "kind": "files",
                    "path": str(data / "other.tif"),
                    "bands": ["red", "nir"],
                    "units": "dn",
                }
            }
        ]
    }
    path = write_workflow(tmp_path, data, **more)
    teach = ("--set", "training.self_training={confidence: 0.6}")
    geoseg("train", path, *teach, cwd=tmp_path)
    model = tmp_path / "models" / "patches"
    taught = json.loads((model / "training.json").read_text())
    assert taught["scores"]["validation"]["mean_iou"] > 0.8
    with_teacher = (model / "weights.safetensors").read_bytes()
    geoseg("train", path, cwd=tmp_path)  # the teacher is a setting: without it all begins anew
    assert (model / "weights.safetensors").read_bytes() != with_teacher
