"""Layers of a GeoPackage: made empty by OGR, filled by us, batch by batch."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from geoseg.errors import ProductError
from geoseg.io.columns import GEOMETRY
from geoseg.io.geopackage_empty import GEOM
from geoseg.io.rtree_tables import CHUNK, RTreeFiller
from geoseg.io.sqlite_tables import PageFile, TableFiller
from geoseg.io.table_rows import placed, rows_of
from geoseg.ops.sqlite_pages import PAGE

_TREE = ("node", "rowid", "parent")
_ROWS = 8192  # that are laid out at once: their columns stay in the processor's cache


@dataclass(frozen=True, slots=True)
class Layout:
    """An empty layer: its columns, the first pages of its tables, its CRS."""

    columns: list[str]
    root: int
    tree: tuple[int, int, int]
    srs: int


class LayerFiller:
    """Gives polygons to a layer that has none.

    Args:
        file: Where the layer is.
        name: Of the layer.
        schema: Of the batches that will come.
        layout: How it was made.

    Attributes:
        name: Of the layer.
        rows: Polygons so far.
        extent: West, south, east and north of all; NaN if there are none.
    """

    def __init__(self, file: PageFile, name: str, schema: pa.Schema, layout: Layout) -> None:
        self.name, self.rows = name, 0
        self.extent = np.full(4, np.nan)
        self._srs = layout.srs
        self._table = TableFiller(file, layout.root)
        self._tree = RTreeFiller(file, layout.tree)
        wanted = ["fid", GEOM, *(n for n in schema.names if n != GEOMETRY)]
        if layout.columns != wanted:
            raise ProductError(
                f"layer {name!r}: columns {wanted[2:]} would be kept as {layout.columns[2:]}"
            )

    def append(self, batch: pa.RecordBatch) -> None:
        """Add polygons.

        Raises:
            ProductError: A column has a type that GeoPackage does not know.
        """
        # What is packed together must not depend on the batches.
        begin = 0
        while begin < len(batch):
            part = batch.slice(begin, min(_ROWS, CHUNK - self.rows % CHUNK))
            self._append(part)
            begin += len(part)
            if self.rows % CHUNK == 0:
                self._tree.pack()

    def finish(self) -> None:
        """Write what leads to the rows, in the table and in space."""
        self._table.finish()
        self._tree.finish()

    def _append(self, batch: pa.RecordBatch) -> None:
        batch, boxes = placed(batch)
        self._table.append(rows_of(batch, boxes, first=self.rows + 1, srs=self._srs))
        known = ~np.isnan(boxes[:, 0])
        ids = self.rows + 1 + np.flatnonzero(known)
        self.rows += len(batch)
        if len(ids):
            boxes = boxes[known]
            self._tree.append(ids, boxes)
            low = np.fmin(self.extent[:2], boxes[:, :2].min(axis=0))
            high = np.fmax(self.extent[2:], boxes[:, 2:].max(axis=0))
            self.extent = np.concatenate([low, high])


def fill_layers(
    made: Path, schemas: Mapping[str, pa.Schema], batches: Iterable[tuple[str, pa.RecordBatch]]
) -> list[LayerFiller]:
    """Fill layers that OGR has made, each batch while the next one is being computed.

    Args:
        made: The file.
        schemas: Of the batches, by layer name.
        batches: Each with the name of its layer.

    Raises:
        ProductError: A column cannot be written.
    """
    layouts = {name: _read_layout(made, name) for name in schemas}
    with PageFile(made) as file:
        layers = {n: LayerFiller(file, n, schemas[n], layout) for n, layout in layouts.items()}
        with ThreadPoolExecutor(1, thread_name_prefix="geopackage") as pool:
            begun: Future[None] | None = None
            for name, batch in batches:
                if begun is not None:
                    begun.result()
                begun = pool.submit(layers[name].append, batch)
            if begun is not None:
                begun.result()
        for layer in layers.values():
            layer.finish()
    return list(layers.values())


def note_contents(connection: sqlite3.Connection, layers: Iterable[LayerFiller]) -> None:
    """Say in the tables about layers what each of them holds."""
    for layer in layers:
        if not layer.rows:
            continue
        connection.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", (layer.name, layer.rows))
        connection.execute(
            "UPDATE gpkg_ogr_contents SET feature_count = ? WHERE table_name = ?",
            (layer.rows, layer.name),
        )
        connection.execute(
            "UPDATE gpkg_contents SET min_x = ?, min_y = ?, max_x = ?, max_y = ? "
            "WHERE table_name = ?",
            (*layer.extent.tolist(), layer.name),
        )


def _read_layout(made: Path, name: str) -> Layout:
    with closing(sqlite3.connect(made)) as connection:
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        if size != PAGE:
            raise ProductError(f"{made}: OGR made pages of {size} bytes, not {PAGE}")
        (srs,) = connection.execute(
            "SELECT srs_id FROM gpkg_geometry_columns WHERE table_name = ?", (name,)
        ).fetchone()
        columns = connection.execute("SELECT name FROM pragma_table_info(?)", (name,)).fetchall()
        root, *tree = (
            connection.execute(
                "SELECT rootpage FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)
            ).fetchone()[0]
            for table in (name, *(f"rtree_{name}_{GEOM}_{part}" for part in _TREE))
        )
    return Layout([column for (column,) in columns], root, (tree[0], tree[1], tree[2]), srs)
