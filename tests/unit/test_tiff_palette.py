"""The palette of a TIFF is changed where it lies, whatever the byte order and width of the file."""

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasters import NORTH_UP, UTM

from geoseg.io.tiff_palette import patch_palette

OLD = {code: (code, 0, 255 - code, 255) for code in range(256)}
NEW = {1: (1, 2, 3), 2: (40, 50, 60), 255: (255, 254, 253)}


def tiff(path, *, palette=True, levels=(2, 4), **options):
    values = (np.indices((64, 80)).sum(axis=0) % 5).astype(np.uint8)
    profile = {"driver": "GTiff", "height": 64, "width": 80, "count": 1, "dtype": "uint8"}
    with rasterio.open(
        path, "w", **profile, transform=NORTH_UP, crs=UTM, tiled=True, blockxsize=16,
        blockysize=16, **options,
    ) as target:  # fmt: skip
        if palette:  # before the pixels: else overviews get none
            target.write_colormap(1, OLD)
        target.write(values, 1)
    with rasterio.open(path, "r+") as target:
        if levels:
            target.build_overviews(levels, Resampling.nearest)
        target.write_mask(values != 3)
    return values


@pytest.mark.parametrize("options", [{}, {"BIGTIFF": "YES"}, {"ENDIANNESS": "BIG"},
                                     {"BIGTIFF": "YES", "ENDIANNESS": "BIG"}])  # fmt: skip
def test_all_levels_get_the_colours_and_nothing_else_changes(tmp_path, options):
    path = tmp_path / "a.tif"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        values = tiff(path, **options)
    size = path.stat().st_size
    assert patch_palette(path, NEW)
    assert path.stat().st_size == size
    for level in (None, 0, 1):
        with rasterio.open(path, **({} if level is None else {"overview_level": level})) as file:
            palette = {code: rgba[:3] for code, rgba in file.colormap(1).items()}
            assert palette == {code: NEW.get(code, (0, 0, 0)) for code in range(256)}
            if level is None:
                np.testing.assert_array_equal(file.read(1), values)
                np.testing.assert_array_equal(file.read_masks(1) == 0, values == 3)


@pytest.mark.parametrize("kind", ["no palette", "no tiff", "cut off", "empty"])
def test_what_has_no_palette_is_left_alone(tmp_path, kind):
    path = tmp_path / "a.tif"
    if kind in {"no palette", "cut off"}:
        tiff(path, palette=kind == "cut off", levels=())
    if kind == "cut off":
        path.write_bytes(path.read_bytes()[:12])
    if kind in {"no tiff", "empty"}:
        path.write_bytes(b"\x89PNG\r\n\x1a\n and so on" if kind == "no tiff" else b"")
    before = path.read_bytes()
    assert not patch_palette(path, NEW)
    assert path.read_bytes() == before
