"""What a trained model gains over the two usual baselines, on ground that none of them has seen.

    python benchmarks/baselines.py workflows/train/water.yaml --model geoseg/models/weights/water-s2

Both baselines learn from the very chips that the model learnt from (the same draws) and are judged
on the same test pixels:

- index: thresholds of spectral indices by Otsu's method on the training pixels, one for NDWI and
  one for MNDWI where there are two classes, else a table of MNDWI and three levels of NDVI (of
  excess green, and of brightness, where there is no infrared); each cell of the table is the class
  that most of its training pixels are of;
- random forest: 200 trees over the bands of single pixels (scikit-learn).

Printed is a Markdown table for all test sets together and for each of them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from geoseg.api.training.preparing import Prepared, prepared
from geoseg.models.base import Batch
from geoseg.models.registry import find, open_segmenter
from geoseg.models.training.base import IGNORE
from geoseg.ops.accuracy import Confusion, score
from geoseg.ops.ground import PARTS
from geoseg.run.reporter import Silent
from geoseg.workflow.loading import load_training

BATCHES = 150
PIXELS = 150_000

Pixels = NDArray[np.float32]
Classes = NDArray[np.int64]
Predict = Callable[[Pixels], Classes]
"""Class indices ``(y, x)`` of values ``(band, y, x)``."""


def index(name: str, bands: tuple[str, ...], x: Pixels) -> Pixels:
    """A spectral index of ``(band, ...)``."""
    at = {band: x[i] for i, band in enumerate(bands)}
    if name == "excess green":
        return (2 * at["green"] - at["red"] - at["blue"]) / (x[:3].sum(axis=0) + 1e-6)
    if name == "brightness":
        return x.mean(axis=0)
    a, b = {"NDWI": ("green", "nir"), "MNDWI": ("green", "swir16"), "NDVI": ("nir", "red")}[name]
    return np.clip((at[a] - at[b]) / (at[a] + at[b] + 1e-6), -1, 1)


def otsu(values: Pixels, levels: int) -> list[float]:
    """Otsu's thresholds (Otsu 1979), one or two of them."""
    counts, edges = np.histogram(values, 128)
    middles = (edges[1:] + edges[:-1]) / 2
    weight = np.concatenate([[0], np.cumsum(counts)]).astype(float)
    total = np.concatenate([[0], np.cumsum(counts * middles)])

    def between(start: NDArray[np.int64], stop: NDArray[np.int64]) -> NDArray[np.float64]:
        w = weight[stop] - weight[start]
        return np.where(w > 0, (total[stop] - total[start]) ** 2 / np.maximum(w, 1), 0)

    n = len(counts)
    if levels == 2:
        cut = np.arange(1, n)
        best = cut[np.argmax(between(cut * 0, cut) + between(cut, cut * 0 + n))]
        return [float(edges[best])]
    a, b = np.triu_indices(n, 1)
    a, b = a[a > 0], b[a > 0]
    best = int(np.argmax(between(a * 0, a) + between(a, b) + between(b, b * 0 + n)))
    return [float(edges[a[best]]), float(edges[b[best]])]


@dataclass(frozen=True)
class IndexTable:
    """Cells between thresholds of indices, and the class of each."""

    bands: tuple[str, ...]
    cuts: Mapping[str, list[float]]
    classes: Classes

    @classmethod
    def fitted(
        cls, bands: tuple[str, ...], levels: Mapping[str, int], x: Pixels, y: Classes
    ) -> IndexTable:
        """Thresholds by Otsu, classes by majority; of ``(band, pixel)`` and ``(pixel,)``."""
        cuts = {name: otsu(index(name, bands, x), n) for name, n in levels.items()}
        table = cls(bands, cuts, np.zeros(0, np.int64))
        cells, count = table.cell(x), int(np.prod([len(c) + 1 for c in cuts.values()]))
        votes = np.zeros((count, int(y.max()) + 1), np.int64)
        np.add.at(votes, (cells, y), 1)
        return cls(bands, cuts, votes.argmax(axis=1))

    def cell(self, x: Pixels) -> Classes:
        """Number of the cell of each pixel."""
        at = np.zeros(x.shape[1:], np.int64)
        for name, cuts in self.cuts.items():
            level = np.searchsorted(np.array(cuts), index(name, self.bands, x), side="right")
            at = at * (len(cuts) + 1) + level
        return at

    def __call__(self, x: Pixels) -> Classes:
        """Class indices."""
        return self.classes[self.cell(x)]


