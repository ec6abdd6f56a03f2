"""What there is to show of products, and how it is drawn."""

import hashlib
import io
import json
import shutil
import sqlite3
import sys
from contextlib import closing
from math import asinh, pi, radians, tan

import numpy as np
import pyarrow as pa
import pytest
import rasterio
import shapely
from affine import Affine
from map_products import GRID, LEVELS, alert_batch, write_alerts, write_product
from odc.geo.geobox import GeoBox
from PIL import Image
from products import LEGEND
from rasterio.warp import transform
from rasters import write

from geoseg.api.viewer.layers import find_products, known_classes
from geoseg.api.viewer.reviewing import Desk, write_labels
from geoseg.cli import run
from geoseg.errors import InputError
from geoseg.io.map_tiles import (
    BandFile,
    Tile,
    TileReader,
    class_table,
    percent_table,
    picture_webp,
    table_png,
)
from geoseg.io.polygon_layers import outlines_of, read_layers
from geoseg.io.polygon_search import (
    Wanted,
    geometries,
    polygon_at,
    polygon_list,
    shown_polygons,
)

pytest.importorskip("rio_tiler")
# rasterio 1.4 multiplies transforms as affine 3 would rather not; rio-tiler makes it do so.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("products")
    write_product(place, "2024-05-01")
    write_alerts(place / "alerts.gpkg")
    return place


@pytest.fixture(scope="module")
def product(folder):
    return folder / "map-2024-05-01"


@pytest.fixture(scope="module")
def reader():
    made = TileReader()
    yield made
    made.close()


def tile_at(lon, lat, z):
    side = 2**z
    return Tile(
        z, int((lon + 180) / 360 * side), int((1 - asinh(tan(radians(lat))) / pi) / 2 * side)
    )


def test_a_folder_shows_its_scene_classes_confidence_and_polygons(product):
    (found,) = find_products([product])
    assert (found.name, found.day) == ("map-2024-05-01", "2024-05-01")
    assert [layer.kind for layer in found.rasters] == ["image", "classes", "percent"]
    assert [c.name for c in found.rasters[1].legend.classes] == [c.name for c in LEGEND.classes]
    assert [layer.title for layer in found.polygons] == ["Land use"]
    assert [entry for entry, _ in found.polygons[0].classes] == list(LEGEND.classes)


def test_polygons_may_be_called_what_the_map_knows(product):
    found = find_products([product])
    known = known_classes(found)
    assert known == {product / "polygons.gpkg": LEGEND.classes}
    (layer,) = found[0].polygons
    assert Desk("Anna", (), known).labels_for(layer) == [c.name for c in LEGEND.classes]
    assert Desk("Anna", ("Swamp",), known).labels_for(layer) == ["Swamp"]


def test_without_rio_tiler_it_says_what_to_install(product, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rio_tiler.reader", None)
    assert run(["view", str(product), "--no-open"]) == 2
    assert "pip install 'geoseg[view]'" in capsys.readouterr().err


def test_single_files_are_shown_in_order_of_time(folder, product):
    later, image = folder / "loss-2025-01-01.gpkg", folder / "scene-2024-05-01.tif"
    shutil.copy(folder / "alerts.gpkg", later)
    found = find_products([later, product / "classes.tif", product / "confidence.tif", image])
    assert [one.day for one in found] == ["2024-05-01"] * 3 + ["2025-01-01"]
    assert [one.rasters[0].kind for one in found[:3]] == ["classes", "percent", "image"]
    assert found[3].polygons[0].is_alerts


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("missing", "no such file or folder"),
        ("empty", "has nothing to show"),
        ("text.tif", "cannot be shown"),
        ("text.gpkg", "cannot be read as a GeoPackage"),
        ("float.tif", None),
    ],
)
def test_what_cannot_be_shown_is_refused(tmp_path, capsys, what, words):
    (tmp_path / "empty").mkdir()
    for name in ("text.tif", "text.gpkg"):
        (tmp_path / name).write_text("no raster, no database" * 100)
    write(tmp_path / "float.tif", np.zeros((9, 9), np.float32))
    if words is None:
        assert find_products([tmp_path / what])[0].rasters[0].kind == "image"
        return
    assert run(["view", str(tmp_path / what), "--no-open"]) == 2
    said = capsys.readouterr().err
    assert what in said
    assert words in said


