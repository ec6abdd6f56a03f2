"""Outlines of class rasters of anyone's, by the command line and from Python."""

import hashlib
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from class_rasters import NAMES, PALETTE, TABLE, codes, name, paint
from outlined import categories, polygons, shapes, style, vectorize
from polygon_reference import as_set
from rasters import DEGREES, ROTATED, SOUTH_UP, write

import geoseg
from geoseg.cli import run
from geoseg.errors import SceneError
from geoseg.legend import LEGENDS

pytestmark = pytest.mark.cluster


def test_names_and_colours_of_palette_and_categories(tmp_path):
    raster = write(tmp_path / "in.tif", codes(), nodata=0, transform=ROTATED)
    paint(raster)
    name(raster, NAMES)
    out = vectorize(raster, tmp_path / "out.gpkg")
    assert polygons(out) == shapes(raster)
    assert style(out) == {
        1: ("Water", PALETTE[1]),
        2: ("Trees", PALETTE[2]),
        3: ("Shade", (0, 0, 0)),
        5: ("Built", PALETTE[5]),
    }
    frame = pyogrio.read_dataframe(out, layer="land_use")
    assert set(frame.class_name) == {"Water", "Trees", "Shade", "Built"}
    first = out.read_bytes()
    vectorize(raster, out)
    assert hashlib.sha256(out.read_bytes()).digest() == hashlib.sha256(first).digest()


def test_an_attribute_table_goes_before_all_else(tmp_path):
    raster = write(tmp_path / "in.tif", codes(), nodata=255, transform=SOUTH_UP)
    paint(raster)
    Path(f"{raster}.aux.xml").write_text(TABLE)
    out = vectorize(raster, tmp_path / "out.gpkg")
    assert polygons(out) == shapes(raster)
    found = style(out)
    assert found[1] == ("Lake", (1, 2, 3))
    assert found[2] == ("Wald & Wiese", (4, 5, 6))
    assert set(found) == {0, 1, 2, 3, 5}, "9 is in the table, but not in the raster"
    assert found[3][0] == "Class 3"
    assert found[5] == ("Class 5", PALETTE[5])


def test_every_code_without_nodata_names_or_palette(tmp_path):
    values = codes()
    values[40:50, 60:70] = 255
    raster = write(tmp_path / "in.tif", values, transform=DEGREES, crs="EPSG:4326")
    out = vectorize(raster, tmp_path / "out.gpkg")
    assert polygons(out) == shapes(raster)
    found = style(out)
    assert {code: text for code, (text, _) in found.items()} == {
        code: f"Class {code}" for code in (0, 1, 2, 3, 5, 255)
    }
    assert len({color for _, color in found.values()}) == 6


@pytest.mark.parametrize("dtype", ["int16", "uint16"])
def test_wide_numbers_with_odd_nodata_in_many_blocks_to_parquet(tmp_path, dtype):
    nodata = np.iinfo(dtype).min if dtype == "int16" else 65535
    values = codes((2100, 45)).astype(dtype)
    values[values == 0] = nodata
    raster = write(tmp_path / "in.tif", values, nodata=nodata)
    out = vectorize(raster, tmp_path / "out.parquet")
    import geopandas

    frame = geopandas.read_parquet(out)
    assert frame.crs == "EPSG:32629"
    assert as_set(frame.geometry.values, frame.class_code.tolist()) == shapes(raster)
    found = categories(ET.fromstring((tmp_path / "out.qml").read_text()))  # noqa: S314 (our own)
    assert set(found) == {1, 2, 3, 5}


def test_pixels_hidden_by_a_mask_have_no_class(tmp_path):
    values, (rows, cols) = codes(), np.indices((130, 170))
    hidden = (rows - 60) ** 2 + (cols - 80) ** 2 < 900
    raster = write(tmp_path / "in.tif", values, mask=np.where(hidden, 0, 255).astype("u1"))
    assert polygons(vectorize(raster, tmp_path / "out.gpkg")) == shapes(raster)


def test_corners_join_with_eight(tmp_path):
    raster = write(tmp_path / "in.tif", codes(), nodata=0)
    out = vectorize(raster, tmp_path / "out.gpkg", "--connectivity", "8")
    info = pyogrio.read_info(out, layer="land_use")
    assert info["geometry_type"] == "MultiPolygon"
    frame = pyogrio.read_dataframe(out, layer="land_use")
    assert frame.geometry.is_valid.all()
    # GDAL's polygons of 8 touch themselves: what they cover is compared, class by class.
    four = {code: [] for code in (1, 2, 3, 5)}
    for wkb, code in shapes(raster):
        four[code].append(shapely.from_wkb(wkb))
    for code, parts in four.items():
        ours = shapely.union_all(frame.geometry[frame.class_code == code].values)
        assert ours.symmetric_difference(shapely.union_all(parts)).area == 0
    assert len(frame) == len(shapes(raster, connectivity=8)) < len(shapes(raster))
    flat = vectorize(raster, tmp_path / "out.parquet", "--connectivity", "8")
    geo = json.loads(pq.read_metadata(flat).metadata[b"geo"])
    assert geo["columns"]["geometry"]["geometry_types"] == ["MultiPolygon"]


