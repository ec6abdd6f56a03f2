"""What GDAL is told holds while geoseg reads."""

import numpy as np
from rasters import write

from geoseg.io.environment import gdal_env
from geoseg.io.handles import Handles

TILES = {"tiled": True, "blockxsize": 64, "blockysize": 64}


def test_tiles_are_decoded_once(tmp_path):
    """Those next to a block are kept for the next one: rasterio wants bytes, GDAL takes MB too."""
    values = np.arange(256 * 256, dtype=np.uint16).reshape(256, 256)
    path, handles = write(tmp_path / "in.tif", values, **TILES), Handles()
    with gdal_env(cache=16), handles.borrow(path) as source:
        source.read(1)
    with open(path, "r+b") as file:  # noqa: PTH123 - as it is
        file.write(bytes(len(file.read())))
    with gdal_env(cache=16), handles.borrow(path) as source:
        np.testing.assert_array_equal(source.read(1), values)
    handles.close()
