"""What the report on plots says beside its numbers: what was looked at, what shows it, doubts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyogrio
import shapely
from pyproj import Transformer
from shapely.geometry.base import BaseGeometry

from geoseg.api.changes.maps import Mask
from geoseg.errors import ProductError
from geoseg.grid import GeoBox
from geoseg.io.gdal_failures import FAILURES
from geoseg.io.grids import pixel_sides
from geoseg.io.loss_layers import LossLayer
from geoseg.ops.plot_risk import Risk
from geoseg.workflow.deforestation import Preset

if TYPE_CHECKING:
    from geoseg.api.plots import Checked, PlotOptions

NOTE: Final = (
    "Areas are counted from pixels, each with the share of it that lies in the plot and its own "
    "size on the ellipsoid. Maps err, and counting their pixels carries the error into the area: "
    "these are no unbiased estimates, for which reference samples are needed (Olofsson et al. 2014)."
)
PREFER: Final = {Risk.HIGH: 0, Risk.LOW: 1, Risk.UNKNOWN: 2, Risk.NONE: 3}
"""In which order plots are told of."""

_MOST_NAMES: Final = 12
_SEEN_BY: Final = (
    "A day of loss is the day by which it was seen. It may have happened at any time since the last "
    "clear look, and clouds can hide it for long."
)
_OFF: Final = (
    "Nearest pixels are taken where layers lie on different pixels, and outlines and maps are off "
    "by some metres: narrow loss along the rim of a plot may be its neighbour's."
)
_SCREENING: Final = (
    "Degradation of forest, and whether a product was made lawfully, are not looked at. This is a "
    "screening, and no due diligence statement."
)
_UNTIL: Final = (
    "What was lost after the last day of a layer is not seen; where none is said here, whoever made "
    "the layer says it."
)
_CONFIRMED: Final = (
    "Alerts are confirmed where their source says so. Maps of change and years of loss know no such "
    "thing: all that they show counts as confirmed."
)
_ALWAYS: Final = (_CONFIRMED, _SEEN_BY, _UNTIL, _OFF, _SCREENING)


def facts(
    source: Path,
    checked: Sequence[Checked],
    wanted: PlotOptions,
    preset: Preset,
    mask: Mask | None,
) -> list[tuple[str, str]]:
    """Pairs of a word and what it is."""
    whole = sum(one.plot.area_ha for one in checked)
    points = sum(one.plot.point is not None for one in checked)
    given = f"{len(checked)} plots, {whole:,.2f} ha together; {points} given as points"
    found: list[tuple[str, str]] = [
        ("Plots", f"{source.name}: {given}"),
        ("Preset", f"{wanted.preset} ({preset.source})"),
        ("Cut-off", f"loss after {wanted.day} counts" if wanted.day else "none: all loss counts"),
    ]
    if mask is None:
        found.append(("Forest", "no map of it was given: loss of any tree cover shown counts"))
    else:
        names = [c.name for c in mask.raster.legend.classes if c.value in mask.codes]
        what = ", ".join(names) or "all that is not 0"
        found.append(("Forest", f"{mask.raster.classes.name}: {what}; only its loss counts"))
    noted = sum(bool(one.notes) for one in checked)
    if noted:
        found.append(("Notes", f"{noted} plots have notes: see below"))
    return found


def sources(layers: Sequence[LossLayer], mask: Mask | None) -> list[tuple[str, ...]]:
    """Rows of the table of layers."""
    rows = [
        (_place(layer.path), layer.shown, *(_day(day) for day in layer.span), _pixel(layer.grid))
        for layer in layers
    ]
    if mask is not None:
        day = mask.raster.when
        when = _day(None if day is None else day.date())
        rows.append((_place(mask.raster.classes), "forest", when, when, _pixel(mask.raster.grid)))
    return rows


def _place(path: Path) -> str:
    """A file and the folder that tells it from others of its name."""
    return f"{path.parent.name}/{path.name}" if path.parent.name else path.name


def _day(day: date | None) -> str:
    return "not said" if day is None else str(day)


def _pixel(grid: GeoBox) -> str:
    y, x = pixel_sides(grid)
    return f"{x:.1f} x {y:.1f} m"


def caveats(preset: Preset, mask: Mask | None) -> list[str]:
    """What the numbers do not say."""
    found = [NOTE]
    if preset.forest is not None:
        forest = preset.forest
        found.append(
            f"A forest by {forest.source} spans more than {forest.min_area}, with trees over "
            f"{forest.height_m} m and a canopy over {forest.canopy_percent} %, and is not mainly "
            f"farmed or built on. A map of classes shows where it says forest: it does not measure "
            f"height or canopy, tells plantations and farm trees from forest only if its classes do, "
            f"and stands below {forest.min_area} were not taken out of it here."
        )
    if mask is None:
        found.append(
            "Without a map of forest at the cut-off, loss of trees that were no forest (plantations, "
            "orchards, regrowth) counts as loss of forest."
        )
    return [*found, *_ALWAYS]


def evidence(
    shape: BaseGeometry, bits: int, layers: Sequence[LossLayer], cut_off: date | None
) -> str:
    """The layers that show loss on a plot, and the names of their polygons since the cut-off."""
    told = []
    for number, layer in enumerate(layers):
        if bits >> number & 1:
            names = _names(shape, layer, cut_off)
            more = len(names) - _MOST_NAMES
            shown = ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
            told.append(f"{_place(layer.path)}: {shown}" if shown else _place(layer.path))
    return "; ".join(told)


def _names(shape: BaseGeometry, layer: LossLayer, cut_off: date | None) -> list[str]:
    if layer.polygons is None or layer.grid.crs is None:
        return []
    path, name, column, day = layer.polygons
    change = Transformer.from_crs("OGC:CRS84", layer.grid.crs.proj, always_xy=True)
    moved = shapely.transform(shape, change.transform, interleaved=False)
    try:
        # Which way round the axes of the file's CRS are does not matter: both count x first.
        frame = pyogrio.read_dataframe(path, layer=name, bbox=moved.bounds, columns=[column, day])
    except FAILURES as error:
        raise ProductError(f"{path}: layer {name!r} cannot be read: {error}") from error
    hit = frame[frame.intersects(moved)]
    days = hit[day].astype(str).str.slice(0, 10)
    if cut_off is not None:
        hit = hit[(days > str(cut_off)) | hit[day].isna()]
    return sorted(str(value) for value in hit[column])
