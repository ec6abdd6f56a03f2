"""Reading scenes from files as people have them: odd names, several dtypes, nothing to be seen."""

from pathlib import Path

import numpy as np
from affine import Affine
from rasters import NORTH_UP, UTM, band_of, grid_of, read, scene_of, write

from geoseg.scene import Mask

TWICE = Affine.scale(2)


def test_nothing_is_read_where_nothing_is_valid(tmp_path):
    path = write(tmp_path / "a.tif", np.ones((9, 9), np.uint8))
    hidden = write(tmp_path / "hidden.tif", np.zeros((9, 9), np.uint8))
    scene = scene_of([Mask(hidden, 1, grid_of(hidden), "alpha")], a=band_of(path))
    Path(path).unlink()
    patch = read(scene)
    assert not patch.valid.any()
    assert patch.values.shape == (1, 9, 9)


def test_names_with_characters_that_xml_needs(tmp_path):
    fine = write(tmp_path / "fine.tif", np.ones((4, 4), np.uint8))
    path = write(
        tmp_path / "a & b <c> 'ü'.tif", np.full((2, 2), 7, np.uint8), transform=NORTH_UP @ TWICE
    )
    assert (read(scene_of(a=band_of(fine), b=band_of(path))).values[1] == 7).all()


def test_bands_of_several_dtypes_in_one_file(tmp_path):
    """As a VRT may have them; rasterio reads them one by one only."""
    small = write(tmp_path / "a.tif", np.arange(64, dtype=np.uint8).reshape(8, 8))
    large = write(tmp_path / "b.tif", np.full((8, 8), 0.5, np.float32))
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{n}"><SimpleSource><SourceFilename>{path}'
        f"</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        for n, kind, path in ((1, "Byte", small), (2, "Float32", large))
    )
    path = tmp_path / "c.vrt"
    path.write_text(
        f'<VRTDataset rasterXSize="8" rasterYSize="8"><SRS>{UTM}</SRS>'
        f"<GeoTransform>500000,10,0,5900000,0,-10</GeoTransform>{bands}</VRTDataset>"
    )
    patch = read(scene_of(a=band_of(str(path), 1), b=band_of(str(path), 2)))
    assert patch.values.dtype == np.float32
    assert np.array_equal(patch.values[0].ravel(), np.arange(64))
    assert (patch.values[1] == 0.5).all()
