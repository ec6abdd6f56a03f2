"""Legends by name, of a model, or from a table."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from geoseg.errors import InputError
from geoseg.io.class_raster import read_legend
from geoseg.legend import LEGENDS, LandClass, Legend

_CODES, _NAMES, _COLORS = ("code", "value"), ("name", "class", "label"), ("color", "colour")


def legend_from_file(path: Path) -> Legend:
    """A legend from a table (.csv with the columns code, name, color; or .json) or from a raster.

    Raises:
        InputError: It cannot be read, or is no legend.
    """
    if not path.is_file():
        raise InputError(
            f"legend {path}: neither a file, nor a known legend ({', '.join(LEGENDS)}), nor a model"
        )
    suffix = path.suffix.lower()
    try:
        if suffix == ".csv":
            with path.open(newline="", encoding="utf-8-sig") as file:
                rows: list[dict[str, Any]] = list(csv.DictReader(file))
        elif suffix == ".json":
            data = json.loads(path.read_text("utf-8"))
            rows = data.get("classes", []) if isinstance(data, dict) else data
        else:
            return _named(path)
    except (OSError, UnicodeDecodeError, ValueError, csv.Error) as error:
        raise InputError(f"legend {path}: cannot be read: {error}") from error
    return _from_rows(path, rows)


def _from_rows(path: Path, rows: Any) -> Legend:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"legend {path}: is no list of classes")
    return Legend(path.stem, tuple(_class(path, row) for row in rows), _hole(rows))


def _named(path: Path) -> Legend:
    """Those of a raster's classes that it names."""
    said = read_legend(path)
    named = tuple(c for c in said.classes if c.name != f"Class {c.value}")
    if not named:
        raise InputError(f"legend {path}: this raster names no classes")
    return Legend(path.stem, named, said.nodata)


def _class(path: Path, row: dict[str, Any]) -> LandClass:
    cells = {str(key).strip().casefold(): value for key, value in row.items()}
    code, name, color = (
        next((cells[key] for key in keys if cells.get(key) not in (None, "")), None)
        for keys in (_CODES, _NAMES, _COLORS)
    )
    if code is None or name is None or not str(code).strip().isdecimal():
        raise InputError(f"legend {path}: {row} has no code and name")
    return LandClass(int(code), str(name).strip(), str(color or "#808080").strip().lower())


def _hole(rows: list[dict[str, Any]]) -> int:
    """A code that no class has: tables do not say which is nodata."""
    used = {str(value).strip() for row in rows for value in row.values()}
    return next((code for code in (255, 0, *range(254, 0, -1)) if str(code) not in used), -1)
