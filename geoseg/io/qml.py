"""Styles that QGIS (3.22 and newer) applies by itself: rasters, confidence ramps, polygons.

A style is the children of the ``<qgis>`` element of a QML file; project files hold the same ones in
their ``<maplayer>`` elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from geoseg.io.atomic import write_bytes
from geoseg.io.columns import CLASS_CODE, CLASS_NAME, describe
from geoseg.io.qml_labels import LABELS_BELOW, label_expression, labelling
from geoseg.io.qml_time import Shown, field_range, fixed_range, times_of
from geoseg.legend import LandClass, Legend

Style = list[ET.Element]

VERSION = "3.22.0"  # the oldest QGIS that reads these; newer ones convert what they changed
_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"

# Viridis (van der Walt & Smith, CC0): even steps of lightness, readable with any colour vision.
RAMP = ((0, "#440154"), (25, "#3b528b"), (50, "#21918c"), (75, "#5ec962"), (100, "#fde725"))

_LAYER_FLAGS = ("Identifiable", "Removable", "Searchable")
RASTER_ATTRIBUTES = {"minScale": "1e+08", "maxScale": "0", "hasScaleBasedVisibilityFlag": "0"}
VECTOR_ATTRIBUTES = {
    **RASTER_ATTRIBUTES,
    "labelsEnabled": "1",
    "readOnly": "0",
    "simplifyDrawingHints": "1",
    "simplifyLocal": "1",
    "simplifyDrawingTol": "1",
    "simplifyAlgorithm": "0",
    "simplifyMaxScale": "1",
    "symbologyReferenceScale": "-1",
}


def write_class_qml(path: str | Path, legend: Legend, *, shown: Shown | None = None) -> None:
    """Write the style of a class raster: exactly the legend's classes, names and colours.

    ``shown`` is when the temporal controller of QGIS shows it; always without it.
    """
    style = at_time(class_style(legend), shown)
    write_bytes(path, _document(style, RASTER_ATTRIBUTES).encode())


def write_confidence_qml(
    path: str | Path, *, doubt: bool = False, shown: Shown | None = None
) -> None:
    """Write the style of a raster of percents; see :func:`confidence_style`."""
    style = at_time(confidence_style(doubt=doubt), shown)
    write_bytes(path, _document(style, RASTER_ATTRIBUTES).encode())


def at_time(style: Style, shown: Shown | None) -> Style:
    """A style with when its layer is shown, instead of what it says of that."""
    if shown is None:
        return style
    return [*(part for part in style if part.tag != "temporal"), fixed_range(shown)]


def write_quality_qml(path: str | Path, farthest: int) -> None:
    """Write the style of a raster of quality; see :func:`quality_style`."""
    write_bytes(path, _document(quality_style(farthest), RASTER_ATTRIBUTES).encode())


def write_count_qml(path: str | Path, most: int) -> None:
    """Write the style of a raster of observations; see :func:`count_style`."""
    write_bytes(path, _document(count_style(most), RASTER_ATTRIBUTES).encode())


def write_ramp_qml(path: str | Path, stops: Sequence[tuple[int, str]]) -> None:
    """Write the style of a raster of percents with colours of its own: percent and ``#rrggbb``."""
    style = _ramp_style([(value, value, color) for value, color in stops], unit="%")
    write_bytes(path, _document(style, RASTER_ATTRIBUTES).encode())


def write_value_qml(
    path: str | Path, stops: Sequence[tuple[int, str, str]], *, discrete: bool = False
) -> None:
    """Write the style of a raster of numbers; see :func:`value_style`."""
    write_bytes(path, _document(value_style(stops, discrete=discrete), RASTER_ATTRIBUTES).encode())


def polygon_qml(
    classes: Sequence[LandClass],
    fields: Sequence[str],
    *,
    by: tuple[str, str] = (CLASS_CODE, CLASS_NAME),
    text: bool = False,
    labels_below: float = LABELS_BELOW,
) -> str:
    """The style of polygons as QML text; see :func:`polygon_style`."""
    style = polygon_style(classes, fields, by=by, text=text, labels_below=labels_below)
    return polygon_document(style)


