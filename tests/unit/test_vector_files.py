import json
import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from products import GRIDS, LEGEND, class_map, polygons

from geoseg.errors import BlockError, ProductError
from geoseg.grid import full_window
from geoseg.io.columns import attributes, regroup
from geoseg.io.geopackage import read_polygons, write_geopackage
from geoseg.io.geoparquet import write_geoparquet
from geoseg.io.qml import polygon_qml

TAGS = {"run": "ä", "model": {"name": "m"}}
VALIDATOR = Path("/usr/lib/python3/dist-packages/osgeo_utils/samples/validate_gpkg.py")


@pytest.fixture(params=GRIDS)
def grid(request):
    return GRIDS[request.param]


def some(grid, rows=100):
    codes = class_map(full_window(grid).shape)[:200, :200]
    codes = codes if codes.max() else np.full_like(codes, 10)
    return list(polygons(codes, grid, rows))


def styled(path, batches, grid, **layers):
    style = polygon_qml(LEGEND.classes, attributes(batches[0].schema))
    return write_geopackage(
        path,
        {"land_use": batches, **layers},
        grid_crs=grid,
        styles=dict.fromkeys(["land_use", *layers], style),
        tags=TAGS,
        titles={"land_use": "Land use"},
    )


def test_geopackage_holds_the_polygons_exactly(tmp_path, grid):
    batches = some(grid)
    table = pa.Table.from_batches(batches)
    assert styled(tmp_path / "a.gpkg", batches, grid) == {"land_use": table.num_rows}
    frame = gpd.read_file(tmp_path / "a.gpkg", layer="land_use")
    assert frame.crs == grid.crs.proj
    wanted = shapely.from_wkb(table["geometry"].to_numpy())
    assert shapely.equals_exact(frame.geometry.to_numpy(), wanted).all()
    for name in ("class_code", "class_name", "area_ha", "pixels", "polygon_id", "scene"):
        assert frame[name].tolist() == table[name].to_pylist()
    assert frame.confidence_mean.isna().tolist() == [
        v is None for v in table["confidence_mean"].to_pylist()
    ]


