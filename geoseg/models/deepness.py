"""The metadata of the QGIS plugin Deepness in ONNX files: written, and read into a card.

Deepness gives a network tiles divided by 255, whatever their type, and standardised by
``standardization_mean`` and ``standardization_std`` where both are there; it wants probabilities
``(1, class, size, size)`` back, and tiles of one fixed size. Values are JSON.
Source: https://qgis-plugin-deepness.readthedocs.io (creators: model metadata) and the plugin's
``processing/models/model_base.py``.
"""

from __future__ import annotations

import ast
import colorsys
import json
import math
import re
from collections.abc import Sequence
from typing import Any, Final

from geoseg.errors import ModelError
from geoseg.legend import LandClass, Legend
from geoseg.models.base import ModelCard
from geoseg.models.onnx_file import OnnxFile

BYTE: Final = 255.0
"""What Deepness divides by."""

_DEFAULT_BANDS: Final = {
    1: ("gray",),
    3: ("red", "green", "blue"),
    4: ("red", "green", "blue", "nir"),
}
_NAMES: Final = ("class_names", "names")
_GOLDEN: Final = (5**0.5 - 1) / 2


def to_keys(card: ModelCard) -> dict[str, str]:
    """What a file should say, so that Deepness fills in its form by itself."""
    names = {str(i): name for i, name in enumerate(card.legend.names)}
    overlap = min(99, math.ceil(100 * 2 * card.margin / card.size))
    values: dict[str, Any] = {
        "model_type": "Segmentor",
        "class_names": names,
        # The documentation says tiles_size, the plugin reads tile_size.
        "tile_size": card.size,
        "tiles_size": card.size,
        "tiles_overlap": overlap,
        # 0 switches both off: the likeliest class wins, and the map stays as it is.
        "seg_thresh": 0.0,
        "seg_small_segment": 0,
    }
    if card.gsd is not None:
        values["resolution"] = round(100 * card.gsd[0], 6)
    return {key: json.dumps(value) for key, value in values.items()}


def is_deepness(file: OnnxFile) -> bool:
    """Whether a file says of itself what Deepness reads."""
    return "model_type" in file.metadata or any(key in file.metadata for key in _NAMES)


def from_keys(file: OnnxFile, *, name: str, bands: Sequence[str] = ()) -> ModelCard:
    """The card of a file that was made for Deepness.

    Raises:
        ModelError: It is no segmentation, or its keys do not fit the network.
    """
    _check_type(file)
    size = _size(file)
    names = _class_names(file)
    single = file.planes == 1
    if file.planes is not None and file.planes != (1 if single else len(names)):
        raise ModelError(
            f"{file.path}: its network gives {file.planes} classes, its metadata name {len(names)}"
        )
    if single and len(names) == 1:
        names = [f"not {names[0]}", names[0]]
    named = _bands(file, bands)
    mean, std = _standardisation(file)
    resolution = _number(file, "resolution")
    margin = _margin(file, size)
    gsd = None if not resolution else (resolution / 100, resolution / 100)
    return ModelCard(
        name=name,
        version="0.0.0",
        bands=named,
        units="dn",
        # (x / 255 - mean) / std of the number x that is stored.
        mean=tuple(BYTE * m for m in mean),
        std=tuple(BYTE * s for s in std),
        legend=invented_legend(name, names),
        stride=1 if file.sides is not None else 32,
        size=size,
        margin=margin,
        gsd=gsd,
        architecture={"name": "onnx"},
        weights=file.path.name,
        activation_bytes=4096,
        about={"title": "A model made for the QGIS plugin Deepness", "dtype": "uint8"},
        output="probability" if single else "probabilities",
        fixed=file.sides is not None,
    )


