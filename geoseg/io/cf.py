"""Classes and percents in the words of the CF conventions: flags, scales, and back to a legend.

CF 1.10, sections 3.5 (flags) and 8.1 (packed data). ``flag_colors`` is no CF: ESA's land cover
products have it so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import xarray as xr

from geoseg.errors import InputError
from geoseg.legend import LandClass, Legend
from geoseg.ops.layers import NO_PERCENT

CONVENTIONS: Final = "CF-1.10"
GRID_MAPPING: Final = "spatial_ref"
"""The coordinate that says where pixels lie; what GDAL, rioxarray and odc-geo look for."""

_LEGEND, _VALUES, _MEANINGS, _COLORS = (
    "geoseg_legend", "flag_values", "flag_meanings", "flag_colors",
)  # fmt: skip


def class_attributes(legend: Legend, name: str = "classes") -> dict[str, Any]:
    """What a variable of class codes says of itself.

    ``flag_meanings`` has underscores for blanks, as CF wants single words; ``geoseg_legend`` has
    the names as they are.
    """
    classes = [[c.value, c.name, c.color] for c in legend.classes]
    told = {"name": legend.name, "nodata": legend.nodata, "classes": classes}
    hole = {"_FillValue": np.uint8(legend.nodata)} if 0 <= legend.nodata <= 255 else {}
    return {
        "long_name": name,
        _VALUES: np.array(legend.values, np.uint8),
        _MEANINGS: " ".join(_word(c.name) for c in legend.classes),
        _COLORS: " ".join(c.color for c in legend.classes),
        **hole,
        _LEGEND: json.dumps(told, ensure_ascii=False),
    }


def percent_attributes(name: str) -> dict[str, Any]:
    """What a variable of whole percents says of itself: shares of 1 once it is decoded."""
    return {
        "long_name": name,
        "units": "1",
        "scale_factor": np.float32(0.01),
        "_FillValue": np.uint8(NO_PERCENT),
    }


def is_flagged(variable: xr.Variable | xr.DataArray) -> bool:
    """Whether its numbers are codes, which mean nothing as floats."""
    return _VALUES in variable.attrs or _LEGEND in variable.attrs


def decoded(raw: xr.Dataset) -> xr.Dataset:
    """Numbers as what they stand for, NaN where there is none; codes stay whole numbers. Lazy."""
    flags = [name for name, variable in raw.data_vars.items() if is_flagged(variable)]
    numbers = xr.decode_cf(raw.drop_vars(flags), decode_coords="all", decode_timedelta=False)
    coords = {name: numbers[name] for name in numbers.coords}
    whole = raw[flags].reset_coords(drop=True)
    for name in flags:
        variable = whole.variables[name]
        for key in ("grid_mapping", "coordinates"):
            if key in variable.attrs:
                variable.encoding[key] = variable.attrs.pop(key)
    order = list(raw.data_vars)
    both = whole.assign_coords(coords).merge(numbers, join="exact", compat="override")
    kept = [name for name in order if name in both.data_vars]
    return both[kept].assign_attrs(raw.attrs)


def legend_of(attributes: Mapping[str, Any], what: str = "the array") -> Legend:
    """The legend of a variable of class codes, ours or of anybody who follows CF.

    Raises:
        InputError: It has no flags, or they do not fit together.
    """
    told = attributes.get(_LEGEND)
    if isinstance(told, str):
        return _ours(told, what)
    if _VALUES not in attributes:
        raise InputError(
            f"{what} has no legend (flag_values and flag_meanings, as CF wants them); classes of "
            f"geoseg.open and of predict have one"
        )
    values = np.atleast_1d(attributes[_VALUES]).tolist()
    names = str(attributes.get(_MEANINGS, "")).split()
    colors = str(attributes.get(_COLORS, "")).split() or ["#808080"] * len(values)
    if not len(values) == len(names) == len(colors):
        raise InputError(
            f"{what}: {len(values)} flag_values, {len(names)} flag_meanings and {len(colors)} "
            f"flag_colors do not fit together"
        )
    classes = (
        LandClass(int(value), name.replace("_", " "), color.lower())
        for value, name, color in zip(values, names, colors, strict=True)
    )
    return Legend(what, tuple(classes), _hole(attributes, values))


def _ours(told: str, what: str) -> Legend:
    try:
        read = json.loads(told)
        classes = tuple(LandClass(int(v), str(n), str(c)) for v, n, c in read["classes"])
        return Legend(str(read["name"]), classes, int(read["nodata"]))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{what}: its {_LEGEND} cannot be read: {error!r}") from error


def _hole(attributes: Mapping[str, Any], values: list[int]) -> int:
    """The code of nodata; one that no class has, where nothing says it."""
    said = attributes.get("_FillValue", attributes.get("nodata"))
    if said is not None and int(said) not in values:
        return int(said)
    return next((code for code in (255, 0) if code not in values), -1)


def _word(name: str) -> str:
    """A name as one word of the characters that CF allows."""
    return re.sub(r"[^0-9A-Za-z_.+@-]+", "_", name).strip("_") or "class"
