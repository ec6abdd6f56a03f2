"""Made-up polygons for files, and whether a GeoPackage is sound."""

import sqlite3
from contextlib import closing

import numpy as np
import pyarrow as pa
import shapely
from products import GRIDS, LEGEND

SHOWN = {
    "grid": GRIDS["north-up"],
    "classes": LEGEND.classes,
    "tags": {"run": "ä", "model": {"name": "m"}},
    "title": "Land use",
}


def squares(count, *, side=10.0, codes=(10, 20, 80)):
    """So many squares along rows of 300, as batches."""
    k = np.arange(count)
    x, y = (k % 300) * side, (k // 300) * side
    shapes = shapely.box(x, y, x + side, y + side)
    table = pa.table(
        {
            "geometry": pa.array(shapely.to_wkb(shapes), pa.binary()),
            "class_code": pa.array(np.array(codes)[k % len(codes)], pa.int16()),
            "class_name": pa.array(
                [None if n % 3 == 2 else f"Wässer {n % 3}" for n in k], pa.string()
            ),
            "area_ha": side**2 / 1e4 + k,
            "polygon_id": pa.array([f"{n:016x}" for n in k], pa.string()),
        }
    )
    return Source(table, rows=20_000)


class Source:
    """Batches that can be read again, of a schema that is known."""

    def __init__(self, table, rows):
        self.table, self.schema, self.rows = table, table.schema, rows

    def __iter__(self):
        return iter(self.table.to_batches(max_chunksize=self.rows))


def check(path, layer):
    """How many polygons a layer has, all of which its tree leads to; the file is sound."""
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert not db.execute("PRAGMA foreign_key_check").fetchall()
        assert db.execute("SELECT rtreecheck(?)", (f"rtree_{layer}_geom",)).fetchone() == ("ok",)
        count = db.execute(f"SELECT count(*), max(fid) FROM {layer}").fetchone()  # noqa: S608
        in_tree = f"SELECT count(*), max(id) FROM rtree_{layer}_geom"  # noqa: S608
        assert db.execute(in_tree).fetchone() == count
        told = "SELECT feature_count FROM gpkg_ogr_contents WHERE table_name = ?"
        assert db.execute(told, (layer,)).fetchone() == count[:1]
    return count[0]
