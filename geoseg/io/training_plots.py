"""Pictures of a training: learning curves, confusion, reliability, and where the split lies."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from geoseg.legend import Legend
from geoseg.ops.calibration import Calibration

# The same picture gives the same bytes: no clock, and ids that do not change.
_STYLE: Any = {
    "svg.hashsalt": "geoseg",
    "font.size": 9,
    # Class names are text, whatever dollar signs they have.
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
}
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
_BLUE, _ORANGE, _GREY = "#1f5a99", "#d9730d", "#777777"
_PARTS = ("#c9c9c9", "#d9730d", "#1f5a99", "#f3f3f3")


def as_svg(figure: Figure) -> str:
    """An ``<svg>`` element, for use within a page."""
    buffer = io.StringIO()
    with rc_context(_STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, bbox_inches="tight")
    text = buffer.getvalue()
    return _METADATA.sub("", text[text.index("<svg") :])


def as_png(figure: Figure) -> bytes:
    """A PNG file."""
    buffer = io.BytesIO()
    with rc_context(_STYLE):
        figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None},
                       bbox_inches="tight")  # fmt: skip
    return buffer.getvalue()


def curves(looks: Sequence[Mapping[str, Any]], legend: Legend, best: int) -> Figure:
    """Losses, and scores on validation ground, by step."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(9, 3.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        steps = [look["step"] for look in looks]
        scored = [look for look in looks if look["held_out"] is not None]
        at = [look["step"] for look in scored]
        marker = "." if len(looks) < 40 else ""
        left.plot(steps, [k["loss"] for k in looks], color=_GREY, marker=marker,
                  label="training loss")  # fmt: skip
        left.set(xlabel="step", ylabel="training loss", xlim=(0, None))
        left.xaxis.set_major_locator(MaxNLocator(integer=True))
        if scored:
            other = left.twinx()
            other.grid(visible=False)
            other.plot(at, [k["held_out"]["loss"] for k in scored], color=_ORANGE, marker=marker,
                       label="validation cross-entropy")  # fmt: skip
            other.set_ylabel("validation cross-entropy")
            other.spines["right"].set_visible(True)
            lines = [*left.get_lines(), *other.get_lines()]
            left.legend(lines, [str(line.get_label()) for line in lines], loc="upper right")
            _scores(right, scored, at, legend, best, marker)
        else:
            right.set_axis_off()
        return figure


def _scores(
    axes: Axes,
    scored: Sequence[Mapping[str, Any]],
    at: Sequence[int],
    legend: Legend,
    best: int,
    marker: str,
) -> None:
    for one in legend.classes:
        values = [_float(k["held_out"]["iou"].get(one.name)) for k in scored]
        if np.isfinite(values).any():
            axes.plot(at, values, color=one.color, linewidth=1.2, label=one.name)
    axes.plot(at, [_float(k["held_out"]["mean_iou"]) for k in scored], color="black",
              linewidth=2, marker=marker, label="mean")  # fmt: skip
    axes.axvline(best, color=_GREY, linewidth=0.8, linestyle=":")
    axes.set(xlabel="step", ylabel="IoU on validation ground", xlim=(0, None), ylim=(0, 1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)


def _float(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def confusion(counts: NDArray[np.int64], legend: Legend, title: str) -> Figure:
    """What each true class was mapped as, in percent of its pixels."""
    some = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    table = counts[np.ix_(some, some)].astype(np.float64)
    names = [legend.names[i] for i in some]
    total = table.sum(axis=1, keepdims=True)
    share = np.divide(100 * table, total, out=np.full_like(table, np.nan), where=total > 0)
    side = 1.6 + 0.62 * len(names)
    with rc_context(_STYLE):
        figure = Figure(figsize=(side + 1.2, side), layout="constrained")
        axes = figure.subplots()
        axes.grid(visible=False)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
        axes.set_xticks(range(len(names)), names, rotation=35, ha="right")
        axes.set_yticks(range(len(names)), names)
        axes.set(xlabel="mapped as", ylabel="true class", title=title)
        for y, x in np.ndindex(share.shape):
            if np.isfinite(share[y, x]):
                shade = "white" if share[y, x] > 55 else "black"
                axes.text(x, y, _percent(share[y, x]), ha="center", va="center", color=shade,
                          fontsize=8)  # fmt: skip
        return figure


def _percent(value: float) -> str:
    return "0" if value == 0 else "<1" if value < 0.5 else f"{value:.0f}"


def reliability(before: Calibration, after: Calibration, title: str) -> Figure:
    """Accuracy by confidence, without and with temperature."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(3.6, 3.4), layout="constrained")
        axes = figure.subplots()
        axes.plot((0, 1), (0, 1), color=_GREY, linewidth=0.8, linestyle=":")
        for found, color, name in ((before, _ORANGE, "before"), (after, _BLUE, "after")):
            some = found.count > 0
            axes.plot(found.confidence[some], found.accuracy[some], color=color, marker="o",
                      markersize=3.5, label=f"{name}: error {found.error:.3f}")  # fmt: skip
        axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), title=title)
        axes.set_aspect("equal")
        axes.legend(loc="upper left", fontsize=8)
        return figure


def split_map(cells: Sequence[str], title: str) -> Figure:
    """Which cells of a scene are for what; one letter a cell, ``tVT.``."""
    codes = np.array([["tVT.".index(letter) for letter in row] for row in cells])
    rows, cols = codes.shape
    with rc_context(_STYLE):
        width = 2.6
        figure = Figure(figsize=(width, min(6.0, width * rows / cols + 0.4)), layout="constrained")
        axes = figure.subplots()
        axes.imshow(codes, cmap=ListedColormap(_PARTS), vmin=0, vmax=3, interpolation="nearest")
        axes.set_title(title, fontsize=8)
        axes.set_axis_off()
        return figure
