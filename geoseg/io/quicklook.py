"""One picture of a run: scene, map, confidence and polygons side by side, with the legend."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin, UnidentifiedImageError

from geoseg.errors import ProductError
from geoseg.grid import GeoBox
from geoseg.io.atomic import write_bytes
from geoseg.io.cog import CONFIDENCE_NODATA
from geoseg.io.columns import CLASS_CODE, GEOMETRY
from geoseg.io.qml import RAMP
from geoseg.legend import LandClass, Legend

Rgb = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

PANEL = 560  # longest side of a panel, in pixels: what callers should decimate to
_SMALLEST = 320  # shortest width, so that titles fit over narrow scenes
_MARGIN, _GAP, _TOP = 32, 24, 104
_INK: Rgb = (33, 37, 41)
_FAINT: Rgb = (108, 117, 125)
_PAPER: Rgb = (255, 255, 255)
_FRAME: Rgb = (206, 212, 218)
_CHECKER = ((233, 236, 239), (248, 249, 250))  # what nodata looks like
_CONFIDENCE = "Confidence"
_ROW = 26  # height of a line of the legend
_SCENE_KEY = "geoseg:scene"  # of the PNG: left, top, width and height of the scene's panel
_FINE = 2  # lines are drawn this much larger and shrunk, which smooths them


@dataclass(frozen=True, slots=True)
class Picture:
    """What there is to show; all arrays are small versions on one common grid.

    ``image`` is ``(3, y, x)`` red, green, blue in any unit, ``valid`` ``(y, x)`` bool,
    ``classes`` ``(y, x)`` codes, ``confidence`` ``(y, x)`` percent or 255. ``grid`` is that of
    the whole scene and says where ``polygons`` (batches with WKB ``geometry`` and
    ``class_code``) lie. ``areas`` are square metres by code; without them only shares are shown.
    """

    image: NDArray[Any]
    valid: NDArray[np.bool_]
    classes: NDArray[np.uint8]
    legend: Legend
    grid: GeoBox
    confidence: NDArray[np.uint8] | None = None
    polygons: Iterable[pa.RecordBatch] = ()
    areas: Mapping[int, float] = field(default_factory=dict)


def write_quicklook(path: str | Path, picture: Picture, *, title: str, note: str = "") -> None:
    """Write the picture as a PNG; the same input gives the same bytes.

    Args:
        path: The ``.png``.
        picture: What to show.
        title: Stands above.
        note: Stands below: date, model, what a reader has to know.

    Raises:
        ProductError: The arrays do not fit together, or the file cannot be written.
    """
    shape = picture.classes.shape
    others = [picture.valid.shape, picture.image.shape[1:]]
    if picture.confidence is not None:
        others.append(picture.confidence.shape)
    if picture.image.shape[0] != 3 or any(other != shape for other in others):
        raise ProductError(
            f"{path}: image {picture.image.shape}, classes {shape} and the others {others} differ"
        )
    panels = _panels(picture)
    widths = [max(panel.width, _SMALLEST) for _, panel in panels]
    legend = _legend(picture, sum(widths) + _GAP * (len(panels) - 1))
    buffer, scene = io.BytesIO(), panels[0][1]
    told = PngImagePlugin.PngInfo()
    told.add_text(_SCENE_KEY, f"{_MARGIN} {_TOP} {scene.width} {scene.height}")
    board = _compose(panels, legend, title, note)
    board.save(buffer, "PNG", optimize=False, compress_level=6, pnginfo=told)
    write_bytes(path, buffer.getvalue())


def read_scene_panel(path: str | Path) -> Image.Image | None:
    """The picture of the scene in a quicklook; None where the file is none, or is not there."""
    try:
        with Image.open(path) as board:
            left, top, width, height = map(int, str(board.info[_SCENE_KEY]).split())
            return board.convert("RGB").crop((left, top, left + width, top + height))
    except (OSError, KeyError, ValueError, UnidentifiedImageError, Image.DecompressionBombError):
        return None


@dataclass(frozen=True, slots=True)
class ClassPanel:
    """A small class map with a title: ``(y, x)`` codes of ``legend``."""

    title: str
    classes: NDArray[np.uint8]
    legend: Legend


def write_class_panels(
    path: str | Path,
    panels: Sequence[ClassPanel],
    *,
    grid: GeoBox,
    areas: Mapping[int, float],
    title: str,
    note: str = "",
) -> None:
    """Write several class maps of one place side by side as a PNG, with the legend of the last.

    Args:
        path: The ``.png``.
        panels: From left to right, all of one shape.
        grid: Of the whole maps.
        areas: Square metres by code of the last one.
        title: Stands above.
        note: Stands below.

    Raises:
        ProductError: The file cannot be written.
    """
    nothing = np.zeros((3, 0, 0)), np.zeros((0, 0), np.bool_)
    pictures = [Picture(*nothing, panel.classes, panel.legend, grid) for panel in panels]
    drawn = [(p.title, _class_map(shown)) for p, shown in zip(panels, pictures, strict=True)]
    widths = [max(panel.width, _SMALLEST) for _, panel in drawn]
    last = replace(pictures[-1], areas=areas)
    legend = _legend(last, sum(widths) + _GAP * (len(drawn) - 1))
    buffer = io.BytesIO()
    _compose(drawn, legend, title, note).save(buffer, "PNG", optimize=False, compress_level=6)
    write_bytes(path, buffer.getvalue())


def stretch_limits(
    image: NDArray[Any], valid: NDArray[np.bool_]
) -> tuple[tuple[float, float], ...]:
    """The 2nd and 98th percentile of each band where it is valid: what to draw dark and bright."""
    limits = []
    for band in image:
        seen = band[valid & np.isfinite(band)]
        low, high = np.percentile(seen, (2, 98)) if seen.size else (0.0, 1.0)
        # One value only is neither dark nor bright.
        limits.append((float(low), float(high)) if high > low else (low - 0.5, low + 0.5))
    return tuple(limits)


def _panels(picture: Picture) -> list[tuple[str, Image.Image]]:
    scene = _scene(picture)
    confidence = picture.confidence
    panels = [("Scene", scene), ("Classes", _class_map(picture))]
    if confidence is not None:
        panels.append((_CONFIDENCE, _confidence_map(picture, confidence)))
    # The outlines stand out on a paler image.
    paler = Image.blend(scene, Image.new("RGB", scene.size, _PAPER), 0.35)
    return [*panels, ("Polygons", _outlined(paler, picture))]


def _scene(picture: Picture) -> Image.Image:
    valid = picture.valid & np.isfinite(picture.image).all(axis=0)
    rgb = np.zeros((*valid.shape, 3), np.uint8)
    for channel, (low, high) in enumerate(stretch_limits(picture.image, valid)):
        values = np.where(valid, picture.image[channel], low).astype(np.float64)
        rgb[..., channel] = np.clip((values - low) / (high - low) * 255, 0, 255).round()
    return _panel(rgb, valid, picture, Image.Resampling.BOX)


def _class_map(picture: Picture) -> Image.Image:
    table = np.zeros((256, 3), np.uint8)
    for entry in picture.legend.classes:
        table[entry.value] = entry.rgb
    seen = picture.classes != picture.legend.nodata
    return _panel(table[picture.classes], seen, picture, Image.Resampling.NEAREST)


def _confidence_map(picture: Picture, percent: NDArray[np.uint8]) -> Image.Image:
    seen = percent != CONFIDENCE_NODATA
    return _panel(_ramp_table()[percent], seen, picture, Image.Resampling.NEAREST)


def _ramp_table() -> NDArray[np.uint8]:
    """The colour of every percent, ``(256, 3)``."""
    stops = [value for value, _ in RAMP]
    colors = np.array([LandClass(0, "", color).rgb for _, color in RAMP])
    table = np.stack([np.interp(np.arange(256), stops, colors[:, i]) for i in range(3)], axis=1)
    return table.round().astype(np.uint8)


def _draw_ramp(board: Image.Image, x: int, y: int) -> None:
    """A key of 200 pixels: 0, the colours, 100 %."""
    draw, font = ImageDraw.Draw(board), _font(13)
    draw.text((x, y), "0", fill=_FAINT, font=font)
    colors = _ramp_table()[np.linspace(0, 100, 130).round().astype(int)]
    board.paste(Image.fromarray(np.repeat(colors[None], 10, axis=0)), (x + 14, y + 3))
    draw.text((x + 152, y), "100 %", fill=_FAINT, font=font)


def _panel(
    rgb: NDArray[np.uint8],
    seen: NDArray[np.bool_],
    picture: Picture,
    resampling: Image.Resampling,
) -> Image.Image:
    """Colours brought to the panel's size, north up, on a checkerboard where nothing is seen."""
    if _south_up(picture.grid):
        rgb, seen = rgb[::-1], seen[::-1]
    height, width = seen.shape
    scale = PANEL / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    down = resampling if scale < 1 else Image.Resampling.NEAREST
    colors = Image.fromarray(np.ascontiguousarray(rgb)).resize(size, down)
    mask = Image.fromarray(np.ascontiguousarray(seen).astype(np.uint8) * 255)
    return Image.composite(colors, _checkerboard(size), mask.resize(size, Image.Resampling.NEAREST))


