"""Draw the orthophoto of a small village, with what is really there: python village.py FOLDER.

It stands for a flight of yours: red, green and blue in bytes, pixels of 20 cm.
"""

import sys
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

SIDE, PIXEL = 768, 0.2
WATER, TREES, LOW, GROUND, BUILDING = 1, 2, 3, 4, 5
COLORS = {WATER: (52, 74, 78), TREES: (48, 72, 38), LOW: (112, 132, 72), GROUND: (176, 148, 116)}
ROOFS = [(168, 84, 66), (188, 190, 194), (120, 122, 128), (146, 70, 58)]


def smooth(values, sigma):
    """A Gaussian filter of the last two axes; the edges go on at the other side."""
    y, x = (np.fft.fftfreq(SIDE), np.fft.rfftfreq(SIDE))
    kept = np.exp(-2 * (np.pi * sigma) ** 2 * (y[:, None] ** 2 + x[None, :] ** 2))
    return np.fft.irfft2(np.fft.rfft2(values) * kept, (SIDE, SIDE))


def noise(rng, sigma, strength):
    """Smooth noise with a standard deviation of ``strength``."""
    field = smooth(rng.standard_normal((SIDE, SIDE)), sigma)
    return field * (strength / field.std())


def draw(seed=5):
    """Colours ``(3, y, x)`` and classes ``(y, x)`` of the village."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE].astype(float)
    classes = np.where(noise(rng, 40, 1) > 0.8, GROUND, LOW)
    road = np.abs(y - SIDE * 0.5 - 60 * np.sin(x / 140)) < 16
    classes[road] = GROUND
    classes[(x - 640) ** 2 + ((y - 660) * 1.4) ** 2 < 110**2] = WATER
    for _ in range(70):  # crowns
        cy, cx, radius = rng.uniform(0, SIDE), rng.uniform(0, SIDE), rng.uniform(9, 24)
        crown = (x - cx) ** 2 + (y - cy) ** 2 < radius**2
        classes[crown & (classes == LOW)] = TREES
    colors = np.stack([np.choose(classes - 1, [COLORS.get(k, (0, 0, 0))[band] for k in range(1, 6)])
                       for band in range(3)]).astype(float)  # fmt: skip
    colors += np.where(classes == TREES, noise(rng, 1.6, 22), noise(rng, 1.2, 7))
    shadow = np.zeros((SIDE, SIDE), bool)
    roofs = []
    for k in range(24):
        cx, side = 32 + (k % 8) * 98 + rng.uniform(-8, 8), 1 if k % 2 else -1
        cy = SIDE * 0.5 + 60 * np.sin(cx / 140) + side * (70 + 90 * (k // 8))
        turn = rng.uniform(-0.25, 0.25)
        u = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)
        v = (y - cy) * np.cos(turn) - (x - cx) * np.sin(turn)
        roof = (np.abs(u) < rng.uniform(22, 34)) & (np.abs(v) < rng.uniform(17, 24))
        roofs.append((roof, v, ROOFS[rng.integers(len(ROOFS))]))
        shadow |= np.roll(roof, (9, 7), (0, 1))
    colors[:, shadow] *= 0.55
    for roof, v, color in roofs:
        classes[roof] = BUILDING
        light = np.where(v < 0, 1.08, 0.92) + noise(rng, 1, 0.02)
        colors[:, roof] = (np.array(color)[:, None, None] * light)[:, roof]
    colors = smooth(colors, 0.7) + rng.standard_normal(colors.shape) * 3
    return colors.clip(1, 255).astype(np.uint8), classes.astype(np.uint8)


def main(folder):
    """Write ``ortho.tif`` and ``truth.tif``."""
    folder.mkdir(parents=True, exist_ok=True)
    colors, classes = draw()
    shared = {"driver": "GTiff", "height": SIDE, "width": SIDE, "dtype": "uint8", "compress": "deflate",
              "crs": "EPSG:32636", "transform": Affine(PIXEL, 0, 452_300, 0, -PIXEL, 38_900)}  # fmt: skip
    with rasterio.open(folder / "ortho.tif", "w", count=3, photometric="RGB", **shared) as file:
        file.write(colors)
    with rasterio.open(folder / "truth.tif", "w", count=1, **shared) as file:
        file.write(classes, 1)
    print(folder / "ortho.tif")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
