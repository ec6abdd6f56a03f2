"""The report of a training: one page that needs nothing else, and its pictures as files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from geoseg.io import training_plots as plots
from geoseg.io.atomic import write_bytes
from geoseg.io.report_words import as_yaml
from geoseg.legend import Legend
from geoseg.ops.calibration import Calibration

REPORT, CURVES, CONFUSION = "report.html", "curves.png", "confusion.png"
_MAPS = 12
"""Scenes of which the split is drawn."""


@dataclass(frozen=True, slots=True, eq=False)
class ReportData:
    """What a report tells.

    Attributes:
        about: The card's ``about``.
        legend: Classes.
        record: As in ``training.json``.
        tables: Confusion counts by part.
        calibrations: Without and with temperature, by part.
        looks: Lines of ``metrics.jsonl``.
        division: As in ``split.json``.
        warnings: What was doubtful.
    """

    about: Mapping[str, Any]
    legend: Legend
    record: Mapping[str, Any]
    tables: Mapping[str, NDArray[np.int64]]
    calibrations: Mapping[str, tuple[Calibration, Calibration]]
    looks: Sequence[Mapping[str, Any]]
    division: Mapping[str, Any]
    warnings: Sequence[str] = ()


def write_report(folder: Path, data: ReportData) -> None:
    """Write page and pictures.

    Raises:
        ProductError: They cannot be written.
    """
    curves = plots.curves(data.looks, data.legend, data.record["best_step"])
    write_bytes(folder / CURVES, plots.as_png(curves))
    judged = "test" if "test" in data.tables else "validation"
    pictures = {"curves": Markup(plots.as_svg(curves))}  # noqa: S704 (our own figure)
    for name, table in data.tables.items():
        figure = plots.confusion(table, data.legend, f"{name} ground, % of the true class")
        if name == judged:
            write_bytes(folder / CONFUSION, plots.as_png(figure))
        pictures[f"confusion_{name}"] = Markup(plots.as_svg(figure))  # noqa: S704 (the same)
        drawn = plots.reliability(*data.calibrations[name], f"{name} ground")
        pictures[f"reliability_{name}"] = Markup(plots.as_svg(drawn))  # noqa: S704 (the same)
    write_bytes(folder / REPORT, _page(data, pictures).encode())


def _page(data: ReportData, pictures: Mapping[str, Markup]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("geoseg.io"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"share": _share, "count": _count, "clock": _clock, "yaml": as_yaml}
    template = environment.get_template("training.html")
    scenes = data.division["scenes"]
    cut = [scene for scene in scenes if "cells" in scene]
    maps = [
        Markup(plots.as_svg(plots.split_map(s["cells"], s["scene"])))  # noqa: S704 (our own)
        for s in cut[:_MAPS]
    ]
    whole = Counter((s["set"], s["part"]) for s in scenes if "part" in s)
    return template.render(
        about=data.about,
        record=data.record,
        legend=data.legend,
        scores=data.record["scores"],
        pictures=pictures,
        maps=maps,
        more_maps=max(0, len(cut) - _MAPS),
        whole=sorted(whole.items()),
        summary=data.division["summary"],
        warnings=data.warnings,
    )


def _share(value: float | None) -> str:
    return "\N{EN DASH}" if value is None else f"{value:.3f}"


def _count(value: int) -> str:
    return f"{value:,}".replace(",", "\N{THIN SPACE}")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
