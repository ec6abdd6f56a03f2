"""Polygons of transitions: what each was, what it became, and between which days."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import pyarrow as pa

from geoseg.ops.transitions import Transitions
from geoseg.steps.polygons import Polygons

LAYER: Final = "change"
_AFTER: Final = "class_name"
"""The column that the new ones follow."""


class ChangePolygons:
    """A stream of polygons whose class is a transition, with columns that say which.

    After ``class_name`` come ``from_code``, ``from_name``, ``to_code``, ``to_name``, ``date_from``
    and ``date_to`` (ISO days, null where nobody knows). ``confidence_mean`` and ``confidence_min``
    are of the lower confidence of both maps. Implements :class:`api.polygons.PolygonStream`.
    """

    def __init__(
        self, polygons: Polygons, asked: Transitions, dates: tuple[str | None, str | None]
    ) -> None:
        self._polygons, self._dates = polygons, dates
        classes = asked.common.classes
        sides = {code: (classes[i], classes[j]) for (i, j), code in asked.codes.items()}
        self._codes = pa.array(sorted(sides), pa.int16())
        ordered = [sides[code] for code in sorted(sides)]
        self._columns = {
            "from_code": pa.array([one.value for one, _ in ordered], pa.int16()),
            "from_name": pa.array([one.name for one, _ in ordered], pa.string()),
            "to_code": pa.array([two.value for _, two in ordered], pa.int16()),
            "to_name": pa.array([two.name for _, two in ordered], pa.string()),
        }
        self._at = polygons.schema.names.index(_AFTER) + 1
        fields = list(polygons.schema)
        new = [pa.field(name, column.type) for name, column in self._columns.items()]
        new += [pa.field(name, pa.string()) for name in ("date_from", "date_to")]
        fields[self._at : self._at] = new
        self.schema = pa.schema(fields, polygons.schema.metadata)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """The batches."""
        for batch in self._polygons:
            index = pa.compute.index_in(batch.column("class_code"), self._codes)
            new = [column.take(index) for column in self._columns.values()]
            new += [pa.repeat(pa.scalar(day, pa.string()), len(batch)) for day in self._dates]
            columns = list(batch.columns)
            columns[self._at : self._at] = new
            yield pa.RecordBatch.from_arrays(columns, schema=self.schema)

    @property
    def kept(self) -> int:
        """Polygons so far."""
        return self._polygons.kept

    @property
    def dropped(self) -> int:
        """Polygons that were left out so far; small patches have gone before they are outlined."""
        return self._polygons.dropped

    @property
    def dropped_area_m2(self) -> float:
        """What they cover."""
        return self._polygons.dropped_area_m2

    @property
    def written(self) -> Mapping[int, tuple[float, float]]:
        """Square metres by transition: of pixels, and of outlines."""
        return self._polygons.written
