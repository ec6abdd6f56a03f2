"""Class rasters on servers: outlined as those on the disk are, or refused by name."""

import numpy as np
import pyogrio
import pytest
from class_rasters import codes
from pandas.testing import assert_frame_equal
from range_server import Faults, serving
from rasters import write

import geoseg
from geoseg.cli import run
from geoseg.errors import RemoteError, SceneError
from geoseg.grid import Window
from geoseg.io.class_raster import ClassRaster

COG = {"driver": "COG", "blocksize": 128, "compress": "deflate"}


@pytest.fixture
def server(tmp_path, monkeypatch):
    folder = tmp_path / "served"
    folder.mkdir()
    write(folder / "codes.tif", np.tile(codes(), (3, 4)), nodata=0, **COG)
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.01")
    monkeypatch.setattr("geoseg.io.remote.FIRST_PAUSE", 0.01)
    with serving(folder) as running:
        yield running


@pytest.mark.parametrize("faults", [Faults(), Faults(drops=0.4, reset=0.2)])
def test_the_bytes_are_those_of_the_file(server, tmp_path, faults):
    here, there = tmp_path / "here.gpkg", tmp_path / "there.gpkg"
    assert run(["vectorize", str(tmp_path / "served/codes.tif"), str(here), "-q"]) == 0
    server.reset(faults)
    address = f"{server.url}/codes.tif?token=0123456789abcdef{faults.drops}"
    assert run(["vectorize", address, str(there), "-q"]) == 0
    # They say that they are made of other files, and are the same otherwise.
    assert_frame_equal(*(pyogrio.read_dataframe(p, layer="land_use") for p in (there, here)))
    assert b"0123456789abcdef" not in there.read_bytes()


def test_what_is_not_there_is_refused(server, tmp_path):
    with pytest.raises(SceneError, match=r"none\.tif: .*404"):
        geoseg.vectorize(f"{server.url}/none.tif", tmp_path / "out.gpkg")
    assert not (tmp_path / "out.gpkg").exists()


def test_a_server_that_fails_for_good(server, tmp_path, capsys):
    server.reset(Faults(status=503))
    with pytest.raises(RemoteError, match=r"down\.tif: cannot be read now"):
        geoseg.vectorize(f"{server.url}/down.tif", tmp_path / "out.gpkg")
    assert run(["vectorize", f"{server.url}/down.tif", str(tmp_path / "out.gpkg"), "-q"]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "out.gpkg").exists()


def test_a_server_that_goes_away_while_it_is_read(server, tmp_path):
    values = np.random.default_rng(0).integers(1, 200, (900, 900)).astype(np.uint8)
    write(tmp_path / "served/large.tif", values, **COG)
    raster = ClassRaster(f"{server.url}/large.tif")
    server.reset(Faults(status=503))
    with pytest.raises(RemoteError, match=r"large\.tif: not delivered at"):
        raster.read(Window(770, 770, 900, 900))
