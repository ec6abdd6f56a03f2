"""How a value that does not fit is described, in the words of whoever wrote it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence

from geoseg.errors import WorkflowError

_LONGEST = 60
# What people from other tools write first.
_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "aoi": ("area",),
    "buffer": ("margin",),
    "chip_size": ("size",),
    "cloud_cover": ("max_cloud",),
    "datetime": ("time",),
    "dir": ("directory",),
    "epsg": ("crs",),
    "folder": ("directory",),
    "geopackage": ("gpkg",),
    "gpu": ("cuda", "device"),
    "halo": ("margin",),
    "out": ("output",),
    "output_dir": ("directory",),
    "overlap": ("margin",),
    "overlaps": ("margin",),
    "padding": ("margin",),
    "parquet": ("geoparquet",),
    "patch_size": ("size",),
    "paths": ("path",),
    "polygons": ("vector",),
    "roi": ("area",),
    "scene": ("input",),
    "scenes": ("input",),
    "tile_size": ("size",),
    "tiles": ("tiling",),
    "title": ("description",),
    "version": ("geoseg",),
}


class UnfitError(WorkflowError, ValueError):
    """A value does not fit; being a ValueError too, pydantic collects it with the others.

    Args:
        advice: What would work. Never holds the value: that may come from the environment.
        found: What was there instead, shown unless it is a secret.
        hint: A guess made from what was there, shown like ``found``.
        at: Where in the value the trouble is: keys and indices.
    """

    def __init__(
        self, advice: str, found: str = "", *, hint: str = "", at: Sequence[str | int] = ()
    ) -> None:
        shown = f"{advice}, found {found}" if found else advice
        super().__init__(f"{shown}, {hint}" if hint else shown)
        self.advice = advice
        self.found = found
        self.hint = hint
        self.at = tuple(at)


def show(value: object) -> str:
    """A value as it looks in YAML, shortened."""
    if isinstance(value, str):
        # Escape what a terminal would obey, keep the letters of all alphabets.
        text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in value)
        return f"'{text if len(text) <= _LONGEST else text[: _LONGEST - 1] + '…'}'"
    if isinstance(value, dict):
        return "keys and values"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "nothing"}[value]
    return _show_number(value) if isinstance(value, int | float) else repr(value)


def _show_number(value: float) -> str:
    if isinstance(value, int):
        return str(value) if abs(value) < 10**_LONGEST else "a number of many digits"
    if math.isfinite(value):
        return repr(value)
    return ".nan" if math.isnan(value) else f"{'-' if value < 0 else ''}.inf"


def closest(word: str, known: Iterable[str]) -> str | None:
    """What was probably meant by ``word``."""
    names = {name.casefold(): name for name in known}
    folded = word.casefold()
    for synonym in _SYNONYMS.get(folded, ()):
        if synonym in names:
            return names[synonym]
    begun = [name for name in names if len(folded) > 2 and name.startswith(folded)]
    match = begun if len(begun) == 1 else difflib.get_close_matches(folded, names, n=1)
    return names[match[0]] if match else None


def choices(words: Sequence[str]) -> str:
    """``a, b or c``."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
