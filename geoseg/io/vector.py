"""Polygons to any vector format, chosen by the name of the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import pyarrow as pa

from geoseg.errors import InputError
from geoseg.grid import GeoBox
from geoseg.io.columns import CLASS_CODE, attributes, column_of, values_of
from geoseg.io.geopackage import About, write_layers
from geoseg.io.qml import polygon_qml, write_polygon_qml
from geoseg.io.qml_labels import label_scale
from geoseg.legend import LandClass

SUFFIXES = (".gpkg", ".parquet", ".fgb", ".pmtiles")
LAND_USE = "land_use"
Styled = Literal["all", "present"]


class PolygonSource(Protocol):
    """Record batches of polygons whose schema is known."""

    @property
    def schema(self) -> pa.Schema:
        """Of the batches."""

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """The batches."""


@dataclass(frozen=True, slots=True)
class Theme:
    """A layer of its own for some classes.

    Attributes:
        name: Of the layer: letters, digits and underscores.
        codes: Classes; all if empty. A class may belong to several themes, or to none.
        title: What the layer shows.
    """

    name: str
    codes: tuple[int, ...] = ()
    title: str = ""

    def __post_init__(self) -> None:
        if not (self.name.isidentifier() and self.name.isascii()):
            raise InputError(
                f"theme {self.name!r}: name layers with letters, digits and underscores, "
                f"such as {LAND_USE!r}"
            )

    def classes(self, known: Sequence[LandClass]) -> list[LandClass]:
        """Those of ``known`` that belong to it."""
        return [c for c in known if not self.codes or c.value in self.codes]


def write_vector(
    path: Path,
    polygons: PolygonSource,
    *,
    grid: GeoBox,
    classes: Sequence[LandClass],
    tags: Mapping[str, object],
    title: str,
    themes: Sequence[Theme] = (),
    styled: Styled = "all",
) -> dict[str, int]:
    """Write polygons to a file whose suffix says how, with everything that shows them as meant.

    A GeoPackage has a layer for each theme, with its style in it; each polygon is read once. Other
    formats have one layer of all polygons; a ``.qml`` lies beside GeoParquet and FlatGeobuf.

    Args:
        path: One of :data:`SUFFIXES`.
        polygons: Batches as :class:`geoseg.steps.polygons.Polygons` yields them.
        grid: What they were made of.
        classes: In the order of the legend; those that a style shows.
        tags: Provenance, JSON-able.
        title: What the file shows; that of a theme without one, too.
        themes: Layers; one of all polygons, called ``land_use``, if there are none.
        styled: Which of ``classes`` a style shows: all, or those that occur.

    Returns:
        Number of polygons by layer name.

    Raises:
        InputError: There is no such format, or two themes have the same name.
        ProductError: It cannot be written, or the grid has no CRS.
    """
    fields = attributes(polygons.schema)
    if path.suffix == ".gpkg":
        layers = themes or (Theme(LAND_USE),)
        _check_names(path, layers)
        styles = _Styles(layers, classes, fields, styled, label_scale(grid))
        titles = {theme.name: theme.title or title for theme in layers}
        schemas = {theme.name: polygons.schema for theme in layers}
        parts = styles.watch(split_themes(polygons, layers))
        about = About(styles, titles, tags)
        return write_layers(path, schemas, parts, grid_crs=grid, about=about)
    scale = label_scale(grid)
    seen = _Styles((Theme(LAND_USE),), classes, fields, styled, scale)
    watched = _Watched(polygons, seen)
    if path.suffix == ".pmtiles":
        from geoseg.io.web_files import write_pmtiles  # noqa: PLC0415 (brings GDAL and pandas)

        count = write_pmtiles(
            path, watched, layer=LAND_USE, grid=grid, classes=classes, tags=tags, title=title
        )
        return {LAND_USE: count}
    if path.suffix == ".parquet":
        from geoseg.io.geoparquet import write_geoparquet  # noqa: PLC0415 (each format loads its own libraries)

        count = write_geoparquet(path, watched, grid_crs=grid, tags=tags)
    elif path.suffix == ".fgb":
        from geoseg.io.web_files import write_flatgeobuf  # noqa: PLC0415 (likewise)

        count = write_flatgeobuf(
            path, watched, layer=LAND_USE, grid_crs=grid, tags=tags, title=title
        )
    else:
        raise InputError(f"{path}: write to a file that ends in {' or '.join(SUFFIXES)}")
    qml = path.with_suffix(".qml")
    write_polygon_qml(qml, seen.classes(LAND_USE), fields, labels_below=scale)
    return {LAND_USE: count}


def split_themes(
    batches: Iterable[pa.RecordBatch], themes: Sequence[Theme]
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """The polygons of each batch that belong to each theme, with its name."""
    for batch in batches:
        codes = values_of(batch.column(CLASS_CODE))
        for theme in themes:
            wanted = np.isin(codes, theme.codes) if theme.codes else np.ones(len(codes), np.bool_)
            if wanted.all():
                yield theme.name, batch
            elif wanted.any():
                yield theme.name, batch.filter(column_of(wanted))


def _check_names(path: Path, themes: Sequence[Theme]) -> None:
    names = [theme.name.lower() for theme in themes]
    if len(set(names)) < len(names):
        raise InputError(f"{path}: two themes have the same name: {', '.join(sorted(names))}")


class _Styles(Mapping[str, str]):
    """QML by layer, drawn when asked for: which classes occur is known after the last polygon."""

    def __init__(
        self,
        themes: Sequence[Theme],
        classes: Sequence[LandClass],
        fields: Sequence[str],
        styled: Styled,
        labels_below: float,
    ) -> None:
        self._labels_below = labels_below
        self._themes = {theme.name: theme for theme in themes}
        self._classes, self._fields, self._all = classes, fields, styled == "all"
        self._seen: dict[str, set[int]] = {theme.name: set() for theme in themes}

    def watch(
        self, parts: Iterable[tuple[str, pa.RecordBatch]]
    ) -> Iterator[tuple[str, pa.RecordBatch]]:
        """The same batches, with an eye on their classes."""
        for name, batch in parts:
            if not self._all:
                self._seen[name].update(np.unique(values_of(batch.column(CLASS_CODE))).tolist())
            yield name, batch

    def classes(self, layer: str) -> list[LandClass]:
        """Those that the style of a layer shows."""
        known = self._themes[layer].classes(self._classes)
        return [c for c in known if self._all or c.value in self._seen[layer]]

    def __getitem__(self, layer: str) -> str:
        classes = self.classes(layer)
        return polygon_qml(classes, self._fields, labels_below=self._labels_below)

    def __iter__(self) -> Iterator[str]:
        return iter(self._themes)

    def __len__(self) -> int:
        return len(self._themes)


@dataclass(frozen=True, slots=True)
class _Watched:
    """Polygons of one layer on their way to a file."""

    polygons: PolygonSource
    styles: _Styles

    @property
    def schema(self) -> pa.Schema:
        return self.polygons.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for _, batch in self.styles.watch((LAND_USE, batch) for batch in self.polygons):
            yield batch
