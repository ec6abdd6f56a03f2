"""What a result depends on: files behind files, and all of the code that makes blocks."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio.shutil
from rasters import write

import geoseg
from geoseg.api import fingerprint
from geoseg.errors import ProductError
from geoseg.io.dataset_files import dataset_files

LOADED = """
import sys
from geoseg.api import jobs, minimum
import geoseg.io.composite, geoseg.steps.mosaic, geoseg.steps.mmu, geoseg.steps.vectorize
import geoseg.models.torch_engine
print(*sorted(m for m in sys.modules if m.startswith("geoseg.")))
"""
NO_PIXELS = {
    "geoseg.api": "public names",
    "geoseg.api.sources": "a protocol",
    "geoseg.api.vectorizing": "loaded with the floor: settings of commands, which are hashed",
    "geoseg.errors": "tells",
    "geoseg.redaction": "tells",
    "geoseg.io": "a floor",
    "geoseg.io.atomic": "moves bytes",
    "geoseg.io.bucket": "moves bytes",
    "geoseg.io.bucket_client": "moves bytes",
    "geoseg.io.columns": "names of columns of products",
    "geoseg.io.gates": "waits",
    "geoseg.io.names": "what bands are called, which is part of the scene",
    "geoseg.io.refs": "which bands are meant, which is part of the scene",
    "geoseg.io.traffic": "counts",
    "geoseg.io.truncation": "refuses",
    "geoseg.plan": "public names",
    "geoseg.plan.memory": "counts",
    "geoseg.run": "a floor",
    "geoseg.run.base": "protocols",
}
"""Modules that workers load, without which the same pixels would come out."""


def test_all_code_that_makes_blocks_is_hashed():
    told = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True
    ).stdout.split()
    root = Path(geoseg.__file__).parent
    for name in fingerprint.CODE:
        assert (root / name).exists(), name
    hashed = {name.removesuffix(".py").replace("/", ".") for name in fingerprint.CODE}
    missing = []
    for module in told:
        short = module.removeprefix("geoseg.")
        if not any(short == h or short.startswith(f"{h}.") for h in hashed):
            missing.append(module)
    assert set(missing) <= set(NO_PIXELS), "add them to fingerprint.CODE, or say why not"


@pytest.fixture
def scene(tmp_path):
    return write(tmp_path / "a.tif", np.arange(100, dtype=np.uint8).reshape(10, 10))


def test_sources_of_a_vrt_and_of_those(scene, tmp_path):
    inner, outer = tmp_path / "inner.vrt", tmp_path / "outer.vrt"
    rasterio.shutil.copy(scene, inner, driver="VRT")
    text = inner.read_text().replace("a.tif", "inner.vrt")
    outer.write_text(text)
    assert {Path(f).name for f in dataset_files(str(outer))} == {"outer.vrt", "inner.vrt", "a.tif"}


def test_masks_count_and_statistics_do_not(scene, tmp_path):
    for name in ("a.tif.msk", "a.tif.ovr"):
        write(tmp_path / name, np.ones((10, 10), np.uint8))
    (tmp_path / "a.tif.aux.xml").write_text("<PAMDataset></PAMDataset>")
    names = {Path(f).name for f in dataset_files(scene)}
    assert names == {"a.tif", "a.tif.msk"}


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_file_in_an_archive_is_the_archive(scene, tmp_path, kind):
    archive = tmp_path / f"all.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as packed:
            packed.write(scene, "in/a.tif")
    else:
        with tarfile.open(archive, "w") as packed:
            packed.add(scene, "in/a.tif")
    assert dataset_files(f"/vsi{kind}/{archive}/in/a.tif") == [str(archive)]
    assert fingerprint.inputs([str(archive)])[0]["sha256"]


def test_what_cannot_be_opened_is_only_itself(tmp_path):
    (tmp_path / "a.tif").write_text("no TIFF")
    for uri in (str(tmp_path / "a.tif"), str(tmp_path / "b.tif"), "https://example.org/a.tif"):
        assert dataset_files(uri) == [uri]


def test_large_files_of_the_same_size_and_time_are_told_apart(scene, monkeypatch):
    monkeypatch.setattr(fingerprint, "WHOLE_FILE_BYTES", 0)
    monkeypatch.setattr(fingerprint, "SAMPLES", 2)
    monkeypatch.setattr(fingerprint, "SAMPLE_BYTES", 8)
    before, times = fingerprint.inputs([scene]), Path(scene).stat()
    data = bytearray(Path(scene).read_bytes())
    data[len(data) // 2] ^= 1  # between the samples
    Path(scene).write_bytes(data)
    os.utime(scene, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = fingerprint.inputs([scene])
    assert before[0]["sha256_of_samples"] == after[0]["sha256_of_samples"]
    assert before != after


def test_files_that_change_while_they_are_read(scene):
    before = fingerprint.states([scene, "https://example.org/a.tif"])
    assert list(before) == [scene]
    fingerprint.check_states(before)
    data, times = Path(scene).read_bytes(), Path(scene).stat()
    Path(scene).write_bytes(data)  # the same, with the old time
    os.utime(scene, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(ProductError, match=r"a\.tif: was changed while it was read"):
        fingerprint.check_states(before)
    Path(scene).unlink()
    with pytest.raises(ProductError, match=r"a\.tif: went away while it was read"):
        fingerprint.check_states(before)
