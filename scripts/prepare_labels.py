"""Labels that the training workflows of the shipped models need, made from the public sets.

    python scripts/prepare_labels.py --data ../shared/data/visible --out training-labels

Only the HLS set needs it (`hls_water_landcover`): its classes are spread over three bands of a
label file, and its water masks are often of another date than the image. Written are, for every
chip and each theme, the labels as the set's README defines them (``…-as-published``) and cleaned:

- water: 1 where the mask says so, else 0; not known under clouds and their shadows;
- land cover: water where the mask says so, else ESA WorldCover in the six classes of the legend
  ``landcover``; not known under clouds and shadows, where WorldCover has water that the mask has
  not, and in its classes snow, wetland and mangroves;
- cleaned: not known either where image and mask contradict each other: mask, but dry (SWIR above
  0.12 and MNDWI below -0.1), or no mask, but wet (MNDWI above 0.1, NIR below 0.12, SWIR below 0.08).

The rules look at single pixels of the image, so a score on cleaned labels leaves out the pixels
that a threshold of MNDWI is surest of being right or wrong on: both are reported.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

IGNORE = 255
# Code in the legend landcover by code of WorldCover; what is not listed is not learnt from.
WORLDCOVER = {10: 2, 20: 3, 30: 3, 40: 4, 50: 5, 60: 6, 100: 6}
WATER = 1

Codes = NDArray[np.uint8]


def clouded(fmask: Codes) -> NDArray[np.bool_]:
    """Pixels that HLS's own mask calls cloud (bit 1) or shadow (bit 3)."""
    found: NDArray[np.bool_] = ((fmask >> 1) & 1 | (fmask >> 3) & 1) > 0
    return found


def contradicted(image: NDArray[np.float32], mask: Codes) -> NDArray[np.bool_]:
    """Where a water mask is not of the date of the image ``(band, y, x)``, by its reflectance."""
    green, nir, swir = image[2], image[4], image[5]
    wetness = (green - swir) / (green + swir + 1e-6)
    dry = (mask == 1) & (swir > 0.12) & (wetness < -0.1)
    wet = (mask == 0) & (wetness > 0.1) & (nir < 0.12) & (swir < 0.08)
    found: NDArray[np.bool_] = dry | wet
    return found


def water(mask: Codes, fmask: Codes) -> Codes:
    """0 land, 1 water."""
    out = (mask == 1).astype(np.uint8)
    out[clouded(fmask)] = IGNORE
    return out


def land_cover(mask: Codes, worldcover: Codes, fmask: Codes) -> Codes:
    """Codes of the legend ``landcover``."""
    out = np.full(mask.shape, IGNORE, np.uint8)
    for code, ours in WORLDCOVER.items():
        out[worldcover == code] = ours
    out[mask == 1] = WATER
    out[clouded(fmask)] = IGNORE
    return out


def main() -> None:
    """Read every chip, write four label files for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/visible"))
    parser.add_argument("--out", type=Path, default=Path("training-labels"))
    args = parser.parse_args()
    warnings.simplefilter("ignore", NotGeoreferencedWarning)  # the set has no coordinates
    folder = args.data / "hls_water_landcover"
    for path in sorted((folder / "images").glob("*.tif")):
        with rasterio.open(path) as file:
            image = file.read().astype(np.float32) / 1e4
        with rasterio.open(folder / "labels" / path.name) as file:
            mask, worldcover, _, fmask = file.read()
        unsure = contradicted(image, mask)
        themes = {"water": water(mask, fmask), "landcover": land_cover(mask, worldcover, fmask)}
        for theme, labels in themes.items():
            _write(args.out / f"hls-{theme}-as-published" / path.name, labels)
            _write(args.out / f"hls-{theme}" / path.name, np.where(unsure, IGNORE, labels))


def _write(path: Path, labels: Codes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = labels.shape
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "compress": "deflate"}
    with rasterio.open(path, "w", height=height, width=width, nodata=IGNORE, **profile) as file:
        file.write(labels.astype(np.uint8), 1)


if __name__ == "__main__":
    main()