def test_a_port_that_is_taken_is_told(product, capsys):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["view", str(product), "--no-open", "--port", str(port)]) == 2
    assert f"--port {port}" in capsys.readouterr().err


@pytest.mark.parametrize("zoom", [13, 15, 17])
def test_tiles_have_the_pixels_of_the_product(product, reader, zoom):
    """Against what GDAL says of the file at the middle of each pixel of the tile."""
    band = BandFile(product / "classes.tif")
    tile = tile_at(-8.97, 53.238, zoom)
    (values,), seen = reader.read([band], tile)
    west, south, east, north = tile.bounds
    at = (np.arange(512) + 0.5) / 512
    xs, ys = np.meshgrid(west + (east - west) * at, north - (north - south) * at)
    with rasterio.open(band.path) as source:
        x, y = transform("EPSG:3857", source.crs, xs.ravel(), ys.ravel())
        cols, rows = (~source.transform) @ (np.array(x), np.array(y))
        whole = source.read(1)
    inside = (rows >= 1) & (rows < 279) & (cols >= 1) & (cols < 349)
    truth = np.zeros(512 * 512, np.uint8)
    truth[inside] = whole[rows[inside].astype(int), cols[inside].astype(int)]
    same = (values.ravel() == truth) & (seen.ravel() == (truth != LEGEND.nodata))
    # Where a pixel of the tile meets an edge, either neighbour may be nearest.
    assert same[inside].mean() > (0.9 if zoom == 13 else 0.99)


@pytest.mark.parametrize("overviews", [(), (2, 4)])
def test_zoomed_out_tiles_have_pixels_of_the_file(tmp_path, reader, overviews):
    """With overviews, and without: each pixel of a tile is one that lies near it."""
    grid = np.add.outer(np.arange(2000), np.arange(3000)).astype(np.uint16) + 1
    where = Affine(10, 0, 500_000, 0, -10, 5_900_000)
    path = write(tmp_path / "steps.tif", grid, transform=where, crs="EPSG:32629", nodata=0,
                 tiled=True)  # fmt: skip
    if overviews:
        with rasterio.open(path, "r+") as source:
            source.build_overviews(overviews, rasterio.enums.Resampling.nearest)
    tile = tile_at(-8.9, 53.2, 9)
    (values,), seen = reader.read([BandFile(path)], tile)
    west, south, east, north = tile.bounds
    at = (np.arange(512) + 0.5) / 512
    xs, ys = np.meshgrid(west + (east - west) * at, north - (north - south) * at)
    x, y = transform("EPSG:3857", "EPSG:32629", xs.ravel(), ys.ravel())
    cols, rows = (plane.reshape(512, 512) for plane in (~where) @ (np.array(x), np.array(y)))
    inside = (rows >= 0) & (rows < 2000) & (cols >= 0) & (cols < 3000)
    assert 1000 < inside.sum() < 512 * 512
    assert (seen == inside).mean() > 0.999
    both = seen & inside
    wide = (east - west) / 512 / 10  # pixels of the file that one of the tile is wide, or more
    assert np.abs(values[both].astype(float) - (rows + cols + 1)[both]).max() < 3 * wide


def test_a_png_has_the_colours_and_hides_what_is_not_asked_for():
    rng = np.random.default_rng(1)
    codes = rng.choice(np.array([0, 10, 20, 80], np.uint8), (512, 512))
    seen = codes != 0
    drawn = np.asarray(
        Image.open(io.BytesIO(table_png(codes, seen, class_table(LEGEND)))).convert("RGBA")
    )
    for entry in LEGEND.classes:
        assert (drawn[codes == entry.value] == (*entry.rgb, 255)).all()
    assert (drawn[~seen][:, 3] == 0).all()
    png = table_png(codes, seen, class_table(LEGEND, {10}))
    only = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))
    assert ((only[..., 3] == 255) == (codes == 10)).all()


def test_percents_below_the_least_are_not_drawn():
    values = np.arange(101, dtype=np.uint8)[None].repeat(2, 0)
    png = table_png(values, np.ones((2, 101), np.bool_), percent_table(40))
    drawn = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))[0]
    assert (drawn[:40, 3] == 0).all()
    assert (drawn[40:, 3] == 255).all()
    assert tuple(drawn[100, :3]) == (0xFD, 0xE7, 0x25)


