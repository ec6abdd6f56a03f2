"""The synthetic scene as files: what they say of themselves, and that they are written once."""

import json
import pickle
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasterio.windows import Window as RasterWindow

from geoseg.errors import InputError, ProductError, SceneError
from geoseg.grid import Window
from geoseg.io.sample import SampleSource, SampleSpec, is_complete, write_sample
from geoseg.legend import LANDCOVER
from geoseg.ops.synthetic import BANDS

SPEC = SampleSpec(size=(530, 1101), seed=4, date=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sample")
    write_sample(SPEC, path)
    return path


def digests(folder: Path) -> dict[str, str]:
    files = (p for p in folder.iterdir() if p.is_file())
    return {p.name: sha256(p.read_bytes()).hexdigest() for p in files}


def test_the_scene_is_described_without_a_file(tmp_path):
    (scene,) = SampleSource(SPEC, tmp_path / "nowhere").scenes()
    assert tuple(scene.bands) == BANDS
    assert scene.units == "reflectance"
    assert scene.acquired is not None
    assert scene.acquired.date().isoformat() == "2024-09-13"
    assert scene.masks[0].values == (0, 1, 3, 8, 9, 10)
    assert not list(tmp_path.iterdir())
    assert pickle.loads(pickle.dumps(scene)) == scene  # noqa: S301 - our own bytes
    (some,) = SampleSource(SPEC, tmp_path).scenes(["nir", "red"])
    assert [band.index for band in some.bands.values()] == [4, 3]
    with pytest.raises(SceneError, match="no band rededge1; it has blue, green"):
        SampleSource(SPEC, tmp_path).scenes(["rededge1"])


def test_files_are_what_the_description_says(folder):
    (scene,) = SampleSource(SPEC, folder).scenes()
    for name, band in scene.bands.items():
        with rasterio.open(band.uri) as file:
            k = band.index - 1
            assert (file.descriptions[k], file.dtypes[k]) == (name, band.dtype)
            assert (file.scales[k], file.offsets[k]) == (band.scale, band.offset)
            assert file.nodatavals[k] == band.nodata
            assert file.shape == band.grid.shape
            assert file.transform == band.grid.affine
            assert file.crs.to_epsg() == 32629
    mask = scene.masks[0]
    with rasterio.open(mask.uri) as file:
        assert file.shape == mask.grid.shape == (265, 551)
        assert file.transform == mask.grid.affine
        assert file.nodata == 0


def test_the_raster_is_laid_out_for_reading_windows(folder):
    with rasterio.open(folder / "scene.tif") as file:
        assert file.profile["compress"] == "deflate"
        assert file.block_shapes == [(512, 512)] * 6
        assert file.tags()["TIFFTAG_DATETIME"] == "2024:09:13 11:54:11"
        assert file.tags(ns="IMAGE_STRUCTURE")["PREDICTOR"] == "2"
        assert file.colorinterp[:3] == (ColorInterp.blue, ColorInterp.green, ColorInterp.red)
        assert file.units == ("reflectance",) * 6
    with rasterio.open(folder / "truth.tif") as file:
        assert file.nodata == LANDCOVER.nodata
        colors = file.colormap(1)
        assert all(colors[c.value] == (*c.rgb, 255) for c in LANDCOVER.classes)
    assert "Built area" in (folder / "truth.tif.aux.xml").read_text()


def test_pixels_are_those_of_the_landscape(folder):
    window = Window(500, 490, 530, 1001)
    made = SPEC.observe(window)
    at = RasterWindow(window.x0, window.y0, 511, 30)
    with rasterio.open(folder / "scene.tif") as file:
        np.testing.assert_array_equal(file.read(window=at), made.dn)
    with rasterio.open(folder / "truth.tif") as file:
        np.testing.assert_array_equal(file.read(1, window=at), made.classes)
    whole = SPEC.observe(Window(0, 0, *SPEC.size))
    with rasterio.open(folder / "scl.tif") as file:
        np.testing.assert_array_equal(file.read(1), whole.scl)


def test_the_same_spec_gives_the_same_bytes(folder, tmp_path):
    write_sample(SPEC, tmp_path, workers=1)
    assert digests(tmp_path) == digests(folder)
    assert not [p for p in tmp_path.iterdir() if p.is_dir()]


def test_a_complete_sample_is_left_alone(folder):
    calls: list[tuple[int, int]] = []
    before = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    write_sample(SPEC, folder, on_block=lambda *at: calls.append(at))
    assert not calls
    assert {p: p.stat().st_mtime_ns for p in folder.iterdir()} == before


def test_blocks_are_counted(tmp_path):
    calls: list[tuple[int, int]] = []
    source = SampleSource(SampleSpec(size=(520, 40)), tmp_path)
    assert source.write(progress=lambda *at: calls.append(at)) == tmp_path / "scene.tif"
    assert calls == [(1, 2), (2, 2)]


def test_another_spec_replaces_the_sample_and_a_broken_one_is_mended(tmp_path):
    first, second = SampleSpec(size=(40, 50)), SampleSpec(size=(40, 50), seed=8)
    write_sample(first, tmp_path)
    before = digests(tmp_path)
    write_sample(second, tmp_path)
    assert digests(tmp_path)["scene.tif"] != before["scene.tif"]
    assert not is_complete(first, tmp_path)
    (tmp_path / "scl.tif").write_bytes(b"II*")
    assert not is_complete(second, tmp_path)
    write_sample(first, tmp_path)
    assert digests(tmp_path) == before


def test_somebody_elses_scene_is_not_overwritten(tmp_path):
    (tmp_path / "scene.tif").write_bytes(b"mine")
    with pytest.raises(InputError, match="choose another directory"):
        write_sample(SampleSpec(size=(8, 8)), tmp_path)
    assert (tmp_path / "scene.tif").read_bytes() == b"mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(ProductError, match="taken: cannot write here: File exists"):
        write_sample(SampleSpec(size=(8, 8)), tmp_path / "taken")


@pytest.mark.parametrize("size", [(1, 1), (37, 91), (1, 700), (513, 1)])
def test_odd_sizes(size, tmp_path):
    write_sample(SampleSpec(size=size), tmp_path)
    (scene,) = SampleSource(SampleSpec(size=size), tmp_path).scenes()
    with rasterio.open(tmp_path / "scene.tif") as file, rasterio.open(tmp_path / "scl.tif") as scl:
        assert file.shape == scene.grid.shape == size
        assert scl.shape == scene.masks[0].grid.shape
        assert scl.bounds.right - file.bounds.right in (0, 10)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": (0, 5)}, r"size 0 x 5 is not within"),
        ({"seed": -1}, "seed -1 is not within"),
        ({"date": 3}, "no date 3; there are 1"),
        ({"cloud_cover": 1.5}, "cloud cover 1.5 is not within"),
    ],
)
def test_wrong_specs_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        SampleSpec(**wrong)


