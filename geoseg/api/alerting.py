"""Alerts from Python: maps into a store, products out of it, what it holds."""

# ruff: noqa: PLC0415 (numba and rasterio wait until a function is called)

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geoseg.api.alert_products import Exported
    from geoseg.api.alert_table import Held
    from geoseg.api.alerts import Updated
    from geoseg.io.dated_map import DatedMap
    from geoseg.ops.alerts.rules import Rule
    from geoseg.run.reporter import Reporter

AnyPath = str | os.PathLike[str]


def update_alerts(
    store: AnyPath,
    maps: Sequence[AnyPath | DatedMap] = (),
    *,
    forest: str | Sequence[str] = (),
    ignore: Sequence[str] = (),
    baseline: AnyPath | None = None,
    rule: Rule | None = None,
    workers: int | None = None,
    reporter: Reporter | None = None,
) -> Updated:
    """Take maps into a store of alerts of forest loss; their order changes nothing.

    Args:
        store: A folder called ``*.zarr``; made if it is not there.
        maps: Folders of products, or rasters of classes with a date; or maps that were found.
        forest: Class that is forest, or several; what the store was made with, if left out.
        ignore: Classes that say nothing of a pixel, like clouds.
        baseline: A map: only what is forest there is watched. Counts when a store is made.
        rule: :class:`geoseg.ops.alerts.rules.Bayes` or ``Count``; another one than the store's
            replays all that was observed.
        workers: Threads; one a core without it.
        reporter: Told of progress.

    Raises:
        InputError: A map has no date, lacks the class, or the store was made for others; nothing
            was written.
        LockedError: Another update is at work on the store.
    """
    from geoseg.api.alerts import update
    from geoseg.io.dated_map import DatedMap, find_map
    from geoseg.workflow.alerts import Watching

    found = [m if isinstance(m, DatedMap) else find_map(os.fspath(m)) for m in maps]
    names = (forest,) if isinstance(forest, str) else tuple(forest)
    before = None if baseline is None else Path(baseline)
    watching = Watching(tuple(filter(None, names)), tuple(ignore), before, rule)
    return update(Path(store), found, watching, workers=workers, reporter=reporter)


def export_alerts(
    store: AnyPath,
    out: AnyPath,
    *,
    min_area: str | float = 0,
    workers: int | None = None,
    reporter: Reporter | None = None,
) -> Exported:
    """Write rasters and polygons of a store; see :func:`geoseg.api.alert_products.export`.

    Args:
        store: The store.
        out: A folder.
        min_area: Of the smallest polygon, like ``"0.2 ha"``.
        workers: Threads; one a core without it.
        reporter: Told of progress.

    Raises:
        InputError: There is no such store, or nothing was ever observed.
    """
    from geoseg.api.alert_products import export
    from geoseg.workflow.vector import smallest_area

    area = smallest_area(min_area)
    return export(Path(store), Path(out), min_area=area, workers=workers, reporter=reporter)


def show_alerts(store: AnyPath, *, workers: int | None = None) -> Held:
    """What a store holds: scenes, states, hectares.

    Raises:
        InputError: There is no such store.
    """
    from geoseg.api.alert_table import held_by

    return held_by(Path(store), workers=workers)
