"""Polygons on their way to files: stored for several formats, or straight into one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa

from geoseg.errors import ProductError
from geoseg.grid import GeoBox, blocks
from geoseg.io.bucket import Place
from geoseg.io.vector import LAND_USE, PolygonSource, Theme, write_vector
from geoseg.legend import LandClass, Legend
from geoseg.run.threads import Closable, InBackground
from geoseg.steps.polygons import Wanted
from geoseg.steps.vectorize import assemble

LAYER = LAND_USE


@dataclass(frozen=True, slots=True)
class Stored:
    """Assembled polygons in a file of Arrow record batches; read as often as is needed.

    ``codes`` are the classes that occur among them; ``written`` is what each covers, see
    :class:`geoseg.steps.polygons.Polygons`.
    """

    path: Path
    codes: frozenset[int]
    kept: int
    dropped: int
    dropped_area_m2: float
    written: Mapping[int, tuple[float, float]]

    @property
    def schema(self) -> pa.Schema:
        """Of the batches."""
        with pa.OSFile(str(self.path)) as file:
            return pa.ipc.open_stream(file).schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """The batches, one at a time; read, as a mapped file would count as memory."""
        with pa.OSFile(str(self.path)) as file:
            yield from pa.ipc.open_stream(file)


class PolygonStream(Protocol):
    """Polygons that are made while they are iterated over, once; see :class:`Polygons`."""

    @property
    def schema(self) -> pa.Schema:
        """Of the batches."""

    @property
    def kept(self) -> int:
        """Polygons so far."""

    @property
    def dropped(self) -> int:
        """Polygons that were left out so far."""

    @property
    def dropped_area_m2(self) -> float:
        """What they cover."""

    @property
    def written(self) -> Mapping[int, tuple[float, float]]:
        """Square metres by class."""

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """The batches."""


class Passing:
    """Polygons on their way to one file, made while it is opened and written.

    ``at_end`` is called after the last of them. ``source`` is what they are made from, if it can be
    closed.
    """

    def __init__(
        self,
        polygons: PolygonSource,
        *,
        source: Closable[Any] | None = None,
        at_end: Callable[[], None] | None = None,
    ) -> None:
        self._batches = InBackground(polygons, source=source)
        self._at_end = at_end
        self.schema = polygons.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """The batches, made on a thread of their own; once."""
        yield from self._batches
        if self._at_end is not None:
            self._at_end()

    def close(self) -> None:
        """Make no more of them."""
        self._batches.close()


def store_polygons(
    path: Path,
    arcs: Place,
    grid: GeoBox,
    block: int,
    *,
    legend: Legend,
    wanted: Wanted,
    extra: Mapping[str, str],
) -> Stored:
    """Join the traced blocks of a raster, and keep the polygons in ``path``.

    ``extra`` are columns that say the same of every polygon (scene, date).

    Raises:
        BlockError: A traced block is missing or damaged.
        ProductError: The disk is full.
    """
    shape = int(grid.shape[0]), int(grid.shape[1])
    polygons = assemble(arcs, grid, blocks(shape, block), legend=legend, wanted=wanted)
    return keep_polygons(path, polygons, extra=extra)


def keep_polygons(path: Path, polygons: PolygonStream, *, extra: Mapping[str, str]) -> Stored:
    """Keep a stream of polygons in ``path``, to be read as often as is needed.

    ``extra`` are columns that say the same of every polygon.

    Raises:
        BlockError: A traced block is missing or damaged.
        ProductError: The disk is full.
    """
    schema = polygons.schema
    for name in extra:
        schema = schema.append(pa.field(name, pa.string()))
    codes: set[int] = set()
    try:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
            for batch in polygons:
                codes.update(batch.column("class_code").unique().to_pylist())
                same = [pa.repeat(pa.scalar(text), len(batch)) for text in extra.values()]
                columns = [*batch.columns, *same]
                writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
    except OSError as error:
        raise ProductError(f"{path}: cannot be written: {error}") from error
    return Stored(
        path,
        frozenset(codes),
        polygons.kept,
        polygons.dropped,
        polygons.dropped_area_m2,
        polygons.written,
    )


def write_polygons(
    polygons: Stored | Passing,
    path: Path,
    *,
    grid: GeoBox,
    classes: Sequence[LandClass],
    tags: Mapping[str, object],
    title: str,
    themes: Sequence[Theme] = (),
    styled: Literal["all", "present"] = "all",
) -> None:
    """Write them as the suffix of ``path`` says; see :func:`geoseg.io.vector.write_vector`."""
    write_vector(
        path,
        polygons,
        grid=grid,
        classes=classes,
        tags=tags,
        title=title,
        themes=themes,
        styled=styled,
    )