def test_the_catalog_leads_to_the_files(folder):
    catalog = pystac.Catalog.from_file(str(folder / "catalog.json"))
    (item,) = catalog.get_items()
    assert item.id == SPEC.id
    assert item.bbox == pytest.approx([-8.1018, 53.1972, -7.936, 53.2459], abs=2e-3)
    for asset in item.get_assets().values():
        assert Path(asset.get_absolute_href()).is_file()
    bands = item.assets["scene"].extra_fields
    assert [b["common_name"] for b in bands["eo:bands"]] == list(BANDS)
    assert bands["raster:bands"][0]["offset"] == -0.1
    assert bands["proj:shape"] == list(SPEC.size)
    assert json.loads((folder / "item.json").read_text())["properties"]["proj:code"] == "EPSG:32629"


@pytest.mark.long
def test_memory_does_not_grow_with_the_scene(tmp_path):
    def peak(side: int) -> float:
        code = (
            "import sys; from geoseg.io.sample import *; import resource\n"
            f"write_sample(SampleSpec(size=({side}, {side})), sys.argv[1])\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        command = [sys.executable, "-c", code, str(tmp_path / str(side))]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return int(out) / (1024 if sys.platform != "darwin" else 1024**2)

    # 24 against 384 MB of pixels; GDAL keeps up to 64 MB of tiles.
    assert peak(4096) - peak(1024) < 130


@pytest.mark.data
def test_spectra_lie_among_those_of_a_real_scene(data_dir):
    found = {p.stem.split("_")[-2]: p for p in sorted(data_dir.rglob("R60m/T29UNU*_60m.jp2"))}
    if "SCL" not in found:
        pytest.skip("no Sentinel-2 scene at 60 m")
    names = ("B02", "B03", "B04", "B8A", "B11", "B12")

    def read(name: str) -> np.ndarray:
        with rasterio.open(found[name]) as file:
            return file.read(1)

    scl = read("SCL")
    real = np.stack([read(name) for name in names]).astype(np.float32) * 0.0001 - 0.1
    spec = SampleSpec(size=(512, 512), clouds=False)
    made = spec.observe(Window(0, 0, 512, 512))
    ours = made.dn.astype(np.float32) * 0.0001 - 0.1
    for code, classes, slack in ((4, (2, 3), 0.0), (6, (1,), 0.012)):
        low, high = np.percentile(real[:, scl == code], [3, 97], axis=1)
        median = np.median(ours[:, np.isin(made.classes, classes)], axis=1)
        assert (median > low - slack).all(), (code, low, median)
        assert (median < high + slack).all(), (code, high, median)
