"""A training that is killed at any moment ends as one that was left alone, to the last bit."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from training_cases import SMALL, lines

from geoseg.models.training.base import Augmentation, SelfTraining

ROOT = Path(__file__).parents[2]
SETTINGS = replace(
    SMALL,
    steps=24,
    validate_every=5,
    checkpoint_every=4,
    augmentation=Augmentation(
        gamma=0.1, shade=0.3, shade_share=0.5, blur=0.7, band_drop=0.2, elastic=1.5
    ),
    self_training=SelfTraining(confidence=0.6),
)


def start(folder, settings):
    text = json.dumps(asdict(settings))
    command = [sys.executable, str(ROOT / "tests" / "training_cases.py"), str(folder), text]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)


def finish(folder, settings=SETTINGS):
    """Digest of the weights, and the steps that this session did."""
    process = start(folder, settings)
    told, _ = process.communicate(timeout=300)
    assert process.returncode == 0, told
    *steps, last = told.split("\n")[:-1]
    return last.removeprefix("digest "), [int(s) for s in steps]


def kill_after(folder, step, wait=0.0, settings=SETTINGS):
    """SIGKILL once ``step`` is told, and some seconds later."""
    process = start(folder, settings)
    for line in process.stdout:
        if int(line) >= step:
            break
    time.sleep(wait)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL
    process.stdout.close()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    weights, steps = finish(folder)
    assert steps == list(range(1, SETTINGS.steps + 1))
    return weights, lines(folder)


@pytest.mark.long
def test_killed_at_several_moments(tmp_path, undisturbed):
    # Before the first checkpoint, amid steps, looks and checkpoints, and wherever chance has it.
    chance = random.Random(5)  # noqa: S311 (no secret)
    for step in (2, 5, 15):
        kill_after(tmp_path, step, chance.random() * 0.05)
    weights, steps = finish(tmp_path)
    assert steps[-1] == SETTINGS.steps
    assert len(steps) < SETTINGS.steps
    assert (weights, lines(tmp_path)) == undisturbed
