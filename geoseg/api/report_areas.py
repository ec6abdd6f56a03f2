"""The table of areas in a report: counted from pixels, and adjusted by a sample where there is one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from geoseg.errors import InputError
from geoseg.io.report_page import Areas, ClassRow
from geoseg.io.report_pictures import swatch
from geoseg.io.report_words import NOTHING, count, hectares, percent
from geoseg.legend import LandClass

PIXELS_ARE_NOT_AREAS: Final = (
    "These areas are counted from pixels: they carry the map's errors along, and have no interval. "
    "For areas to act on, look at a sample: geoseg evaluate design, fill it in, geoseg evaluate "
    "areas --output areas.json, then geoseg report --areas areas.json (Olofsson et al. 2014, "
    "doi:10.1016/j.rse.2014.02.015)."
)
_AGREES = 0.01
"""Two areas of one class of one map differ by less than this share of the map."""


@dataclass(frozen=True, slots=True)
class Adjusted:
    """What ``geoseg evaluate areas`` said of a map, and the file that says so."""

    path: Path
    values: Mapping[str, Any]


def read_adjusted(path: Path) -> Adjusted:
    """What ``geoseg evaluate areas`` has written.

    Raises:
        InputError: It is something else.
    """
    try:
        values = json.loads(path.read_text("utf-8"))
        names = [str(row["name"]) for row in values["classes"]]
        plain = all("plus_minus" in row["area_ha"] for row in values["classes"])
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(_UNFIT.format(path=path)) from error
    if not names or not plain:
        raise InputError(_UNFIT.format(path=path))
    return Adjusted(path, values)


_UNFIT = "{path}: is not what 'geoseg evaluate areas POINTS MAP --output areas.json' writes"


def areas_of(
    record: Mapping[str, Any], classes: Sequence[LandClass], adjusted: Adjusted | None, caption: str
) -> Areas:
    """The table of areas, with one row for each class that occurs.

    Raises:
        InputError: The sample was drawn from another map.
    """
    found = {int(row["code"]): row for row in record["classes"]}
    pixels = max(1, sum(int(row["pixels"]) for row in found.values()))
    intervals = {} if adjusted is None else _intervals(record, adjusted)
    rows = []
    for index, entry in enumerate(classes):
        row = found[entry.value]
        share = int(row["pixels"]) / pixels
        rows.append(
            ClassRow(
                name=entry.name,
                color=entry.color,
                swatch=swatch(entry, index).address,
                area=hectares(row["area_ha"]),
                share=percent(share),
                width=f"{100 * share:.2f}",
                pixels=count(row["pixels"]),
                interval=() if adjusted is None else intervals.get(entry.name, (NOTHING,) * 3),
            )
        )
    if adjusted is None:
        return Areas(rows, caption, PIXELS_ARE_NOT_AREAS)
    sure = f"{100 * adjusted.values['confidence']:g} %"
    told = (
        f"Adjusted for the map's errors by {adjusted.values['points_used']:,} points that were "
        f"looked at; the intervals hold with {sure} confidence (Olofsson et al. 2014)."
    )
    head = ("Adjusted area (ha)", "User's accuracy", "Producer's accuracy")
    return Areas(rows, caption, adjusted=told, head=head)


def _intervals(record: Mapping[str, Any], adjusted: Adjusted) -> dict[str, tuple[str, str, str]]:
    mapped = {str(row["name"]): float(row["area_ha"]) for row in record["classes"]}
    whole = sum(mapped.values()) or 1.0
    told = {}
    for row in adjusted.values["classes"]:
        name, theirs = str(row["name"]), float(row["mapped_area_ha"])
        ours = mapped.get(name, 0.0)
        if abs(ours - theirs) > _AGREES * whole:
            raise InputError(
                f"{adjusted.path}: says that {name} has {theirs:,.1f} ha in the map, this one has "
                f"{ours:,.1f} ha; was the sample drawn from another map?"
            )
        accuracies = (
            _plus_minus(row[k], 100.0, " %") for k in ("users_accuracy", "producers_accuracy")
        )
        told[name] = (_plus_minus(row["area_ha"], 1.0, ""), *accuracies)
    return told  # type: ignore[return-value]  # three of them


def _plus_minus(estimate: Mapping[str, Any], unit: float, sign: str) -> str:
    value, more = estimate.get("value"), estimate.get("plus_minus")
    if value is None:
        return NOTHING
    written = f"{value * unit:.1f}" if sign else hectares(value)
    if more is None:
        return f"{written}{sign}"
    return f"{written} ± {f'{more * unit:.1f}' if sign else hectares(more)}{sign}"
