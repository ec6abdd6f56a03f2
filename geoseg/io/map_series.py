"""Maps of many dates on one grid, oldest first, read window by window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from geoseg.errors import InputError
from geoseg.grid import GeoBox
from geoseg.io.class_raster import ClassRaster
from geoseg.io.dated_map import DatedMap, MapReader, find_map

_MOST_OPEN = 64
"""Maps that stay open between windows: systems allow a process about a thousand files."""


@dataclass(frozen=True, slots=True)
class MapSeries:
    """Maps and the grid that they are read on.

    Attributes:
        maps: By date, those of the same date by name.
        grid: Of the first map, or another that was asked for.
    """

    maps: tuple[DatedMap, ...]
    grid: GeoBox

    @property
    def days(self) -> tuple[date, ...]:
        """Of each map."""
        return tuple(one.day() for one in self.maps)

    @property
    def moments(self) -> tuple[datetime, datetime]:
        """The first and the last."""
        times = [one.when for one in self.maps if one.when is not None]
        return times[0], times[-1]

    @property
    def paths(self) -> list[str]:
        """Of all rasters that may be read."""
        return [
            str(path)
            for one in self.maps
            for path in (one.classes, one.confidence, one.probabilities)
            if path is not None
        ]


def find_series(paths: Sequence[str | Path], *, like: Path | None = None) -> MapSeries:
    """The maps at ``paths``, see :func:`geoseg.io.dated_map.find_map`; the order does not matter.

    Args:
        paths: Rasters of classes, or folders of products.
        like: A raster whose grid is used; that of the oldest map without it.

    Raises:
        InputError: There is none, one cannot be read, or one has no date.
    """
    if not paths:
        raise InputError("no maps: name rasters of classes, or folders of products, with dates")
    found = {one.classes.resolve(): one for one in map(find_map, paths)}
    for one in found.values():
        one.day()
    ordered = sorted(found.values(), key=lambda one: (one.day(), one.id, str(one.classes)))
    grid = ordered[0].grid if like is None else ClassRaster(like).grid
    return MapSeries(tuple(ordered), grid)


class OpenMaps:
    """Readers of a series, for several threads; a long series is not open all at once."""

    def __init__(self, series: MapSeries) -> None:
        self._series = series
        self._open = [one.on(series.grid) for one in series.maps[:_MOST_OPEN]]

    @contextmanager
    def reader(self, index: int) -> Iterator[MapReader]:
        """The reader of a map, by its place in the series."""
        if index < len(self._open):
            yield self._open[index]
            return
        reader = self._series.maps[index].on(self._series.grid)
        try:
            yield reader
        finally:
            reader.close()

    def close(self) -> None:
        """Close all files."""
        for reader in self._open:
            reader.close()
