"""What cells of vector files say, and which features are meant by them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from geoseg.errors import InputError
from geoseg.ops.content_hash import tidy


def label_of(value: Any) -> int | str | None:
    """A code where it is a whole number, else the text; None for nothing."""
    if isinstance(value, list | tuple | np.ndarray):
        items = [label for item in value if (label := label_of(item)) is not None]
        return items[0] if len(items) == 1 else ", ".join(map(str, items)) or None
    if isinstance(value, bool | np.bool_):
        return int(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        if not np.isfinite(value):
            return None
        return int(value) if float(value).is_integer() else str(value)
    text = "" if value is None else str(value)
    return text if text.strip() and text != "<NA>" else None


def features_where(path: Any, frame: Any, where: Mapping[str, object], key: str) -> Any:
    """The features of a data frame for which all of ``where`` holds; their index stays.

    Args:
        path: Of the file, for messages.
        frame: Of GeoPandas.
        where: Columns, and what they are, or have where their cells are lists. Case, spaces and
            whether a number is written as a text make no difference.
        key: What asked for it, for messages.

    Raises:
        InputError: There is no such column, or no feature is left.
    """
    for column, wanted in where.items():
        if column not in frame.columns:
            known = ", ".join(str(c) for c in frame.columns if c != frame.geometry.name)
            raise InputError(f"{path}: {key}: no column {column!r}; it has {known}")
        said = _said(wanted)
        frame = frame[np.array([_holds(value, said) for value in frame[column]], np.bool_)]
        if not len(frame):
            raise InputError(f"{path}: {key}: no feature has {column} = {wanted}")
    return frame


def _holds(value: object, said: set[str]) -> bool:
    """Whether a cell is, or as a list has, what is said."""
    if isinstance(value, list | tuple | np.ndarray):
        return any(_holds(item, said) for item in value)
    return not said.isdisjoint(_said(value))


def _said(value: object) -> set[str]:
    """All ways to write a value: ``1``, ``1.0``, or ``true`` and ``1``; none of nothing."""
    label = label_of(value)
    return set() if label is None else {tidy(str(label)), tidy(str(value))}
