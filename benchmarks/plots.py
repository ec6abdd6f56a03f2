"""Plots near Pucallpa against change 2010-2020, the report and its pictures; and thousands of plots.

python benchmarks/plots.py real OUT      # needs GEOSEG_DATA
python benchmarks/plots.py many OUT [N]  # N plots on a raster of 20000 x 20000 pixels
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
import rasterio
import shapely
from affine import Affine
from pyproj import Transformer

import geoseg
from geoseg.api.plots import PlotOptions

_CLASSES = ("", "Forest", "Other")


def classes_of(path: Path, out: Path, day: str) -> Path:
    """Forest where a composite is green and moist: a rule of thumb, no map that anyone checked."""
    with rasterio.open(path) as file:
        swir, nir, red = file.read([1, 2, 3]).astype(float)
        profile = file.profile
    green = (nir - red) / (nir + red + 1) > 0.35
    moist = (nir - swir) / (nir + swir + 1) > 0.15
    codes = np.where(green & moist, 1, 2).astype(np.uint8)
    profile.update(count=1, dtype="uint8", nodata=0)
    out.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(out, "w", **profile) as file:
        file.write(codes, 1)
        file.write_colormap(1, {1: (56, 118, 29, 255), 2: (230, 224, 200, 255)})
        file.update_tags(ACQUISITIONDATETIME=f"{day}T12:00:00Z")
    names = "".join(f"<Category>{name}</Category>" for name in _CLASSES)
    text = f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{names}</CategoryNames></PAMRasterBand></PAMDataset>'
    Path(f"{out}.aux.xml").write_text(text)
    return out


def squares(
    bounds: tuple[float, ...], count: int, hectares: tuple[float, float], seed: int
) -> list:
    """Rotated squares strewn over bounds in degrees."""
    rng = np.random.default_rng(seed)
    west, south, east, north = bounds
    found = []
    for _ in range(count):
        side = np.sqrt(rng.uniform(*hectares)) * 100 / 111_320
        x, y = rng.uniform(west + side, east - side), rng.uniform(south + side, north - side)
        box = shapely.box(x - side / 2, y - side / 2, x + side / 2, y + side / 2)
        found.append(shapely.affinity.rotate(box, rng.uniform(0, 90)))
    return found


def write(path: Path, shapes: list) -> Path:
    """GeoJSON with eight decimals."""
    features = [
        {
            "type": "Feature",
            "properties": {"plot_id": f"P{n:04d}", "ProducerCountry": "PE", "Area": 3.0},
            "geometry": json.loads(shapely.to_geojson(shapely.set_precision(shape, 1e-8))),
        }
        for n, shape in enumerate(shapes)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def real(out: Path) -> None:
    """Plots west of the Ucayali, where the town grows and forest is cleared."""
    base = Path(os.environ["GEOSEG_DATA"]) / "visible" / "landsat_pucallpa_timeseries"
    maps = [
        classes_of(base / f"{year}.tif", out / f"forest_{year}.tif", f"{year}-07-01")
        for year in (2010, 2020)
    ]
    change = geoseg.change(*maps, out / "change", from_=["Forest"], min_area="0.5 ha")
    print("change:", change.record["changed_ha"], "ha", change.warnings)
    shapes = squares((-74.72, -8.58, -74.17, -8.29), 40, (10, 160), seed=4)
    shapes += [shapely.centroid(s) for s in squares((-74.71, -8.55, -74.5, -8.3), 6, (1, 4), 5)]
    plots = write(out / "plots.geojson", shapes)
    for name, day in (("eudr", "preset"), ("since2010", date(2010, 7, 1))):
        options = PlotOptions(cut_off=day)
        found = geoseg.check_plots(
            plots, out / name, loss=[out / "change"], forest=f"{maps[0]}:Forest", options=options
        )
        print(name, dict(found.risks), found.warnings)


def many(out: Path, count: int) -> None:
    """How long, and how much memory, for a raster of 400 million pixels."""
    out.mkdir(parents=True, exist_ok=True)
    raster, side, transform = (
        out / "lossyear.tif",
        20_000,
        Affine(10, 0, 300_000, 0, -10, 9_000_000),
    )
    rng = np.random.default_rng(0)
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "crs": "EPSG:32720", "tiled": True}
    profile |= {"height": side, "width": side, "transform": transform, "compress": "deflate"}
    profile |= {"blockxsize": 512, "blockysize": 512}
    with rasterio.open(raster, "w", **profile) as file:
        for y in range(0, side, 512):
            rows = min(512, side - y)
            small = rng.integers(0, 60, (-(-rows // 16), -(-side // 16)), np.uint8)
            years = np.where(small < 24, small, 0).repeat(16, 0).repeat(16, 1)[:rows, :side]
            file.write(years, 1, window=((y, y + rows), (0, side)))
    change = Transformer.from_crs("EPSG:32720", "OGC:CRS84", always_xy=True)
    west, south = change.transform(302_000, 8_802_000)
    east, north = change.transform(498_000, 8_998_000)
    plots = write(out / "plots.geojson", squares((west, south, east, north), count, (1, 80), 1))
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = geoseg.check_plots(plots, out / "out", loss=[raster])
    spent, most = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{count} plots: {spent:.1f} s; peak {most / 1024:.0f} MB, before {before / 1024:.0f} MB")
    print(dict(found.risks))


if __name__ == "__main__":
    if sys.argv[1] == "real":
        real(Path(sys.argv[2]))
    else:
        many(Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 5000)
