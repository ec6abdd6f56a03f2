"""Pages of what runs have made, from the folders that it lies in."""

from __future__ import annotations

from pathlib import Path

from geoseg.api.alert_report import write_alert_report
from geoseg.api.change_report import write_change_report
from geoseg.api.history_report import has_history, history_path, write_history
from geoseg.api.land_use_report import write_land_use_report
from geoseg.api.report_areas import Adjusted, read_adjusted
from geoseg.api.scene_report import RECORD, read_record, write_scene_report
from geoseg.api.series_report import product_in
from geoseg.api.water_report import write_water_report
from geoseg.errors import InputError


def make_reports(folder: Path, *, areas: Path | None = None) -> list[Path]:
    """Make the page of a folder of products.

    Args:
        folder: Has ``run.json``, products of alerts, water or land use, or is what a workflow
            writes the folders of its scenes to.
        areas: What ``geoseg evaluate areas`` wrote of the map in it, for areas with intervals.

    Returns:
        The pages.

    Raises:
        InputError: There is nothing to tell of, or ``areas`` is of another map.
        ProductError: A product cannot be read, or a page not be written.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder")
    adjusted = None if areas is None else read_adjusted(areas)
    made = make_series_report(folder, adjusted)
    if made is not None:
        return [made]
    if has_history(folder) and not (folder / RECORD).exists():
        if adjusted is not None:
            raise InputError(f"{folder}: has many maps; --areas is of one, give its folder")
        return [write_history(folder)]
    record = read_record(folder)
    kind = record.get("kind")
    if kind == "change" and adjusted is None:
        return [write_change_report(folder)]
    if kind is not None or "scene" not in record:
        raise InputError(
            f"{folder / RECORD}: is of a {kind or 'run without a scene'}: no page is made of that"
        )
    pages = [write_scene_report(folder, adjusted=adjusted)]
    return [*pages, write_history(folder)] if history_path(folder).exists() else pages


def make_series_report(folder: Path, adjusted: Adjusted | None = None) -> Path | None:
    """Make the page of alerts, of water or of land use; None where a folder has none of them.

    Raises:
        InputError: ``adjusted`` is of another map.
        ProductError: A product cannot be read, or the page not be written.
    """
    writers = {
        "alerts": write_alert_report,
        "water": write_water_report,
        "land use": write_land_use_report,
    }
    kind = product_in(folder)
    return None if kind is None else writers[kind](folder, adjusted=adjusted)
