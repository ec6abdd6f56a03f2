"""Layers that are written page by page are those that OGR would have written, and goes on with."""

import resource
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import geopandas as gpd
import geopandas.testing
import numpy as np
import pyarrow as pa
import pyogrio
import pytest
import shapely
from vector_files import SHOWN, check, squares

from geoseg.errors import ProductError
from geoseg.io import geopackage_layer
from geoseg.io.geopackage import write_geopackage
from geoseg.io.vector import write_vector


def test_bytes_do_not_depend_on_batches_where_the_tree_is_packed_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(geopackage_layer, "CHUNK", 128)
    monkeypatch.setattr(geopackage_layer, "_ROWS", 100)
    table = squares(400).table
    for name, rows in (("a", 7), ("b", 128), ("c", 1000)):
        write_geopackage(
            tmp_path / f"{name}.gpkg",
            {"land_use": table.to_batches(max_chunksize=rows)},
            grid_crs="EPSG:32629",
            styles={},
            tags={},
        )
        assert check(tmp_path / f"{name}.gpkg", "land_use") == table.num_rows
    files = [(tmp_path / f"{name}.gpkg").read_bytes() for name in "abc"]
    assert files[0] == files[1] == files[2]


@pytest.mark.parametrize("count", [0, 1, 48, 49, 70_000])
def test_any_number_of_polygons_is_found_by_place(tmp_path, count):
    source = squares(count)
    path = tmp_path / "a.gpkg"
    written = write_geopackage(path, {"x": source}, grid_crs="EPSG:32629", styles={}, tags={})
    assert written == {"x": check(path, "x")} == {"x": count}
    shapes = shapely.from_wkb(source.table["geometry"].to_numpy())
    for box in ((0, 0, 5, 5), (995, 5, 1500, 45), (-100, -100, 1e4, 1e4), (1e6, 1e6, 2e6, 2e6)):
        _, back = pyogrio.read_arrow(path, layer="x", bbox=box)
        inside = shapely.intersects(shapes, shapely.box(*box))
        assert sorted(back["polygon_id"].to_pylist()) == [
            i
            for i, there in zip(source.table["polygon_id"].to_pylist(), inside, strict=True)
            if there
        ]
    if count:
        bounds = shapely.total_bounds(shapes)
        np.testing.assert_array_equal(pyogrio.read_info(path, layer="x")["total_bounds"], bounds)


@pytest.mark.parametrize("count", [0, 5, 3000])
def test_others_can_go_on_with_what_was_written(tmp_path, count):
    path = tmp_path / "a.gpkg"
    write_geopackage(path, {"x": squares(count)}, grid_crs="EPSG:32629", styles={}, tags={})
    more = gpd.GeoDataFrame(
        {"class_code": [7] * 200}, geometry=[shapely.box(-k, -9, 1 - k, -8) for k in range(1, 201)],
        crs="EPSG:32629",
    )  # fmt: skip
    pyogrio.write_dataframe(more, path, layer="x", append=True)
    assert check(path, "x") == count + 200
    found = gpd.read_file(path, layer="x", bbox=(-150.5, -9, -149.5, -8))
    assert found.class_code.tolist() == [7, 7]
    with closing(sqlite3.connect(path)) as db:
        ids = db.execute("SELECT fid FROM x WHERE class_code = 7").fetchall()
    assert [k for (k,) in ids] == list(range(count + 1, count + 201))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM x WHERE class_code = 7")
        assert db.execute("SELECT rtreecheck('rtree_x_geom')").fetchone() == ("ok",)
        assert db.execute("SELECT feature_count FROM gpkg_ogr_contents").fetchone() == (count,)


def test_a_huge_polygon_and_small_ones_are_kept_exactly(tmp_path):
    turn = np.linspace(0, 2 * np.pi, 300_001)
    round_ = shapely.polygons(np.column_stack([np.cos(turn), np.sin(turn)]) * 1e5)
    shapes = [shapely.box(0, 0, 1, 1), round_, shapely.box(1, 0, 2, 1)]
    batch = pa.record_batch({"geometry": pa.array(shapely.to_wkb(shapes), pa.binary())})
    path = tmp_path / "a.gpkg"
    write_geopackage(path, {"x": [batch]}, grid_crs="EPSG:32629", styles={}, tags={})
    assert check(path, "x") == 3
    assert shapely.equals_exact(gpd.read_file(path, layer="x").geometry.to_numpy(), shapes).all()


