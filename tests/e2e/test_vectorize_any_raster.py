"""Class rasters of any kind: outlined as GDAL does, or refused by name."""

from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.features
import rasterio.shutil
from affine import Affine
from class_rasters import NAMES, PALETTE, codes, name, paint
from in_qgis import open_in_qgis
from outlined import polygons, shapes, style, vectorize
from PIL import Image
from rasterio.enums import ColorInterp
from rasters import NORTH_UP, write

import geoseg
from geoseg.errors import InputError, SceneError

pytestmark = pytest.mark.cluster


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
