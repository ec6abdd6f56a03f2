"""The page on fine-tuning, done as it is written."""

import json
import os
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch

import geoseg.cli

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "fine-tuning.md").read_text("utf-8")
BLOCK = r"<!-- fine-tuning-{} -->\n```\w+\n(.*?)```\n<!-- end -->"


def test_the_page_shows_the_workflow_that_is_shipped():
    (shown,) = re.findall(BLOCK.format("workflow"), PAGE, re.DOTALL)
    assert shown == (ROOT / "workflows" / "train" / "fine-tuning.yaml").read_text("utf-8")


@pytest.fixture
def one_thread():
    """Threads of torch wait for each other: on a machine that is busy with tests, for minutes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.cluster
@pytest.mark.usefixtures("one_thread")
@pytest.mark.long
def test_the_page_works_as_it_is_written(tmp_path, monkeypatch, capfd):
    for name in ("docs/fine-tuning.geojson", "workflows/train/fine-tuning.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(BLOCK.format("command"), PAGE, re.DOTALL)
    commands = [shlex.split(line) for block in blocks for line in block.splitlines()]
    assert [words[1] for words in commands] == ["sample", "train", "train", "predict", "evaluate"]
    for program, *words in commands:
        assert program == "geoseg"
        more = ["--json"] if words[0] == "evaluate" else []
        capfd.readouterr()
        assert geoseg.cli.run([*words, *more]) == 0, capfd.readouterr().err
    scores = json.loads(capfd.readouterr().out)
    assert len(scores["classes"]) == 4
    assert scores["accuracy"] > 0.75, "chance is below a half"
    record = json.loads(Path("models/my-landcover/training.json").read_text())
    assert record["scores"]["validation"]["mean_iou"] > 0.7
    assert "test" not in record["scores"]
    assert os.path.getsize("models/my-landcover/weights.safetensors") < 10e6  # noqa: PTH202 (short)
