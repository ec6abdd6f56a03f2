"""Maps of several dates for tests: folders as a run leaves them, with names, and known contents."""

from pathlib import Path

import numpy as np
from rasters import NORTH_UP, UTM, write

from geoseg.io.rat import write_rat
from geoseg.legend import LandClass, Legend

WATER = Legend("water", (LandClass(0, "Land", "#e8e4d8"), LandClass(1, "Water", "#1a5bab")))
COVER = Legend(
    "cover",
    (
        LandClass(1, "Water", "#1a5bab"),
        LandClass(2, "Trees", "#358221"),
        LandClass(5, "Built", "#ed022a"),
    ),
)


def put(
    folder: Path, codes, legend, *, percent=None, shares=None, transform=NORTH_UP, crs=UTM
) -> Path:
    """A folder of products; 255 is nodata everywhere."""
    more = {"transform": transform, "crs": crs, "nodata": 255}
    write(folder / "classes.tif", np.asarray(codes, np.uint8), **more)
    write_rat(folder / "classes.tif", legend)
    if percent is not None:
        write(folder / "confidence.tif", np.asarray(percent, np.uint8), **more)
    if shares is not None:
        write(folder / "probabilities.tif", np.asarray(shares, np.uint8), **more)
    return folder


def lake_maps(root: Path, days, shape=(90, 110), *, seed=0, clouds=0.1, sure=True) -> list[Path]:
    """A round lake that rises and falls, with a pond, seen through clouds."""
    random = np.random.default_rng(seed)
    y, x = np.indices(shape)
    paths = []
    for number, day in enumerate(days):
        radius = 18 + 9 * np.sin(number * 1.3)
        water = np.hypot(y - 40, x - 45) < radius
        water |= (np.hypot(y - 75, x - 95) < 7) & (number % 2 == 0)
        codes = water.astype(np.uint8)
        codes[random.random(shape) < clouds] = 255
        percent = random.integers(60, 101, shape) if sure else None
        if percent is not None:
            percent[codes == 255] = 255
        paths.append(put(root / day, codes, WATER, percent=percent))
    return paths
