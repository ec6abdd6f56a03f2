"""Polygons to any vector format, chosen by the name of the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from geoseg.errors import InputError
from geoseg.grid import GeoBox
from geoseg.io.columns import CLASS_CODE, attributes
from geoseg.io.geopackage import About, write_layers
from geoseg.io.geoparquet import write_geoparquet
from geoseg.io.qml import polygon_qml, write_polygon_qml
from geoseg.io.web_files import write_flatgeobuf, write_pmtiles
from geoseg.legend import LandClass

SUFFIXES = (".gpkg", ".parquet", ".fgb", ".pmtiles")
LAND_USE = "land_use"


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
) -> dict[str, int]:
    """Write polygons to a file whose suffix says how, with everything that shows them as meant.

    A GeoPackage has a layer for each theme, with its style in it; each polygon is read once. Other
    formats have one layer of all polygons; a ``.qml`` lies beside GeoParquet and FlatGeobuf.

    Args:
        path: One of :data:`SUFFIXES`.
        polygons: Batches as :class:`geoseg.steps.polygons.Polygons` yields them.
        grid: What they were made of.
        classes: In the order of the legend; those that a style shows. Looked at when all polygons
            are written, but for web tiles.
        tags: Provenance, JSON-able.
        title: What the file shows; that of a theme without one, too.
        themes: Layers; one of all polygons, called ``land_use``, if there are none.

    Returns:
        Number of polygons by layer name.

    Raises:
        InputError: There is no such format, or two themes have the same name.
        ProductError: It cannot be written, or the grid has no CRS.
    """
    if path.suffix == ".gpkg":
        layers = themes or (Theme(LAND_USE),)
        about = _about(path, layers, classes, attributes(polygons.schema), title=title, tags=tags)
        schemas = {theme.name: polygons.schema for theme in layers}
        parts = split_themes(polygons, layers)
        return write_layers(path, schemas, parts, grid_crs=grid, about=about)
    if path.suffix == ".pmtiles":
        count = write_pmtiles(
            path, polygons, layer=LAND_USE, grid=grid, classes=classes, title=title
        )
        return {LAND_USE: count}
    if path.suffix == ".parquet":
        count = write_geoparquet(path, polygons, grid_crs=grid, tags=tags)
    elif path.suffix == ".fgb":
        count = write_flatgeobuf(
            path, polygons, layer=LAND_USE, grid_crs=grid, tags=tags, title=title
        )
    else:
        raise InputError(f"{path}: write to a file that ends in {' or '.join(SUFFIXES)}")
    write_polygon_qml(path.with_suffix(".qml"), classes, attributes(polygons.schema))
    return {LAND_USE: count}


def split_themes(
    batches: Iterable[pa.RecordBatch], themes: Sequence[Theme]
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """The polygons of each batch that belong to each theme, with its name."""
    for batch in batches:
        codes = batch.column(CLASS_CODE).to_numpy()
        for theme in themes:
            wanted = np.isin(codes, theme.codes) if theme.codes else np.ones(len(codes), np.bool_)
            if wanted.all():
                yield theme.name, batch
            elif wanted.any():
                yield theme.name, batch.filter(pa.array(wanted))


def _about(
    path: Path,
    themes: Sequence[Theme],
    classes: Sequence[LandClass],
    fields: Sequence[str],
    *,
    title: str,
    tags: Mapping[str, object],
) -> About:
    names = [theme.name.lower() for theme in themes]
    if len(set(names)) < len(names):
        raise InputError(f"{path}: two themes have the same name: {', '.join(sorted(names))}")
    return About(
        _Styles({theme.name: theme for theme in themes}, classes, fields),
        {theme.name: theme.title or title for theme in themes},
        tags,
    )


@dataclass(frozen=True, slots=True)
class _Styles(Mapping[str, str]):
    """QML by layer, drawn when it is asked for: which classes occur is known at the end."""

    themes: Mapping[str, Theme]
    classes: Sequence[LandClass]
    fields: Sequence[str]

    def __getitem__(self, name: str) -> str:
        return polygon_qml(self.themes[name].classes(self.classes), self.fields)

    def __iter__(self) -> Iterator[str]:
        return iter(self.themes)

    def __len__(self) -> int:
        return len(self.themes)
