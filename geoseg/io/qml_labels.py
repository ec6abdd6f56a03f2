"""Labels of polygons in QGIS: what they say, and from which scale on they are drawn."""

from __future__ import annotations

from collections.abc import Collection
from math import cos, floor, log10, radians, sqrt
from typing import Final
from xml.etree import ElementTree as ET

from geoseg.grid import GeoBox

LABELS_BELOW: Final = 25_000
"""Denominator of the scale below which labels are drawn, where nobody knows the pixels."""

_PER_METRE: Final = 2500.0  # a pixel of 10 m is 0.4 mm wide at 1:25,000
_STEPS: Final = (5.0, 2.5, 1.0)
_DEGREE: Final = 111_320.0  # metres, along a meridian or the equator


def label_scale(grid: GeoBox) -> int:
    """Denominator of the scale below which polygons made of the pixels of ``grid`` are labelled."""
    return scale_for(_pixel(grid))


def scale_for(metres: float) -> int:
    """The same, for pixels of so many ``metres``: a round number, 1:25,000 for 10 m."""
    wanted = max(metres * _PER_METRE, 1.0)
    power = 10.0 ** floor(log10(wanted))
    step = next(step for step in _STEPS if step * power <= wanted * (1 + 1e-9))
    return max(1, round(step * power))


def label_expression(fields: Collection[str], *, name: str) -> str:
    """What a label says, in QGIS's language: the name, its area, and the date it began.

    Args:
        fields: Attributes that there are.
        name: That with the name of the class; those with more to say of a polygon go before it.
    """
    first = next((f for f in ("plot_id", "lake") if f in fields), name)
    parts = [_column(first)]
    if first == "lake":  # those that were found have no name, but an identifier
        parts = [f"if(regexp_match({_column(first)}, '^[0-9a-f]{{16}}$'), '', {_column(first)})"]
    hectares = next((f for f in ("area_ha", "last_ha") if f in fields), None)
    if hectares is not None:
        # Small polygons would all be "0 ha" without decimals, and large ones need none.
        area = _column(hectares)
        digits = f"if({area} < 10, 2, if({area} < 100, 1, 0))"
        parts.append(rf"'\n' || format_number({area}, {digits}) || ' ha'")
    if "start" in fields:
        parts.append(rf"'\n' || to_string({_column('start')})")
    # concat() leaves out a part that is null, where || would make the whole label null.
    return parts[0] if len(parts) == 1 else f"trim(concat({', '.join(parts)}))"


def labelling(expression: str, *, below: float) -> ET.Element:
    """Labels within their polygons, on a pale halo, below a scale; where none fits, there is none.

    Args:
        expression: What they say.
        below: Denominator of the scale.
    """
    element = ET.Element("labeling", type="simple")
    settings = ET.SubElement(element, "settings", calloutType="simple")
    text = ET.SubElement(
        settings,
        "text-style",
        {
            "fieldName": expression,
            "isExpression": "1",
            "fontSize": "8",
            "fontSizeUnit": "Point",
            "textColor": "35,35,35,255",
            "textOpacity": "1",
            "multilineHeight": "0.9",
        },
    )
    halo = {"bufferDraw": "1", "bufferSize": "0.7", "bufferSizeUnits": "MM"}
    ET.SubElement(
        text, "text-buffer", {**halo, "bufferColor": "255,255,255,255", "bufferOpacity": "0.8"}
    )
    ET.SubElement(settings, "text-format", multilineAlign="1", wrapChar="")
    placement = {"placement": "4", "fitInPolygonOnly": "1", "centroidInside": "1", "priority": "5"}
    ET.SubElement(settings, "placement", placement)
    ET.SubElement(
        settings,
        "rendering",
        {
            "drawLabels": "1",
            "scaleVisibility": "1",
            "scaleMin": "0",
            "scaleMax": f"{below:g}",
            "obstacle": "0",
        },
    )
    return element


def _column(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _pixel(grid: GeoBox) -> float:
    """Side of a pixel, metres; as large as a square of its area, in the middle of the grid."""
    side = sqrt(abs(grid.affine.determinant))
    if grid.crs is None:
        return side
    unit = float(grid.crs.proj.axis_info[0].unit_conversion_factor)
    if not grid.crs.geographic:
        return side * unit
    box = grid.boundingbox
    middle = (box.bottom + box.top) / 2 * unit  # radians
    return side * unit / radians(1) * _DEGREE * sqrt(max(cos(middle), 0.01))