def invented_legend(name: str, names: Sequence[str], *, first: int = 0) -> Legend:
    """A legend with codes from ``first`` on, and a colour of its own for each class."""
    classes = []
    for i, label in enumerate(names):
        shade = colorsys.hsv_to_rgb((0.3 + i * _GOLDEN) % 1, 0.55 + 0.3 * (i % 2), 0.85)
        color = "#" + "".join(f"{round(255 * part):02x}" for part in shade)
        classes.append(LandClass(first + i, str(label), color))
    return Legend(name, tuple(classes))


def _check_type(file: OnnxFile) -> None:
    kind = str(_value(file, "model_type", "Segmentor"))
    if kind.capitalize() != "Segmentor":
        raise ModelError(
            f"{file.path}: is a Deepness model of the type {kind!r}; geoseg opens Segmentor only"
        )


def _size(file: OnnxFile) -> int:
    if file.sides is not None:
        if file.sides[0] != file.sides[1]:
            raise ModelError(f"{file.path}: takes chips of {file.sides} px; wanted square ones")
        return file.sides[0]
    found = _number(file, "tile_size") or _number(file, "tiles_size") or 512
    return max(32, round(found / 32) * 32)


def _margin(file: OnnxFile, size: int) -> int:
    """Half of the overlap, in pixels that any stride of ours divides."""
    percent = _number(file, "tiles_overlap")
    step = 1 if file.sides is not None else 32
    half = size * (15.0 if percent is None else percent) / 200
    return max(0, min(int(half // step) * step, (size - step) // 2 // step * step))


def _bands(file: OnnxFile, given: Sequence[str]) -> tuple[str, ...]:
    if given:
        if len(given) != file.bands:
            raise ModelError(
                f"{file.path}: takes {file.bands} bands, {len(given)} are named: {', '.join(given)}"
            )
        return tuple(given)
    return _DEFAULT_BANDS.get(file.bands, tuple(f"b{i + 1}" for i in range(file.bands)))


def _standardisation(file: OnnxFile) -> tuple[list[float], list[float]]:
    found = []
    for key, default in (("standardization_mean", 0.0), ("standardization_std", 1.0)):
        values = _value(file, key, [default] * file.bands)
        good = isinstance(values, list) and len(values) == file.bands
        try:
            found.append([float(v) for v in values] if good else [])
        except (TypeError, ValueError):
            found.append([])
        if not found[-1] or not all(map(math.isfinite, found[-1])):
            raise ModelError(
                f"{file.path}: metadata {key}: found {values!r}; wanted {file.bands} numbers"
            )
    both = all(key in file.metadata for key in ("standardization_mean", "standardization_std"))
    if not both:  # Deepness uses them together or not at all
        return [0.0] * file.bands, [1.0] * file.bands
    if not all(s > 0 for s in found[1]):
        raise ModelError(f"{file.path}: metadata standardization_std: wanted numbers above 0")
    return found[0], found[1]


def _class_names(file: OnnxFile) -> list[str]:
    found: Any = None
    for key in _NAMES:
        found = _value(file, key, None) if found is None else found
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    if found is None and file.planes:
        return [f"class {i}" for i in range(max(file.planes, 1))]
    try:
        numbered = {int(key): str(value) for key, value in found.items()}
    except (AttributeError, TypeError, ValueError):
        numbered = {}
    if not numbered or sorted(numbered) != list(range(len(numbered))):
        raise ModelError(
            f"{file.path}: metadata class_names: found {str(found)[:80]!r}; wanted a mapping from 0, "
            f"1, 2, ... to names"
        )
    return [numbered[i] for i in range(len(numbered))]


def _number(file: OnnxFile, key: str) -> float | None:
    value = _value(file, key, None)
    if value is None:
        return None
    if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ModelError(f"{file.path}: metadata {key}: found {value!r}; wanted a number from 0")
    return float(value)


def _value(file: OnnxFile, key: str, default: Any) -> Any:
    """JSON, or as older files have it, a Python literal or a bare word."""
    text = file.metadata.get(key)
    if text is None:
        return default
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        if re.fullmatch(r"[\w .-]+", text):
            return text
        raise ModelError(f"{file.path}: metadata {key}: {text[:80]!r} is not JSON") from None