def test_an_image_is_stretched_and_holes_in_it_are_transparent():
    band = np.array([[0, 100, 200, 400]], np.uint16)
    png = picture_webp(np.stack([band] * 3), band > 0, [(100.0, 300.0)] * 3)
    drawn = np.asarray(Image.open(io.BytesIO(png)))
    assert drawn[0, :, 3].tolist() == [0, 255, 255, 255]
    assert drawn[0, 1:, 0].tolist() == [0, 127, 255]  # without loss


def test_values_outside_and_in_holes_are_none(product, reader):
    band = BandFile(product / "classes.tif")
    assert reader.value_at(band, -8.99999, 53.24) is None  # nodata
    assert reader.value_at(band, 10, 10) is None
    assert reader.value_at(band, 190, 95) is None
    assert reader.value_at(band, -8.97, 53.24) in LEGEND.values


@pytest.mark.parametrize("numbers", [(0, 1, 0), (-1, 0, 0), (3, 0, 8), (25, 0, 0)])
def test_tiles_that_are_not_there(numbers):
    with pytest.raises(InputError, match="there is no tile"):
        Tile(*numbers)


def test_polygons_are_those_of_the_box_largest_first(folder):
    (layer,) = read_layers(folder / "alerts.gpkg")
    assert layer.crs.to_epsg() == 32629
    assert [entry for entry, _ in layer.classes] == list(LEVELS)
    everywhere = (-180.0, -90.0, 180.0, 90.0)
    found = shown_polygons(layer, Wanted(), box=everywhere, pixel=1e-6)
    told = [json.loads(text) for text in found.features]
    assert [one["id"] for one in told] == [6, 5, 4, 3, 2, 1] == polygon_list(layer, Wanted())
    assert found.hectares == pytest.approx(21)
    truth = alert_batch().column("geometry").to_pylist()
    for one in told:
        xy = shapely.get_coordinates(shapely.from_wkb(truth[one["id"] - 1]))
        lon, lat = transform(GRID.crs.wkt, "EPSG:4326", xy[:, 0], xy[:, 1])
        there = shapely.Polygon(np.column_stack([lon, lat]))
        assert shapely.hausdorff_distance(there, shapely.geometry.shape(one["geometry"])) < 1e-6
    west, south, east, north = polygon_at(layer, 2)["box"]
    few = shown_polygons(layer, Wanted(), box=(west, south, east, north), pixel=1e-6)
    assert few.count == 1
    assert shown_polygons(layer, Wanted(classes=frozenset()), box=everywhere, pixel=1).count == 0


def test_a_polygon_with_many_holes_comes_in_parts_that_leave_all_of_them_free(tmp_path):
    x0, y0 = GRID.affine.c, GRID.affine.f - 2800
    at = [(x0 + 60 * i, y0 + 60 * j) for i in range(1, 41) for j in range(1, 41)]
    holes = [shapely.box(x, y, x + 30, y + 30).exterior.coords[:] for x, y in at]
    sieve = shapely.Polygon(shapely.box(x0, y0, x0 + 2500, y0 + 2500).exterior.coords, holes)
    batch = alert_batch(1)
    batch = batch.set_column(0, "geometry", pa.array([shapely.to_wkb(sieve)], pa.binary()))
    (layer,) = read_layers(write_alerts(tmp_path / "sieve.gpkg", batch))
    found = shown_polygons(layer, Wanted(), box=layer.extent, pixel=1e-6)
    told = [json.loads(text) for text in found.features]
    assert (found.sent, found.count, {one["id"] for one in told}) == (1, 1, {1})
    parts = [
        shapely.geometry.shape(t["geometry"]) for t in told if t["properties"]["only"] == "fill"
    ]
    (lines,) = [t["geometry"] for t in told if t["properties"]["only"] == "line"]
    assert all(part.is_valid and len(part.interiors) < 500 for part in parts)
    whole = outlines_of(layer, [geometries(layer, ["2022-000"])[0][2]])[0]
    assert shapely.unary_union(parts).symmetric_difference(whole).area < 1e-4 * whole.area
    assert lines["type"] == "MultiLineString"
    assert len(lines["coordinates"]) == 1601
    # From afar, where a hole is no pixel wide, there is nothing to cut.
    far = shown_polygons(layer, Wanted(), box=layer.extent, pixel=1e-3)
    assert len(far.features) == 1