def _checkerboard(size: tuple[int, int], cell: int = 8) -> Image.Image:
    width, height = size
    odd = (np.arange(height)[:, None] // cell + np.arange(width) // cell) % 2
    return Image.fromarray(np.array(_CHECKER, np.uint8)[odd])


def _south_up(grid: GeoBox) -> bool:
    return bool(grid.axis_aligned and grid.affine.e > 0)


def _outlined(panel: Image.Image, picture: Picture) -> Image.Image:
    """Polygons as lines in the colours of their classes, common classes below rare ones.

    Neighbours share their borders: a lake is blue only if it is drawn after the land around it.
    """
    large = panel.resize((panel.width * _FINE, panel.height * _FINE), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(large)
    colors = {c.value: c.rgb for c in picture.legend.classes}
    common = np.bincount(picture.classes.ravel(), minlength=256)
    lines = _lines(picture, large.size)
    for code in sorted(lines, key=lambda code: (-int(common[code % 256]), code)):
        color = _darker(colors.get(code, _INK))
        for line in lines[code]:
            draw.line(line.ravel().tolist(), fill=color, width=_FINE + 1)
    return large.resize(panel.size, Image.Resampling.BOX)


def _lines(picture: Picture, size: tuple[int, int]) -> dict[int, list[NDArray[np.int16]]]:
    """The rings of all polygons on a panel of ``size``, as ``(vertex, xy)``, by class code."""
    lines: dict[int, list[NDArray[np.int16]]] = {}
    for batch in picture.polygons:
        geometries = shapely.from_wkb(batch.column(GEOMETRY).to_numpy(zero_copy_only=False))
        codes = batch.column(CLASS_CODE).to_pylist()
        parts, of_part = shapely.get_parts(geometries, return_index=True)
        rings, of = shapely.get_rings(parts, return_index=True)
        xy, of_ring = shapely.get_coordinates(rings, return_index=True)
        for ring, line in _drawn(_on_panel(xy, picture.grid, size), of_ring):
            lines.setdefault(codes[of_part[of[ring]]], []).append(line)
    return lines


def _drawn(
    xy: NDArray[np.float64], of_ring: NDArray[np.int64]
) -> Iterator[tuple[int, NDArray[np.int16]]]:
    """Rings that are large enough to be seen, without the vertices that fall on one pixel.

    A scene has hundreds of thousands of rings, and most are neither: all are looked at at once.
    """
    if not len(xy):
        return
    starts = np.flatnonzero(np.diff(of_ring, prepend=-1))
    extent = np.maximum.reduceat(xy, starts) - np.minimum.reduceat(xy, starts)
    large = extent.max(axis=1) >= 2 * _FINE  # smaller ones would only be noise
    points = xy.round().astype(np.int16)
    moved = np.ones(len(points), np.bool_)
    moved[1:] = (points[1:] != points[:-1]).any(axis=1)
    moved[starts] = True
    keep = moved & np.repeat(large, np.diff(starts, append=len(xy)))
    points, of_ring = points[keep], of_ring[keep]
    starts = np.flatnonzero(np.diff(of_ring, prepend=-1))
    for start, stop in itertools.pairwise([*starts.tolist(), len(points)]):
        yield int(of_ring[start]), points[start:stop]


def _on_panel(xy: NDArray[np.float64], grid: GeoBox, size: tuple[int, int]) -> NDArray[np.float64]:
    inverse = ~grid.affine
    a, b, c, d, e, f = tuple(inverse)[:6]
    height, width = (int(n) for n in grid.shape)
    col = (a * xy[:, 0] + b * xy[:, 1] + c) / width
    row = (d * xy[:, 0] + e * xy[:, 1] + f) / height
    if _south_up(grid):
        row = 1 - row
    return np.stack([col * size[0], row * size[1]], axis=1)


def _darker(rgb: Rgb) -> Rgb:
    red, green, blue = (round(0.8 * channel) for channel in rgb)
    return red, green, blue


def _legend(picture: Picture, width: int) -> Image.Image:
    """Swatch, name, share and area of each class there is, and the names of those there are not."""
    weights = _weights(picture)
    total = sum(weights.values()) or 1.0
    there = [c for c in picture.legend.classes if weights[c.value]]
    absent = [c.name for c in picture.legend.classes if not weights[c.value]]
    columns = max(1, width // (400 if picture.areas else 320))
    rows, each = ceil(len(there) / columns), width // columns
    board = Image.new("RGB", (width, (rows + bool(absent)) * _ROW), _PAPER)
    draw = ImageDraw.Draw(board)
    font = _font(15)
    for index, entry in enumerate(there):
        x, y = index % columns * each, index // columns * _ROW
        share = weights[entry.value] / total
        figures = f"{share:.1%}" if share >= 0.0005 else "<0.1%"
        if picture.areas:
            figures = f"{figures} · {_hectares(weights[entry.value])}"
        draw.rectangle((x, y + 3, x + 26, y + 19), fill=entry.rgb, outline=_FRAME)
        name = _fitted(draw, entry.name, font, each - 74 - draw.textlength(figures, font))
        draw.text((x + 36, y + 2), name, fill=_INK, font=font)
        after = x + 46 + draw.textlength(name, font)
        draw.text((after, y + 2), figures, fill=_FAINT, font=font)
    if absent:
        words = _fitted(draw, f"Not found: {', '.join(absent)}", font, width)
        draw.text((0, rows * _ROW + 2), words, fill=_FAINT, font=font)
    return board


def _weights(picture: Picture) -> dict[int, float]:
    """Areas by code; where nobody has told them, the pixels of the small map."""
    if picture.areas:
        return {v: picture.areas.get(v, 0.0) for v in picture.legend.values}
    counts = np.bincount(picture.classes.ravel(), minlength=256)
    return {v: float(counts[v]) for v in picture.legend.values}


def _hectares(square_metres: float) -> str:
    hectares = square_metres / 1e4
    digits = 0 if hectares >= 100 else 1 if hectares >= 1 else 4
    return f"{hectares:,.{digits}f} ha"


def _compose(
    panels: Sequence[tuple[str, Image.Image]], legend: Image.Image, title: str, note: str
) -> Image.Image:
    widths = [max(panel.width, _SMALLEST) for _, panel in panels]
    height = max(panel.height for _, panel in panels)
    inner = legend.width
    top, under = _TOP, _TOP + height + 24
    bottom = under + legend.height + (54 if note else 28)
    board = Image.new("RGB", (inner + 2 * _MARGIN, bottom), _PAPER)
    draw = ImageDraw.Draw(board)
    heading = _fitted(draw, title, _font(26), inner)
    draw.text((_MARGIN, 22), heading, fill=_INK, font=_font(26))
    x = _MARGIN
    for (name, panel), width in zip(panels, widths, strict=True):
        draw.text((x, top - 28), name, fill=_FAINT, font=_font(16))
        if name == _CONFIDENCE:
            _draw_ramp(board, x + width - 200, top - 26)
        board.paste(panel, (x, top))
        draw.rectangle((x - 1, top - 1, x + panel.width, top + panel.height), outline=_FRAME)
        x += width + _GAP
    board.paste(legend, (_MARGIN, under))
    line = _fitted(draw, note, _font(14), inner)
    draw.text((_MARGIN, under + legend.height + 12), line, fill=_FAINT, font=_font(14))
    return board


def _fitted(draw: ImageDraw.ImageDraw, text: str, font: Font, room: float) -> str:
    if draw.textlength(text, font) <= room:
        return text
    while text and draw.textlength(f"{text}…", font) > room:
        text = text[:-1]
    return f"{text.rstrip()}…"


def _font(size: int) -> Font:
    return ImageFont.load_default(size)
