"""A small land of two classes to learn, drawn by number; also a program that trains on it.

    python tests/training_cases.py FOLDER SETTINGS

trains with the ``TrainingSettings`` that the JSON text says, for tests that kill it.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from geoseg.legend import LandClass, Legend
from geoseg.models.architectures import build
from geoseg.models.base import ModelCard
from geoseg.models.training.base import (
    IGNORE,
    Augmentation,
    LabelledChips,
    SelfTraining,
    TrainingSettings,
)
from geoseg.models.training.loop import train
from geoseg.models.weights_file import digest

TWO = Legend("two", (LandClass(1, "Low", "#112233"), LandClass(2, "High", "#445566")))
CARD = ModelCard(
    name="tiny",
    version="1.0.0",
    bands=("red", "nir"),
    units="reflectance",
    mean=(0.2, 0.3),
    std=(0.1, 0.1),
    legend=TWO,
    stride=8,
    size=64,
    margin=0,
    architecture={"name": "geoseg-unet", "widths": [4, 6, 8, 8], "depths": [0, 1, 1]},
)
SMALL = TrainingSettings(
    steps=12, batch=4, validate_every=4, checkpoint_every=3, learning_rate=0.01, ema=0.9
)


class Land:
    """Chips of two classes that differ in ``nir``; implements ChipSource."""

    def __init__(self, seed=1, *, chips=4, side=32, unknown=0.1, noise=0.05):
        self.seed, self.chips, self.side = seed, chips, side
        self.unknown, self.noise = unknown, noise
        self.asked = []

    def batch(self, step):
        self.asked.append(step)
        random = np.random.default_rng([self.seed, step])
        n = -(-self.side // 8)
        coarse = random.integers(0, 2, (self.chips, n, n)).astype(np.uint8)
        labels = coarse.repeat(8, 1).repeat(8, 2)[:, : self.side, : self.side]
        values = random.normal(0.2, self.noise, (self.chips, 2, self.side, self.side))
        values[:, 1] += 0.2 * labels
        valid = random.random(labels.shape) > 0.02
        labels = np.where(valid & (random.random(labels.shape) >= self.unknown), labels, IGNORE)
        return LabelledChips(values.astype(np.float32), labels.astype(np.uint8), valid)


class HeldOut:
    """A few chips of other sizes; implements HeldOutSource."""

    def __init__(self, seed=99, *, count=3, side=41):
        self.land, self.count = Land(seed, chips=1, side=side), count

    def __iter__(self):
        return (self.land.batch(i) for i in range(self.count))


class Told:
    """A watcher that remembers."""

    def __init__(self):
        self.steps, self.looks, self.notes = [], [], []

    def step(self, done, of, loss):
        self.steps.append((done, of, loss))

    def looked(self, look):
        self.looks.append(look)

    def note(self, text):
        self.notes.append(text)


def trained(folder, settings=SMALL, *, held_out=True, watcher=None, source=None, **other):
    unlabelled = Land(7) if settings.self_training else None
    return train(
        CARD,
        build(CARD, seed=settings.seed),
        source or Land(),
        held_out=HeldOut() if held_out else None,
        settings=settings,
        folder=Path(folder),
        unlabelled=unlabelled,
        device="cpu",
        threads=1,
        watcher=watcher or Told(),
        **other,
    )


def lines(folder):
    """The metrics without the time."""
    text = (Path(folder) / "metrics.jsonl").read_text("utf-8")
    return [{k: v for k, v in json.loads(t).items() if k != "seconds"} for t in text.splitlines()]


def main(folder, text):
    asked = json.loads(text)
    for key, kind in (("augmentation", Augmentation), ("self_training", SelfTraining)):
        if asked.get(key) is not None:
            asked[key] = kind(**asked[key])

    class Says(Told):
        def step(self, done, of, loss):
            print(done, flush=True)  # noqa: T201 (who kills it must know)

    network = trained(folder, TrainingSettings(**asked), watcher=Says())
    print("digest", digest(network), flush=True)  # noqa: T201 (the result)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
