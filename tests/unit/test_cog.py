import hashlib

import numpy as np
import pytest
import rasterio
from products import GRIDS, LEGEND, ArrayStore, class_map, percents
from rasterio.crs import CRS
from rio_cogeo.cogeo import cog_validate

from geoseg.errors import ProductError
from geoseg.grid import full_window
from geoseg.io.cog import write_class_cog, write_confidence_cog, write_quality_cog
from geoseg.legend import LandClass, Legend
from geoseg.ops.distance import distance_to_invalid

TAGS = {"GEOSEG_RUN": "é 1", "TIFFTAG_SOFTWARE": "geoseg"}


@pytest.fixture(params=GRIDS)
def grid(request):
    return GRIDS[request.param]


def check(path, grid, values, nodata):
    valid, errors, warnings = cog_validate(path, strict=True, quiet=True)
    assert valid, (errors, warnings)
    with rasterio.open(path) as source:
        np.testing.assert_array_equal(source.read(1), values)
        assert tuple(source.transform) == tuple(grid.affine)
        assert source.crs == CRS.from_wkt(grid.crs.wkt)
        assert source.nodata == nodata
        assert source.compression.name == "deflate"
        assert source.tags()["GEOSEG_RUN"] == "é 1"
        assert source.tags()["TIFFTAG_SOFTWARE"] == "geoseg"
        assert bool(source.overviews(1)) == (max(values.shape) > 512)


def test_classes_are_a_valid_cog_in_its_place(tmp_path, grid):
    values = class_map(full_window(grid).shape)
    path = tmp_path / "classes.tif"
    counts = write_class_cog(ArrayStore(values), grid, LEGEND, path, tags=TAGS)
    check(path, grid, values, LEGEND.nodata)
    np.testing.assert_array_equal(counts, np.bincount(values.ravel(), minlength=256))
    with rasterio.open(path) as source:
        colors = source.colormap(1)
        assert {c.value: colors[c.value] for c in LEGEND.classes} == {
            c.value: (*c.rgb, 255) for c in LEGEND.classes
        }
        assert colors[LEGEND.nodata][3] == 0
        assert source.descriptions == ("test cover",)
    assert [p.name for p in tmp_path.iterdir()] == ["classes.tif"]


def test_confidence_is_a_valid_cog_in_its_place(tmp_path, grid):
    values = percents(full_window(grid).shape)
    path = tmp_path / "confidence.tif"
    write_confidence_cog(ArrayStore(values), grid, path, tags=TAGS)
    check(path, grid, values, 255)
    with rasterio.open(path) as source:
        assert source.descriptions == ("confidence (percent)",)


def test_overviews_of_classes_hold_the_majority_of_what_is_known(tmp_path):
    grid = GRIDS["north-up"]
    values = np.full((1100, 700), LEGEND.nodata, np.uint8)
    values[0::2, 0::2] = 10  # one pixel of four, the others unknown
    values[1000:] = 80
    values[1000::2, 0::2] = 20  # one of four against three
    path = tmp_path / "classes.tif"
    write_class_cog(ArrayStore(values), grid, LEGEND, path, tags={})
    with rasterio.open(path, overview_level=0) as source:
        small = source.read(1)
    assert set(np.unique(small[:499])) <= {10, LEGEND.nodata}
    assert (small[:499] == 10).any()
    assert (small[501:] == 80).all()


def test_overviews_of_confidence_are_averages_of_what_is_known(tmp_path):
    values = np.full((1100, 700), 255, np.uint8)
    values[0::2, 0::2], values[1::2, 1::2] = 20, 60
    path = tmp_path / "confidence.tif"
    write_confidence_cog(ArrayStore(values), GRIDS["north-up"], path, tags={})
    with rasterio.open(path, overview_level=0) as source:
        assert set(np.unique(source.read(1))) == {40}


def test_the_raster_is_never_held_whole(tmp_path):
    store = ArrayStore(class_map((1100, 700)))
    write_class_cog(store, GRIDS["north-up"], LEGEND, tmp_path / "a.tif", tags={}, blocksize=128)
    assert store.most == 128 * 700


def test_same_input_gives_same_bytes(tmp_path):
    values = class_map((1100, 700))
    for name in ("a.tif", "b.tif"):
        write_class_cog(ArrayStore(values), GRIDS["north-up"], LEGEND, tmp_path / name, tags=TAGS)
    a, b = (hashlib.sha256((tmp_path / n).read_bytes()).digest() for n in ("a.tif", "b.tif"))
    assert a == b


def test_a_code_beyond_the_legend_is_refused_and_the_old_file_stays(tmp_path):
    values = class_map((600, 700))
    path = tmp_path / "classes.tif"
    write_class_cog(ArrayStore(values), GRIDS["rotated"], LEGEND, path, tags={})
    before = path.read_bytes()
    values[555, 5] = 17
    with pytest.raises(ProductError, match=r"hold the number 17.*'test cover' has 10, 20, 80"):
        write_class_cog(ArrayStore(values), GRIDS["rotated"], LEGEND, path, tags={})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["classes.tif"]


def test_confidence_beyond_100_is_refused(tmp_path):
    values = np.full((1, 1), 101, np.uint8)
    with pytest.raises(ProductError, match=r"number 101, but confidence is 0\.\.100"):
        write_confidence_cog(ArrayStore(values), GRIDS["one-pixel"], tmp_path / "c.tif", tags={})


def test_code_255_may_be_a_class(tmp_path):
    legend = Legend("l", (LandClass(0, "a", "#000000"), LandClass(255, "b", "#ffffff")), nodata=7)
    values = np.array([[255]], np.uint8)
    path = tmp_path / "a.tif"
    write_class_cog(ArrayStore(values), GRIDS["one-pixel"], legend, path, tags={})
    with rasterio.open(path) as source:
        assert source.read(1).item() == 255
        assert source.colormap(1)[255] == (255, 255, 255, 255)


def test_a_sidecar_of_the_file_before_goes(tmp_path):
    sidecar = tmp_path / "a.tif.aux.xml"
    sidecar.write_text("<PAMDataset>of another raster</PAMDataset>")
    values = class_map((1, 1))
    write_class_cog(ArrayStore(values), GRIDS["one-pixel"], LEGEND, tmp_path / "a.tif", tags={})
    assert not sidecar.exists()


def test_quality_is_a_valid_cog_without_nodata(tmp_path, grid):
    shape = full_window(grid).shape
    seen = np.random.default_rng(1).integers(0, 4, shape).astype(np.uint8)
    seen[: shape[0] // 2] = 254
    path = tmp_path / "quality.tif"
    counts = write_quality_cog(ArrayStore(seen), grid, path, tags=TAGS)
    check(path, grid, seen, None)
    assert counts.sum() == 2 * seen.size
    with rasterio.open(path) as source:
        assert source.descriptions == ("observations", "distance to invalid (pixels)")
        np.testing.assert_array_equal(source.read(2), distance_to_invalid(seen > 0))