def test_geopackage_says_what_it_is(tmp_path):
    grid = GRIDS["south-up"]
    styled(tmp_path / "a.gpkg", some(grid), grid, empty=[])
    with closing(sqlite3.connect(tmp_path / "a.gpkg")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (10300,)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        contents = db.execute("SELECT table_name, data_type FROM gpkg_contents").fetchall()
        assert ("land_use", "features") in contents
        assert ("layer_styles", "attributes") in contents
        rows = db.execute(
            "SELECT f_table_name, useAsDefault, styleQML FROM layer_styles"
        ).fetchall()
        assert [(name, default) for name, default, _ in rows] == [("land_use", 1), ("empty", 1)]
        assert "Shrub &amp; &lt;co&gt;" in rows[0][2]
        told = db.execute("SELECT metadata FROM gpkg_metadata").fetchone()[0]
        assert json.loads(told) == TAGS
        extensions = {row[0] for row in db.execute("SELECT extension_name FROM gpkg_extensions")}
        assert {"gpkg_rtree_index", "gpkg_metadata", "gpkg_schema"} <= extensions
        alias = "SELECT title FROM gpkg_data_columns WHERE table_name='land_use' AND column_name=?"
        assert db.execute(alias, ("area_ha",)).fetchone() == ("Area (ha)",)
        boxes = db.execute("SELECT count(*) FROM rtree_land_use_geom").fetchone()[0]
        assert boxes == db.execute("SELECT count(*) FROM land_use").fetchone()[0]
        assert db.execute("SELECT description FROM gpkg_contents").fetchone() == ("Land use",)


def test_geopackage_passes_gdals_own_validator(tmp_path, grid):
    if not VALIDATOR.exists():
        pytest.skip("GDAL's validate_gpkg.py is not installed")
    styled(tmp_path / "a.gpkg", some(grid), grid, empty=[])
    done = subprocess.run(
        ["/usr/bin/python3", VALIDATOR, tmp_path / "a.gpkg"],
        capture_output=True, text=True, check=False, env={"LANG": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert not re.search("error|warning", done.stdout + done.stderr, re.IGNORECASE)


def test_empty_layer_has_columns_and_a_crs(tmp_path):
    grid = GRIDS["no-code"]
    write_geopackage(tmp_path / "a.gpkg", {"water": []}, grid_crs=grid, styles={}, tags={})
    info = pyogrio.read_info(tmp_path / "a.gpkg", layer="water")
    assert info["features"] == 0
    assert "area_ha" in info["fields"]
    assert info["geometry_type"] == "Polygon"


def test_polygons_come_back_batch_by_batch(tmp_path):
    grid = GRIDS["rotated"]
    batches = some(grid)
    styled(tmp_path / "a.gpkg", batches, grid)
    back = pa.Table.from_batches(read_polygons(tmp_path / "a.gpkg", "land_use"))
    table = pa.Table.from_batches(batches)
    assert set(table.column_names) <= set(back.column_names)
    assert back["polygon_id"].to_pylist() == table["polygon_id"].to_pylist()
    a, b = (shapely.from_wkb(t["geometry"].to_numpy()) for t in (back, table))
    assert shapely.equals_exact(a, b).all()


@pytest.mark.parametrize("layer", ["land_use", "no such"])
def test_what_cannot_be_read_is_named(tmp_path, layer):
    (tmp_path / "a.gpkg").write_text("no database")
    with pytest.raises(ProductError, match=f"layer {layer!r} cannot be read"):
        list(read_polygons(tmp_path / "a.gpkg", layer))


def test_bytes_do_not_depend_on_batches_or_time(tmp_path):
    grid = GRIDS["south-up"]
    for name, rows in (("a", 7), ("b", 7), ("c", 1000)):
        table = pa.Table.from_batches(some(grid, rows=1000))
        batches = table.to_batches(max_chunksize=rows)
        styled(tmp_path / f"{name}.gpkg", batches, grid, empty=[])
        write_geoparquet(tmp_path / f"{name}.parquet", batches, grid_crs=grid, tags=TAGS)
    for kind in ("gpkg", "parquet"):
        files = [(tmp_path / f"{name}.{kind}").read_bytes() for name in "abc"]
        assert files[0] == files[1] == files[2]


def test_failure_while_polygons_come_is_told_and_leaves_nothing(tmp_path):
    def broken():
        yield from some(GRIDS["south-up"], rows=10)[:2]
        raise BlockError("block 7 is damaged")

    for write in (
        lambda: write_geopackage(
            tmp_path / "a.gpkg", {"x": broken()}, grid_crs="EPSG:32629", styles={}, tags={}
        ),
        lambda: write_geoparquet(tmp_path / "a.parquet", broken(), grid_crs="EPSG:32629", tags={}),
    ):
        with pytest.raises(BlockError, match="block 7 is damaged"):
            write()
    assert not list(tmp_path.iterdir())


def test_styles_need_a_layer(tmp_path):
    with pytest.raises(ProductError, match="styles without a layer"):
        write_geopackage(
            tmp_path / "a.gpkg", {"a": []}, grid_crs="EPSG:4326", styles={"b": ""}, tags={}
        )


def test_geoparquet_is_read_by_geopandas_box_by_box(tmp_path, grid):
    batches = some(grid)
    table = pa.Table.from_batches(batches)
    path = tmp_path / "a.parquet"
    assert write_geoparquet(path, batches, grid_crs=grid, tags=TAGS) == table.num_rows
    frame = gpd.read_parquet(path)
    assert frame.crs == grid.crs.proj
    wanted = shapely.from_wkb(table["geometry"].to_numpy())
    assert shapely.equals_exact(frame.geometry.to_numpy(), wanted).all()
    west, south, _, _ = frame.total_bounds
    corner = gpd.read_parquet(path, bbox=(west, south, west, south))
    assert len(corner) == (shapely.bounds(wanted)[:, :2] == [west, south]).all(axis=1).sum()


def test_geoparquet_says_what_it_is(tmp_path):
    grid = GRIDS["south-up"]
    path = tmp_path / "a.parquet"
    write_geoparquet(path, some(grid), grid_crs=grid, tags=TAGS, rows_per_group=50)
    file = pq.ParquetFile(path)
    geo = json.loads(file.metadata.metadata[b"geo"])
    column = geo["columns"]["geometry"]
    assert geo["version"] == "1.1.0"
    assert column["geometry_types"] == ["Polygon"]
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 32629}
    assert column["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    frame = gpd.read_parquet(path)
    np.testing.assert_array_equal(column["bbox"], frame.total_bounds)
    assert json.loads(file.metadata.metadata[b"geoseg"]) == TAGS
    assert file.metadata.row_group(0).num_rows == 50
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_empty_geoparquet_can_be_read(tmp_path):
    write_geoparquet(tmp_path / "a.parquet", [], grid_crs=GRIDS["no-code"], tags={})
    frame = gpd.read_parquet(tmp_path / "a.parquet")
    assert len(frame) == 0
    assert "class_name" in frame


def test_regrouping_keeps_rows_in_order():
    sizes = [3, 0, 10, 1, 1, 25]
    numbers = iter(range(1000))
    batches = [
        pa.record_batch({"n": pa.array([next(numbers) for _ in range(s)], pa.int64())})
        for s in sizes
    ]
    out = list(regroup(batches, 8))
    assert [b.num_rows for b in out] == [8, 8, 8, 8, 8]
    assert [n for b in out for n in b.column("n").to_pylist()] == list(range(40))
