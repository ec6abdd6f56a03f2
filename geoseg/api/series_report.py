"""What the reports on products of many dates have in common: maps, areas by class, sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from geoseg.api.report_areas import Adjusted, areas_of
from geoseg.api.report_facts import long_table
from geoseg.api.scene_report import REPORT, grid_of, origin_of, upright
from geoseg.errors import InputError, ProductError
from geoseg.grid import Window
from geoseg.io.atomic import write_bytes
from geoseg.io.class_raster import read_legend
from geoseg.io.cog import CONFIDENCE_NODATA
from geoseg.io.decimate import decimated_raster
from geoseg.io.qml import RAMP
from geoseg.io.read_provenance import read_provenance
from geoseg.io.report_page import (
    Areas,
    Key,
    MapFigure,
    Origin,
    SeriesReport,
    Table,
    series_page,
)
from geoseg.io.report_pictures import SIDE, class_map, percent_key, percent_map, swatch
from geoseg.io.report_place import Place, place_of
from geoseg.io.report_words import NOTHING, percent, size
from geoseg.legend import LandClass
from geoseg.ops.areas import class_areas
from geoseg.ops.metric import measure_grid

_ROWS: Final = 512
_PATTERNS: Final = 24
"""Of more classes nobody tells patterns apart."""


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """The classes of a raster that occur: what ``run.json`` would say of them, and colours.

    Attributes:
        classes: Those that occur, in order of their codes.
        rows: ``code``, ``name``, ``pixels`` and ``area_ha`` of each.
        pixels: Of the raster, whether they have a class or not.
    """

    classes: tuple[LandClass, ...]
    rows: tuple[Mapping[str, Any], ...]
    pixels: int

    @property
    def seen(self) -> int:
        """Pixels with a class."""
        return sum(int(row["pixels"]) for row in self.rows)

    def hectares(self, *names: str) -> float:
        """Of some classes together."""
        return sum(float(row["area_ha"]) for row in self.rows if row["name"] in names)

    def areas(self, caption: str, adjusted: Adjusted | None = None) -> Areas:
        """The table of areas.

        Raises:
            InputError: The sample was drawn from another map.
        """
        return areas_of({"classes": self.rows}, self.classes, adjusted, caption)


def write_series_report(folder: Path, report: SeriesReport) -> Path:
    """Write the page into a folder of products; returns its path.

    Raises:
        ProductError: It cannot be written.
    """
    write_bytes(folder / REPORT, series_page(report))
    return folder / REPORT


def origin_in(raster: Path) -> dict[str, Any]:
    """Where products come from, as one of them says.

    Raises:
        InputError: It says nothing.
    """
    return read_provenance(raster)


def counted(raster: Path) -> Counted:
    """Count the classes of a raster, by geodesic areas; strip by strip.

    Raises:
        ProductError: It cannot be read.
    """
    metric, named = measure_grid(grid_of(raster)), {c.value: c for c in read_legend(raster).classes}
    pixels, areas = np.zeros(256, np.int64), np.zeros(256)
    try:
        with rasterio.open(raster) as source:
            height, width = source.shape
            nodata = source.nodata
            for top in range(0, height, _ROWS):
                rows = min(_ROWS, height - top)
                codes = source.read(1, window=RasterWindow(0, top, width, rows))
                pixels += np.bincount(codes.ravel(), minlength=256)
                for code, area in class_areas(
                    codes, Window(top, 0, top + rows, width), metric
                ).items():
                    areas[code] += area
    except RasterioError as error:
        raise ProductError(f"{raster}: cannot be read: {error}") from error
    codes_found = [int(c) for c in np.flatnonzero(pixels) if c != nodata and int(c) in named]
    rows_found = tuple(
        {
            "code": code,
            "name": named[code].name,
            "pixels": int(pixels[code]),
            "area_ha": float(areas[code]) / 1e4,
        }
        for code in codes_found
    )
    return Counted(tuple(named[code] for code in codes_found), rows_found, int(pixels.sum()))


def place_in(raster: Path) -> Place:
    """Where a raster lies."""
    return place_of(grid_of(raster))


def class_figure(raster: Path, classes: Sequence[LandClass], title: str, caption: str) -> MapFigure:
    """A map of classes, with a key of those that are given: the ones that occur in any map.

    Raises:
        ProductError: It cannot be read.
    """
    place, chosen = place_in(raster), tuple(classes)
    codes = upright(decimated_raster(raster, SIDE)[0], place)
    few = 0 < len(chosen) <= _PATTERNS
    return MapFigure(
        title,
        caption,
        f"Map of {title}: {', '.join(c.name for c in chosen[:8]) or 'nothing'}.",
        class_map(codes, chosen),
        class_map(codes, chosen, patterned=True) if few else None,
        [Key(c.name, c.color, swatch(c, n).address) for n, c in enumerate(chosen)],
        bar=place.bar,
    )


def percent_figure(
    raster: Path,
    title: str,
    caption: str,
    ends: Sequence[str],
    *,
    ramp: Sequence[tuple[int, str]] = RAMP,
) -> MapFigure:
    """A map of percents.

    Raises:
        ProductError: It cannot be read.
    """
    place = place_in(raster)
    values = upright(decimated_raster(raster, SIDE)[0], place)
    return _ramp_figure(values, title, caption, ends, ramp=ramp, place=place)


def spread_figure(
    raster: Path, span: tuple[int, int], title: str, caption: str, ends: Sequence[str]
) -> MapFigure:
    """A map of numbers from the first to the last of ``span``; what is 0 is not drawn.

    Raises:
        ProductError: It cannot be read.
    """
    place = place_in(raster)
    values = upright(decimated_raster(raster, SIDE)[0], place).astype(np.int64)
    shares = 100 * (values - span[0]) / max(1, span[1] - span[0])
    drawn = np.where(values == 0, CONFIDENCE_NODATA, np.clip(shares, 0, 100)).astype(np.uint8)
    return _ramp_figure(drawn, title, caption, ends, ramp=RAMP, place=place)


def _ramp_figure(
    values: NDArray[np.uint8],
    title: str,
    caption: str,
    ends: Sequence[str],
    *,
    ramp: Sequence[tuple[int, str]],
    place: Place,
) -> MapFigure:
    words = f"Map of {title}, from {ends[0]} to {ends[-1]}."
    picture, key = percent_map(values, ramp), percent_key(ramp)
    return MapFigure(title, caption, words, picture, ramp=key, ends=ends, bar=place.bar)


def made_from(origin: Mapping[str, Any]) -> Origin:
    """Inputs with what they are known by, software and settings."""
    return origin_of(origin, _source_tables(origin))


def _source_tables(origin: Mapping[str, Any]) -> list[Table]:
    scenes = [one for one in origin["inputs"] if "scene" in one]
    files = [one for one in origin["inputs"] if "scene" not in one]
    software = [(name, str(version)) for name, version in origin["software"].items()]
    tables = []
    if scenes:
        rows = [(str(s["date"]), str(s["scene"]), str(s["content"])) for s in scenes]
        head = ("Date", "Scene", "Hash of its map")
        tables.append(long_table("Scenes that were observed", head, rows))
    if files:
        rows = [(str(f["href"]), size(f.get("bytes")), _hash_of(f)) for f in files]
        tables.append(long_table("Inputs", ("File", "Size", "SHA-256"), rows))
    return [*tables, long_table("Software", ("Name", "Version"), software)]


def _hash_of(file: Mapping[str, Any]) -> str:
    return str(file.get("sha256") or file.get("sha256_of_samples") or NOTHING)


def seen_share(found: Counted) -> str:
    """How much of a map has a class."""
    return percent(found.seen / max(1, found.pixels))


_KINDS: Final = {
    "alerts": ("state.tif", "Alerts of forest loss"),
    "water": ("occurrence.tif", "Water over time"),
    "land use": ("accounts.parquet", "Land use over time"),
}
"""By what products say of themselves: a file that they have, and what their page tells of."""


def product_in(folder: Path) -> str | None:
    """Of which kind the products of many dates in a folder are; None where there are none."""
    for kind, (name, _) in _KINDS.items():
        try:
            if (folder / name).is_file() and origin_in(folder / name).get("product") == kind:
                return kind
        except InputError:
            continue
    return None


def kind_of(folder: Path) -> str | None:
    """What the page of such a folder tells of; None where there are no such products."""
    kind = product_in(folder)
    return None if kind is None else _KINDS[kind][1]
