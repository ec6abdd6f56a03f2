"""Draw the figures of the documentation: python scripts/draw_figures.py [NAME...].

Each comes from the code that it explains: the lattice from ops.tiling, maps from real runs, those of
tutorials from the very commands of their pages.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import rasterio
import shapely
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from geoseg.grid import Window
from geoseg.legend import LANDCOVER
from geoseg.ops.area_estimation import estimate_areas
from geoseg.ops.tiling import Lattice

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
BLUE, GREEN, YELLOW, RED, GREY = "#1a5bab", "#358221", "#d9a400", "#c8102e", "#888888"
PALETTE = dict(zip(LANDCOVER.values, (c.color for c in LANDCOVER.classes), strict=True))
mpl.rcParams.update({"font.size": 11, "svg.hashsalt": "geoseg", "svg.fonttype": "path"})


def lattice(path: Path) -> None:
    """What each chip owns and sees along one axis."""
    length = 1000
    cut = Lattice(size=256, margin=48, multiple=8)
    chips = cut.chips((256, length), Window(0, 0, 256, length))
    figure, axes = _figure(9, 3.4)
    for k, chip in enumerate(chips):
        y = -k
        axes.add_patch(_bar(chip.sees.x0, chip.sees.x1, y, 0.5, BLUE, 0.25))
        axes.add_patch(_bar(chip.owns.x0, chip.owns.x1, y, 0.5, BLUE, 0.9))
        axes.text(-20, y, f"chip {k}", ha="right", va="center")
        axes.plot([chip.owns.x0] * 2, [1, -len(chips) + 0.4], color=GREY, lw=0.6, ls=":")
    axes.add_patch(_bar(0, length, 1.1, 0.35, GREEN, 0.8))
    axes.text(-20, 1.1, "scene", ha="right", va="center")
    axes.text(length + 20, 1.1, "1000 px", va="center")
    axes.text(length + 20, -0.2, "dark: owns", va="center", color=BLUE)
    axes.text(length + 20, -1.0, "light: sees", va="center", color=BLUE)
    axes.text(length + 20, -len(chips) + 1, "slid inwards", va="center", color=GREY)
    axes.set(xlim=(-130, length + 190), ylim=(-len(chips) + 0.2, 1.6))
    axes.axis("off")
    _save(figure, path)


def seams(path: Path) -> None:
    """A map of chips without a margin, and with that of the card, against the map in one piece."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        _geoseg(place, "sample", "scene", "--size", "512", "--seed", "11", "--no-clouds")
        for name, size, margin in (("none", 64, 0), ("card", 160, 48), ("whole", 512, 0)):
            _geoseg(
                place, "predict", "scene/scene.tif", name, "--units", "reflectance", "-q",
                "--set", f"tiling.size={size}", "--set", f"tiling.margin={margin}",
                "--set", "cluster.workers=1", "--set", "output.vector=false",
                "--set", f"tiling.block={size - 2 * margin}",
            )  # fmt: skip
        maps = {name: _band(place / name / "classes.tif") for name in ("none", "card", "whole")}
    figure, (left, right) = _figures(2, 9, 5.2)
    for axes, name, title in (
        (left, "none", "chips of 64 px, no margin"), (right, "card", "margin of the card, 48 px"),
    ):  # fmt: skip
        off = (maps[name] != maps["whole"]) & (maps["whole"] != 255)
        axes.imshow(_grey(maps[name]), interpolation="nearest")
        axes.imshow(np.ma.masked_equal(off, 0), cmap=ListedColormap([RED]), interpolation="nearest")
        axes.set_title(f"{title}\n{off.sum():,} of {off.size:,} pixels differ", fontsize=11)
        axes.axis("off")
    _save(figure, path)


