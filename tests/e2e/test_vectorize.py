"""Outlines of class rasters of anyone's, by the command line and from Python."""

import hashlib
import json
import sqlite3
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import rasterio
import rasterio.features
import rasterio.shutil
import shapely
from affine import Affine
from class_rasters import NAMES, PALETTE, TABLE, codes, name, paint
from in_qgis import open_in_qgis
from PIL import Image
from polygon_reference import as_set
from rasterio.enums import ColorInterp
from rasters import DEGREES, NORTH_UP, ROTATED, SOUTH_UP, write

import geoseg
from geoseg.cli import run
from geoseg.errors import InputError, SceneError
from geoseg.legend import LEGENDS

pytestmark = pytest.mark.cluster


def shapes(path, connectivity=4, keep=lambda code: True, nodata=None):
    """What GDAL makes of the whole raster."""
    with rasterio.open(path) as file:
        values, mask = file.read(1), file.read_masks(1) > 0
        if nodata is not None:
            mask &= values != nodata
        found = rasterio.features.shapes(values.astype("i4"), mask, connectivity, file.transform)
        pairs = [(shapely.geometry.shape(g), int(v)) for g, v in found if keep(int(v))]
    return as_set([g for g, _ in pairs], [v for _, v in pairs])


def polygons(path):
    frame = pyogrio.read_dataframe(path, layer="land_use")
    return as_set(frame.geometry.values, frame.class_code.tolist())


def style(path):
    """Code, name and colour of each category that the file brings."""
    with sqlite3.connect(path) as file:
        ((text, default),) = file.execute("SELECT styleQML, useAsDefault FROM layer_styles")
    assert default == 1
    return categories(ET.fromstring(text))  # noqa: S314 (our own)


def categories(root):
    fills = {
        symbol.get("name"): symbol.find(".//Option[@name='color']").get("value")
        for symbol in root.iter("symbol")
    }
    rgb = {name: tuple(map(int, fill.split(",")[:3])) for name, fill in fills.items()}
    return {
        int(c.get("value")): (c.get("label"), rgb[c.get("symbol")]) for c in root.iter("category")
    }


def vectorize(raster, out, *options):
    assert run(["vectorize", str(raster), str(out), "-q", *options]) == 0
    assert [p for p in out.parent.iterdir() if p.suffix == ".part"] == []
    return out


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


def refused(tmp_path, raster, out="out.gpkg", error=InputError, **options):
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    with pytest.raises(error) as caught:
        geoseg.vectorize(raster, tmp_path / out, **options)
    assert caught.value.exit_code == 2
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}, "nothing was written"
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_requests_that_cannot_be(tmp_path):
    raster = write(tmp_path / "in.tif", codes(), nodata=0)
    name(raster, NAMES)
    (tmp_path / "folder.gpkg").mkdir()
    told = refused(tmp_path, raster, classes=["Tree"])
    assert "has no class 'Tree'; its classes are Water, Trees, Shade, Built; code 7" in told
    assert "ends in .gpkg or .parquet" in refused(tmp_path, raster, "out.shp")
    assert "is a folder" in refused(tmp_path, raster, "folder.gpkg")
    assert "known: landcover" in refused(tmp_path, raster, legend="corine")
    assert "'0.25 ha'" in refused(tmp_path, raster, min_area="4 acres")
    assert "4 or 8" in refused(tmp_path, raster, connectivity=6)
    assert "no such file" in refused(tmp_path, tmp_path / "none.tif", error=SceneError)


def test_rasters_that_are_not_of_classes(tmp_path):
    floats = write(tmp_path / "floats.tif", codes().astype("f4"))
    assert "is float32, not class codes" in refused(tmp_path, floats)
    image = write(tmp_path / "image.tif", np.stack([codes()] * 3), photometric="RGB")
    assert "is a colour image" in refused(tmp_path, image)
    lost = write(tmp_path / "lost.tif", codes(), crs=None)
    assert "no CRS; give it one first (gdal_edit.py" in refused(tmp_path, lost)
    text = tmp_path / "text.tif"
    text.write_text("no raster")
    assert "not a raster that can be read" in refused(tmp_path, text)
    cut = tmp_path / "cut.tif"
    cut.write_bytes(Path(floats).read_bytes()[:30_000])
    assert "truncated" in refused(tmp_path, cut)


STORED = {
    "strips of odd height": {"blockysize": 7, "compress": "lzw"},
    "tiles": {"tiled": True, "blockxsize": 16, "blockysize": 48, "compress": "deflate"},
    "BigTIFF": {"BIGTIFF": "YES"},
    "four bits": {"nbits": 4},
    "int32": {"dtype": "int32"},
    "int8": {"dtype": "int8"},
    "uint32": {"dtype": "uint32"},
}


@pytest.mark.parametrize("how", STORED)
def test_any_way_to_store_codes(tmp_path, how):
    profile = dict(STORED[how])
    values = codes().astype(profile.pop("dtype", "uint8"))
    raster = write(tmp_path / "in.tif", values, nodata=0, **profile)
    assert polygons(vectorize(raster, tmp_path / "out.gpkg")) == shapes(raster)