def polygon_document(style: Style) -> str:
    """A style of polygons as QML text."""
    return _document(style, VECTOR_ATTRIBUTES)


def write_polygon_qml(
    path: str | Path,
    classes: Sequence[LandClass],
    fields: Sequence[str],
    *,
    labels_below: float = LABELS_BELOW,
) -> None:
    """Write :func:`polygon_qml` to a file, for formats that cannot hold a style."""
    write_bytes(path, polygon_qml(classes, fields, labels_below=labels_below).encode())


def class_style(legend: Legend) -> Style:
    """A paletted renderer; nodata is transparent and has no row."""
    renderer = _renderer("paletted")
    palette = ET.SubElement(renderer, "colorPalette")
    for entry in legend.classes:
        attributes = {"value": str(entry.value), "color": entry.color, "label": entry.name}
        ET.SubElement(palette, "paletteEntry", {**attributes, "alpha": "255"})
    return _raster_style(renderer)


def confidence_style(*, doubt: bool = False) -> Style:
    """A single-band pseudocolour renderer, interpolated between the stops of the ramp.

    Bright is sure: layers of ``doubt`` (entropy, disagreement) run the other way.
    """
    stops = [(value, value, color) for value, color in _ramp_stops(doubt)]
    return _ramp_style(stops, unit="%")


def quality_style(farthest: int) -> Style:
    """The distance to what is not valid (band 2), from 0 to ``farthest`` pixels; far is bright."""
    stops = [(value, round(value * farthest / 100), color) for value, color in RAMP]
    return _ramp_style(stops, unit="px", band=2)


def count_style(most: int) -> Style:
    """How often each pixel was seen, from 0 to ``most``; often is bright."""
    most = max(most, 1)
    colors = {round(part * most / 100): color for part, color in RAMP}
    stops = [(round(100 * value / most), value, color) for value, color in colors.items()]
    return _ramp_style(stops, unit="observations")


def _ramp_style(stops: Sequence[tuple[int, int, str]], *, unit: str, band: int = 1) -> Style:
    """A ramp through ``stops``: percent of the way, value, colour."""
    most = str(stops[-1][1])
    renderer = _renderer("singlebandpseudocolor")
    renderer.attrib.update(band=str(band), classificationMin="0", classificationMax=most)
    shader = ET.SubElement(ET.SubElement(renderer, "rastershader"), "colorrampshader")
    shader.attrib.update(
        colorRampType="INTERPOLATED",
        classificationMode="1",
        clip="0",
        labelPrecision="0",
        minimumValue="0",
        maximumValue=most,
    )
    shader.append(_ramp(tuple((part, color) for part, _, color in stops)))
    for _, value, color in stops:
        item = {"value": str(value), "color": color, "label": f"{value} {unit}", "alpha": "255"}
        ET.SubElement(shader, "item", item)
    legend = {
        "useContinuousLegend": "1",
        "suffix": f" {unit}",
        "orientation": "2",
        "direction": "0",
    }
    ET.SubElement(shader, "rampLegendSettings", legend)
    return _raster_style(renderer)


def value_style(stops: Sequence[tuple[int, str, str]], *, discrete: bool = False) -> Style:
    """A single-band pseudocolour renderer through ``stops``: value, colour, label.

    With ``discrete`` a stop is the largest value of its colour; else colours run into each other.
    """
    low, high = str(stops[0][0]), str(stops[-1][0])
    renderer = _renderer("singlebandpseudocolor")
    renderer.attrib.update(classificationMin=low, classificationMax=high)
    shader = ET.SubElement(ET.SubElement(renderer, "rastershader"), "colorrampshader")
    shader.attrib.update(
        colorRampType="DISCRETE" if discrete else "INTERPOLATED",
        classificationMode="1",
        clip="0",
        labelPrecision="0",
        minimumValue=low,
        maximumValue=high,
    )
    for value, color, label in stops:
        item = {"value": str(value), "color": color, "label": label, "alpha": "255"}
        ET.SubElement(shader, "item", item)
    # A continuous legend would show bare numbers instead of the labels.
    ET.SubElement(shader, "rampLegendSettings", useContinuousLegend="0")
    return _raster_style(renderer)