def topology(path: Path) -> None:
    """The same patches: raw, each simplified by itself, and simplified as a coverage."""
    import pyogrio  # noqa: PLC0415 (for this figure)

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        _geoseg(place, "sample", "scene", "--size", "256", "--seed", "3", "--no-clouds")
        more = ["--min-area", "0.6 ha"]
        _geoseg(place, "vectorize", "scene/truth.tif", "raw.gpkg", "-q", *more)
        shaped = ["--simplify", "25 m", "--smooth", "corners"]
        _geoseg(place, "vectorize", "scene/truth.tif", "shaped.gpkg", "-q", *more, *shaped)
        frames = {
            name: pyogrio.read_dataframe(place / f"{name}.gpkg", layer="land_use")
            for name in ("raw", "shaped")
        }
    raw = frames["raw"]
    west, _, _, north = raw.total_bounds
    box = shapely.box(west + 700, north - 1500, west + 1500, north - 700)
    alone = raw.copy()
    alone["geometry"] = shapely.simplify(raw.geometry.to_numpy(), 25)
    figure, three = _figures(3, 10, 3.9)
    titles = ("along pixels", "each simplified by itself", "lines simplified once")
    for axes, frame, title in zip(three, (raw, alone, frames["shaped"]), titles, strict=True):
        _patches(axes, frame, box)
        shapes = shapely.intersection(frame.geometry.to_numpy(), box)
        union = shapely.union_all(shapes)
        gaps = box.area - union.area
        twice = shapely.area(shapes).sum() - union.area
        axes.set_title(f"{title}\ngaps {gaps:,.0f} m², overlaps {twice:,.0f} m²", fontsize=10)
    _save(figure, path)


def _patches(axes: Axes, frame: object, box: shapely.Polygon) -> None:
    axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, color=RED))
    for row in frame.itertuples():  # type: ignore[attr-defined]  # a GeoDataFrame, without types
        for part in getattr(row.geometry, "geoms", [row.geometry]):
            if part.intersects(box):
                colour = PALETTE[row.class_code]
                rings = [part.exterior, *part.interiors]
                verts = np.concatenate([np.asarray(ring.coords) for ring in rings])
                codes = np.concatenate([[1, *[2] * (len(r.coords) - 2), 79] for r in rings])
                outline = mpl.path.Path(verts, codes.astype(np.uint8))
                axes.add_patch(
                    mpl.patches.PathPatch(outline, facecolor=colour, edgecolor="white", lw=0.7)
                )
    west, south, east, north = box.bounds
    axes.set(xlim=(west, east), ylim=(south, north), xticks=[], yticks=[], aspect="equal")


def alerts(path: Path) -> None:
    """Looks at one pixel, and the probability of change after each."""
    days = [0, 10, 20, 30, 40, 50, 60]
    looks = [0.04, 0.62, 0.12, 0.05, 0.95, 0.88, 0.97]
    held, prior, chances = [min(max(p, 0.1), 0.9) for p in looks], None, []
    for k, p in enumerate(held):
        if prior is None and p >= 0.5 and k:
            prior = held[k - 1]
        if prior is not None:
            prior = prior * p / (prior * p + (1 - prior) * (1 - p))
            chances.append((days[k], prior))
            prior = None if prior < 0.5 else prior
    figure, axes = _figure(9, 3.6)
    axes.bar(days, [100 * p for p in looks], width=5, color=YELLOW, label="non-forest, % of a look")
    for run in ([c for c in chances if c[0] < 30], [c for c in chances if c[0] >= 30]):
        axes.plot(*zip(*[(d, 100 * p) for d, p in run], strict=True), "o-", color=RED)
    axes.plot([], [], "o-", color=RED, label="probability of change, %")
    axes.axhline(97.5, color=GREY, lw=0.8, ls="--")
    axes.text(-4, 98.5, "confirmed", color=GREY, va="bottom")
    axes.axhline(50, color=GREY, lw=0.8, ls=":")
    axes.text(-4, 51, "flagged, else dropped", color=GREY, va="bottom")
    axes.annotate("dropped", (20, 100 * chances[1][1]), (22, 30), arrowprops={"arrowstyle": "->"})
    axes.set(ylim=(0, 112), xlabel="days", xticks=days)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(0.22, 0.75), frameon=False)
    _save(figure, path)


def accuracy(path: Path) -> None:
    """Counted and estimated hectares of the example of Olofsson et al. 2014."""
    sample = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
    mapped = np.array([18_000, 13_500, 288_000, 580_500], float)
    found = estimate_areas(sample, mapped)
    figure, axes = _figure(9, 2.6)
    names, at = ("deforestation", "forest gain"), np.arange(2)
    axes.barh(at - 0.2, mapped[:2], 0.34, color=GREY, label="counted from pixels")
    axes.barh(
        at + 0.2, found.areas.value[:2], 0.34, xerr=found.areas.interval()[:2], color=BLUE,
        label="estimated from 640 points, 95 %", error_kw={"lw": 2, "capsize": 5},
    )  # fmt: skip
    axes.set(yticks=at, xlabel="hectares")
    axes.set_yticklabels(names)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    _save(figure, path)


