"""The report of two maps that were compared, made from nothing but the folder of the products."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from geoseg.api.report_facts import source_rows
from geoseg.api.scene_report import RECORD, REPORT, origin_of, read_record, sized
from geoseg.errors import InputError
from geoseg.io.atomic import write_bytes
from geoseg.io.report_page import ChangeReport, Facts, Table, change_page
from geoseg.io.report_pictures import shrunk
from geoseg.io.report_words import NOTHING, count, hectares, percent

_FILES: Final = {
    "change.tif": "what changed to what: a cloud-optimized GeoTIFF with its legend",
    "loss_gain.tif": "loss and gain of the classes that were asked for",
    "confidence.tif": "how sure both maps are, in percent",
    "polygons.gpkg": "the changes as polygons, with a style that QGIS applies by itself",
    "polygons.parquet": "the polygons as GeoParquet",
    "polygons.fgb": "the polygons as FlatGeobuf",
    "polygons.pmtiles": "the polygons as tiles for maps in browsers",
    "transitions.csv": "areas of all transitions as a table",
    "transitions.json": "the same, with the matrix, for programs",
    "project.qgz": "all layers as a QGIS project",
    "quicklook.png": "both maps and the change as one picture",
    "run.json": "all that is known of the comparison, for programs",
    "item.json": "the products as a STAC item",
}


def write_change_report(folder: Path) -> Path:
    """Make ``report.html`` from the products of a comparison; the same folder, the same page.

    Raises:
        InputError: The folder has no record of a comparison.
        ProductError: The page cannot be written.
    """
    record = read_record(folder)
    try:
        page = change_page(_report(folder, record))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{folder / RECORD}: is not what 'geoseg change' wrote ({error!r}); compare again"
        ) from error
    write_bytes(folder / REPORT, page)
    return folder / REPORT


def _report(folder: Path, record: Mapping[str, Any]) -> ChangeReport:
    before, after = str(record["before"]["id"]), str(record["after"]["id"])
    compared = float(record["compared_ha"])
    changed = float(record["changed_ha"])
    return ChangeReport(
        title=f"Change from {before} to {after}",
        lead=" to ".join(str(record[side]["date"] or "no date") for side in ("before", "after")),
        figures=[
            (hectares(changed, unit=True), "changed, of what was asked for"),
            (percent(changed / compared) if compared else NOTHING, "of what was compared"),
            (hectares(compared, unit=True), "seen on both dates"),
            (hectares(record["not_seen_ha"], unit=True), "not seen on both"),
            (count(record["polygons"]["count"]), "polygons"),
        ],
        warnings=[str(text) for text in record.get("warnings") or []],
        picture=shrunk(folder / "quicklook.png"),
        picture_words=f"The map of {before}, that of {after}, and what changed.",
        area_warning=_sentence(str(record["areas_note"])),
        change_tables=[_transitions(record), _by_class(record)],
        trust=_trust(record),
        trust_tables=[_left_out(record)],
        origin=origin_of(record, source_rows(record)),
        files=sized(folder, _FILES),
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _transitions(record: Mapping[str, Any]) -> Table:
    rows = [
        (f"{one['from']} to {one['to']}", hectares(one["ha"]), count(one["pixels"]))
        for one in record["transitions"]
    ]
    most = max((float(one["ha"]) for one in record["transitions"]), default=0.0) or 1.0
    bars = [100 * float(one["ha"]) / most for one in record["transitions"]]
    return Table("From class to class", ("Change", "Area (ha)", "Pixels"), rows, bars=bars)


def _by_class(record: Mapping[str, Any]) -> Table:
    keys = ("before_ha", "after_ha", "loss_ha", "gain_ha", "net_ha")
    rows = [
        [str(one["class"]), *(hectares(one[key]) for key in keys)] for one in record["by_class"]
    ]
    note = "Of all that was seen on both dates, before what is unsure or too small was left out."
    return Table("By class, in ha", ("Class", "Before", "After", "Loss", "Gain", "Net"), rows, note)


def _left_out(record: Mapping[str, Any]) -> Table:
    words = {
        "unsure": "the maps are not sure enough",
        "edges": "a displacement of the maps may explain it",
        "small": "the patch is too small",
    }
    rows = [(words[key], hectares(ha)) for key, ha in record["left_out_ha"].items() if key in words]
    return Table("Left out of the change", ("Why", "Area (ha)"), rows)


def _trust(record: Mapping[str, Any]) -> Facts:
    told = [("Pixels", "of both maps are the same" if record["same_pixels"] else "were matched")]
    shift = record.get("shift")
    if shift and shift["metres"] is None:
        told.append(("How the maps lie to each other", f"cannot be told: {shift['why']}"))
    elif shift:
        down, right = shift["metres"]
        told.append(("The later map lies off by", f"{down:.2f} m down, {right:.2f} m right"))
    told.append(("Confidence", str(record.get("confidence") or "was not kept with the maps")))
    mask = record.get("forest_mask")
    if mask:
        told.append(("Looked at only within", f"{mask['id']} ({mask['date'] or 'no date'})"))
    return told