def image_style(bands: tuple[int, int, int], limits: Sequence[tuple[float, float]] = ()) -> Style:
    """A true-colour renderer of three bands (from 1), each stretched from its low to its high.

    Without ``limits`` the numbers are shown as they are, which suits bytes.
    """
    red, green, blue = (str(band) for band in bands)
    renderer = _renderer("multibandcolor")
    del renderer.attrib["band"]
    renderer.attrib.update(redBand=red, greenBand=green, blueBand=blue)
    for color, (low, high) in zip(("red", "green", "blue"), limits, strict=bool(limits)):
        stretch = ET.SubElement(renderer, f"{color}ContrastEnhancement")
        stretch.append(_element("minValue", f"{low:.10g}"))
        stretch.append(_element("maxValue", f"{high:.10g}"))
        stretch.append(_element("algorithm", "StretchToMinimumMaximum"))
    return _raster_style(renderer)


def polygon_style(
    classes: Sequence[LandClass],
    fields: Sequence[str],
    *,
    by: tuple[str, str] = (CLASS_CODE, CLASS_NAME),
    text: bool = False,
    labels_below: float = LABELS_BELOW,
) -> Style:
    """Categories, each filled with its colour and thinly outlined.

    Args:
        classes: One category each.
        fields: Attributes in their order, to give the known ones their aliases and units, and to
            find those with dates, for the temporal controller.
        by: Attributes with the code and the name of each one's category.
        text: Categories go by the names of classes, as the attribute holds texts.
        labels_below: Denominator of the scale below which labels are drawn.
    """
    renderer = ET.Element(
        "renderer-v2",
        {
            "type": "categorizedSymbol",
            "attr": by[0],
            "symbollevels": "0",
            "forceraster": "0",
            "enableorderby": "0",
            "referencescale": "-1",
        },
    )
    categories = ET.SubElement(renderer, "categories")
    symbols = ET.SubElement(renderer, "symbols")
    for index, entry in enumerate(classes):
        value = entry.name if text else str(entry.value)
        category = {"value": value, "label": entry.name, "symbol": str(index)}
        kind = "string" if text else "long"
        ET.SubElement(categories, "category", {**category, "render": "true", "type": kind})
        symbols.append(_fill_symbol(str(index), entry.rgb))
    return _polygon_parts(renderer, fields, by[1], labels_below)


def outline_style(
    rgb: tuple[int, int, int], fields: Sequence[str], *, name: str, alpha: int = 110
) -> Style:
    """All polygons alike, filled with ``alpha`` of 255; ``name`` is the attribute with theirs."""
    kind = {"type": "singleSymbol", "symbollevels": "0", "forceraster": "0", "enableorderby": "0"}
    renderer = ET.Element("renderer-v2", {**kind, "referencescale": "-1"})
    symbol = _fill_symbol("0", rgb, alpha=alpha, width="0.4")
    ET.SubElement(renderer, "symbols").append(symbol)
    return _polygon_parts(renderer, fields, name, 20 * LABELS_BELOW)


def _polygon_parts(
    renderer: ET.Element, fields: Sequence[str], name: str, labels_below: float
) -> Style:
    """A renderer with what all polygons have: labels, aliases with units, when they are shown."""
    preview = _element("previewExpression", f'"{name}"')
    aliases = ET.Element("aliases")
    for index, field in enumerate(fields):
        alias = {"field": field, "name": describe(field).label, "index": str(index)}
        ET.SubElement(aliases, "alias", alias)
    legend = ET.Element("legend", {"type": "default-vector", "showLabelLegend": "0"})
    labels = labelling(label_expression(fields, name=name), below=labels_below)
    style = [_flags(), renderer, labels, _element("blendMode", "0"), _element("layerOpacity", "1")]
    times = times_of(fields)
    temporal = [] if times is None else [field_range(*times)]
    return [*style, legend, aliases, preview, *temporal]