def quicklook_of(page: str) -> Callable[[Path], None]:
    """What draws the quicklook that the commands of a tutorial make."""

    def draw(path: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            _do(page, Path(folder))
            _shrink(Path(folder) / "maps" / "quicklook.png", path)

    return draw


def water(path: Path) -> None:
    """The flood of the tutorial on water, over its two scenes."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        _do("water", place)
        scenes = [_picture(place / month / "scene.tif") for month in ("june", "september")]
        with rasterio.open(place / "water" / "flood_2024-09-13.tif") as file:
            flood, colours = file.read(1), file.colormap(1)
    figure, three = _figures(3, 10, 3.9)
    shown = np.zeros((*flood.shape, 3), np.uint8)
    for code in np.unique(flood):
        shown[flood == code] = colours.get(int(code), (255, 255, 255))[:3]
    titles = ("June", "September", "flooded, permanent, fallen dry")
    for axes, image, title in zip(three, (*scenes, shown), titles, strict=True):
        axes.imshow(image, interpolation="nearest")
        axes.set_title(title, fontsize=11)
        axes.axis("off")
    _save(figure, path)  # no palette: few pixels are flooded, and would lose their colour


def _do(page: str, place: Path) -> None:
    """The commands of a tutorial, in a folder that has what they read."""
    text = (IMAGES.parent / "tutorials" / f"{page}.md").read_text("utf-8")
    (place / "docs").symlink_to(IMAGES.parent)
    for name, body in re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", text, re.DOTALL):
        (place / name).write_text(body)
    for body in re.findall(r"<!-- run -->\n```sh\n(.*?)```", text, re.DOTALL):
        python = f"{sys.executable} "
        shell = re.sub(r"^geoseg ", f"{python}-m geoseg ", body, flags=re.MULTILINE)
        shell = re.sub(r"^python ", python, shell, flags=re.MULTILINE)
        subprocess.run(["/bin/bash", "-euc", shell], cwd=place, check=True)


def _picture(path: Path) -> np.ndarray:
    """Red, green and blue of a scene, stretched alike."""
    with rasterio.open(path) as file:
        bands = np.moveaxis(file.read([3, 2, 1]).astype(float), 0, -1)
    return ((bands - 1000) / 1800).clip(0, 1) ** 0.7


def _shrink(source: Path, path: Path, width: int = 1200) -> None:
    """A picture with a palette, as wide as a page."""
    with Image.open(source) as picture:
        size = (width, round(picture.height * width / picture.width))
        small = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    small.quantize(192).save(path, optimize=True)


def _geoseg(place: Path, *words: str) -> None:
    subprocess.run([sys.executable, "-m", "geoseg", *words], cwd=place, check=True)


def _band(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return np.asarray(file.read(1))


def _grey(codes: np.ndarray) -> np.ndarray:
    """Classes in pale colours, so that red stands out."""
    image = np.full((*codes.shape, 3), 255, np.uint8)
    for code, colour in PALETTE.items():
        told = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)])
        image[codes == code] = (told + 2 * 255) // 3
    return image


def _bar(x0: float, x1: float, y: float, height: float, color: str, alpha: float) -> Rectangle:
    return Rectangle((x0, y - height / 2), x1 - x0, height, color=color, alpha=alpha, lw=0)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _figures(count: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, count)


def _save(figure: Figure, path: Path) -> None:
    known = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    figure.savefig(path, dpi=110, metadata=known)


FIGURES: dict[str, tuple[Callable[[Path], None], str]] = {
    "lattice": (lattice, ".svg"),
    "seams": (seams, ".png"),
    "topology": (topology, ".svg"),
    "alerts": (alerts, ".svg"),
    "accuracy": (accuracy, ".svg"),
    "land-cover": (quicklook_of("land-cover"), ".png"),
    "drone": (quicklook_of("drone"), ".png"),
    "water": (water, ".png"),
}

if __name__ == "__main__":
    for wanted in sys.argv[1:] or FIGURES:
        make, suffix = FIGURES[wanted]
        make(IMAGES / (wanted + suffix))
        print(IMAGES / (wanted + suffix))  # noqa: T201 (a command)
