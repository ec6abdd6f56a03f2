"""Two small maps of one place with known changes, as files that others might have made."""

from pathlib import Path

import numpy as np
from class_rasters import name, paint
from rasters import NORTH_UP, UTM, write

SHAPE = (90, 120)
NAMES = ["", "Water", "Trees", "Crops"]
PALETTE = {0: (0, 0, 0), 1: (26, 91, 171), 2: (53, 130, 33), 3: (255, 219, 92)}
WATER, TREES, CROPS = 1, 2, 3
CLEARING = (slice(20, 32), slice(60, 80))  # trees that became crops: 240 pixels
FLOOD = (slice(60, 70), slice(10, 25))  # crops that became water: 150 pixels
SPECK = (slice(5, 7), slice(100, 102))  # trees that became crops: 4 pixels
CLOUD = (slice(40, 55), slice(90, 110))  # not seen on the later date


def land():
    """Crops on the left, trees on the right, a river across."""
    codes = np.full(SHAPE, CROPS, np.uint8)
    codes[:, 40:] = TREES
    codes[80:84] = WATER
    return codes


def later():
    codes = land()
    codes[CLEARING], codes[SPECK], codes[FLOOD] = CROPS, CROPS, WATER
    codes[CLOUD] = 0
    return codes


def write_map(path: Path, codes, *, date="2021-06-05", names=NAMES, palette=PALETTE, **options):
    """A raster of classes with names, colours and a date."""
    tags = {"ACQUISITIONDATETIME": f"{date}T10:00:00Z"} if date else {}
    options = {"transform": NORTH_UP, "crs": UTM, "nodata": 0} | options
    write(path, codes, tags=tags, **options)
    if palette:
        paint(path, palette)
    if names:
        name(path, names)
    return path


def write_pair(folder: Path):
    """The two maps."""
    return (
        write_map(folder / "one.tif", land(), date="2021-06-05"),
        write_map(folder / "two.tif", later(), date="2022-06-10"),
    )