def test_what_is_far_beyond_the_view_is_not_sent(tmp_path):
    x0, y0 = GRID.affine.c, GRID.affine.f
    batch = alert_batch(1)
    large = shapely.Point(x0, y0).buffer(50_000, quad_segs=5000)
    batch = batch.set_column(0, "geometry", pa.array([shapely.to_wkb(large)], pa.binary()))
    (layer,) = read_layers(write_alerts(tmp_path / "large.gpkg", batch))
    box = (-9.001, 53.24, -8.999, 53.242)
    (text,) = shown_polygons(layer, Wanted(), box=box, pixel=1e-6).features
    assert len(text) < 1000
    shape = shapely.geometry.shape(json.loads(text)["geometry"])
    assert shape.contains(shapely.box(*box))


def test_a_layer_without_an_index_is_refused(tmp_path, folder):
    path = shutil.copy(folder / "alerts.gpkg", tmp_path / "a.gpkg")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE rtree_alerts_geom")
        connection.commit()
    with pytest.raises(InputError, match="no spatial index; write it anew: ogr2ogr"):
        read_layers(path)


def test_an_empty_layer_and_one_across_the_pole_are_shown(tmp_path):
    empty = write_alerts(tmp_path / "empty.gpkg", alert_batch().slice(0, 0))
    (layer,) = read_layers(empty)
    assert layer.count == 0
    assert layer.span == {}
    grid = GeoBox((100, 100), Affine(100, 0, -5000, 0, -100, 5000), "EPSG:3413")
    polar = write_alerts(tmp_path / "polar.gpkg", alert_batch(grid=grid), grid)
    (layer,) = read_layers(polar)
    assert shown_polygons(layer, Wanted(), box=(-180, 80, 180, 90), pixel=0.1).count == 6


def test_labels_want_reviews_and_a_name_that_fits(folder, tmp_path):
    layers = read_layers(folder / "alerts.gpkg")
    with pytest.raises(InputError, match="no polygon was reviewed yet"):
        write_labels(Desk("Anna"), layers, tmp_path / "labels.geojson")
    with pytest.raises(InputError, match=r"call it labels\.geojson"):
        write_labels(Desk("Anna"), layers, tmp_path / "labels.shp")
    assert not list(tmp_path.iterdir())


def test_a_review_leaves_the_item_true(tmp_path):
    place = write_product(tmp_path, "2024-05-01")
    gpkg, item = place / "polygons.gpkg", place / "item.json"
    written = json.loads(item.read_text())
    written["assets"]["geopackage"] = {
        "href": "./polygons.gpkg",
        "file:size": 1,
        "file:checksum": "1220",
    }
    item.write_text(json.dumps(written))
    (layer,) = read_layers(gpkg)
    said = {"id": polygon_at(layer, 1)["id"], "verdict": "accepted"}
    Desk("Anna").take(layer, said)
    told = json.loads(item.read_text())
    assert told["assets"]["geopackage"]["file:size"] == gpkg.stat().st_size
    digest = hashlib.sha256(gpkg.read_bytes()).hexdigest()
    assert told["assets"]["geopackage"]["file:checksum"] == f"1220{digest}"
    del told["assets"]["geopackage"], written["assets"]["geopackage"]
    assert told == written


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"id": "2022-001", "verdict": "accepted", "seen": "0"}, "a review is"),
        ({"id": 7, "verdict": "accepted"}, "a review is"),
        ({"id": "nobody", "verdict": "accepted"}, "has no polygon nobody"),
        ({"id": "2022-001", "verdict": "relabelled", "label": "Mars"}, "is none of fire"),
    ],
)
def test_a_desk_takes_only_what_makes_sense(folder, said, words):
    (layer,) = read_layers(folder / "alerts.gpkg")
    with pytest.raises(InputError, match=words):
        Desk("Anna").take(layer, said)
    assert "geoseg_reviews" not in (folder / "alerts.gpkg").read_bytes().decode("latin-1")