def training_pixels(made: Prepared) -> tuple[Pixels, Classes]:
    """``(band, pixel)`` and ``(pixel,)`` of the chips that training draws first."""
    chips, random = made.chips(), np.random.default_rng(0)
    xs, ys = [], []
    for step in range(BATCHES):
        batch = chips.batch(step)
        known = batch.valid & (batch.labels != IGNORE)
        x, y = batch.values.transpose(1, 0, 2, 3)[:, known], batch.labels[known]
        some = random.permutation(len(y))[: PIXELS // BATCHES]
        xs.append(x[:, some])
        ys.append(y[some].astype(np.int64))
    return np.concatenate(xs, axis=1), np.concatenate(ys)


def index_tables(made: Prepared, x: Pixels, y: Classes) -> Iterator[tuple[str, Predict]]:
    """The index baselines that these bands allow."""
    bands, classes = made.target.bands, len(made.target.legend.classes)
    if "nir" not in bands:
        tables = [{"excess green": 2}, {"excess green": 3, "brightness": 3}]
    elif classes == 2:
        tables = [{"NDWI": 2}, {"MNDWI": 2}]
    else:
        tables = [{"MNDWI": 2, "NDVI": 3}]
    for levels in tables:
        table = IndexTable.fitted(bands, levels, x, y)
        cuts = " and ".join(
            f"{k} at {', '.join(f'{c:.3g}' for c in v)}" for k, v in table.cuts.items()
        )
        yield f"index: {cuts}", table


def forest(x: Pixels, y: Classes) -> Predict:
    """A pixel-wise random forest."""
    trees = RandomForestClassifier(200, min_samples_leaf=5, n_jobs=-1, random_state=0)
    trees.fit(x.T, y)

    def predict(pixels: Pixels) -> Classes:
        found = trees.classes_[trees.predict_proba(pixels.reshape(len(pixels), -1).T).argmax(1)]
        return np.asarray(found, np.int64).reshape(pixels.shape[1:])

    return predict


def package(folder: str) -> Predict:
    """A geoseg model."""
    segmenter = open_segmenter(find(folder))
    stride = segmenter.card.stride

    def predict(pixels: Pixels) -> Classes:
        bands, height, width = pixels.shape
        wide = ((0, 0), (0, -height % stride), (0, -width % stride))
        valid = np.pad(np.ones((height, width), np.bool_), wide[1:])
        one = np.ones(bands, np.float32)
        batch = Batch(np.pad(pixels, wide)[None], one, one * 0, valid[None])
        return segmenter.classify(batch)[0][0, :height, :width].astype(np.int64)

    return predict


def judge(made: Prepared, predict: Predict, part: str) -> dict[str, Confusion]:
    """Confusion over all pixels of a part, and by set."""
    held_out = made.held_out(PARTS.index(part))
    classes = len(made.target.legend.classes)
    if held_out is None:
        raise SystemExit(f"the workflow holds nothing out for {part}")
    found: dict[str, Confusion] = {"all": Confusion.empty(classes)}
    for (scene, _), chip in zip(held_out.tiles(), held_out, strict=True):
        labels = np.where(chip.valid[0], chip.labels[0], IGNORE).astype(np.int64)
        labels[labels == IGNORE] = -1
        counted = Confusion.of(labels, predict(chip.values[0]), classes)
        name = made.workflow.data[made.scenes[scene].of].name
        found["all"] += counted
        found[name] = found.get(name, Confusion.empty(classes)) + counted
    return found


def show(made: Prepared, rows: Mapping[str, dict[str, Confusion]]) -> None:
    """Markdown tables."""
    names = made.target.legend.names
    sets = list(next(iter(rows.values())))
    for part in sets if len(sets) > 2 else sets[:1]:
        print(f"\n**{part}**, {next(iter(rows.values()))[part].counts.sum():,} px\n")
        print(f"| | mean IoU | accuracy | {' | '.join(names)} |")
        print("|---" * (3 + len(names)) + "|")
        for row, found in rows.items():
            scores = score(found[part].counts)
            cells = [scores.mean_iou, scores.accuracy, *scores.iou]
            print(f"| {row} | {' | '.join(f'{c:.3f}' for c in cells)} |")


def main() -> None:
    """Fit, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workflow", type=Path)
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--part", choices=["validation", "test"], default="test")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    args = parser.parse_args()
    with prepared(
        load_training(args.workflow, overrides=args.overrides), Silent(), only_look=True
    ) as made:
        x, y = training_pixels(made)
        rows = {name: judge(made, table, args.part) for name, table in index_tables(made, x, y)}
        started = time.process_time()
        rows["random forest, by pixel"] = judge(made, forest(x, y), args.part)
        print(f"random forest: {time.process_time() - started:.0f} CPU-s", flush=True)
        for folder in args.model:
            rows[f"`{find(folder).card.name}`"] = judge(made, package(folder), args.part)
        show(made, rows)


if __name__ == "__main__":
    main()
