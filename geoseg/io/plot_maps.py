"""Small maps of plots: what was lost, where, and how long a hundred metres are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch
from numpy.typing import NDArray

from geoseg.io.charts import drawing, saved

LEGEND: Final = (
    ("#efece3", "no forest then, or nobody says"),
    ("#a9cfa0", "forest at the cut-off"),
    ("#a0003c", "loss since the cut-off, confirmed"),
    ("#f08db4", "loss since the cut-off, not confirmed"),
    ("#e69f00", "loss that may be older, or not of forest"),
    ("#9a9a9a", "loss until the cut-off"),
    ("#ffffff", "not observed"),
)
"""Colour and words by the codes of :meth:`geoseg.steps.plots.Pixels.picture`."""

_OUTLINE = "#1a1a2e"
_INCHES = 2.6


@dataclass(frozen=True, slots=True, eq=False)
class PlotMap:
    """What a map of a plot shows.

    Attributes:
        codes: ``(y, x)``, each ``step`` pixels apart.
        shapes: Polygons in pixels of ``codes``: the plot's first, then those around it.
        metre: Pixels of ``codes`` that a metre takes along a row.
    """

    codes: NDArray[np.uint8]
    shapes: Sequence[Any]
    metre: float


def map_png(shown: PlotMap) -> bytes:
    """The map as a PNG."""
    height, width = shown.codes.shape
    tall = _INCHES * min(1.6, max(0.6, height / width))
    with drawing(_INCHES, tall) as figure:
        figure.set_layout_engine("none")  # the map fills all of it
        draw_map(figure.add_axes((0, 0, 1, 1)), shown)
        return saved(figure, "png")


def draw_map(axes: Axes, shown: PlotMap) -> None:
    """Draw the map into axes."""
    height, width = shown.codes.shape
    colors = ListedColormap([color for color, _ in LEGEND])
    axes.imshow(
        shown.codes, cmap=colors, vmin=-0.5, vmax=len(LEGEND) - 0.5,
        extent=(0, width, height, 0), interpolation="nearest",
    )  # fmt: skip
    for number, shape in enumerate(reversed(list(shown.shapes))):
        own = number == len(shown.shapes) - 1
        for ring in shapely.get_rings(shapely.get_parts(shape)):
            xy = shapely.get_coordinates(ring)
            axes.plot(
                xy[:, 0], xy[:, 1], color=_OUTLINE, linewidth=1.6 if own else 0.6,
                linestyle="-" if own else "--",
            )  # fmt: skip
    _scale_bar(axes, shown, width, height)
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _scale_bar(axes: Axes, shown: PlotMap, width: int, height: int) -> None:
    metres = _round(0.35 * width / shown.metre)
    length = metres * shown.metre
    x, y = 0.05 * width, 0.94 * height
    axes.plot([x, x + length], [y, y], color="white", linewidth=4, solid_capstyle="butt")
    axes.plot([x, x + length], [y, y], color="black", linewidth=2, solid_capstyle="butt")
    text = f"{metres:g} m" if metres < 1000 else f"{metres / 1000:g} km"
    axes.text(
        x + length / 2, y - 0.02 * height, text, ha="center", va="bottom", fontsize=7,
        bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1},
    )  # fmt: skip


def _round(metres: float) -> float:
    """1, 2 or 5 times a power of ten, at most ``metres``."""
    base = 10.0 ** np.floor(np.log10(metres))
    return float(base * max(n for n in (1, 2, 5) if n * base <= metres))


def legend_handles(codes: Sequence[int]) -> list[Patch]:
    """What stands beside maps that show these codes."""
    return [
        Patch(facecolor=LEGEND[code][0], edgecolor="#777777", label=LEGEND[code][1])
        for code in codes
    ]
