"""Labels that the training workflows of the shipped models need, made from the public sets.

    python scripts/prepare_labels.py --data ../shared/data/visible --out training-labels

Of the real sets only the HLS set needs it (`hls_water_landcover`): its classes are spread over three
bands of a label file, and its water masks are often of another date than the image. Written are, for
every chip and each theme, the labels as the set's README defines them (``…-as-published``) and
cleaned:

- water: 1 where the mask says so, else 0; not known under clouds and their shadows;
- land cover: water where the mask says so, else ESA WorldCover in the six classes of the legend
  ``landcover``; not known under clouds and shadows, where WorldCover has water that the mask has
  not, and in its classes snow, wetland and mangroves;
- cleaned: not known either where image and mask contradict each other: mask, but dry (SWIR above
  0.12 and MNDWI below -0.1), or no mask, but wet (MNDWI above 0.1, NIR below 0.12, SWIR below 0.08).

The rules look at single pixels of the image, so a score on cleaned labels leaves out the pixels
that a threshold of MNDWI is surest of being right or wrong on: both are reported.

For the aerial model, pictures are brought to several pixel sizes by averaging and cut into parts with a
gap between them (their polygons are in ``workflows/train/labels``).

Beside them, synthetic scenes of several places and both dates with their true classes: chips at 10 m
whose labels are as sharp as the pixels, which no set at 30 m has.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from geoseg.api.samples import write_sample
from geoseg.io.sample import SCENE_FILE, TRUTH_FILE

IGNORE = 255
# Code in the legend landcover by code of WorldCover; what is not listed is not learnt from.
WORLDCOVER = {10: 2, 20: 3, 30: 3, 40: 4, 50: 5, 60: 6, 100: 6}
WATER = 1
SAMPLE_SEEDS = range(101, 113)

Codes = NDArray[np.uint8]


@dataclass(frozen=True)
class Cut:
    """A part of a picture: columns or rows ``start`` to ``stop`` along ``axis``, shrunk by factors."""

    path: str
    name: str
    axis: str
    start: int
    stop: int
    factors: tuple[int, ...]


_KAMPALA = "drone_oam_kampala_7cm/ortho.tif"
_BAKER = "aerial_baker_lake_05m/23322E759967N_clipped_1m_1of2.tif"
_DAKOTA = "naip_north_dakota_wetlands/m_4709963_se_14_1_{}.tif"
_NEON = "neon_drone_rgb_trees/{}.tif"
AERIAL = (
    Cut(_KAMPALA, "train/kampala", "x", 0, 1500, (2, 4, 8)),
    Cut(_KAMPALA, "validation/kampala", "x", 1560, 1980, (4,)),
    Cut(_KAMPALA, "test/kampala", "x", 2080, 3072, (4,)),
    Cut(_BAKER, "train/baker", "y", 0, 215, (1, 2)),
    Cut(_BAKER, "test/baker", "y", 235, 341, (1,)),
    Cut(_DAKOTA.format(20170827), "train/dakota_2017", "x", 0, 470, (1,)),
    Cut(_DAKOTA.format(20170827), "validation/dakota_2017", "x", 480, 600, (1,)),
    Cut(_DAKOTA.format(20170827), "test/dakota_2017", "x", 650, 934, (1,)),
    Cut(_DAKOTA.format(20090818), "train/dakota_2009", "x", 0, 470, (1,)),
    Cut(_DAKOTA.format(20090818), "test/dakota_2009", "x", 650, 934, (1,)),
    Cut(_NEON.format("OSBS_029"), "train/neon_osbs", "x", 0, 400, (2, 4)),
    Cut(_NEON.format("australia"), "train/neon_australia", "x", 0, 751, (6, 12)),
)


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
    for cut in AERIAL:
        aerial(cut, args.data, args.out / "aerial")
    samples(args.out)


def aerial(cut: Cut, data: Path, out: Path) -> None:
    """Write a part of a picture at all its pixel sizes, red, green and blue only."""
    with rasterio.open(data / cut.path) as file:
        length = cut.stop - cut.start
        window = (
            Window(cut.start, 0, length, file.height)
            if cut.axis == "x"
            else Window(0, cut.start, file.width, length)
        )
        for factor in cut.factors:
            height, width = int(window.height) // factor, int(window.width) // factor
            inner = Window(window.col_off, window.row_off, width * factor, height * factor)
            values = file.read(
                (1, 2, 3),
                window=inner,
                out_shape=(3, height, width),
                resampling=Resampling.average,
            )
            transform = file.window_transform(inner) * rasterio.Affine.scale(factor)
            path = out / f"{cut.name.split('/')[0]}-x{factor}" / f"{cut.name.split('/')[1]}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "compress": "deflate"}
            with rasterio.open(
                path, "w", height=height, width=width, crs=file.crs, transform=transform, **profile
            ) as written:
                written.write(values)


def samples(out: Path) -> None:
    """Synthetic scenes without clouds, every second one in September."""
    for seed in SAMPLE_SEEDS:
        with tempfile.TemporaryDirectory() as folder:
            write_sample(Path(folder), size=768, seed=seed, date=2 - seed % 2, clouds=False)
            for name, kind in ((SCENE_FILE, "sample"), (TRUTH_FILE, "sample-truth")):
                target = out / kind / f"sample-{seed}.tif"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(Path(folder) / name, target)


def _write(path: Path, labels: Codes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = labels.shape
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "compress": "deflate"}
    with rasterio.open(path, "w", height=height, width=width, nodata=IGNORE, **profile) as file:
        file.write(labels.astype(np.uint8), 1)


if __name__ == "__main__":
    main()