def test_a_virtual_raster_of_several_files(tmp_path):
    values = codes()
    left = write(tmp_path / "left.tif", values[:, :85], nodata=0)
    right = write(
        tmp_path / "right.tif",
        values[:, 85:],
        nodata=0,
        transform=NORTH_UP @ Affine.translation(85, 0),
    )
    whole = write(tmp_path / "whole.tif", values, nodata=0)
    mosaic = tmp_path / "mosaic.vrt"
    sources = "".join(
        f'<SimpleSource><SourceFilename relativeToVRT="1">{Path(path).name}</SourceFilename>'
        f'<SourceBand>1</SourceBand><SrcRect xOff="0" yOff="0" xSize="85" ySize="130"/>'
        f'<DstRect xOff="{at}" yOff="0" xSize="85" ySize="130"/></SimpleSource>'
        for path, at in ((left, 0), (right, 85))
    )
    with rasterio.open(whole) as file:
        geo, srs = ", ".join(map(str, file.transform.to_gdal())), file.crs.to_string()
    mosaic.write_text(
        f'<VRTDataset rasterXSize="170" rasterYSize="130"><SRS>{srs}</SRS>'
        f"<GeoTransform>{geo}</GeoTransform>"
        f'<VRTRasterBand dataType="Byte" band="1"><NoDataValue>0</NoDataValue>{sources}'
        f"</VRTRasterBand></VRTDataset>"
    )
    out = vectorize(mosaic, tmp_path / "out.gpkg")
    assert polygons(out) == shapes(whole)


def test_pixels_hidden_by_an_alpha_band_have_no_class(tmp_path):
    values = codes()
    alpha = np.where(np.indices(values.shape).sum(0) % 50 < 9, 0, 255).astype(np.uint8)
    raster = write(tmp_path / "in.tif", np.stack([values, alpha]), photometric="MINISBLACK")
    with rasterio.open(raster, "r+") as file:
        file.colorinterp = (ColorInterp.gray, ColorInterp.alpha)
    assert polygons(vectorize(raster, tmp_path / "out.gpkg")) == shapes(raster)


@pytest.mark.parametrize("driver", ["COG", "GTiff"])
@pytest.mark.parametrize("kept", [450, 600, 1_000, 3_000, 10_000, 0.5, -10])
def test_a_file_that_is_cut_off_is_said_to_be(tmp_path, driver, kept):
    whole, cut = tmp_path / "whole.tif", tmp_path / "cut.tif"
    source = write(tmp_path / "in.tif", codes((900, 1100)), nodata=0)
    options = {"blocksize": 128} if driver == "COG" else {"tiled": True}
    rasterio.shutil.copy(source, whole, driver=driver, compress="deflate", **options)
    data = whole.read_bytes()
    cut.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    told = refused(tmp_path, cut, error=SceneError)
    assert "truncated" in told or "cut short or damaged" in told
    assert geoseg.vectorize(whole, tmp_path / "out.gpkg").polygons > 0


@pytest.mark.qgis
def test_qgis_draws_the_rasters_own_colours(tmp_path):
    raster = write(tmp_path / "in.tif", codes((60, 80)), nodata=0, transform=NORTH_UP)
    paint(raster)
    name(raster, NAMES)
    out = vectorize(raster, tmp_path / "out.gpkg")
    seen = open_in_qgis(tmp_path / "qgis", out, size=(80, 60), scale=8)
    (layer,) = seen["layers"]
    assert (layer["valid"], layer["invalid"], layer["by"]) == (True, 0, "class_code")
    assert layer["features"] == len(shapes(raster))
    assert [(code, text) for code, text, _ in layer["classes"]] == [
        (1, "Water"), (2, "Trees"), (3, "Shade"), (5, "Built"),
    ]  # fmt: skip
    assert layer["aliases"]["touches_edge"] == "At the edge"
    image = np.asarray(Image.open(layer["png"]).convert("RGB"))[4::8, 4::8]
    wanted = np.full((256, 3), 255, np.uint8)
    for code, rgb in PALETTE.items():
        wanted[code] = rgb
    wanted[0] = 255
    with rasterio.open(raster) as file:
        np.testing.assert_array_equal(image, wanted[file.read(1)])


CROPS = {
    "worldcover": ("worldcover_saotome_36000px", (33_000, 6_800, 500, 700)),
    "denver": ("lulc_1m_10000px", (4_000, 4_000, 500, 500)),
    "iowa": ("cdl_iowa_8000px", (3_000, 3_000, 600, 500)),
}


@pytest.mark.data
@pytest.mark.parametrize("which", CROPS)
def test_real_class_rasters(data_dir, tmp_path, which):
    folder, (row, col, height, width) = CROPS[which]
    (path,) = (data_dir / folder).glob("*.tif")
    window = rasterio.windows.Window(col, row, width, height)
    with rasterio.open(path) as file:
        values, palette = file.read(1, window=window), file.colormap(1)
        profile = {
            "nodata": file.nodata,
            "crs": file.crs,
            "transform": file.transform @ Affine.translation(col, row),
        }
    raster = write(tmp_path / "crop.tif", values, **profile)
    paint(raster, palette)
    options = ("--legend", "worldcover") if which == "worldcover" else ()
    out = vectorize(raster, tmp_path / "out.gpkg", *options)
    assert polygons(out) == shapes(raster)
    frame = pyogrio.read_dataframe(out, layer="land_use")
    assert len(frame) > 20
    found = style(out)
    assert set(found) == set(np.unique(values)) - {profile["nodata"]}
    for code, (_, rgb) in found.items():
        assert rgb == palette[code][:3] or palette[code][:3] == (0, 0, 0), code
    known = frame.area_m2.sum()
    side = {"worldcover": 9.27, "denver": 1.0, "iowa": 3.125}[which]
    assert known == pytest.approx(frame.pixels.sum() * side**2, rel=1e-2)
