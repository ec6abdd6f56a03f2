"""Water and land use over time on real data and on synthetic series, with pictures.

    python benchmarks/water_and_land_use.py OUT [--data ../shared/data/visible] [--only NAME ...]

What is done, each in a folder of its own below OUT:

``reservoir``  Boadella, four Sentinel-2 dates mapped by the model water-s2, clouds (bright in blue)
               taken out; areas against the hand-made labels of three of them.
``granule``    A Sentinel-2 granule of hand-made water (10980 x 10980), with two further dates that
               are made of it (shores moved by three pixels): time and memory.
``floods``     Sen1Floods11 chips. There is no map of their permanent water: what is wider than
               300 m stands for it.
``cover``      LCMAP of Hawaii in 2019 (from its layer of annual change) and 2020: accounts.
``clouds``     Synthetic lake: error of its area against the share of clouds, filled and not.
``time``       Synthetic classes: errors of medians and of the hidden Markov model.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import rasterio
from matplotlib import pyplot as plt
from matplotlib.colors import ListedColormap
from numpy.typing import NDArray
from pyproj import Geod
from scipy import ndimage
from scipy.stats import norm

import geoseg
from geoseg.io.class_raster import read_legend
from geoseg.io.rat import write_rat
from geoseg.legend import LEGENDS, LandClass, Legend

WATER = LEGENDS["water"]
LCMAP = Legend(
    "lcmap",
    (
        LandClass(1, "Developed", "#e6194b"),
        LandClass(2, "Cropland", "#f0c24b"),
        LandClass(3, "Grass and shrub", "#d5d28e"),
        LandClass(4, "Tree cover", "#2e7d32"),
        LandClass(5, "Water", "#4363d8"),
        LandClass(6, "Wetland", "#8fc9c9"),
        LandClass(8, "Barren", "#a89c8e"),
    ),
)


def put(
    folder: Path, codes: NDArray, legend: Legend, like: Path, confidence: NDArray | None = None
) -> Path:
    """A map as a folder of products, on the grid of another raster."""
    folder.mkdir(parents=True, exist_ok=True)
    with rasterio.open(like) as source:
        profile = {"driver": "GTiff", "crs": source.crs, "transform": source.transform}
    height, width = codes.shape
    profile |= {"width": width, "height": height, "count": 1, "dtype": "uint8", "nodata": 255}
    profile |= {"compress": "deflate", "tiled": True, "blockxsize": 512, "blockysize": 512}
    for name, values in (("classes", codes), ("confidence", confidence)):
        if values is not None:
            with rasterio.open(folder / f"{name}.tif", "w", **profile) as target:
                target.write(values.astype(np.uint8), 1)
    write_rat(folder / "classes.tif", legend)
    return folder


def picture(path: Path, products: dict[str, Path], *, step: int = 1) -> None:
    """Rasters of classes or percents side by side."""
    figure, axes = plt.subplots(1, len(products), figsize=(5 * len(products), 5.2), squeeze=False)
    for axis, (title, raster) in zip(axes[0], products.items(), strict=True):
        with rasterio.open(raster) as source:
            shape = source.height // step, source.width // step
            values = source.read(1, out_shape=shape)
        hidden = np.ma.masked_equal(values, 255)
        known = {c.value: c.color for c in read_legend(raster).classes}
        if "(percent)" in (rasterio.open(raster).descriptions[0] or ""):
            axis.imshow(hidden, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
        else:
            colors = [known.get(code, "#000000") for code in range(256)]
            axis.imshow(hidden, cmap=ListedColormap(colors), vmin=-0.5, vmax=255.5,
                        interpolation="nearest")  # fmt: skip
        axis.set_facecolor("#bbbbbb")
        axis.set(title=title, xticks=[], yticks=[])
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)


def labelled_hectares(path: Path) -> float:
    """Hand-made water of a date of Boadella, on the ellipsoid."""
    features = json.loads(path.read_text())["features"]
    water = [
        f
        for f in features
        if "segmentation" in (f["properties"].get("tasks") or [])
        and "water" in (f["properties"].get("labels") or [])
    ]
    shapes = geopandas.GeoDataFrame.from_features(water, crs=4326).union_all()
    return abs(Geod(ellps="WGS84").geometry_area_perimeter(shapes)[0]) / 1e4


def without_clouds(folder: Path, scene: Path, out: Path) -> Path:
    """The map without what is bright in blue: the files bring no mask of clouds."""
    with rasterio.open(scene) as source:
        blue = ndimage.uniform_filter(source.read(2).astype(np.float32), 5) / 10_000
    layers = []
    for name in ("classes", "confidence"):
        with rasterio.open(folder / f"{name}.tif") as source:
            layers.append(np.where(blue > 0.15, 255, source.read(1)))
    return put(out, layers[0], WATER, folder / "classes.tif", layers[1])


def reservoir(out: Path, data: Path) -> None:
    source = data / "boadella_reservoir_s2"
    maps = []
    for scene in sorted(source.glob("Boadella_*.tif")):
        folder = out / "maps" / scene.stem.removeprefix("Boadella_")
        bands = "coastal,blue,green,red,rededge071,rededge075,rededge078,nir,nir08,nir09,swir16"
        subprocess.run(
            [sys.executable, "-m", "geoseg", "predict", str(scene), str(folder), "--model",
             "water-s2", "--bands", f"{bands},swir22", "--units", "reflectance", "--scale",
             "0.0001", "--set", "cluster.workers=1", "-q"],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        maps.append(without_clouds(folder, scene, out / "clear" / folder.name))
    made = geoseg.water(maps, out / "water", flood=["all"])
    for row in made.lakes.to_pylist():
        labels = source / f"Boadella_{row['date']}_labels.geojson"
        told = f"labels {labelled_hectares(labels):7.1f} ha" if labels.is_file() else "no labels"
        print(f"reservoir {row['lake']} {row['date']}  area {row['area_ha']} ha "
              f"[{row['low_ha']}, {row['high_ha']}], {row['observed_percent']} % observed; {told}")  # fmt: skip
    print("reservoir notes:", made.warnings)
    shown = {f"classes {m.name}": m / "classes.tif" for m in maps}
    picture(out / "maps.png", shown)
    products = made.products
    names = ["occurrence", "seasonality", "recurrence", "transition"]
    last = [name for name in products if name.startswith("flood_") and "polygons" not in name][-1]
    picture(out / "layers.png", {n: products[n] for n in (*names, last) if n in products})


def granule(out: Path, data: Path) -> None:
    source = data / "s1s2_water_masks_10980px"
    like = source / "sentinel12_s2_59_msk.tif"
    with rasterio.open(like) as file:
        wet = file.read(1) == 1
    with rasterio.open(source / "sentinel12_s2_59_valid.tif") as file:
        valid = file.read(1) == 1
    moved = {
        "2020-02-15": ndimage.binary_dilation(wet, iterations=3),
        "2020-08-15": wet,
        "2021-08-15": ndimage.binary_erosion(wet, iterations=3),
    }
    maps = [
        put(out / "maps" / day, np.where(np.roll(valid, 700 * n, 1), codes, 255), WATER, like)
        for n, (day, codes) in enumerate(moved.items())
    ]
    begun = time.perf_counter()
    water = out / "water"
    # A process of its own: what made the maps has taken more memory.
    subprocess.run(
        [sys.executable, "-m", "geoseg", "water", *map(str, maps), str(water), "--flood",
         "2020-02-15", "--min-lake", "10 ha", "-q"],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    series = pq.read_table(water / "lake_areas.parquet")
    print(f"granule 3 dates of 10980 x 10980: {time.perf_counter() - begun:.0f} s, "
          f"{used.ru_utime + used.ru_stime:.0f} s of CPU, peak {used.ru_maxrss / 1024:.0f} MiB; "
          f"{len(set(series.column('lake').to_pylist()))} lakes")  # fmt: skip
    names = ("occurrence", "transition", "flood_2020-02-15")
    picture(out / "layers.png", {name: water / f"{name}.tif" for name in names}, step=12)


def floods(out: Path, data: Path) -> None:
    for name, day in (("Spain_7370579", "2019-09-17"), ("India_900498", "2016-08-12")):
        like = data / "sen1floods11_sample" / f"{name}_LabelHand.tif"
        with rasterio.open(like) as file:
            label = file.read(1)
        codes = np.where(label < 0, 255, label)
        wide = ndimage.binary_opening(label == 1, iterations=15)
        permanent = put(out / name / "permanent", wide.astype(np.uint8), WATER, like)
        scene = put(out / name / day, codes, WATER, like)
        made = geoseg.water(
            [scene], out / name / "water", permanent=str(permanent / "classes.tif"),
            find_lakes=False,
        )  # fmt: skip
        print(f"floods {name}:", (out / name / "water" / "floods.csv").read_text().split()[1])
        frame = pyogrio.read_dataframe(made.products[f"flood_{day}_polygons"], layer="flood")
        print(f"floods {name}: {len(frame)} polygons, {frame.area_ha.sum():.1f} ha")
        shown = {"label": scene / "classes.tif", "flood": made.products[f"flood_{day}"]}
        picture(out / f"{name}.png", shown)


def cover(out: Path, data: Path) -> None:
    stem = data / "lcmap_5000px" / "LCMAP_HI_000000_2020_20210722_V10_"
    layers = {}
    for name in ("LCPRI", "LCACHG", "LCPCONF"):
        with rasterio.open(f"{stem}{name}.tif") as file:
            layers[name] = file.read(1)
    # Two digits are the class before and after; one digit is a class that stayed.
    change = layers["LCACHG"]
    before = np.where(change >= 10, change // 10, change)
    sure = np.where(layers["LCPCONF"] <= 100, layers["LCPCONF"], 255)
    like = Path(f"{stem}LCPRI.tif")
    maps = [
        put(out / "maps" / day, np.where(codes == 0, 255, codes), LCMAP, like, sure)
        for day, codes in (("2019-07-01", before), ("2020-07-01", layers["LCPRI"]))
    ]
    rows, cols = np.nonzero(layers["LCPRI"])
    with rasterio.open(like) as file:
        x, y = file.transform @ (np.median(cols), np.median(rows))
        crs = file.crs
    parts = {"West": (-1e6, -1e6, 0, 1e6), "East": (0, -1e6, 1e6, 1e6)}
    from shapely.geometry import box  # noqa: PLC0415 (only this part needs it)

    units = geopandas.GeoDataFrame(
        {"unit": list(parts)},
        geometry=[box(x + a, y + b, x + c, y + d) for a, b, c, d in parts.values()],
        crs=crs,
    )
    units.to_file(out / "units.gpkg")
    begun = time.perf_counter()
    made = geoseg.land_use(maps, out / "land_use", zones=str(out / "units.gpkg"), zone_name="unit")
    print(f"cover 2 x 5000 x 5000: {time.perf_counter() - begun:.1f} s")
    for row in made.accounts.to_pylist():
        print("cover", *(row[k] for k in ("zone", "class_name", "opening_ha", "additions_ha",
              "reductions_ha", "net_ha", "closing_ha")))  # fmt: skip
    at = slice(rows.min(), rows.max()), slice(cols.min(), cols.max())
    figure, axes = plt.subplots(1, 3, figsize=(18, 6))
    colors = ListedColormap([{c.value: c.color for c in LCMAP.classes}.get(i, "#ffffff")
                             for i in range(256)])  # fmt: skip
    for axis, year in zip(axes, ("2019", "2020"), strict=False):
        with rasterio.open(made.products[f"{year}_classes"]) as file:
            axis.imshow(
                file.read(1)[at], cmap=colors, vmin=-0.5, vmax=255.5, interpolation="nearest"
            )
        axis.set(title=year, xticks=[], yticks=[])
    axes[2].imshow((before != layers["LCPRI"])[at], cmap="Reds", interpolation="nearest")
    axes[2].set(title="changed", xticks=[], yticks=[])
    figure.tight_layout()
    figure.savefig(out / "cover.png", dpi=70)


def clouds(out: Path, data: Path) -> None:
    """A lake with a level a month for four years, under clouds that come in patches."""
    del data
    random = np.random.default_rng(11)
    shape, like = (160, 170), out / "grid.tif"
    y, x = np.indices(shape)
    depth = 60 - np.hypot(y - 80, (x - 85) * 0.8) + 6 * np.sin(x / 9) + 4 * np.cos(y / 7)
    profile = {"driver": "GTiff", "width": shape[1], "height": shape[0], "count": 1}
    transform = rasterio.Affine(10, 0, 5e5, 0, -10, 4.6e6)
    with rasterio.open(like, "w", dtype="uint8", crs="EPSG:32631", transform=transform, **profile):
        pass
    days = [f"{year}-{month:02d}-15" for year in range(2018, 2022) for month in range(1, 13)]
    levels = [14 * np.cos(2 * np.pi * n / 12) + random.normal(0, 3) for n in range(len(days))]
    shares = [("shore", share) for share in (0.0, 0.2, 0.4, 0.6, 0.8)]
    for errors, share in (*shares, ("speckle", 0.0), ("speckle", 0.4)):
        maps, true = [], []
        for day, level in zip(days, levels, strict=True):
            above = depth - 15 + level
            true.append((above > 0).sum() / 100)
            field = ndimage.gaussian_filter(random.normal(size=shape), 18)
            hidden = field < np.quantile(field, share)
            if errors == "shore":
                # Depth is measured with an error of 3 pixels of shore: what is water is doubtful
                # where it is shallow, and the confidence knows.
                measured = above + random.normal(0, 3, shape)
                water, sure = measured > 0, norm.cdf(np.abs(measured) / 3)
            else:
                # One pixel in fifty is wrong anywhere; the confidence knows no more than that.
                water = (above > 0) ^ (random.random(shape) < 0.02)
                sure = np.full(shape, 0.98)
            codes = np.where(hidden, 255, water)
            percent = np.where(hidden, 255, np.rint(100 * sure))
            maps.append(put(out / f"maps-{errors}-{share}" / day, codes, WATER, like, percent))
        made = geoseg.water(maps, out / f"water-{errors}-{share}", flood=["none"], min_lake="10 ha")
        rows = made.lakes.to_pylist()
        lake = max({row["lake"] for row in rows}, key=lambda name: max(
            row["high_ha"] for row in rows if row["lake"] == name))  # fmt: skip
        found = [row for row in rows if row["lake"] == lake]
        pairs = [(r, t) for r, t in zip(found, true, strict=True) if r["area_ha"] is not None]
        filled = np.mean([abs(r["area_ha"] - t) / t for r, t in pairs])
        seen = np.mean([abs(r["seen_ha"] - t) / t for r, t in pairs])
        held = np.mean([r["low_ha"] <= t <= r["high_ha"] for r, t in pairs])
        wide = np.mean([(r["high_ha"] - r["low_ha"]) / t for r, t in pairs])
        print(f"clouds {share:.0%}, {errors}: mean error {filled:.1%} filled, {seen:.1%} as seen; bounds "
              f"hold {held:.0%} of {len(pairs)} dates, {wide:.0%} wide")  # fmt: skip


def over_time(out: Path, data: Path) -> None:
    """Six classes over ten years, a tenth of the ground built over; four maps a year."""
    del data
    random = np.random.default_rng(12)
    shape, like, classes = (240, 240), out / "grid.tif", 6
    profile = {"driver": "GTiff", "width": shape[1], "height": shape[0], "count": 1}
    transform = rasterio.Affine(10, 0, 5e5, 0, -10, 4.6e6)
    with rasterio.open(like, "w", dtype="uint8", crs="EPSG:32631", transform=transform, **profile):
        pass
    legend = LEGENDS["landcover"]
    start = np.kron(random.integers(0, classes, (12, 12)), np.ones((20, 20), int))
    built = random.integers(3, 60, (24, 24))
    when = np.kron(built, np.ones((10, 10), int))
    for strength in (0.5, 0.35, 0.2):
        maps, truth = [], []
        for year in range(10):
            index = np.where(when <= year, 4, start)
            truth.append(index)
            for month in (2, 5, 8, 11):
                share = random.dirichlet(np.full(classes, 0.5), shape) * (1 - strength)
                share += strength * np.eye(classes)[index]
                percent = np.rint(100 * share).astype(np.uint8).transpose(2, 0, 1)
                hidden = random.random(shape) < 0.3
                percent[:, hidden] = 255
                codes = np.where(hidden, 255, percent.argmax(axis=0) + 1)
                folder = out / f"maps-{strength}" / f"{2010 + year}-{month:02d}-15"
                put(folder, codes, legend, like)
                with rasterio.open(like) as grid, rasterio.open(
                    folder / "probabilities.tif", "w", driver="GTiff", crs=grid.crs, nodata=255,
                    transform=grid.transform, width=shape[1], height=shape[0], count=classes,
                    dtype="uint8",
                ) as target:  # fmt: skip
                    target.write(percent)
                maps.append(folder)
        for rule, more in (("median", {}), ("hmm", {}), ("hmm", {"changes": {"Built area>*": 0}})):
            made = geoseg.land_use(maps, out / f"{rule}-{len(more)}-{strength}", rule=rule, **more)
            found = np.stack([rasterio.open(made.products[f"{y}_classes"]).read(1)
                              for y in made.periods])  # fmt: skip
            wrong = (found != np.stack(truth) + 1).mean()
            changed = sum(int((a != b).sum()) for a, b in pairwise(truth))
            print(f"time evidence {strength} {rule} {more or ''}: {wrong:.2%} wrong; changes "
                  f"{made.changed_ha[1]:.0f} ha, truly {changed / 100:.0f} ha")  # fmt: skip


WORKS: dict[str, Callable[[Path, Path], None]] = {
    "reservoir": reservoir,
    "granule": granule,
    "floods": floods,
    "cover": cover,
    "clouds": clouds,
    "time": over_time,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(os.environ.get("GEOSEG_DATA", "../shared/data"), "visible"),
    )
    parser.add_argument("--only", nargs="*", choices=list(WORKS), default=list(WORKS))
    asked = parser.parse_args()
    for name in asked.only:
        folder = asked.out / name
        folder.mkdir(parents=True, exist_ok=True)
        WORKS[name](folder, asked.data)


if __name__ == "__main__":
    main()
