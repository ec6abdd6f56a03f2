"""Legends by what people call them."""

from __future__ import annotations

from pathlib import Path

from geoseg.errors import ModelError
from geoseg.io.legend_files import legend_from_file
from geoseg.legend import LEGENDS, Legend


def legend_called(text: str) -> Legend:
    """A legend by its own name, by that of a model, or from a file.

    Raises:
        LegendError: It is none of them, or the file holds none.
    """
    if text in LEGENDS:
        return LEGENDS[text]
    if not Path(text).is_file():
        from geoseg.models.registry import find  # noqa: PLC0415 (only where a model may be meant)

        try:
            return find(text).card.legend
        except ModelError:
            pass  # said below, with all that a legend may be
    return legend_from_file(Path(text))