def _fill_symbol(
    name: str, rgb: tuple[int, int, int], *, alpha: int = 255, width: str = "0.1"
) -> ET.Element:
    darker = tuple(round(0.6 * channel) for channel in rgb)
    symbol = ET.Element(
        "symbol",
        {"name": name, "type": "fill", "alpha": "1", "clip_to_extent": "1", "force_rhr": "0"},
    )
    layer = ET.SubElement(
        symbol, "layer", {"class": "SimpleFill", "enabled": "1", "locked": "0", "pass": "0"}
    )
    options = ET.SubElement(layer, "Option", type="Map")
    for key, value in {
        "color": ",".join(map(str, (*rgb, alpha))),
        "joinstyle": "bevel",
        "offset": "0,0",
        "offset_unit": "MM",
        # A shade of the fill: black lines would swallow small polygons when zoomed out.
        "outline_color": ",".join(map(str, (*darker, 255))),
        "outline_style": "solid",
        "outline_width": width,
        "outline_width_unit": "MM",
        "style": "solid",
    }.items():
        ET.SubElement(options, "Option", {"name": key, "type": "QString", "value": value})
    return symbol


def _ramp_stops(doubt: bool) -> tuple[tuple[int, str], ...]:  # noqa: FBT001 (private)
    return tuple((100 - value, color) for value, color in reversed(RAMP)) if doubt else RAMP


def _ramp(ramp: tuple[tuple[int, str], ...]) -> ET.Element:
    element = ET.Element("colorramp", {"name": "[source]", "type": "gradient"})
    options = ET.SubElement(element, "Option", type="Map")
    stops = ":".join(f"{value / 100:g};{_rgba(color)}" for value, color in ramp[1:-1])
    for key, value in {
        "color1": _rgba(ramp[0][1]),
        "color2": _rgba(ramp[-1][1]),
        "discrete": "0",
        "rampType": "gradient",
        "stops": stops,
    }.items():
        ET.SubElement(options, "Option", {"name": key, "type": "QString", "value": value})
    return element


def _rgba(color: str) -> str:
    return ",".join(map(str, (*LandClass(0, "", color).rgb, 255)))


def _renderer(kind: str) -> ET.Element:
    renderer = ET.Element(
        "rasterrenderer",
        {"type": kind, "band": "1", "opacity": "1", "alphaBand": "-1", "nodataColor": ""},
    )
    ET.SubElement(renderer, "rasterTransparency")
    limits = ET.SubElement(renderer, "minMaxOrigin")
    for tag, text in (
        ("limits", "None"),
        ("extent", "WholeRaster"),
        ("statAccuracy", "Estimated"),
        ("cumulativeCutLower", "0.02"),
        ("cumulativeCutUpper", "0.98"),
        ("stdDevFactor", "2"),
    ):
        ET.SubElement(limits, tag).text = text
    return renderer


def _raster_style(renderer: ET.Element) -> Style:
    pipe = ET.Element("pipe")
    provider = ET.SubElement(pipe, "provider")
    # Codes must not be interpolated, and percents and images are shown as they are.
    ET.SubElement(
        provider,
        "resampling",
        {
            "enabled": "false",
            "maxOversampling": "2",
            "zoomedInResamplingMethod": "nearestNeighbour",
            "zoomedOutResamplingMethod": "nearestNeighbour",
        },
    )
    pipe.append(renderer)
    ET.SubElement(pipe, "brightnesscontrast", {"brightness": "0", "contrast": "0", "gamma": "1"})
    ET.SubElement(pipe, "huesaturation", {"saturation": "0", "grayscaleMode": "0"})
    ET.SubElement(pipe, "rasterresampler", maxOversampling="2")
    ET.SubElement(pipe, "resamplingStage").text = "resamplingFilter"
    return [_flags(), pipe, _element("blendMode", "0")]


def _flags() -> ET.Element:
    flags = ET.Element("flags")
    for flag in _LAYER_FLAGS:
        ET.SubElement(flags, flag).text = "1"
    return flags


def _element(tag: str, text: str) -> ET.Element:
    element = ET.Element(tag)
    element.text = text
    return element


def _document(style: Style, attributes: dict[str, str]) -> str:
    root = ET.Element(
        "qgis", {"version": VERSION, "styleCategories": "AllStyleCategories", **attributes}
    )
    root.extend(style)
    ET.indent(root)
    return _DOCTYPE + ET.tostring(root, encoding="unicode") + "\n"
