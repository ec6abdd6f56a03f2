"""Train the shipped model ``landcover-s2`` on synthetic scenes and on real HLS chips.

    python scripts/train_landcover.py --data ../shared/data/visible

Real chips: 30 m Harmonized Landsat Sentinel-2 with ESA WorldCover and expert water masks. They
overlap, so they are split by place, never by chip. Their labels are noisy: WorldCover is itself a
model's map, and water masks of another date than the image are left out where the image is dry.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from training import IGNORE, HeldOut, options, scaled_crop, train

from geoseg.grid import Window
from geoseg.io.raster_array import read_array
from geoseg.io.sample import HIDDEN, SampleSpec
from geoseg.legend import LANDCOVER
from geoseg.models.base import ModelCard

BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
SIDE = 96
HELD_OUT_PLACES = 10
TRAINING_SEEDS, HELD_OUT_SEEDS = range(100, 116), (7, 900, 901)
# Index in the legend landcover by code of WorldCover; what is not listed is not learnt from.
WORLDCOVER = {10: 1, 20: 2, 30: 2, 40: 3, 50: 4, 60: 5, 100: 5}

Arrays = tuple[NDArray[np.float32], NDArray[np.uint8]]


def hls(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.int64]]:
    """Reflectance, class indices and place of every chip."""
    with (folder / "chips.csv").open() as file:
        rows = list(csv.DictReader(file))
    images, labels = [], []
    for row in rows:
        image = read_array(folder / "images" / f"{row['chip']}.tif")[1:7].astype("f4") / 1e4
        marks = read_array(folder / "labels" / f"{row['chip']}.tif")
        images.append(image)
        labels.append(_hls_labels(image, marks, clean=row["mask_matches_date"] == "1"))
    places = np.array([int(row["location"]) for row in rows])
    return np.stack(images), np.stack(labels), places


def _hls_labels(
    image: NDArray[np.float32], marks: NDArray[np.uint8], *, clean: bool
) -> NDArray[np.uint8]:
    mask, worldcover, _, fmask = marks
    green, nir, swir = image[1], image[3], image[4]
    wetness = (green - swir) / (green + swir + 1e-6)
    labels = np.full(mask.shape, IGNORE, np.uint8)
    for code, index in WORLDCOVER.items():
        labels[worldcover == code] = index
    labels[(mask == 1) | (worldcover == 80)] = IGNORE
    labels[(mask == 0) & (wetness > 0.1) & (nir < 0.12)] = IGNORE
    wet = (wetness > 0.1) & (swir < 0.1)
    labels[(mask == 1) & (wet | clean)] = 0
    labels[(worldcover == 80) & (wetness > 0.2)] = 0
    labels[np.isin(worldcover, (70, 90, 95))] = IGNORE
    labels[((fmask >> 1) & 1 | (fmask >> 3) & 1 | (fmask >> 4) & 1) > 0] = IGNORE
    return labels


def synthetic(seeds: range | tuple[int, ...], random: np.random.Generator, each: int) -> Arrays:
    """Windows of synthetic scenes of both dates, without clouds."""
    images, labels = [], []
    for seed in seeds:
        for date in (1, 2):
            spec = SampleSpec(size=(3000, 3000), seed=seed, date=date, cloud_cover=0.02)  # type: ignore[arg-type]
            for _ in range(each):
                y, x = (int(n) // 2 * 2 for n in random.integers(0, 2400, 2))
                seen = spec.observe(Window(y, x, y + 384, x + 384))
                truth = (seen.classes.astype(np.int16) - 1).astype(np.uint8)
                scl = seen.scl.repeat(2, axis=0).repeat(2, axis=1)[:384, :384]
                truth[(truth > 5) | np.isin(scl, HIDDEN)] = IGNORE
                images.append(seen.dn.astype("f4") * 1e-4 - 0.1)
                labels.append(truth)
    return np.stack(images), np.stack(labels)


def augmented(images: Tensor, random: np.random.Generator) -> Tensor:
    """Other suns, sensors and atmospheres: gain, offset, haze that is bluest, noise."""
    n = len(images)
    gain = random.normal(1, 0.10, (n, 1, 1, 1)) * random.normal(1, 0.05, (n, 6, 1, 1))
    offset = random.normal(0, 0.006, (n, 6, 1, 1))
    haze = (random.random((n, 1, 1, 1)) < 0.3) * random.random((n, 1, 1, 1)) * 0.04
    blueness = np.array([1.0, 0.8, 0.6, 0.35, 0.15, 0.1]).reshape(1, 6, 1, 1)
    images = images * torch.from_numpy(gain).float()
    images = images + torch.from_numpy(offset + haze * blueness).float()
    return images + torch.randn_like(images) * 0.004


def chip_weights(labels: NDArray[np.uint8], places: NDArray[np.int64]) -> NDArray[np.float64]:
    """How often each chip is drawn: places alike, chips with rare classes more often."""
    crowd = np.bincount(places)[places]
    shares = np.stack([(labels == k).mean(axis=(1, 2)) for k in range(6)], axis=1)
    rarity = 1 + shares @ np.array([2.0, 0.0, 0.0, 1.0, 50.0, 6.0])
    weights = np.minimum(rarity, 12) / np.sqrt(crowd)
    return weights / weights.sum()


def main() -> None:
    """Read, split by place, train, write the package."""
    args = options(steps=5000)
    random = np.random.default_rng(args.seed)
    images, labels, places = hls(args.data / "hls_water_landcover")
    # Place 0 is one flood with half of all chips: it stays in training.
    held = np.isin(places, random.permutation(np.unique(places[places != 0]))[:HELD_OUT_PLACES])
    made, made_labels = synthetic(TRAINING_SEEDS, random, 3)
    new, new_labels = synthetic(HELD_OUT_SEEDS, random, 3)
    weights = chip_weights(labels[~held], places[~held])
    real, real_labels = torch.from_numpy(images[~held]), torch.from_numpy(labels[~held])
    fake, fake_labels = torch.from_numpy(made), torch.from_numpy(made_labels)

    def batch(random: np.random.Generator, size: int) -> tuple[Tensor, Tensor]:
        chips = []
        for i in random.choice(len(real), size // 2, p=weights):
            factor = random.choice([1.0, 0.75, 0.5, 0.34])
            chips.append(scaled_crop(real[i], real_labels[i], random, side=SIDE, factor=factor))
        for i in random.integers(0, len(fake), size - size // 2):
            factor = random.choice([1.0, 1.0, 1.5, 2.0, 3.0])
            chips.append(scaled_crop(fake[i], fake_labels[i], random, side=SIDE, factor=factor))
        x, y = (torch.stack(part) for part in zip(*chips, strict=True))
        return augmented(x, random), y.long()

    both = [images[~held].reshape(-1, 6, 128 * 128), made.reshape(-1, 6, 384 * 384)]
    mean, std = (np.mean([f(b, (0, 2)) for b in both], axis=0) for f in (np.mean, np.std))
    card = ModelCard(
        name="landcover-s2",
        version="0.1.0",
        bands=BANDS,
        units="reflectance",
        mean=tuple(round(float(v), 4) for v in mean),
        std=tuple(round(float(v), 4) for v in std),
        legend=LANDCOVER,
        stride=8,
        size=512,
        margin=48,
        gsd=(10.0, 30.0),
        architecture={"name": "geoseg-unet"},
        about=ABOUT,
    )
    held_out = [
        HeldOut("synthetic scenes, seeds 7, 900, 901", new, new_labels),
        HeldOut(f"HLS, {HELD_OUT_PLACES} places never seen", images[held], labels[held]),
    ]
    train(card, batch, held_out, [1.2, 1.0, 1.0, 1.0, 2.5, 1.5], args)


ABOUT = {
    "title": "Land cover from six bands of surface reflectance (10 to 30 m)",
    "description": (
        "Six classes for Sentinel-2, HLS and Landsat. A first cut: trained on synthetic scenes and "
        "on 192 small real chips whose labels are a model's map; sound on water and forest, weak "
        "on towns and bare ground of real scenes."
    ),
    "license": "Apache-2.0",
    "training_data": [
        "geoseg's synthetic scenes (own)",
        "HLS surface reflectance (NASA/USGS, open)",
        "water masks of the IEEE GRSS Data Fusion Contest 2024 (openly available)",
        "ESA WorldCover 2020/21 (CC-BY-4.0)",
    ],
}


if __name__ == "__main__":
    main()
