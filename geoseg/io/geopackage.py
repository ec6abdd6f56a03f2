"""Polygons as a GeoPackage 1.3 that brings its own styles, aliases and provenance.

Version 1.3, since 1.4 is refused by readers built on GDAL up to 3.6.
Source: OGC 12-128r17; https://docs.qgis.org/latest/en/docs/user_manual/ (layer_styles)
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pyarrow as pa

from geoseg.errors import ProductError
from geoseg.grid import GeoBox
from geoseg.io.atomic import replacing
from geoseg.io.columns import GEOMETRY, SCHEMA
from geoseg.io.geopackage_empty import make_empty
from geoseg.io.geopackage_layer import LayerFiller, fill_layers, note_contents
from geoseg.io.geopackage_tables import (
    OwnStyle,
    add_columns,
    add_provenance,
    add_styles,
    own_styles,
)
from geoseg.io.reviews import carrying

Batches = Iterable[pa.RecordBatch]


@dataclass(frozen=True, slots=True)
class About:
    """What a file says beside its polygons; see :func:`write_geopackage`."""

    styles: Mapping[str, str]
    titles: Mapping[str, str]
    tags: Mapping[str, object]
    changed: str = "1970-01-01T00:00:00.000Z"
    before: Path | None = None


def write_geopackage(
    path: str | Path,
    layers: Mapping[str, Batches],
    *,
    grid_crs: GeoBox | str,
    styles: Mapping[str, str],
    tags: Mapping[str, object],
    titles: Mapping[str, str] | None = None,
    changed: str = "1970-01-01T00:00:00.000Z",
    before: Path | None = None,
) -> dict[str, int]:
    """Write polygons, layer by layer, without ever holding more than a batch.

    Args:
        path: The ``.gpkg``; replaced only when the new one is complete. Styles that somebody has
            saved in the old one with QGIS stay.
        layers: Record batches by layer name; each has a WKB column ``geometry`` and any attributes.
        grid_crs: The CRS of the geometries: the grid they come from, or WKT or ``EPSG:n``.
        styles: QML by layer name, applied by QGIS when the layer is added.
        tags: Provenance, JSON-able; kept as a metadata row of the whole file.
        titles: What a layer shows, by layer name; shown as its description.
        changed: Time of last change to store (ISO, UTC). Not the clock: the same input gives the
            same bytes.
        before: The file whose place it will take, if that is not ``path``.

    Returns:
        Number of polygons by layer name.

    Raises:
        ProductError: A layer cannot be written, or a style belongs to no layer.
    """
    streams = {name: _Stream(batches) for name, batches in layers.items()}
    schemas = {name: stream.schema for name, stream in streams.items()}
    one_by_one = ((name, batch) for name, stream in streams.items() for batch in stream.batches)
    about = About(styles, titles or {}, tags, changed, before)
    return write_layers(path, schemas, one_by_one, grid_crs=grid_crs, about=about)


def write_layers(
    path: str | Path,
    schemas: Mapping[str, pa.Schema],
    batches: Iterable[tuple[str, pa.RecordBatch]],
    *,
    grid_crs: GeoBox | str,
    about: About,
) -> dict[str, int]:
    """Write polygons of several layers as they come; see :func:`write_geopackage`.

    Reviews in the file that is replaced are kept.

    Args:
        path: The ``.gpkg``.
        schemas: Of the batches, by layer name.
        batches: Each with the name of its layer; the bytes depend on how layers take turns.
        grid_crs: The CRS of the geometries.
        about: What is said of them.

    Returns:
        Number of polygons by layer name.

    Raises:
        ProductError: A layer cannot be written, or a style belongs to no layer.
    """
    stray = set(about.styles) - set(schemas)
    if stray or not schemas:
        raise ProductError(f"{path}: styles without a layer: {sorted(stray)}; layers: {[*schemas]}")
    crs, own = crs_text(grid_crs), own_styles(about.before or Path(path))
    with carrying(path) as carry, replacing(path) as made:
        try:
            make_empty(made, schemas, crs=crs, titles=about.titles, changed=about.changed)
            filled = fill_layers(made, schemas, batches)
            _add_tables(made, filled, about, own)
            carry(made)
        except sqlite3.Error as error:
            raise ProductError(f"{path}: cannot be written: {error}") from error
    return {layer.name: layer.rows for layer in filled}


def read_polygons(path: str | Path, layer: str) -> Iterator[pa.RecordBatch]:
    """The polygons of a layer again, batch by batch, with the columns they were written with.

    Raises:
        ProductError: The file or the layer cannot be read.
    """
    import pyogrio  # noqa: PLC0415 (writing does without it)

    from geoseg.io.gdal_failures import FAILURES  # noqa: PLC0415 (loads pyogrio, which writing does without)

    try:
        with pyogrio.open_arrow(path, layer=layer, use_pyarrow=True) as (meta, reader):
            geometry = meta["geometry_name"] or "wkb_geometry"
            names = [GEOMETRY if n == geometry else n for n in reader.schema.names]
            order = [names.index(GEOMETRY), *(i for i, n in enumerate(names) if n != GEOMETRY)]
            for batch in reader:
                yield pa.RecordBatch.from_arrays(
                    [batch.column(i) for i in order], names=[names[i] for i in order]
                )
    except FAILURES as error:
        raise ProductError(f"{path}: layer {layer!r} cannot be read: {error}") from error


def crs_text(crs: GeoBox | str) -> str:
    """``EPSG:n`` where there is such a code, else WKT.

    Raises:
        ProductError: The grid has no CRS.
    """
    if isinstance(crs, str):
        return crs
    if crs.crs is None:
        raise ProductError("polygons need a grid with a CRS; this one has none")
    return f"EPSG:{crs.crs.epsg}" if crs.crs.epsg is not None else str(crs.crs.wkt)


class _Stream:
    """Batches whose schema is known before the first one is asked for."""

    def __init__(self, batches: Batches) -> None:
        iterator = iter(batches)
        first = next(iterator, None)
        head = () if first is None else (first,)
        self.schema = getattr(batches, "schema", SCHEMA) if first is None else first.schema
        self.batches = chain(head, iterator)


def _add_tables(
    made: Path, layers: Sequence[LayerFiller], about: About, own: Sequence[OwnStyle]
) -> None:
    """What OGR cannot write, or did not know: contents, titles of columns, styles, provenance."""
    with closing(sqlite3.connect(made)) as connection:
        # Nobody else sees the file yet; if anything fails it is thrown away.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        with connection:
            note_contents(connection, layers)
            add_columns(connection, [layer.name for layer in layers])
            add_styles(connection, about.styles, about.changed, own)
            add_provenance(connection, about.tags, about.changed)
