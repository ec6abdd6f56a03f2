"""Train the experimental models ``aerial-rgb`` and ``aerial-rgbn`` on what little is clearly free.

    python scripts/train_aerial.py rgb  --data ../shared/data/visible
    python scripts/train_aerial.py rgbn --data ../shared/data/visible

``aerial-rgb`` learns from hand-made polygons of one 0.5 m tile (MIT), its eastern third held out.
``aerial-rgbn`` has no labels at all: it learns what two index thresholds say of one NAIP image
(public domain) and is scored against what they say of the same place eight years later. Both are
augmented without mercy, and marked as experimental.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import rasterio.features
import torch
from numpy.typing import NDArray
from torch import Tensor
from training import IGNORE, HeldOut, options, scaled_crop, train

from geoseg.io.headers import read_header
from geoseg.io.raster_array import read_array
from geoseg.legend import LandClass, Legend
from geoseg.models.base import ModelCard

SIDE = 96

RGB = Legend(
    "aerial-rgb",
    (
        LandClass(1, "Vegetation", "#358221"),
        LandClass(2, "Paved or bare ground", "#cfc2a8"),
        LandClass(3, "Building", "#ed022a"),
    ),
)
RGBN = Legend(
    "aerial-rgbn",
    (
        LandClass(1, "Water", "#1a5bab"),
        LandClass(2, "Green vegetation", "#358221"),
        LandClass(3, "Dry, bare or built", "#cfc2a8"),
    ),
)
NAMES = {"Vegetation": 0, "Road": 1, "Building": 2}
"""Water is left out: smooth and brown in this tile, it was found on every bare yard elsewhere."""


def baker_lake(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The tile and its class indices; buildings lie over roads, roads over the rest."""
    path = folder / "23322E759967N_clipped_1m_1of2.tif"
    image = read_array(path).astype(np.float32)
    grid = read_header(str(path)).grid
    frame = pyogrio.read_dataframe(folder / "landcover_polygons.gpkg")
    labels = np.full(image.shape[1:], IGNORE, np.uint8)
    for name, index in NAMES.items():
        shapes = frame.geometry[frame["Niveau_2"] == name]
        if len(shapes):
            inside = rasterio.features.geometry_mask(
                list(shapes), image.shape[1:], grid.affine, invert=True
            )
            labels[inside] = index
    return image, labels


def by_indices(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """What thresholds of NDWI and NDVI say; between them nothing is said."""
    red, green, _, nir = image
    ndwi = (green - nir) / np.maximum(green + nir, 1)
    ndvi = (nir - red) / np.maximum(nir + red, 1)
    labels = np.full(red.shape, IGNORE, np.uint8)
    labels[(ndvi < 0.05) & (ndwi <= -0.02)] = 2
    labels[(ndvi > 0.15) & (ndwi < -0.05)] = 1
    labels[ndwi > 0.08] = 0
    labels[(image == 0).all(axis=0)] = IGNORE
    return labels


def augmented(images: Tensor, random: np.random.Generator, *, colors: float) -> Tensor:
    """Other cameras, suns and soils: gamma, gain of each band, haze, noise; still bytes."""
    n, bands = images.shape[:2]
    gamma = torch.from_numpy(np.exp(random.normal(0, 0.25, (n, 1, 1, 1)))).float()
    gain = random.normal(1, 0.15, (n, 1, 1, 1)) * random.normal(1, colors, (n, bands, 1, 1))
    haze = random.normal(0, 12, (n, 1, 1, 1)) + random.normal(0, 5, (n, bands, 1, 1))
    images = 255 * (images.clamp(min=0) / 255) ** gamma * torch.from_numpy(gain).float()
    images = images + torch.from_numpy(haze).float() + torch.randn_like(images) * 4
    return images.clamp(0, 255)


def batches(
    image: NDArray[np.float32], labels: NDArray[np.uint8], factors: list[float], colors: float
) -> Any:
    """Crops at random scales from one image."""
    pixels, truth = torch.from_numpy(image), torch.from_numpy(labels)

    def batch(random: np.random.Generator, size: int) -> tuple[Tensor, Tensor]:
        chips = [
            scaled_crop(pixels, truth, random, side=SIDE, factor=float(random.choice(factors)))
            for _ in range(size)
        ]
        x, y = (torch.stack(part) for part in zip(*chips, strict=True))
        return augmented(x, random, colors=colors), y.long()

    return batch


def card(name: str, bands: tuple[str, ...], legend: Legend, image: Any, about: Any) -> ModelCard:
    """Everything but what training adds."""
    flat = image.reshape(len(bands), -1)
    return ModelCard(
        name=name,
        version="0.1.0",
        bands=bands,
        units="dn",
        mean=tuple(round(float(v), 2) for v in flat.mean(axis=1)),
        std=tuple(round(float(v), 2) for v in flat.std(axis=1)),
        legend=legend,
        stride=8,
        size=512,
        margin=48,
        gsd=(0.05, 1.0) if len(bands) == 3 else (0.5, 6.0),
        architecture={"name": "geoseg-unet"},
        about={"license": "Apache-2.0", "experimental": True, "dtype": "uint8"} | about,
    )


def train_rgb(args: Any) -> None:
    """Vegetation, ground and buildings from a colour image."""
    image, labels = baker_lake(args.data / "aerial_baker_lake_05m")
    cut = image.shape[2] * 2 // 3
    about = {
        "title": "Experimental: vegetation, ground and buildings from RGB (5 cm to 1 m)",
        "description": (
            "Trained on two thirds of one 140 x 170 m tile: expect little beyond telling "
            "vegetation from the rest. Only buildings are labelled in the third that was held out: "
            "its score is their recall, no more. Bring a model of your own for real work."
        ),
        "training_data": ["New Brunswick aerial tile with polygons, NRCan geo-deep-learning (MIT)"],
    }
    held = HeldOut("eastern third of the tile", image[None, :, :, cut:], labels[None, :, cut:])
    batch = batches(image[:, :, :cut], labels[:, :cut], [1.0, 0.6, 0.4, 0.25, 0.15], 0.25)
    made = card("aerial-rgb", ("red", "green", "blue"), RGB, image, about)
    train(made, batch, [held], [1.0, 1.5, 2.0], args)


def train_rgbn(args: Any) -> None:
    """Water, green vegetation and the rest from colour and near infrared."""
    folder = args.data / "naip_north_dakota_wetlands"
    first, last = (read_array(path).astype(np.float32) for path in sorted(folder.glob("m_*.tif")))
    about = {
        "title": "Experimental: water, green vegetation and the rest from RGB and near infrared",
        "description": (
            "Taught by index thresholds (NDWI, NDVI) on one NAIP image, not by people; its scores "
            "say how well it repeats them on an image of another year, no more."
        ),
        "training_data": ["NAIP, North Dakota, 2009 (USDA, public domain)"],
    }
    held = HeldOut(
        "agreement with the thresholds, same place in 2017", last[None], by_indices(last)[None]
    )
    made = card("aerial-rgbn", ("red", "green", "blue", "nir"), RGBN, first, about)
    batch = batches(first, by_indices(first), [1.0, 0.7, 0.5, 1.5, 2.0], 0.1)
    train(made, batch, [held], [1.0, 1.0, 1.0], args)


if __name__ == "__main__":
    which = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    recipes = {"rgb": train_rgb, "rgbn": train_rgbn}
    if which not in recipes:
        sys.exit(f"usage: {sys.argv[0]} rgb | rgbn [--data FOLDER] [--steps N]")
    recipes[which](options(steps=1200))