def test_columns_of_many_types_are_what_ogr_makes_of_them(tmp_path):
    moment = datetime(2024, 5, 1, 10, 20, 30, 123_000, tzinfo=UTC)
    columns = {
        "small": pa.array([1, None, -3], pa.int8()),
        "whole": pa.array([2**40, 0, None], pa.int64()),
        "real": pa.array([0.1, None, -1e300], pa.float64()),
        "short": pa.array([0.5, np.nan, None], pa.float32()),
        "yes": pa.array([True, None, False]),
        "text": pa.array(["ä", None, ""]),
        "long": pa.array(["ä" * 5000, None, "b"], pa.large_string()),
        "kind": pa.array(["a", "b", None]).dictionary_encode(),
        "day": pa.array([moment.date(), None, moment.date()]),
        "time": pa.array([moment, None, moment], pa.timestamp("us", "UTC")),
        "void": pa.nulls(3, pa.string()),
    }
    shapes = [shapely.box(0, 0, 1, 1), None, shapely.Polygon()]
    batch = pa.record_batch({"geometry": pa.array(shapely.to_wkb(shapes), pa.binary()), **columns})
    ours, ogrs = tmp_path / "a.gpkg", tmp_path / "b.gpkg"
    write_geopackage(ours, {"x": [batch, batch.slice(1)]}, grid_crs="EPSG:4326", styles={}, tags={})
    plain = batch.set_column(8, "kind", columns["kind"].cast(pa.string()))
    pyogrio.write_arrow(
        pa.RecordBatchReader.from_batches(plain.schema, [plain, plain.slice(1)]), ogrs, layer="x",
        driver="GPKG", geometry_name="geometry", geometry_type="Polygon", crs="EPSG:4326",
        layer_options={"GEOMETRY_NAME": "geom"},
    )  # fmt: skip
    rows = []
    for path in (ours, ogrs):
        with closing(sqlite3.connect(path)) as db:
            names = ", ".join(columns)
            rows.append(db.execute(f"SELECT fid, {names} FROM x").fetchall())  # noqa: S608
            rows.append(
                db.execute("SELECT id, minx, maxx, miny, maxy FROM rtree_x_geom").fetchall()
            )
    assert rows[0] == rows[2]
    assert rows[1] == rows[3] == [(1, 0, 1, 0, 1)]
    frames = [gpd.read_file(path, layer="x") for path in (ours, ogrs)]
    gpd.testing.assert_geodataframe_equal(*frames)


def test_other_geometries_are_kept_too(tmp_path):
    shapes = [
        shapely.Point(1, 2), shapely.LineString([(0, 0), (3, 4)]), shapely.Point(),
        shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(5, 5, 6, 6)]),
        shapely.GeometryCollection([shapely.Point(9, 9), shapely.box(1, 1, 2, 2)]),
    ]  # fmt: skip
    schema = pa.schema([pa.field("geometry", pa.binary())], {"geometry_type": "Unknown"})
    for name, order, solid in (("a", 1, False), ("b", 0, False), ("c", 1, True)):
        moved = shapely.force_3d(shapes, 7) if solid else shapes
        wkb = pa.array(shapely.to_wkb(moved, byte_order=order), pa.binary())
        batch = pa.RecordBatch.from_arrays([wkb], schema=schema)
        path = tmp_path / f"{name}.gpkg"
        write_geopackage(path, {"x": [batch]}, grid_crs="EPSG:32629", styles={}, tags={})
        with closing(sqlite3.connect(path)) as db:
            boxes = db.execute("SELECT id, minx, maxx, miny, maxy FROM rtree_x_geom").fetchall()
        assert sorted(boxes) == [
            (1, 1, 1, 2, 2), (2, 0, 3, 0, 4), (4, 0, 6, 0, 6), (5, 1, 9, 1, 9)
        ]  # fmt: skip
        back = gpd.read_file(path, layer="x").geometry.to_numpy()
        assert shapely.equals(back, np.array(shapes, dtype=object)).tolist() == [True] * 5


@pytest.mark.parametrize("name", ["fid", "FID", "geom"])
def test_columns_that_geopackage_has_itself_are_refused(tmp_path, name):
    batch = pa.record_batch(
        {
            "geometry": pa.array([shapely.to_wkb(shapely.box(0, 0, 1, 1))], pa.binary()),
            name: pa.array([1], pa.int64()),
        }
    )
    with pytest.raises(ProductError, match=f"(?i){name}"):
        write_geopackage(
            tmp_path / "a.gpkg", {"x": [batch]}, grid_crs="EPSG:4326", styles={}, tags={}
        )
    assert not list(tmp_path.iterdir())


def test_columns_of_strange_types_are_refused(tmp_path):
    batch = pa.record_batch(
        {
            "geometry": pa.array([shapely.to_wkb(shapely.box(0, 0, 1, 1))], pa.binary()),
            "many": pa.array([[1, 2]], pa.list_(pa.int64())),
        }
    )
    with pytest.raises(ProductError, match="'many' is of list"):
        write_geopackage(
            tmp_path / "a.gpkg", {"x": [batch]}, grid_crs="EPSG:4326", styles={}, tags={}
        )


@pytest.mark.parametrize("suffix", ["gpkg", "parquet", "fgb"])
def test_a_full_disk_gives_one_error_and_leaves_nothing(tmp_path, suffix):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, hard))
    try:
        with pytest.raises(ProductError, match=rf"a\.{suffix}: .*written"):
            write_vector(tmp_path / f"a.{suffix}", squares(20_000), **SHOWN)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())
