"""The order of bytes in a COG: what remote readers get at once, BigTIFF, and files that are cut off."""

import numpy as np
import pytest
import rasterio
from judges import check_cogs
from odc.geo.geobox import GeoBox
from products import LEGEND, ArrayStore, class_map, percents
from range_server import serving
from rasterio.windows import Window
from rasters import NORTH_UP, UTM

from geoseg.errors import ProductError
from geoseg.io import cog, cog_layout
from geoseg.io.cog import write_class_cog, write_percent_cog
from geoseg.io.cog_layout import lay_out
from geoseg.io.cog_levels import TileFiles
from geoseg.io.environment import gdal_env
from geoseg.io.read_back import Written
from geoseg.io.tiff_palette import patch_palette

SHAPE = 1100, 700
GRID = GeoBox(SHAPE, NORTH_UP, UTM)


def made(path, *, bands=1, side=64):
    if bands == 1:
        values = class_map(SHAPE)[None]
        write_class_cog(ArrayStore(values[0]), GRID, LEGEND, path, tags={"A": "b"}, blocksize=side)
    else:
        values = np.stack([percents(SHAPE, seed) for seed in range(bands)])
        stores, names = [ArrayStore(v) for v in values], [f"b{k}" for k in range(bands)]
        write_percent_cog(stores, GRID, path, names, tags={"A": "b"}, blocksize=side)
    return values


@pytest.mark.parametrize("bands", [1, 3])
def test_a_bigtiff_holds_the_same(tmp_path, monkeypatch, bands):
    values = made(tmp_path / "a.tif", bands=bands)
    real = cog_layout.lay_out
    monkeypatch.setattr(cog, "lay_out", lambda *files: real(*files, most=0))
    made(tmp_path / "b.tif", bands=bands)
    heads = [(tmp_path / name).read_bytes()[:4] for name in ("a.tif", "b.tif")]
    assert heads == [b"II*\0", b"II+\0"]
    check_cogs(tmp_path / "a.tif", tmp_path / "b.tif")
    with rasterio.open(tmp_path / "a.tif") as a, rasterio.open(tmp_path / "b.tif") as b:
        np.testing.assert_array_equal(b.read(), values)
        assert a.profile == b.profile
        assert a.tags() == b.tags()
        assert a.descriptions == b.descriptions
        assert a.overviews(1) == b.overviews(1) == [2, 4, 8, 16, 33]
    for level in range(5):
        with (
            rasterio.open(tmp_path / "a.tif", overview_level=level) as a,
            rasterio.open(tmp_path / "b.tif", overview_level=level) as b,
        ):
            np.testing.assert_array_equal(a.read(), b.read())


def test_all_levels_have_the_palette_which_can_be_changed_in_place(tmp_path):
    path = tmp_path / "a.tif"
    values = made(path)
    assert patch_palette(path, {10: (1, 2, 3)})
    for level in (None, 0, 4):
        with rasterio.open(path, **({} if level is None else {"overview_level": level})) as file:
            assert file.colormap(1)[10][:3] == (1, 2, 3)
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), values[0])
    check_cogs(path)


@pytest.mark.parametrize("bands", [1, 3])
def test_a_remote_reader_asks_once_for_all_directories_and_once_for_a_tile(tmp_path, bands):
    values = made(tmp_path / "a.tif", bands=bands, side=128)
    with serving(tmp_path) as server, gdal_env(remote=True):
        with rasterio.open(f"/vsicurl/{server.url}/a.tif") as file:
            assert file.overviews(1) == [2, 4, 8, 16]
            opened = [one for one in server.asked if one.startswith("GET")]
            assert len(opened) == 1
            inside = Window(128, 896, 128, 128)
            found = file.read(bands, window=Window(128, 896, 128, 128))
            np.testing.assert_array_equal(found, values[bands - 1][inside.toslices()])
        asked = [one for one in server.asked if one.startswith("GET")]
    assert len(asked) <= 2


def test_bytes_around_tiles_are_what_the_header_says(tmp_path):
    path = tmp_path / "a.tif"
    made(path)
    content = path.read_bytes()
    with rasterio.open(path) as file:
        rows, columns = (-(-n // 64) for n in SHAPE)
        ends = 0
        for block in range(rows * columns):
            name = f"{block % columns}_{block // columns}"
            offset, size = (
                int(file.get_tag_item(f"BLOCK_{what}_{name}", "TIFF", bidx=1))
                for what in ("OFFSET", "SIZE")
            )
            tile = content[offset : offset + size]
            assert int.from_bytes(content[offset - 4 : offset], "little") == size
            assert content[offset + size : offset + size + 4] == tile[-4:]
            assert ends in (0, offset - 4)  # one after the other, row by row
            ends = offset + size + 4
    assert ends == len(content)


@pytest.fixture
def parts(tmp_path):
    """Tiles, and a file that describes them."""
    values = np.random.default_rng(0).integers(0, 255, (200, 100)).astype(np.uint8)
    options = {**cog_layout.TEMPLATE, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    profile = {"driver": "GTiff", "height": 200, "width": 100, "count": 1, "dtype": "uint8"}
    with rasterio.open(tmp_path / "t.tif", "w", **profile, crs=UTM, transform=NORTH_UP, **options):
        pass
    files = TileFiles(tmp_path, [values.shape], 64, differences=False, written=Written())
    with files:
        files.add(1, [values])
    return values, tmp_path / "t.tif", files.levels


def test_tiles_and_a_description_make_a_cog(parts, tmp_path):
    values, template, levels = parts
    lay_out(template, levels, tmp_path / "whole.tif")
    check_cogs(tmp_path / "whole.tif")
    with rasterio.open(tmp_path / "whole.tif") as file:
        np.testing.assert_array_equal(file.read(1), values)


@pytest.mark.parametrize("which", ["template", "tiles"])
def test_what_is_cut_off_is_not_laid_out(parts, tmp_path, which):
    _, template, levels = parts
    cut = template if which == "template" else levels[0].path
    content = cut.read_bytes()
    for length in (0, 8, 100, len(content) // 2, len(content) - 1):
        cut.write_bytes(content[:length])
        with pytest.raises(ProductError, match="what was written is not there"):
            lay_out(template, levels, tmp_path / "cut.tif")


def test_a_full_disk_is_an_error_at_once(tmp_path):
    (tmp_path / "level-0").symlink_to("/dev/full")
    values = np.random.default_rng(0).integers(0, 255, (300, 300)).astype(np.uint8)
    files = TileFiles(tmp_path, [values.shape], 64, differences=False, written=Written())
    with pytest.raises(OSError, match="No space left"), files:
        files.add(1, [values])
