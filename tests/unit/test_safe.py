"""SAFE folders, made small: metadata, finest files, stand-ins, masks, and what is refused."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from rasters import NORTH_UP, write
from safes import L1C_NAME, L1C_TEXT, level_1c

from geoseg.errors import SceneError
from geoseg.grid import full_window
from geoseg.io.files import FilesSource
from geoseg.io.reader import ScenePixels
from geoseg.io.refs import MaskRef

NAME = "S2A_MSIL2A_20221005T115411_N0400_R023_T29UNU_20221005T164454.SAFE"
OFFSETS = "".join(f'<BOA_ADD_OFFSET band_id="{i}">{-1000 - i}</BOA_ADD_OFFSET>' for i in range(13))


def metadata(offsets=OFFSETS, baseline="04.00", quantification="10000"):
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-2A_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/x.xsd"><n1:General_Info>
<PRODUCT_START_TIME>2022-10-05T11:54:11.024Z</PRODUCT_START_TIME>
<PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
<IMAGE_FILE>../../../../etc/B02_10m</IMAGE_FILE>
<BOA_QUANTIFICATION_VALUE unit="none">{quantification}</BOA_QUANTIFICATION_VALUE>
{offsets}</n1:General_Info></n1:Level-2A_User_Product>"""


def make(root: Path, *, files, text=None) -> Path:
    images = root / "GRANULE" / "L2A_T29UNU_A038058_20221005T115407" / "IMG_DATA"
    for name, metres in files:
        side = 120 // metres * 6
        if name == "SCL":
            values = np.full((side, side), 4, np.uint8)
            values[0, 0] = 9
        else:
            values = np.full((side, side), 2000 + metres, np.uint16)
            values[-1] = 0
        path = images / f"R{metres}m" / f"T29UNU_20221005T115411_{name}_{metres}m.jp2"
        options = {"driver": "JP2OpenJPEG", "QUALITY": 100, "REVERSIBLE": "YES"}
        write(path, values, transform=NORTH_UP @ Affine.scale(metres / 10), **options)
    (root / "MTD_MSIL2A.xml").write_text(text or metadata())
    return root


@pytest.fixture
def safe(tmp_path):
    files = [("B02", 10), ("B02", 60), ("B8A", 20), ("B8A", 60), ("SCL", 20), ("SCL", 60)]
    return make(tmp_path / NAME, files=files)


def test_reflectance_at_the_finest_resolution(safe):
    mask = MaskRef("scl", dilate=20, dilate_unit="m")
    (scene,) = FilesSource((str(safe),), mask=mask).scenes(["nir", "blue"])
    assert scene.id == NAME.removesuffix(".SAFE")
    assert scene.acquired == datetime(2022, 10, 5, 11, 54, 11, 24_000, tzinfo=UTC)
    assert scene.units == "reflectance"
    blue, nir = scene.bands["blue"], scene.bands["nir"]
    assert Path(blue.uri).name.endswith("B02_10m.jp2")
    assert Path(nir.uri).name.endswith("B8A_20m.jp2")
    assert (blue.scale, blue.offset, blue.nodata) == pytest.approx((1e-4, -0.1001, 0))
    assert nir.offset == pytest.approx(-0.1008)
    assert scene.grid == blue.grid
    assert [(m.grid.shape, m.dilate) for m in scene.masks] == [((36, 36), 2)]
    pixels = ScenePixels(scene)
    patch = pixels.read(["blue", "nir"], full_window(scene.grid))
    pixels.close()
    assert (patch.values[:, patch.valid] == [[2010], [2020]]).all()
    assert not patch.valid[:3, :3].any()
    assert not patch.valid[-2:].any()
    assert patch.valid[4:-2].all()


def test_overrides_win(safe):
    source = FilesSource((str(safe),), units="dn", nodata="none", resampling="cubic")
    (scene,) = source.scenes(["blue"])
    band = scene.bands["blue"]
    assert (scene.units, band.scale, band.offset, band.nodata) == ("dn", 1, 0, None)
    assert band.resampling == "cubic"


