"""The report of a mapped scene, made from nothing but the folder of its products."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import rasterio
from odc.geo.geobox import GeoBox

from geoseg.api import report_facts as facts
from geoseg.api.dask_files import LOG, PAGE
from geoseg.api.holding import STATE
from geoseg.api.report_areas import Adjusted, areas_of
from geoseg.errors import InputError, ProductError
from geoseg.io.atomic import write_bytes
from geoseg.io.class_raster import read_legend
from geoseg.io.decimate import decimated_raster
from geoseg.io.quicklook import read_scene_panel
from geoseg.io.report_confidence import read_sureness
from geoseg.io.report_page import Origin, ProductFile, SceneReport, Table, scene_page
from geoseg.io.report_pictures import SIDE, class_map, percent_key, percent_map, photo
from geoseg.io.report_place import Place, place_of
from geoseg.io.report_words import as_yaml, count, hectares, percent, several, size, span
from geoseg.legend import LandClass

REPORT: Final = "report.html"
RECORD: Final = "run.json"

_DRAWN_HOLES = 200
_PATTERNS = 24
"""Of more classes nobody tells patterns apart."""

_FILES: Final = {
    "classes.tif": "the map: a cloud-optimized GeoTIFF with its legend",
    "confidence.tif": "how sure the model is, in percent",
    "entropy.tif": "how undecided the model is, in percent",
    "margin.tif": "how far the second class is behind, in percent",
    "disagreement.tif": "how far the answers of several networks or views differ, in percent",
    "probabilities.tif": "the probability of each class, in percent",
    "quality.tif": "observations, and the distance to what was not seen",
    "observations.tif": "how often each pixel was seen",
    "polygons.gpkg": "the polygons, with a style that QGIS applies by itself",
    "polygons.parquet": "the polygons as GeoParquet",
    "polygons.fgb": "the polygons as FlatGeobuf",
    "polygons.pmtiles": "the polygons as tiles for maps in browsers",
    "project.qgz": "all layers as a QGIS project",
    "quicklook.png": "scene, map and polygons as one picture",
    "run.json": "all that is known of the run, for programs",
    "item.json": "the products as a STAC item",
}
_GROWING = ("run.json", "item.json", "collection.json")
"""Files whose sizes are not told: one tells times, the others are written last."""


def write_scene_report(
    folder: Path, *, adjusted: Adjusted | None = None, running: bool = False
) -> Path:
    """Make ``report.html`` from the products in ``folder``; the same folder gives the same page.

    In a run that is still ``running`` it links to what comes last, too.

    Raises:
        InputError: The folder has no record of a run, or one that cannot be read.
        ProductError: A product cannot be read, or the page not be written.
    """
    record = read_record(folder)
    try:
        page = scene_page(_scene_report(folder, record, adjusted, running=running))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{folder / RECORD}: is not what a run of geoseg wrote ({error!r}); run the workflow again"
        ) from error
    write_bytes(folder / REPORT, page)
    return folder / REPORT


def read_record(folder: Path) -> dict[str, Any]:
    """What ``run.json`` in a folder says.

    Raises:
        InputError: It is missing, or no JSON of a run.
    """
    path = folder / RECORD
    try:
        record = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}; a run writes it beside its products"
        ) from error
    except ValueError as error:
        raise InputError(f"{path}: is no JSON: {error}; run the workflow again") from error
    if not isinstance(record, dict) or "geoseg" not in record:
        raise InputError(f"{path}: is not the record of a run of geoseg")
    return record


def _scene_report(
    folder: Path, record: Mapping[str, Any], adjusted: Adjusted | None, *, running: bool
) -> SceneReport:
    raster = folder / "classes.tif"
    place, found = place_of(grid_of(raster)), occurring(raster, record)
    mapped, when = facts.mapped_pixels(record), _when(record)
    model = f"{record['model']['name']} {record['model']['version']}"
    named = {c.name for c in found}
    return SceneReport(
        title=f"{record['workflow']['name']}: {record['scene']}",
        description=str(record["workflow"].get("description") or ""),
        lead=" · ".join(filter(None, (when, place.extent, model))),
        state=_state(record),
        figures=_figures(record, place),
        warnings=[str(text) for text in record.get("warnings") or []],
        place=place,
        map_words=_map_words(record, mapped),
        holes=_holes(record, place),
        areas=areas_of(record, found, adjusted, _counted(record)),
        absent=", ".join(str(r["name"]) for r in record["classes"] if str(r["name"]) not in named),
        polygons=_polygons(record),
        origin=origin_of(record, facts.source_tables(record), settings="workflow"),
        where=facts.where_facts(record, place, when),
        files=[*sized(folder, _FILES), *_dask_page(folder, record, running=running)],
        **_pictures(folder, found, place),
        **_confidence(folder, found, place),
        **_tables(record),
    )


def origin_of(
    record: Mapping[str, Any], tables: Sequence[Table], *, settings: str = "settings"
) -> Origin:
    """What products were made from, as their record says; ``settings`` is where those stand in it."""
    settled = as_yaml(record[settings])
    return Origin(tables, settled, str(record["fingerprint"]), str(record["geoseg"]))


def _counted(record: Mapping[str, Any]) -> str:
    mapped = count(facts.mapped_pixels(record))
    return f"{mapped} of {count(record['pixels'])} pixels have a class"


def _tables(record: Mapping[str, Any]) -> dict[str, Any]:
    """The parts that need nothing but the record."""
    return {
        "trust": facts.trust_facts(record),
        "trust_tables": facts.held_out_tables(record),
        "seen_tables": facts.seen_tables(record),
        "run_tables": facts.run_tables(record),
        "machine": facts.machine_facts(record),
    }


def _pictures(folder: Path, classes: tuple[LandClass, ...], place: Place) -> dict[str, Any]:
    """The scene and its map."""
    codes = upright(decimated_raster(folder / "classes.tif", SIDE)[0], place)
    scene = read_scene_panel(folder / "quicklook.png")
    few = len(classes) <= _PATTERNS
    return {
        "scene": None if scene is None else photo(scene),
        "no_scene": "the workflow says output.quicklook: false, or quicklook.png went away",
        "plain": class_map(codes, classes),
        "patterned": class_map(codes, classes, patterned=True) if few else None,
    }


def grid_of(raster: Path) -> GeoBox:
    """The grid of a raster.

    Raises:
        ProductError: It cannot be read.
    """
    try:
        with rasterio.open(raster) as file:
            return GeoBox(file.shape, file.transform, file.crs)
    except rasterio.errors.RasterioError as error:
        raise ProductError(f"{raster}: cannot be read: {error}") from error


def occurring(raster: Path, record: Mapping[str, Any]) -> tuple[LandClass, ...]:
    """The classes of the map, in the order of its legend, with the colours of the file."""
    colors = {c.value: c.color for c in read_legend(raster).classes}
    return tuple(
        LandClass(int(row["code"]), str(row["name"]), colors.get(int(row["code"]), "#808080"))
        for row in record["classes"]
        if row["pixels"]
    )


def upright(values: Any, place: Place) -> Any:
    """A raster ``(y, x)`` with north up where its first row is the southernmost."""
    return values[::-1] if place.flipped else values


def _confidence(folder: Path, classes: Sequence[LandClass], place: Place) -> dict[str, Any]:
    """The part on confidence; empty where that was not kept."""
    path = folder / "confidence.tif"
    if not path.exists():
        return {}
    return {
        "confidence": percent_map(upright(decimated_raster(path, SIDE)[0], place)),
        "ramp": percent_key(),
        "confidence_tables": facts.confidence_tables(
            read_sureness(folder / "classes.tif", path), classes
        ),
    }


def _holes(record: Mapping[str, Any], place: Place) -> list[tuple[int, int, int, int]]:
    """Failed blocks as they lie in the picture: left, top, width, height in pixels."""
    drawn = []
    for one in (record.get("failed_blocks") or [])[:_DRAWN_HOLES]:
        (y0, y1), (x0, x1) = one["rows"], one["columns"]
        drawn.append((x0, place.shape[0] - y1 if place.flipped else y0, x1 - x0, y1 - y0))
    return drawn


def _state(record: Mapping[str, Any]) -> str:
    failed = len(record.get("failed_blocks") or [])
    if failed:
        return f"Not whole: {several(failed, 'block')} failed. The same command tries again."
    return "Whole: all blocks are done."


def _when(record: Mapping[str, Any]) -> str:
    """Date and time; of combined scenes the first and the last day."""
    combined = record.get("combined")
    days = (
        [str(one["acquired"])[:10] for one in combined["scenes"] if one["acquired"]]
        if combined
        else []
    )
    if days:
        return " to ".join(dict.fromkeys((min(days), max(days))))
    acquired = record.get("acquired")
    return f"{str(acquired)[:16].replace('T', ' ')} UTC" if acquired else ""


def _figures(record: Mapping[str, Any], place: Place) -> list[tuple[str, str]]:
    mapped, total = facts.mapped_pixels(record), max(1, int(record["pixels"]))
    sure, index = record.get("confidence_mean"), record.get("seam_index")
    area = sum(float(row["area_ha"]) for row in record["classes"])
    told = [
        (hectares(area, unit=True), "mapped"),
        (
            percent(mapped / total),
            f"of {place.shape[0]:,} x {place.shape[1]:,} pixels have a class",
        ),
    ]
    if sure is not None:
        told.append((f"{sure:.1f} %", "mean confidence"))
    if record["tiling"]["exact"]:
        told.append(("exact", "tiling leaves no seam"))
    elif index is not None:
        told.append((f"{index:.3f}", "seam index (1: no seam)"))
    if record.get("polygons"):
        told.append((count(record["polygons"]["count"]), "polygons"))
    return [*told, (span(facts.run_seconds(record)), "for the last run")]


def _map_words(record: Mapping[str, Any], mapped: int) -> str:
    rows = sorted(record["classes"], key=lambda row: -row["pixels"])
    shares = [f"{r['name']} {percent(r['pixels'] / max(1, mapped))}" for r in rows if r["pixels"]]
    return f"Class map: {', '.join(shares[:8])}." if shares else "Class map: nothing is mapped."


def _polygons(record: Mapping[str, Any]) -> str:
    told = record.get("polygons")
    if not told:
        return ""
    out = (
        f", {told['left_out']:,} ({hectares(told['left_out_ha'], unit=True)}) left out as too small"
    )
    return f"{told['count']:,} polygons{out if told['left_out'] else ''}."


def _dask_page(folder: Path, record: Mapping[str, Any], *, running: bool) -> list[ProductFile]:
    """Dask's page, if it is in the folder, or will be: a run draws it last."""
    page = f"{STATE}/{LOG}/{PAGE}"
    there = _is_drawn(record) if running else (folder / page).exists()
    return [ProductFile(page, "how busy workers were, by Dask", "")] if there else []


def _is_drawn(record: Mapping[str, Any]) -> bool:
    """Whether a run draws it in this folder; of many scenes it lies in the one above them."""
    rules, output = (record["workflow"].get(key) or {} for key in ("run", "output"))
    wanted, directory = rules.get("performance_report"), str(output.get("directory"))
    if "{" in directory or "://" in directory:  # in no store: the page is where the run was
        return False
    if wanted != "auto":
        return bool(wanted)
    from geoseg.workflow.cluster import Cluster  # noqa: PLC0415 (pydantic, which few pages need)
    from geoseg.workflow.schema import LONG_RUN  # noqa: PLC0415 (the same)

    here = Cluster.model_validate(record["workflow"].get("cluster") or {}).here
    return not here or sum(float(one["wall"]) for one in record["seconds"].values()) >= LONG_RUN


def sized(folder: Path, files: Mapping[str, str]) -> list[ProductFile]:
    """Of ``files``, by what they are, those in ``folder``."""
    found = []
    for name, what in files.items():
        path = folder / name
        if name in _GROWING:
            found.append(ProductFile(name, what, ""))
        elif path.exists():
            found.append(ProductFile(name, what, size(path.stat().st_size)))
    return found
