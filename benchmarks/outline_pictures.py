"""Outlines of a class raster over the image it was made of: raw, simplified, smoothed.

    python benchmarks/outline_pictures.py CLASSES IMAGE OUT.png [--bands 3,2,1] [--at ROW,COL]
        [--size 160] [--simplify '1 px'] [--min-area '6 px'] [--square Buildings]

Draws what `geoseg vectorize` makes of CLASSES over a square of IMAGE, any raster of the same CRS.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pyogrio
import rasterio
from numpy.typing import NDArray
from rasterio.transform import array_bounds
from rasterio.windows import Window, from_bounds

import geoseg

mpl.use("Agg")
import matplotlib.pyplot as plt


def image_of(path: Path, bounds: tuple[float, float, float, float], bands: list[int]) -> Any:
    """A stretched picture ``(y, x, 3)`` of a place."""
    with rasterio.open(path) as source:
        window = from_bounds(*bounds, transform=source.transform)
        pixels: NDArray[Any] = source.read(bands, window=window, boundless=True).astype(float)
    low, high = np.percentile(pixels, (2, 98), axis=(1, 2), keepdims=True)
    return np.clip((pixels - low) / np.maximum(high - low, 1e-9), 0, 1).transpose(1, 2, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("classes", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--bands", default="1,2,3")
    parser.add_argument("--at", default="0,0")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--simplify", default="1 px")
    parser.add_argument("--min-area", default="6 px")
    parser.add_argument("--square", default="")
    asked = parser.parse_args()
    row, col = (int(n) for n in asked.at.split(","))
    ways: dict[str, dict[str, Any]] = {
        "raw": {},
        f"at least {asked.min_area}, simplified by {asked.simplify}": {
            "min_area": asked.min_area,
            "simplify": asked.simplify,
        },
        "and smoothed": {
            "min_area": asked.min_area,
            "simplify": asked.simplify,
            "smooth": "corners",
            "square": [name for name in asked.square.split(",") if name],
        },
    }
    with rasterio.open(asked.classes) as source:
        window = Window(col, row, asked.size, asked.size)
        transform = source.window_transform(window)
    bounds = array_bounds(asked.size, asked.size, transform)
    picture = image_of(asked.image, bounds, [int(n) for n in asked.bands.split(",")])
    figure, axes = plt.subplots(1, 3, figsize=(24, 8.6), layout="constrained")
    west, south, east, north = bounds
    with tempfile.TemporaryDirectory() as folder:
        for axis, (title, settings) in zip(axes, ways.items(), strict=True):
            out = Path(folder, "polygons.gpkg")
            geoseg.vectorize(asked.classes, out, **settings)
            frame = pyogrio.read_dataframe(out, layer="land_use", bbox=bounds)
            axis.imshow(picture, extent=(west, east, south, north), interpolation="nearest")
            colors = plt.get_cmap("tab10")(frame.class_code.to_numpy() % 10)
            frame.boundary.plot(ax=axis, color=colors, linewidth=1.1)
            axis.set(title=f"{title}: {len(frame)} polygons", xticks=[], yticks=[])
            axis.set(xlim=(west, east), ylim=(south, north))
    figure.savefig(asked.out, dpi=70)


if __name__ == "__main__":
    main()
