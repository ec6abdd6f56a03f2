"""The classes that maps of many dates have in common, and how they follow each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from geoseg.errors import InputError
from geoseg.io.class_raster import unnamed, unnamed_class
from geoseg.io.dated_map import DatedMap
from geoseg.legend import LEGENDS, LandClass, Legend
from geoseg.ops.temporal import Dynamics
from geoseg.workflow.land_use import ANY, LandUse, split_change

MOST = 64
"""Classes that maps may have."""


def relabelled(maps: Sequence[DatedMap], text: str | None) -> tuple[DatedMap, ...]:
    """The maps, those that name no class with the classes of ``text``.

    Args:
        maps: Of a series.
        text: A known legend, or ``1=Crops,2=Forest``.

    Raises:
        InputError: A map names no class, and none are given.
    """
    given = None if text is None else _given(text)
    found = []
    for one in maps:
        if any(c.name != unnamed(c.value) for c in one.legend.classes):
            found.append(one)
        elif given is None:
            raise InputError(
                f"{one.classes}: names no class; say what its codes are with 'legend': a known "
                f"one ({', '.join(LEGENDS)}), or '1=Crops,2=Forest'"
            )
        else:
            found.append(replace(one, legend=given))
    return tuple(found)


def _given(text: str) -> Legend:
    if "=" not in text:
        if text not in LEGENDS:
            known = ", ".join(LEGENDS)
            raise InputError(f"legend {text!r}: there is none of that name; known: {known}")
        return LEGENDS[text]
    classes = []
    for part in text.split(","):
        code, _, name = (piece.strip() for piece in part.partition("="))
        if not code.isdigit() or not 0 <= int(code) <= 255 or not name:
            raise InputError(f"legend: expected codes and names like '1=Crops', found {part!r}")
        classes.append(LandClass(int(code), name, unnamed_class(int(code)).color))
    codes, names = {c.value for c in classes}, {c.name.casefold() for c in classes}
    if len(codes) < len(classes) or len(names) < len(classes):
        raise InputError(f"legend {text!r}: has a code or a name twice")
    return Legend("given", tuple(classes), _free(codes))


def _free(codes: set[int]) -> int:
    """The highest code that no class has."""
    return next(code for code in range(255, -1, -1) if code not in codes)


def legend_of(maps: Sequence[DatedMap]) -> Legend:
    """The classes of the maps that are made: those of the oldest one.

    Raises:
        InputError: They are too many.
    """
    own = maps[0].legend
    if len(own.classes) > MOST:
        raise InputError(f"{maps[0].classes}: has {len(own.classes)} classes; {MOST} are possible")
    codes = set(own.values)
    nodata = own.nodata if 0 <= own.nodata <= 255 and own.nodata not in codes else _free(codes)
    return Legend("land-use", own.classes, nodata)


def orders_of(maps: Sequence[DatedMap], legend: Legend) -> tuple[tuple[int, ...], ...]:
    """For each map which class of ``legend`` each of its own is; classes go by their names.

    Raises:
        InputError: A map has a class that the legend has not.
    """
    place = {name.casefold(): index for index, name in enumerate(legend.names)}
    orders = []
    for one in maps:
        strange = [name for name in one.legend.names if name.casefold() not in place]
        if strange:
            raise InputError(
                f"{one.classes}: has a class {strange[0]!r}, which {maps[0].classes} has not; it "
                f"has {', '.join(legend.names)}"
            )
        orders.append(tuple(place[name.casefold()] for name in one.legend.names))
    return tuple(orders)


def dynamics_of(asked: LandUse, legend: Legend) -> Dynamics | None:
    """How classes follow each other; None where each period is decided by itself.

    Raises:
        InputError: A change is of a class that there is not, or changes are too likely.
    """
    if asked.rule != "hmm":
        return None
    place = {name.casefold(): index for index, name in enumerate(legend.names)}
    priced: dict[tuple[int, int], float] = {}
    # What is said of single classes holds before what is said of all.
    for change in sorted(asked.changes, key=lambda text: -split_change(text).count(ANY)):
        sources, targets = (_meant(part, place, change) for part in split_change(change))
        for source in sources:
            for target in targets:
                if source != target:
                    priced[source, target] = asked.changes[change]
    try:
        return Dynamics.staying(
            len(legend.classes),
            asked.stay,
            priced,
            trust=asked.trust,
            independence=asked.independence,
        )
    except ValueError as error:
        raise InputError(f"changes: {error}") from error


def _meant(name: str, place: dict[str, int], change: str) -> list[int]:
    if name == ANY:
        return list(place.values())
    if name.casefold() not in place:
        raise InputError(
            f"changes: {change!r} speaks of a class {name!r}; there are {', '.join(place)}"
        )
    return [place[name.casefold()]]
