"""STAC items that say little of their files: sensors are known by name, as they are in folders."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pystac
import pytest
from rasterio.enums import ColorInterp
from rasters import write

from geoseg.api.inputs import find_scenes
from geoseg.errors import SceneError
from geoseg.grid import full_window
from geoseg.io.files import FilesSource
from geoseg.io.reader import ScenePixels
from geoseg.io.refs import MaskRef, Overrides
from geoseg.io.stac_item import item_scene
from geoseg.workflow import load

PLANET = "20220815_151234_01_2461_3B"
LANDSAT = "LC08_L2SP_008059_20191201_20200825_02_T1"
HLS = "HLS.S30.T32TMT.2021265T102031.v2.0"
RGBN = tuple(ColorInterp[name] for name in ("red", "green", "blue", "alpha"))


def stored(count, dtype=np.uint16, number=900):
    return np.full((count, 6, 5), number, dtype)


def item_of(files, name="an-item"):
    """An item that says nothing of its assets but where they are."""
    made = pystac.Item(name, None, None, datetime(2022, 8, 15, tzinfo=UTC), {})
    made.assets = {
        key: pystac.Asset(path, media_type=pystac.MediaType.COG) for key, path in files.items()
    }
    return made


def numbers(scene):
    return {n: (b.index, b.scale, b.offset, b.nodata) for n, b in scene.bands.items()}


def same_as_in_a_folder(item, folder, wanted, **source):
    scene = item_scene(item, wanted, mask=source.get("mask"))
    (twin,) = FilesSource((str(folder),), **source).scenes(wanted)
    assert numbers(scene) == numbers(twin)
    assert scene.units == twin.units
    assert scene.masks == twin.masks
    return scene


def test_planetscope_with_eight_bands_and_its_mask(tmp_path):
    files = {
        "image": write(tmp_path / f"{PLANET}_AnalyticMS_SR_8b_clip.tif", stored(8)),
        "udm2": write(tmp_path / f"{PLANET}_udm2_clip.tif", stored(8, np.uint8, 1)),
    }
    scene = same_as_in_a_folder(item_of(files), tmp_path, ["red", "nir"], mask=MaskRef("udm2"))
    assert numbers(scene) == {"red": (6, 1e-4, 0, 0), "nir": (8, 1e-4, 0, 0)}
    assert scene.units == "reflectance"


def test_an_old_planet_mask_is_refused(tmp_path):
    files = {
        "image": write(tmp_path / f"{PLANET}_AnalyticMS_SR_clip.tif", stored(4)),
        "udm2": write(tmp_path / f"{PLANET}_DN_udm_clip.tif", stored(1, np.uint8, 0)),
    }
    with pytest.raises(
        SceneError, match=r"mask udm2 has 8 bands, .*_udm_clip\.tif has 1; for another"
    ):
        item_scene(item_of(files), ["red"], mask=MaskRef("udm2"))


def test_landsat_and_hls_without_numbers(tmp_path):
    files = {
        key: write(tmp_path / "l" / f"{LANDSAT}_{key}.TIF", stored(1))
        for key in ("SR_B4", "SR_B5", "QA_PIXEL")
    }
    item = item_of(files, LANDSAT)
    scene = same_as_in_a_folder(item, tmp_path / "l", ["red", "nir"], mask=MaskRef("qa_pixel"))
    assert scene.bands["red"].scale == 2.75e-5
    files = {
        key: write(tmp_path / "h" / f"{HLS}.{key}.tif", stored(1, np.int16))
        for key in ("B04", "B8A")
    }
    scene = same_as_in_a_folder(item_of(files, HLS), tmp_path / "h", ["red", "nir"])
    assert scene.units == "reflectance"


def test_the_fourth_band_of_naip_is_no_alpha_band(tmp_path):
    values = stored(4, np.uint8, 100)
    values[3, :, 2] = 0
    path = write(tmp_path / "m_4709963_se_14_1_20170827.tif", values, colors=RGBN)
    scene = same_as_in_a_folder(item_of({"image": path}), tmp_path, ["red", "nir"])
    assert scene.masks == ()
    pixels = ScenePixels(scene)
    assert pixels.read(["red"], full_window(scene.grid)).valid.all()
    pixels.close()


def test_what_is_said_goes_first(tmp_path):
    path = write(tmp_path / f"{PLANET}_AnalyticMS_SR_clip.tif", stored(4))
    item = item_of({"image": path})
    scene = item_scene(item, ["red"], overrides=Overrides(units="dn"))
    assert (scene.units, numbers(scene)["red"]) == ("dn", (3, 1, 0, 0))
    item.assets["image"].extra_fields["raster:bands"] = [{"scale": 0.001, "nodata": 7}] * 4
    item.assets["image"].extra_fields["eo:bands"] = [
        {"common_name": name} for name in ("blue", "green", "red", "nir")
    ]
    scene = item_scene(item, ["red"])
    assert numbers(scene)["red"] == (3, 0.001, 0, 7)
    assert scene.units is None
    assert Path(scene.bands["red"].uri) == Path(path)


def test_the_last_two_weeks_of_a_catalog(tmp_path):
    path = write(
        tmp_path / "a.tif", stored(1), names=("red",), scales=(1e-4,), offsets=(0.0,), nodata=0
    )
    now = datetime.now(UTC)
    items = []
    for days in (1, 13, 15, 400):
        item = item_of({"red": path}, f"item-{days}")
        item.geometry = {"type": "Point", "coordinates": [-9, 53]}
        item.bbox, item.datetime = [-9.1, 52.9, -8.9, 53.1], now - timedelta(days=days)
        item.properties["datetime"] = item.datetime.isoformat()
        items.append(item)
    catalog = tmp_path / "items.json"
    catalog.write_text(json.dumps(pystac.ItemCollection(items).to_dict()))
    for time, expected in (("last: 14d", {"item-1", "item-13"}), ("last: 2d", {"item-1"})):
        workflow = tmp_path / "w.yaml"
        workflow.write_text(
            f"geoseg: 1\nname: recent\nmodel: water-s2\noutput: {{directory: '{tmp_path}/{{scene}}'}}\n"
            f"input: {{kind: stac, catalog: {catalog}, time: {{{time}}}, units: reflectance}}\n"
        )
        found = find_scenes(load(workflow), ["red"])
        assert {one.scene.id for one in found} == expected
