"""Charts of counts, confidences and curves as SVG or PNG: the same numbers give the same bytes.

A chart is a picture of numbers that are told as a table elsewhere, never the only place of them.
Colours are those of Okabe & Ito 2008 ("Color Universal Design"), and one hue from light to dark
where they stand for numbers: they read alike with any colour vision and in print.
"""

from __future__ import annotations

import io
import textwrap
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from geoseg.ops.accuracy import ratio
from geoseg.ops.calibration import Calibration

Form = Literal["svg", "png"]

_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_DASHES = ("-", "--", ":", "-.")
_MARKS = ("o", "s", "^", "D", "v", "P", "X")
_SETTINGS = {
    # Ids in SVG files are hashes of this, and else of a random number.
    "svg.hashsalt": "geoseg",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    # Class names are text, whatever dollar signs they have.
    "text.parse_math": False,
    "figure.dpi": 110.0,
    "savefig.dpi": 110.0,
}
_LONGEST = 18  # characters of a name in one line
_MOST_MARKS = 40
_DRAWING = threading.Lock()  # matplotlib's settings belong to the process


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a chart.

    Attributes:
        x: ``(point,)``, increasing.
        y: ``(point,)``; NaN leaves a gap.
    """

    x: Sequence[float]
    y: Sequence[float]


def confusion_chart(
    counts: NDArray[Any], names: Sequence[str], *, title: str = "", form: Form = "svg"
) -> bytes:
    """Which class was taken for which, coloured by the share of the true class.

    Args:
        counts: ``(true class, predicted class)``.
        names: ``(class,)``.
        title: Shown above.
        form: ``svg`` or ``png``.
    """
    shares = ratio(counts.astype(np.float64), counts.sum(axis=1, keepdims=True).astype(np.float64))
    size = max(3.2, 0.75 * len(names) + 1.9)
    with drawing(size, size * 0.92) as figure:
        axes = figure.subplots()
        palette = mpl.colormaps["Blues"].with_extremes(bad="#eeeeee")
        axes.imshow(np.ma.masked_invalid(shares), cmap=palette, vmin=0, vmax=1)
        for (row, column), share in np.ndenumerate(shares):
            if counts[row, column] or row == column:
                _cell(axes, (row, column), int(counts[row, column]), share)
        labels = [_wrapped(name) for name in names]
        axes.set_xticks(range(len(names)), labels, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), labels)
        axes.set(xlabel="map", ylabel="truth", title=title)
        axes.tick_params(length=0)
        axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
        axes.grid(visible=True, which="minor", color="white", linewidth=1)
        return saved(figure, form)


def _cell(axes: Axes, at: tuple[int, int], count: int, share: float) -> None:
    text = short(count) if np.isnan(share) else f"{share:.0%}\n{short(count)}"
    color = "white" if share > 0.55 else "black"
    axes.text(at[1], at[0], text, ha="center", va="center", color=color, fontsize=7.5)


def reliability_chart(found: Calibration, *, title: str = "", form: Form = "svg") -> bytes:
    """Accuracy against confidence by bin, the calibration error, and how many pixels each bin has.

    Args:
        found: By bin; empty bins are left out.
        title: Shown above, before the error.
        form: ``svg`` or ``png``.
    """
    width = np.diff(found.edges)
    middle = found.edges[:-1] + width / 2
    some = found.count > 0
    with drawing(4.4, 5.0) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
        upper.bar(
            middle[some], found.accuracy[some], width[some] * 0.94,
            color=_COLORS[5], edgecolor=_COLORS[0], label="share that is right",
        )  # fmt: skip
        upper.plot([0, 1], [0, 1], "--", color="black", linewidth=1, label="as sure as right")
        upper.plot(
            found.confidence[some], found.accuracy[some], "o",
            color=_COLORS[1], label="at the bin's mean confidence",
        )  # fmt: skip
        error = "" if np.isnan(found.error) else f"expected calibration error {found.error:.1%}"
        upper.set_title(", ".join(part for part in (title, error) if part))
        upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
        upper.set_aspect("auto")
        upper.legend(loc="upper left", frameon=False, fontsize=7.5)
        total = max(int(found.count.sum()), 1)
        lower.bar(middle, found.count / total, width * 0.94, color=_COLORS[0])
        for x, count in zip(middle, found.count, strict=True):
            lower.text(x, count / total, short(int(count)), ha="center", va="bottom", fontsize=6.5)
        most = float(found.count.max(initial=0)) / total
        lower.set(xlabel="confidence", ylabel="share of pixels", ylim=(0, most * 1.3 or 1))
        return saved(figure, form)


def curves_chart(
    panels: Mapping[str, Mapping[str, Curve]], *, x_label: str = "epoch", form: Form = "svg"
) -> bytes:
    """Lines over a common axis, a panel for each quantity.

    Args:
        panels: Curves by name, by what they show (a panel's axis), in the order to draw them:
            ``{"loss": {"training": Curve(...), "validation": Curve(...)}, "mIoU": {...}}``. A
            name has the same colour, dashes and mark in all panels.
        x_label: Of the common axis.
        form: ``svg`` or ``png``.

    Raises:
        ValueError: There is nothing to draw.
    """
    if not panels:
        raise ValueError("a chart of curves needs a panel")
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    with drawing(6.4, 1.0 + 2.1 * len(panels)) as figure:
        drawn = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (quantity, curves) in zip(drawn, panels.items(), strict=True):
            for name, curve in curves.items():
                number = names.index(name)
                # A mark a point says where numbers are, until there are too many of them.
                axes.plot(
                    curve.x, curve.y, label=name,
                    color=_COLORS[number % len(_COLORS)],
                    linestyle=_DASHES[number // len(_COLORS) % len(_DASHES)],
                    marker=_MARKS[number % len(_MARKS)] if len(curve.x) <= _MOST_MARKS else None,
                    markersize=3.5,
                )  # fmt: skip
            axes.set_ylabel(_wrapped(quantity))
            axes.grid(visible=True, color="#dddddd", linewidth=0.6)
            if curves:
                axes.legend(frameon=False, fontsize=7.5)
        drawn[-1].set_xlabel(x_label)
        return saved(figure, form)


@dataclass(frozen=True, slots=True)
class Interval:
    """A quantity over time, and between what it must lie.

    Attributes:
        days: ``(point,)``, increasing.
        value: ``(point,)``; NaN where there is no estimate.
        low: ``(point,)``.
        high: ``(point,)``.
    """

    days: Sequence[date]
    value: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def intervals_chart(panels: Mapping[str, Interval], *, y_label: str, form: Form = "svg") -> bytes:
    """Estimates over time with their intervals, a panel for each.

    Args:
        panels: By title, in the order to draw them.
        y_label: What is shown, and its unit.
        form: ``svg`` or ``png``.

    Raises:
        ValueError: There is nothing to draw.
    """
    if not panels:
        raise ValueError("a chart of intervals needs a panel")
    with drawing(6.4, 0.6 + 2.0 * len(panels)) as figure:
        drawn = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (title, shown) in zip(drawn, panels.items(), strict=True):
            axes.vlines(
                shown.days, shown.low, shown.high,
                color=_COLORS[5], linewidth=3, label="least to most",
            )  # fmt: skip
            known = [not np.isnan(value) for value in shown.value]
            axes.plot(
                [day for day, there in zip(shown.days, known, strict=True) if there],
                [value for value, there in zip(shown.value, known, strict=True) if there],
                color=_COLORS[0], marker="o", markersize=3.5, linewidth=1, label="estimate",
            )  # fmt: skip
            axes.set(title=textwrap.shorten(title, 70, placeholder=" …"), ylabel=y_label)
            axes.set_ylim(bottom=0)
            axes.grid(visible=True, color="#dddddd", linewidth=0.6)
        drawn[0].legend(frameon=False, fontsize=7.5)
        drawn[-1].tick_params(axis="x", rotation=20)
        return saved(figure, form)


def form_of(path: Path) -> Form:
    """What a file of this name is."""
    return "png" if path.suffix.lower() == ".png" else "svg"


def short(count: int) -> str:
    """A count in three digits: 999, 12.3k, 4.56M."""
    for unit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        # What would be rounded to a thousand belongs to the next unit.
        if count >= 0.9995 * unit:
            return f"{count / unit:.3g}{letter}"
    return str(count)


@contextmanager
def settled() -> Iterator[None]:
    """Our settings alone, for one drawing at a time."""
    with _DRAWING, style.context(["default", _SETTINGS]):
        yield


@contextmanager
def drawing(width: float, height: float) -> Iterator[Figure]:
    """A figure of so many inches that is drawn with our settings alone, one at a time."""
    with settled():
        yield Figure(figsize=(width, height), layout="constrained")


def saved(figure: Figure, form: Form) -> bytes:
    """The figure as a file, without dates or versions in it."""
    out = io.BytesIO()
    nothing: dict[str, Any] = (
        {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
    )
    with warnings.catch_warnings():
        # Names in scripts that the font lacks show as boxes; tables tell them.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(out, format=form, metadata=nothing)
    return out.getvalue()


def _wrapped(name: str) -> str:
    lines = textwrap.wrap(name, _LONGEST, max_lines=2, placeholder=" …")
    return "\n".join(lines) or name