def test_only_some_classes_and_no_small_ones(tmp_path, capsys):
    raster = write(tmp_path / "in.tif", codes(), nodata=0, transform=DEGREES, crs="EPSG:4326")
    name(raster, NAMES)
    out = tmp_path / "out.gpkg"
    options = ("--classes", "trees, BUILT", "--min-area", "6 px", "--small", "drop")
    vectorize(raster, out, *options)
    frame = pyogrio.read_dataframe(out, layer="land_use")
    assert set(frame.class_name) == {"Trees", "Built"} == {text for text, _ in style(out).values()}
    wanted = [pair for pair in shapes(raster) if pair[1] in (2, 5)]
    areas = [shapely.from_wkb(wkb).area / 1e-8 for wkb, _ in wanted]
    kept = [pair for pair, pixels in zip(wanted, areas, strict=True) if pixels > 5.5]
    assert as_set(frame.geometry.values, frame.class_code.tolist()) == kept
    assert frame.pixels.min() == 6
    assert (
        capsys.readouterr().out
        == f"{out}: {len(kept)} polygons, {len(wanted) - len(kept)} smaller ones left out\n"
    )
    vectorize(raster, out, "--min-area", "0.1 ha", "--small", "drop")
    metres = pyogrio.read_dataframe(out, layer="land_use")
    assert metres.area_m2.min() >= 1000
    assert len(metres) < len(shapes(raster))


def test_a_known_legend(tmp_path):
    values = codes() * 10
    values[:9, -9:] = 77
    raster = write(tmp_path / "in.tif", values)
    name(raster, ["None", "Mine"])
    out = vectorize(raster, tmp_path / "out.gpkg", "--legend", "worldcover")
    assert polygons(out) == shapes(raster, nodata=0), "the legend says what nodata is"
    known = {c.value: (c.name, c.rgb) for c in LEGENDS["worldcover"].classes}
    found = style(out)
    assert found.pop(77)[0] == "Class 77", "what the legend lacks is drawn too"
    assert found == {code: known[code] for code in (10, 20, 30, 50)}


def test_nothing_but_nodata(tmp_path):
    raster = write(tmp_path / "in.tif", np.zeros((9, 7), np.uint8), nodata=0)
    for suffix in (".gpkg", ".parquet"):
        out = vectorize(raster, tmp_path / f"out{suffix}")
        assert (
            len(
                pyogrio.read_dataframe(out, layer="land_use")
                if suffix == ".gpkg"
                else pq.read_table(out)
            )
            == 0
        )
    assert "touches_edge" in pq.read_schema(out).names


def test_one_pixel_from_python(tmp_path):
    raster = write(tmp_path / "in.tif", np.full((1, 1), 7, np.uint8))
    assert geoseg.vectorize(raster, tmp_path / "deep/er/out.gpkg", workers=1).polygons == 1
    assert polygons(tmp_path / "deep/er/out.gpkg") == shapes(raster)


def test_worker_processes_and_threads_write_the_same_bytes(tmp_path):
    raster = write(tmp_path / "in.tif", codes((2100, 45)), nodata=0)
    assert vectorize(raster, tmp_path / "a.gpkg", "--workers", "2").read_bytes() == (
        vectorize(raster, tmp_path / "b.gpkg").read_bytes()
    )


@pytest.mark.parametrize("workers", [None, 1])
@pytest.mark.parametrize("wrong", [300, -3])
def test_numbers_that_are_no_codes(tmp_path, wrong, workers, capsys):
    values = codes().astype(np.int16)
    values[77, 88] = wrong
    raster = write(tmp_path / "in.tif", values, nodata=-9999)
    out = tmp_path / "out.gpkg"
    on = [] if workers is None else ["--workers", str(workers)]
    assert run(["vectorize", raster, str(out), *on, "-q"]) == 2
    told = capsys.readouterr().err.strip()
    assert told.endswith(f"{raster}: holds {wrong}; class codes are 0 to 255")
    assert len(told.splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["in.tif"]
    with pytest.raises(SceneError, match=f"^{raster}: holds {wrong}; class codes are 0 to 255$"):
        geoseg.vectorize(raster, out, workers=workers)
