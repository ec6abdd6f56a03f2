"""Alerts on a real series: Landsat composites of Pucallpa, Peru, of 1985, 2000, 2010 and 2020.

    GEOSEG_DATA=../shared/data python benchmarks/alert_series.py pictures

There is no truth for it: this shows what the commands make of real maps, to be looked at. The
probability of forest is not that of a model that ships (none reads these stretched three-band
composites) but a logistic of the bands as they are stored, red and short-wave infrared: closed
forest is dark in both. Water, dark in near infrared, says nothing. ``pictures`` gets the composites
and the year of the first detection side by side, and a table of hectares by year.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
from numpy.typing import NDArray
from PIL import Image

from geoseg.io.rat import write_rat
from geoseg.legend import LandClass, Legend

YEARS = (1985, 2000, 2010, 2020)
LEGEND = Legend(
    "pucallpa",
    (LandClass(1, "Trees", "#358221"), LandClass(2, "Other", "#ffdb5c"), LandClass(3, "Water", "#1a5bab")),
    nodata=0,
)  # fmt: skip
COLORS = {2000: (255, 220, 60), 2010: (255, 120, 30), 2020: (200, 0, 60)}


def classify(bands: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Classes and their confidence of (swir, nir, red); water is nir below 110 and dark swir."""
    swir, nir, red = (band.astype(np.float64) for band in bands[:3])
    odds = 0.35 * (26 - red) + 0.06 * (105 - swir)
    forest = 1 / (1 + np.exp(-odds))
    water = (nir < 110) & (swir < 70)
    codes = np.where(water, 3, np.where(forest >= 0.5, 1, 2)).astype(np.uint8)
    codes[(bands[:3] == 0).all(axis=0)] = 0
    sure = np.rint(100 * np.maximum(forest, 1 - forest)).astype(np.uint8)
    return codes, np.where(codes == 0, 255, sure).astype(np.uint8)


def write_maps(source: Path, folder: Path) -> list[Path]:
    """A folder of products a year, named by its date."""
    made = []
    for year in YEARS:
        place = folder / f"{year}-07-01"
        place.mkdir(parents=True, exist_ok=True)
        with rasterio.open(source / f"{year}.tif") as file:
            codes, sure = classify(file.read())
            profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "crs": file.crs}
            profile |= {"transform": file.transform, "height": file.height, "width": file.width}
        for name, values, nodata in (("classes", codes, 0), ("confidence", sure, 255)):
            with rasterio.open(place / f"{name}.tif", "w", nodata=nodata, **profile) as target:
                target.write(values, 1)
        write_rat(place / "classes.tif", LEGEND)
        made.append(place)
    return made


def picture(source: Path, out: Path, state: NDArray[np.uint8], day: NDArray[np.uint16]) -> None:
    """Composites of the first and last year, and the years of detection on the last one."""
    panels = []
    for year in (YEARS[0], YEARS[-1], YEARS[-1]):
        with rasterio.open(source / f"{year}.tif") as file:
            panels.append(np.moveaxis(file.read([1, 2, 3]), 0, -1))
    gray = panels[2].mean(axis=-1, keepdims=True).repeat(3, axis=-1) * 0.6 + 80
    years = 1970 + day // 365.25
    for year, color in COLORS.items():
        gray[(years.astype(int) == year) & (state > 0) & (state < 255)] = color
    image = np.concatenate([panels[0], panels[1], gray.astype(np.uint8)], axis=0)
    Image.fromarray(image).resize((image.shape[1] * 2, image.shape[0] * 2), 0).save(out)


def main() -> None:
    """Run it."""
    out = Path(sys.argv[1])
    source = Path(os.environ["GEOSEG_DATA"], "visible", "landsat_pucallpa_timeseries")
    maps = write_maps(source, out / "maps")
    store, products = out / "alerts.zarr", out / "alerts"
    geoseg = [sys.executable, "-m", "geoseg", "alerts"]
    words = [
        "--forest",
        "trees",
        "--ignore",
        "water",
        "--chi",
        "0.9",
        "--confirm-within",
        "15000 d",
    ]
    words += ["--seen-forest", "1"]
    subprocess.run([*geoseg, "update", str(store), *map(str, maps), *words], check=True)
    subprocess.run([*geoseg, "export", str(store), str(products), "--min-area", "5 ha"], check=True)
    subprocess.run([*geoseg, "show", str(store)], check=True)
    with rasterio.open(products / "state.tif") as file:
        state = file.read(1)
    with rasterio.open(products / "dates.tif") as file:
        day = file.read(1)
    picture(source, out / "pucallpa.png", state, day)
    frame = pyogrio.read_dataframe(products / "alerts.gpkg", layer="alerts")
    frame["year"] = frame.start.astype(str).str[:4]
    print(frame.groupby(["year", "class_name"]).area_ha.agg(["count", "sum"]).round(0))
    print(frame.sort_values("area_ha").tail(3)[["alert_id", "start", "end", "area_ha", "merged"]])


if __name__ == "__main__":
    main()
