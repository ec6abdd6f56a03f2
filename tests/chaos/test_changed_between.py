"""Whatever changes between a run that broke off and the next: old blocks and new are never mixed."""

import hashlib
import json
import os
import shutil
from contextlib import suppress

import numpy as np
import pytest
import rasterio
from interrupting import SIZE, CutOff, card, same
from safetensors.numpy import load_file, save_file

from geoseg.api import fingerprint
from geoseg.errors import ProductError

HALF = CutOff("segment", 4)
LATE = CutOff("trace", 2)


def other_weights(case):
    """Another network under the same name, file, size and time; its card knows no checksum."""
    path = case.model / "weights.safetensors"
    times, size = path.stat(), path.stat().st_size
    negate(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_size == size


def negate(path):
    """All kernels of a network; variances stay what they are."""
    numbers = load_file(path)
    save_file({k: np.asarray(-v if v.ndim == 4 else v) for k, v in numbers.items()}, path)


def without_checksum(case):
    card(case.model, lambda found: weights_of(found).pop("file:checksum"))


def weights_of(found):
    return next(asset for asset in found["assets"].values() if "file:checksum" in asset)


def other_scene(case):
    """Other pixels in a file of the same name, size and time."""
    times, size = case.scene.stat(), case.scene.stat().st_size
    case.write_scene(seed=1)
    os.utime(case.scene, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert case.scene.stat().st_size == size


def as_vrt(case):
    """The scene as a VRT of a VRT of a file."""
    real = case.scene.rename(case.folder / "real.tif")
    inner = case.folder / "inner.vrt"
    rasterio.shutil.copy(real, inner, driver="VRT")
    rasterio.shutil.copy(inner, case.folder / "scene.vrt", driver="VRT")
    case.data["input"]["path"] = str(case.folder / "scene.vrt")


def behind_the_vrt(case):
    case.write_scene(seed=1, path=case.folder / "real.tif")


def beside_mask(case, hidden=30):
    """A mask in a file beside the scene."""
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(case.scene, "r+") as file:
        mask = np.full((SIZE, SIZE), 255, np.uint8)
        mask[:hidden] = 0
        file.write_mask(mask)
    assert case.scene.with_name("scene.tif.msk").exists()


def without_scale(case):
    """The scale stands beside the file: with it changes what each number means."""
    case.write_scene(scales=(), offsets=())
    beside_scale(case, 1e-4)


def beside_scale(case, scale=2e-4):
    bands = "".join(
        f'<PAMRasterBand band="{n}"><Offset>0</Offset><Scale>{scale}</Scale></PAMRasterBand>'
        for n in range(1, 7)
    )
    case.scene.with_name("scene.tif.aux.xml").write_text(f"<PAMDataset>{bands}</PAMDataset>")


def box(case, rows=100):
    """An area in a file."""
    left, top, right, bottom = 500_000, 5_900_000, 500_000 + SIZE * 10, 5_900_000 - rows * 10
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    collection = {
        "type": "FeatureCollection",
        "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32629"}},
        "features": [
            {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
        ],
    }  # fmt: skip
    (case.folder / "area.geojson").write_text(json.dumps(collection))
    case.data["area"] = {"file": str(case.folder / "area.geojson")}


def smaller_box(case):
    box(case, rows=50)


def two_models(case):
    shutil.copytree(case.model, case.folder / "models" / "second")
    card(case.folder / "models" / "second", lambda found: found.update(id="second"))
    paths = [str(case.model), str(case.folder / "models" / "second")]
    case.data["model"] = {"ensemble": paths}


def another_member(case):
    other_weights_of(case.folder / "models" / "second")


def other_weights_of(package):
    path = package / "weights.safetensors"
    negate(path)
    digest = "1220" + hashlib.sha256(path.read_bytes()).hexdigest()
    card(package, lambda found: weights_of(found).update({"file:checksum": digest}))


def nothing(_case):
    pass


def model(key, value):
    return lambda case: case.data["model"].update({key: value})


def tiling(key, value):
    return lambda case: case.data["tiling"].update({key: value})


ALWAYS = ("weights", "pixels-of-the-same-size-and-time", "source-of-a-vrt-of-a-vrt", "mask-beside")
"""Cases that are tried each time; the others where more is asked for, as docs/reliability.md did."""


@pytest.mark.parametrize(
    ("before", "between", "told"),
    [
        pytest.param(nothing, lambda c: other_weights_of(c.model), "model", id="weights"),
        pytest.param(without_checksum, other_weights, "model", id="weights-without-checksum"),
        pytest.param(nothing, model("tta", "flips"), "settings", id="views"),
        pytest.param(nothing, tiling("seams", "blend"), "settings", id="seams"),
        pytest.param(nothing, other_scene, "inputs", id="pixels-of-the-same-size-and-time"),
        pytest.param(as_vrt, behind_the_vrt, "inputs", id="source-of-a-vrt-of-a-vrt"),
        pytest.param(beside_mask, lambda c: beside_mask(c, 90), "inputs", id="mask-beside"),
        pytest.param(without_scale, beside_scale, "settings", id="scale-in-aux-xml"),
        pytest.param(box, smaller_box, "settings", id="area-file"),
        pytest.param(two_models, another_member, "model", id="member-of-an-ensemble"),
    ],
)
def test_what_changed_is_said_and_all_blocks_are_made_anew(
    case, before, between, told, chaos, request
):
    if chaos < 8 and request.node.callspec.id not in ALWAYS:
        pytest.skip("takes seven seconds: with --chaos 8, or more")
    before(case)
    case.run(HALF)
    between(case)
    heard = case.run()
    assert heard.before["segment"] == 0
    assert "starting anew" in heard.text
    said = next(line for line in heard.said if "starting anew" in line)
    assert told in said.partition(" changed")[0], said
    assert same(case.map(), case.fresh())


def test_where_nothing_changed_it_goes_on(case):
    case.run(LATE)
    heard = case.run()
    assert heard.before == {
        "segment": 9, "refine": 9, "minimum-unit-survey": 9, "minimum-unit-rewrite": 9,
        "trace": 2, "products": 0,
    }  # fmt: skip
    assert "anew" not in heard.text
    assert same(case.map(), case.fresh())


def test_other_steps_go_on_with_the_same_predictions(case):
    case.run(LATE)
    case.data["postprocess"] = [{"step": "majority", "size": 5}]
    heard = case.run()
    assert (heard.before["segment"], heard.before["refine"]) == (9, 0)
    assert "refine: postprocess changed since the last run: starting anew" in heard.said
    assert same(case.map(), case.fresh())


def test_other_code(case, monkeypatch):
    case.run(HALF)
    monkeypatch.setattr(fingerprint, "code", lambda: "another version")
    heard = case.run()
    assert "code changed since the last run: starting anew" in heard.said
    assert heard.before["segment"] == 0


def test_a_file_that_changes_while_it_is_read_makes_no_product(case):
    half = CutOff("segment", 4, meanwhile=lambda: case.write_scene(seed=1))
    with pytest.raises(ProductError, match=r"scene\.tif: was changed while it was read"):
        case.run(half)
    assert not (case.out / "classes.tif").exists()
    assert not (case.out / "item.json").exists()
    heard = case.run()
    assert heard.before["segment"] == 0
    assert same(case.map(), case.fresh())


def test_a_file_that_was_another_for_a_while(case):
    """Blocks that saw the other content must go, though the content is the old one again."""

    def for_a_while():
        case.write_scene(seed=1)

    with pytest.raises(ProductError, match="was changed while it was read"):
        case.run(CutOff("segment", 4, meanwhile=for_a_while))
    case.write_scene()
    heard = case.run()
    assert "times of input files changed since the last run: starting anew" in heard.said
    assert heard.before["segment"] == 0
    assert same(case.map(), case.fresh())


@pytest.mark.parametrize("lost", ["ledgers", "stores"])
def test_ledgers_and_stores_that_a_kill_has_parted(case, lost):
    """Killed while old blocks are removed: what is left of them is never taken for new ones."""
    case.run(LATE)
    state = case.out / ".geoseg"
    for path in state.iterdir():
        if lost == "ledgers" and path.suffix == ".jsonl":
            path.unlink()
        elif lost == "stores" and path.is_dir():
            shutil.rmtree(path)
    smaller_box(case)  # with fewer blocks: those outside are not written again
    case.run()
    assert same(case.map(), case.fresh())


def test_a_worker_that_outlives_its_run_writes_into_no_other(case):
    """Its run was killed, another one has begun with other settings, and only now it is done."""
    late = []

    class Keep(CutOff):
        def run(self, job, blocks, *, stop=None):
            if job.key.startswith("segment"):
                late.append((job, list(blocks)))
            yield from super().run(job, blocks, stop=stop)

    case.run(Keep("segment", 1))
    case.data["tiling"]["seams"] = "blend"
    job, blocks = late[0]

    def write_late():
        work = job.open()
        for block in blocks:
            with suppress(ProductError):  # its stores are gone
                work(block)
        work.close()

    case.run(CutOff("segment", 9, meanwhile=write_late))
    assert same(case.map(), case.fresh())
    assert not [p for p in (case.out / ".geoseg").iterdir() if p.name.startswith("work")]
