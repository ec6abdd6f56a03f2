"""What is made of a store of alerts: rasters, polygons and a STAC item in a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, time
from pathlib import Path

import numpy as np

from geoseg.api import fingerprint
from geoseg.api.alert_report import write_alert_report
from geoseg.api.alerts import hold_store, settle
from geoseg.api.places import check_folder
from geoseg.api.polygons import Passing
from geoseg.api.series_projects import write_alert_project
from geoseg.errors import InputError
from geoseg.grid import blocks, full_window
from geoseg.io.alert_store import AlertStore, rule_text
from geoseg.io.atomic import remove_abandoned, remove_file, room_in
from geoseg.io.class_raster import NO_CLASS
from geoseg.io.cog import write_class_cog, write_confidence_cog, write_number_cog
from geoseg.io.columns import attributes
from geoseg.io.geopackage import About, write_layers
from geoseg.io.product_item import (
    ItemAsset,
    Processing,
    class_asset,
    confidence_asset,
    number_asset,
    write_item,
)
from geoseg.io.provenance import Provenance
from geoseg.io.qml import (
    RAMP,
    polygon_qml,
    write_class_qml,
    write_confidence_qml,
    write_value_qml,
)
from geoseg.io.qml_labels import label_scale
from geoseg.io.rat import write_rat
from geoseg.io.zarr_store import ZarrRaster
from geoseg.legend import LandClass, Legend
from geoseg.ops.alerts.encoding import gfw_span
from geoseg.ops.alerts.lineage import Regions, Tracker
from geoseg.ops.alerts.rules import STATE_NAMES, to_date
from geoseg.ops.metric import measure_grid
from geoseg.run.reporter import Reporter, Silent
from geoseg.run.threads import each_block
from geoseg.steps.alert_layers import LAYERS, AlertMask, LayBlock
from geoseg.steps.alert_polygons import LEVEL_NAMES, AlertPolygons
from geoseg.steps.polygons import Least, Polygons, Wanted
from geoseg.steps.vectorize import Tracer
from geoseg.workflow.units import Area

LAYER = "alerts"
_TRACED = 1024
_STATE_COLORS = (
    "#e9e5da", "#ffe08a", "#ffb84d", "#e8702a", "#ffb3c7", "#f0628f", "#b0104a", "#b59a86",
    "#7d5a6b",
)  # fmt: skip
STATES = Legend(
    "alert states",
    tuple(LandClass(n, STATE_NAMES[n], color) for n, color in enumerate(_STATE_COLORS)),
)
_LEVELS = tuple(
    LandClass(n, LEVEL_NAMES[n], color)
    for n, color in ((2, "#f4a3c0"), (3, "#dc6699"), (4, "#a0003c"))
)
_FILES = (
    "alerts.tif", "state.tif", "dates.tif", "counts.tif", "confidence.tif", "alerts.gpkg",
    "project.qgz", "report.html",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Exported:
    """What came of a store.

    Attributes:
        paths: Products by role.
        states: Pixels by state.
        polygons: How many were written.
        left_out: How many were smaller than asked for.
    """

    paths: Mapping[str, Path]
    states: Mapping[int, int]
    polygons: int
    left_out: int


@dataclass(frozen=True, slots=True)
class _Laid:
    """The layers of all blocks, and their regions."""

    layers: Mapping[str, ZarrRaster]
    regions: Regions
    states: Mapping[int, int]
    span: tuple[int, int]


def export(
    store: Path,
    out: Path,
    *,
    min_area: Area | None = None,
    workers: int | None = None,
    reporter: Reporter | None = None,
) -> Exported:
    """Write the alerts of a store as they are seen from its last day.

    ``alerts.tif`` has the numbers of Global Forest Watch, ``state.tif`` OPERA's states,
    ``dates.tif`` first detection, last clear day before it and last detection as days since
    1970-01-01, ``counts.tif`` detections and days from the first to the last one,
    ``confidence.tif`` percents, ``alerts.gpkg`` polygons, ``project.qgz`` shows them in QGIS,
    ``report.html`` in a browser. The
    same store gives the same bytes.

    Args:
        store: The store.
        out: A folder.
        min_area: Of the smallest polygon; all without it.
        workers: Threads; one a core without it.
        reporter: Told of progress.

    Raises:
        InputError: There is no such store, or nothing was ever observed; nothing was written.
        LockedError: An update is at work on the store.
        ProductError: Something cannot be written.
    """
    teller = reporter or Silent()
    check_folder(out, what=str(out))
    if out.resolve() == store.resolve() or store.resolve() in out.resolve().parents:
        raise InputError(f"{out}: lies in the store; choose another folder")
    AlertStore.open(store)
    with hold_store(store):
        made = AlertStore.open(store)
        if not made.scenes:
            raise InputError(f"{store}: has no observation yet; add maps with geoseg alerts update")
        teller.started(scenes=1, blocks=len(made.windows), dashboard=None)
        settle(made, workers=workers, reporter=teller, verify=True)
        with _room(out) as room:
            laid = _lay(made, room, workers, teller)
            # That of an earlier export must not vouch for a mixture of old and new.
            remove_file(out / "item.json")
            paths = _write_rasters(made, laid, out, teller)
            file = out / "alerts.gpkg"
            polygons = _write_polygons(made, laid, file, min_area, workers, teller)
            paths["alerts"] = file
            days = sorted(to_date(scene.day) for scene in made.scenes)
            span = (days[0], days[-1])
            paths["project"] = write_alert_project(out, paths, made.grid, span, LAYER)
            paths["report"] = write_alert_report(out)
            _write_item(made, out, paths)
    teller.done(f"{out}: {polygons.kept} alerts, {polygons.dropped} smaller ones left out")
    return Exported(
        paths | {"item": out / "item.json"}, laid.states, polygons.kept, polygons.dropped
    )


@contextmanager
def _room(out: Path) -> Iterator[Path]:
    """A folder in ``out`` that goes away in the end."""
    for name in ("alerts", "item.json", *_FILES):
        remove_abandoned(out, name)
    with room_in(out, "alerts") as folder:
        yield folder


def _lay(made: AlertStore, room: Path, workers: int | None, teller: Reporter) -> _Laid:
    targets = {
        name: ZarrRaster.create(
            room / "layers.zarr", made.grid, block=made.block, fill=fill, name=name, dtype=dtype
        )
        for name, (dtype, fill) in LAYERS.items()
    }
    tracker = Tracker(full_window(made.grid).shape)
    states, days = np.zeros(256, np.int64), []
    work = LayBlock(made, made.last_day, targets)
    for laid in each_block(work, made.windows, name="layers", reporter=teller, workers=workers):
        tracker.add(laid.window, laid.zones)
        states += laid.states
        days += [day for day in laid.days if day]
    counts = {int(n): int(states[n]) for n in np.flatnonzero(states)}
    span = (min(days), max(days)) if days else (0, 0)
    return _Laid(targets, tracker.regions(), counts, span)


def _write_rasters(made: AlertStore, laid: _Laid, out: Path, teller: Reporter) -> dict[str, Path]:
    tags = _provenance(made).tags()
    first, last = laid.span
    paths = {"state": out / "state.tif", "confidence": out / "confidence.tif"}
    counts = write_class_cog(laid.layers["state"], made.grid, STATES, paths["state"], tags=tags)
    write_rat(paths["state"], STATES, counts=[int(n) for n in counts])
    write_class_qml(paths["state"].with_suffix(".qml"), STATES)
    write_confidence_cog(laid.layers["confidence"], made.grid, paths["confidence"], tags=tags)
    write_confidence_qml(paths["confidence"].with_suffix(".qml"))
    numbers = {
        "dates": ("first", "before", "last"),
        "counts": ("detections", "duration"),
        "gfw": ("gfw",),
    }
    if first and not gfw_span(first, last):
        teller.warning(
            f"{out / 'alerts.tif'}: left out: alerts begin on {to_date(first)}, and Global Forest "
            f"Watch counts from 2014-12-31 in four digits; dates.tif has them all"
        )
        numbers.pop("gfw")
        _forget(out / "alerts.tif")
    for role, layers in numbers.items():
        paths[role] = out / ("alerts.tif" if role == "gfw" else f"{role}.tif")
        stores = [laid.layers[name] for name in layers]
        write_number_cog(stores, made.grid, paths[role], _BANDS[role], tags=tags | _UNITS[role])
    _write_styles(paths, laid)
    return paths


_BANDS: Mapping[str, tuple[str, ...]] = {
    "dates": (
        "first detection (days since 1970-01-01)",
        "last clear day before it (days since 1970-01-01)",
        "last detection (days since 1970-01-01)",
    ),
    "counts": ("detections", "days from first to last detection"),
    "gfw": ("confidence * 10000 + days since 2014-12-31",),
}
_UNITS: Mapping[str, dict[str, str]] = {
    "dates": {"UNITS": "days since 1970-01-01"},
    "counts": {},
    "gfw": {"ENCODING": "GFW: 2 low, 3 high, 4 highest confidence"},
}


def _write_styles(paths: Mapping[str, Path], laid: _Laid) -> None:
    first, last = laid.span
    days = [first + round((last - first) * share / 100) for share, _ in RAMP]
    stops = [(d, c, str(to_date(d))) for d, (_, c) in zip(days, RAMP, strict=True)]
    write_value_qml(paths["dates"].with_suffix(".qml"), stops if last > first else stops[-1:])
    most = int(laid.regions.table["detections"].max(initial=1))
    counts = [(round(1 + (most - 1) * s / 100), c) for s, c in RAMP]
    write_value_qml(paths["counts"].with_suffix(".qml"), [(n, c, str(n)) for n, c in counts])
    if "gfw" in paths:
        levels = [(level.value * 10_000 + 9_999, level.color, level.name) for level in _LEVELS]
        write_value_qml(paths["gfw"].with_suffix(".qml"), levels, discrete=True)


def _forget(path: Path) -> None:
    """Remove what an earlier export wrote."""
    for old in (path, path.with_suffix(".qml")):
        old.unlink(missing_ok=True)


def _write_polygons(
    made: AlertStore,
    laid: _Laid,
    path: Path,
    min_area: Area | None,
    workers: int | None,
    teller: Reporter,
) -> Polygons:
    metric = measure_grid(made.grid)
    mask = AlertMask(laid.layers["level"])
    trace = Tracer(mask.read, metric, NO_CLASS, laid.layers["confidence"].read)
    windows = tuple(blocks(metric.shape, _TRACED))
    traced = each_block(trace, windows, name="trace", reporter=teller, workers=workers)
    with closing(traced):
        polygons = Polygons(traced, made.grid, metric, wanted=_wanted(min_area))
        passing = Passing(AlertPolygons(polygons, laid.regions), source=traced)
        fields = attributes(passing.schema)
        about = About(
            {LAYER: polygon_qml(_LEVELS, fields, labels_below=label_scale(made.grid))},
            {LAYER: "Alerts of forest loss"},
            {
                **_provenance(made).document(),
                "polygons": {"min_area": None if min_area is None else str(min_area)},
            },
        )
        with closing(passing):
            write_layers(
                path,
                {LAYER: passing.schema},
                ((LAYER, batch) for batch in passing),
                grid_crs=made.grid,
                about=about,
            )
    return polygons


def _wanted(min_area: Area | None) -> Wanted:
    if min_area is None or not min_area.value:
        return Wanted(connectivity=8)
    if min_area.unit == "px":
        least = Least(pixels=min_area.pixels(1.0))
    else:
        least = Least(square_metres=min_area.square_metres(1.0))
    return Wanted(connectivity=8, least={1: least})


def _write_item(made: AlertStore, out: Path, paths: Mapping[str, Path]) -> None:
    grid = made.grid
    assets = {
        "state": class_asset(paths["state"], grid, STATES),
        "confidence": confidence_asset(paths["confidence"], grid),
        "alerts": ItemAsset(paths["alerts"], "Alerts, polygons"),
        "project": ItemAsset(paths["project"], "QGIS project", ("metadata",)),
    }
    titles = {"dates": "Dates", "counts": "Counts", "gfw": "Alerts, GFW encoding"}
    for role, title in titles.items():
        if role in paths:
            assets[role] = number_asset(paths[role], grid, _BANDS[role], title, role)
    days = [scene.day for scene in made.scenes]
    first, last = (datetime.combine(to_date(d), time(), UTC) for d in (min(days), max(days)))
    write_item(
        out / "item.json",
        item_id=out.resolve().name,
        grid=grid,
        assets=assets,
        acquired=(first, last),
        processing=Processing(
            fingerprint.software(),
            f"Alerts of forest loss from {len(made.scenes)} scenes by {rule_text(made.rule)}",
            version=_provenance(made).fingerprint,
        ),
    )


def _provenance(made: AlertStore) -> Provenance:
    """The maps are known by what was observed in them, as their files need not be kept."""
    inputs = [
        {"scene": one.scene, "date": str(to_date(one.day)), "content": one.digest}
        for one in made.scenes
    ]
    settings = {"watch": asdict(made.watch), "rule": asdict(made.rule)}
    software = fingerprint.software()
    return Provenance(
        "alerts",
        inputs,
        settings,
        software,
        fingerprint.digest([inputs, settings, software]),
        about={
            "alert_rule": rule_text(made.rule),
            "scenes": str(len(made.scenes)),
            "last_day": str(to_date(made.last_day)),
        },
    )
