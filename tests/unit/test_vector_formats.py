"""Every vector format says the same of the same polygons, in layers that were asked for."""

import gzip
import json
import sqlite3
from contextlib import closing

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet
import pyogrio
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from products import LEGEND, class_map
from rasters import NORTH_UP
from vector_files import SHOWN, Source, check, squares

from geoseg.errors import BlockError, InputError, ProductError
from geoseg.io.vector import SUFFIXES, Theme, write_vector
from geoseg.io.web_files import zoom_levels
from geoseg.steps.vectorize import vectorize_array

GRID = GeoBox((60, 80), NORTH_UP, "EPSG:32629")
THEMES = (Theme("land_use"), Theme("water", (80,), "Open water"), Theme("green", (10, 20)))


@pytest.fixture(scope="module")
def made():
    """The polygons of a small map with confidences, to be read again and again."""
    codes = class_map((60, 80))
    codes[22:29, 36:43], codes[24, 38] = 10, 20  # a hole
    percent = (np.indices(codes.shape).sum(axis=0) % 101).astype(np.uint8)
    percent[:, ::9] = 255
    stream = vectorize_array(codes, GRID, legend=LEGEND, confidence=percent, block=32)
    return Source(stream.read_all(), rows=10)


def written(made, path, **options):
    counts = write_vector(path, made, **{**SHOWN, "grid": GRID}, **options)
    assert set(counts.values()) <= {*range(made.table.num_rows + 1)}
    return counts


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet", ".fgb"])
def test_all_that_is_known_is_read_back(made, tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    assert written(made, path) == {"land_use": made.table.num_rows}
    if suffix == ".parquet":
        frame = gpd.read_parquet(path)
    else:
        frame = gpd.read_file(path, layer="land_use", use_arrow=True)
    assert frame.crs == "EPSG:32629"
    frame = frame.set_index("polygon_id").loc[made.table["polygon_id"].to_pylist()].reset_index()
    shapes = shapely.from_wkb(made.table["geometry"].to_numpy())
    assert (shapely.to_wkb(frame.geometry.to_numpy()) == made.table["geometry"].to_numpy()).all()
    if suffix == ".parquet":
        np.testing.assert_array_equal(frame.bounds.to_numpy(), shapely.bounds(shapes))
        assert not {"xmin", "ymax"} & set(frame)
    for name in made.table.column_names[1:]:
        if suffix != ".parquet" or name not in {"xmin", "ymin", "xmax", "ymax"}:
            values = made.table[name].to_pylist()
            back = [None if v != v else v for v in frame[name]]  # noqa: PLR0124 - NaN
            assert back == values, name


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_polygons_give_the_same_bytes(made, tmp_path, suffix):
    for name in "ab":
        (tmp_path / name).mkdir()
        written(made, tmp_path / name / f"x{suffix}")
    a, b = (sorted((tmp_path / name).iterdir()) for name in "ab")
    assert [p.name for p in a] == [p.name for p in b]
    assert [p.read_bytes() for p in a] == [p.read_bytes() for p in b]
    beside = [p.name for p in a if p.suffix not in SUFFIXES]
    assert beside == (["x.qml"] if suffix in {".parquet", ".fgb"} else [])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_polygons_are_a_file_too(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    assert write_vector(path, squares(0), **SHOWN) == {"land_use": 0}
    if suffix == ".parquet":
        assert gpd.read_parquet(path).empty
    else:
        assert pyogrio.read_info(path, layer="land_use", force_feature_count=True)["features"] == 0


def test_geoparquet_says_how_rings_run_only_where_it_is_known(made, tmp_path):
    for name, source in (("a", made), ("b", squares(5))):
        write_vector(tmp_path / f"{name}.parquet", source, **SHOWN)
    told = [
        json.loads(pa.parquet.read_metadata(tmp_path / f"{name}.parquet").metadata[b"geo"])
        for name in "ab"
    ]
    ways = [t["columns"]["geometry"].get("orientation") for t in told]
    assert ways == ["counterclockwise", None]
    shapes = gpd.read_parquet(tmp_path / "a.parquet").geometry
    assert shapes.exterior.is_ccw.all()
    holes = [ring for shape in shapes for ring in shape.interiors]
    assert holes
    assert not any(ring.is_ccw for ring in holes)


def test_flatgeobuf_is_found_by_place_and_tells_its_origin(made, tmp_path):
    path = tmp_path / "a.fgb"
    written(made, path)
    info = pyogrio.read_info(path)
    assert info["features"] == made.table.num_rows
    assert info["capabilities"]["fast_spatial_filter"]
    assert json.loads(info["layer_metadata"]["geoseg"]) == SHOWN["tags"]
    shapes = shapely.from_wkb(made.table["geometry"].to_numpy())
    box = shapely.bounds(shapes[7])
    back = gpd.read_file(path, bbox=tuple(box))
    assert len(back) == shapely.intersects(shapes, shapely.box(*box)).sum() < len(shapes)


def test_a_layer_for_each_theme_has_its_classes_and_style(made, tmp_path):
    path = tmp_path / "a.gpkg"
    codes = made.table["class_code"].to_numpy()
    wanted = {"land_use": len(codes), "water": (codes == 80).sum(), "green": (codes != 80).sum()}
    assert written(made, path, themes=THEMES) == wanted
    for theme in THEMES:
        assert check(path, theme.name) == wanted[theme.name]
        frame = gpd.read_file(path, layer=theme.name)
        chosen = np.isin(codes, theme.codes or codes)
        assert frame.polygon_id.tolist() == made.table["polygon_id"].to_numpy()[chosen].tolist()
    with closing(sqlite3.connect(path)) as db:
        styles = dict(db.execute("SELECT f_table_name, styleQML FROM layer_styles"))
        titles = dict(db.execute("SELECT table_name, description FROM gpkg_contents"))
    assert "Tree cover" not in styles["water"]
    assert "Tree cover" in styles["green"]
    assert (titles["water"], titles["green"]) == ("Open water", "Land use")


def test_themes_without_polygons_are_there_and_names_are_checked(made, tmp_path):
    path = tmp_path / "a.gpkg"
    assert written(made, path, themes=(Theme("loss", (99,)),)) == {"loss": 0}
    assert pyogrio.read_info(path, layer="loss")["features"] == 0
    with pytest.raises(InputError, match="same name"):
        written(made, path, themes=(Theme("a"), Theme("A", (1,))))
    with pytest.raises(InputError, match="'my layer'"):
        Theme("my layer")


def test_tiles_have_names_and_colours_where_the_polygons_are(made, tmp_path):
    path = tmp_path / "a.pmtiles"
    written(made, path)
    info = pyogrio.read_info(path)
    assert info["layer_name"] == "land_use"
    assert {"class_code", "class_name", "color", "area_ha", "polygon_id"} <= set(info["fields"])
    lowest, highest = zoom_levels(GRID)
    told = info["dataset_metadata"]
    assert (told["minzoom"], told["maxzoom"]) == (str(lowest), str(highest))
    back = gpd.read_file(path)
    colors = {c.value: (c.name, c.color) for c in LEGEND.classes}
    assert set(zip(back.class_name, back.color, strict=True)) == set(colors.values())
    assert set(back.polygon_id) == set(made.table["polygon_id"].to_pylist())
    # A unit of a tile is a quarter of a pixel or less: areas agree to a few percent.
    parts = back.to_crs(GRID.crs.proj).dissolve("class_code")
    for code, area in zip(parts.index, parts.area, strict=True):
        exact = made.table.filter(pa.compute.field("class_code") == int(code))
        assert area == pytest.approx(exact["pixels"].to_numpy().sum() * 100, rel=0.03)


def test_tiles_are_gzipped_vector_tiles_of_version_3(made, tmp_path):
    path = tmp_path / "a.pmtiles"
    written(made, path)
    data = path.read_bytes()
    assert data[:8] == b"PMTiles\x03"
    begin, size = (int.from_bytes(data[at : at + 8], "little") for at in (56, 64))
    first = gzip.decompress(data[begin : begin + size])
    assert first[0] == 0x1A  # a layer
    assert b"land_use" in first[:20]
    assert b"#006400" in first


@pytest.mark.parametrize(
    ("grid", "levels"),
    [
        (GeoBox((10_980, 10_980), NORTH_UP, "EPSG:32633"), (7, 12)),
        (GeoBox((1, 1), NORTH_UP, "EPSG:32633"), (21, 21)),
        (GeoBox((1800, 3600), Affine(0.1, 0, -180, 0, -0.1, 90), "EPSG:4326"), (0, 2)),
        (GeoBox((8000, 8000), Affine(1000, 0, -4e6, 0, -1000, 4e6), "EPSG:3031"), (0, 6)),
    ],
)
def test_levels_suit_extent_and_pixels(grid, levels):
    assert zoom_levels(grid) == levels


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_grid_without_crs_is_refused(made, tmp_path, suffix):
    with pytest.raises(ProductError, match="CRS"):
        write_vector(
            tmp_path / f"a{suffix}", made, **{**SHOWN, "grid": GeoBox((9, 9), NORTH_UP, None)}
        )
    assert not list(tmp_path.iterdir())


def test_formats_that_are_not_known_are_refused(made, tmp_path):
    with pytest.raises(InputError, match=r"a\.shp: .*\.gpkg or \.parquet or \.fgb or \.pmtiles"):
        written(made, tmp_path / "a.shp")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_fails_while_polygons_come_is_told_as_it_is(tmp_path, suffix):
    class Broken(Source):
        def __iter__(self):
            yield from super().__iter__()
            raise BlockError("block 7 is damaged")

    whole = squares(30)
    with pytest.raises(BlockError, match="block 7 is damaged"):
        write_vector(tmp_path / f"a{suffix}", Broken(whole.table, 10), **SHOWN)
    assert not list(tmp_path.iterdir())