def test_by_wildcard_beside_other_files(safe, tmp_path):
    (tmp_path / "folder").mkdir()
    write(tmp_path / "a.tif", np.ones((2, 2), np.uint16), names=("blue",))
    scenes = FilesSource((str(tmp_path / "*"),)).scenes(["blue"])
    assert [scene.id for scene in scenes] == [NAME.removesuffix(".SAFE"), "a"]


def test_old_baselines_have_no_offset(tmp_path):
    make(tmp_path / NAME, files=[("B02", 10)], text=metadata(offsets="", baseline="02.14"))
    (scene,) = FilesSource((str(tmp_path / NAME),)).scenes(["blue"])
    assert scene.bands["blue"].offset == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (metadata(offsets=""), "processing baseline 04.00, but no BOA_ADD_OFFSET"),
        (metadata(quantification="0"), "no BOA_QUANTIFICATION_VALUE"),
        (metadata(OFFSETS.replace('"12"', '"13"')), "damaged product metadata"),
        ("<a>", "damaged product metadata"),
    ],
)
def test_damaged_metadata(tmp_path, text, message):
    make(tmp_path / NAME, files=[("B02", 10)], text=text)
    with pytest.raises(SceneError, match=message):
        FilesSource((str(tmp_path / NAME),)).scenes(["blue"])


def test_missing_parts_are_errors(safe):
    source = FilesSource((str(safe),))
    with pytest.raises(SceneError, match=r"no band red, swir16; it has blue, nir08"):
        source.scenes(["red", "blue", "swir16"])
    with pytest.raises(SceneError, match="no mask qa_pixel; this SAFE folder offers only scl"):
        FilesSource((str(safe),), mask=MaskRef("qa_pixel")).scenes(["blue"])
    for path in safe.rglob("*SCL*"):
        path.unlink()
    with pytest.raises(SceneError, match="no mask scl; this SAFE folder offers none"):
        FilesSource((str(safe),), mask=MaskRef("scl")).scenes(["blue"])
    shutil.rmtree(safe / "GRANULE")
    with pytest.raises(SceneError, match="no GRANULE/\\*/IMG_DATA folder"):
        source.scenes(["blue"])


def test_a_truncated_image_is_refused(safe):
    (path,) = safe.rglob("*B02_10m.jp2")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SceneError, match=r"B02_10m\.jp2: truncated, at least 40 bytes"):
        FilesSource((str(safe),)).scenes(["blue"])


def test_level_1c_is_reflectance_at_the_top_of_the_atmosphere_with_its_clouds(tmp_path):
    root = level_1c(tmp_path / L1C_NAME)
    (scene,) = FilesSource((str(root),), mask=MaskRef("classi")).scenes(["blue", "swir16"])
    assert scene.units == "reflectance"
    assert scene.acquired == datetime(2023, 6, 11, 10, 56, 29, 24_000, tzinfo=UTC)
    assert scene.bands["blue"].offset == pytest.approx(-0.1)
    pixels = ScenePixels(scene)
    valid = pixels.read(["blue", "swir16"], full_window(scene.grid)).valid
    pixels.close()
    expected = np.ones((36, 36), np.bool_)
    expected[:6, :6] = expected[12:18, 12:18] = False  # opaque, cirrus; snow stays
    assert np.array_equal(valid, expected)


def test_level_1c_of_old_baselines_has_no_offset_and_no_image_of_clouds(tmp_path):
    lines = [line for line in L1C_TEXT.splitlines() if "RADIO_ADD" not in line]
    text = "\n".join(lines).replace("05.09", "02.07")
    root = level_1c(tmp_path / L1C_NAME, text=text, classi=False)
    (scene,) = FilesSource((str(root),)).scenes(["blue"])
    assert scene.bands["blue"].offset == 0
    with pytest.raises(SceneError, match=r"offers none .*only since baseline 04.00"):
        FilesSource((str(root),), mask=MaskRef("classi")).scenes(["blue"])
