"""What is fed with damaged bytes: each target reads them, or refuses them with an error of ours."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from geoseg.errors import GeosegError, InputError, ModelError, ProductError, SceneError
from geoseg.grid import Window, full_window

COLORS = ("red", "green", "blue")


@dataclass(frozen=True)
class Target:
    """One reader.

    ``seeds`` gives whole files from which damaged ones are made; ``read`` takes the path of one,
    and may raise ``refusals`` only.
    """

    name: str
    file: str
    seeds: Callable[[Path], list[bytes]]
    read: Callable[[Path], object]
    refusals: tuple[type[Exception], ...] = (InputError,)


# --- workflows ---------------------------------------------------------------------------------


def _workflows(_room: Path) -> list[bytes]:
    shipped = Path(__file__).parents[2] / "workflows"
    tricky = (
        b"geoseg: 1\nname: &n a\ninput: {kind: files, path: [*n, *n]}\nmodel: *n\noutput: *n\n",
        b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n",
        b'"geoseg": 0x1\n"name": "\\u00e9\\x41"\n? [complex]\n: 1e-3\n',
        b"%YAML 1.1\n---\ngeoseg: !!int 1\nname: !!python/object/apply:os.system [ls]\n",
    )
    return [path.read_bytes() for path in sorted(shipped.glob("*.yaml"))[:6]] + list(tricky)


def _read_workflow(path: Path) -> object:
    from geoseg.workflow import load

    return load(path, environ={"NAME": "value"})


# --- models ------------------------------------------------------------------------------------


def _shipped() -> Path:
    import geoseg

    return Path(geoseg.__file__).parent / "models/weights/water-s2"


def _cards(_room: Path) -> list[bytes]:
    return [(_shipped() / "card.json").read_bytes()]


def _read_card(path: Path) -> object:
    from geoseg.models.card import load_card

    return load_card(path)


def _weights(room: Path) -> list[bytes]:
    from safetensors.numpy import save_file

    save_file({"a": np.ones((3, 3), np.float32), "b": np.zeros(5, np.int64)}, room / "w")
    return [(room / "w").read_bytes()]


def _read_weights(path: Path) -> object:
    from geoseg.models.intact import check_weights

    return check_weights(path, None)


# --- state -------------------------------------------------------------------------------------

_PARTS = {"inputs": "a", "model": "b"}


def _ledgers(room: Path) -> list[bytes]:
    from geoseg.run.base import Done
    from geoseg.run.ledger import Ledger

    path = room / "segment.jsonl"
    with Ledger.open(path, "f", _PARTS) as ledger:
        for n in range(6):
            ledger.record(Done(Window(n * 8, 0, n * 8 + 8, 8), {"crc": [n, 7], "counts": {1: 64}}))
    return [path.read_bytes()]


def _read_ledger(path: Path) -> object:
    from geoseg.run.ledger import Ledger

    with Ledger.open(path, "f", _PARTS) as ledger:
        found = list(ledger.reports())
        assert all(done.report["counts"] == {"1": 64} for done in found), "a report was changed"
        return found


def _stores(room: Path) -> list[bytes]:
    from geoseg.run.clock import Clock
    from geoseg.run.work_ledger import WorkLedger, ledger_path

    with WorkLedger(room, "water", Clock.at()) as ledger:
        ledger.begin()
        for n in range(8):
            ledger.note("scene", f"s{n}", _PARTS, about={"inputs": {"a": "b"}}, facts={"n": n})
        ledger.tell("failed", "s1", "no such file", {"scene": "s1"})
        ledger.end("done", {"done": 8})
    path = ledger_path(room)
    return [path.read_bytes()]


def _read_store(path: Path) -> object:
    from geoseg.run.clock import Clock
    from geoseg.run.work_ledger import WorkLedger, ledger_path

    place = ledger_path(path.parent)
    place.parent.mkdir(exist_ok=True)
    for beside in place.parent.iterdir():
        beside.unlink()
    place.write_bytes(path.read_bytes())
    with WorkLedger(path.parent, "water", Clock.at()) as ledger:
        found = ledger.works("scene"), ledger.runs(), ledger.notices(), ledger.lost()
        ledger.need("scene", "s1", {"inputs": "c"})
        ledger.note("scene", "s9", _PARTS)
        return found


# --- scenes ------------------------------------------------------------------------------------


def _tiffs(room: Path) -> list[bytes]:
    import rasterio
    from rasters import write

    rows, cols = np.indices((40, 48))
    values = np.stack([(rows * 7 + cols * band) % 251 for band in (1, 2, 3)])
    found = []
    for number, options in enumerate(
        (
            {},
            {"compress": "deflate", "tiled": True, "blockxsize": 16, "blockysize": 16},
            {"compress": "lzw", "predictor": 2, "interleave": "pixel"},
            {"compress": "zstd", "BIGTIFF": "YES", "mask": (rows % 5 > 0)},
            {"compress": "packbits", "interleave": "band", "nodata": 0},
            {"compress": "lerc", "dtype": "float32"},
            {"compress": "jpeg", "dtype": "uint8", "photometric": "ycbcr", "interleave": "pixel"},
            {"driver": "JP2OpenJPEG", "dtype": "uint8"},
            {"driver": "PNG", "dtype": "uint8"},
        )
    ):
        given = dict(options)
        path = room / f"seed-{number}.tif"
        kind = given.pop("dtype", "uint16")
        with suppress(rasterio.errors.RasterioError):
            write(path, values.astype(kind), **given)
            found.append(path.read_bytes())
    return found


def _vrts(room: Path) -> list[bytes]:
    from crafted import source, vrt
    from rasters import write

    write(room / "scene.tif", np.ones((3, 64, 64), np.uint16))
    band = source(str(room / "scene.tif"), relative=0)
    return [vrt(band, bands=3).encode(), vrt(source("../x.tif") + band, bands=3).encode()]


def _read_scene(path: Path) -> object:
    from geoseg.io.files import FilesSource
    from geoseg.io.reader import ScenePixels

    source = FilesSource((str(path),), COLORS, crs=None, units="dn")
    (scene,) = source.scenes(COLORS)
    window = full_window(scene.grid) & Window(0, 0, 256, 256)
    pixels = ScenePixels(scene)
    try:
        patch = pixels.read(COLORS, window)
    finally:
        pixels.close()
    assert np.isfinite(patch.values).all(), "numbers that are none are valid"
    return patch


def _catalogs(_room: Path) -> list[bytes]:
    items = Path(__file__).parents[1] / "data/stac_items"
    one = sorted(items.glob("*.json"))[6]
    whole = {"type": "FeatureCollection", "features": [json.loads(one.read_text())]}
    return [json.dumps(whole).encode(), one.read_bytes()]


def _read_catalog(path: Path) -> object:
    from geoseg.io.stac import read_items
    from geoseg.io.stac_item import offered_bands
    from geoseg.io.stac_query import StacQuery

    items: Iterator = read_items(str(path), StacQuery())
    return [offered_bands(item) for item in items]


TARGETS = {
    target.name: target
    for target in (
        Target("workflow", "workflow.yaml", _workflows, _read_workflow),
        Target("card", "card.json", _cards, _read_card, (ModelError,)),
        Target("weights", "w.safetensors", _weights, _read_weights, (ModelError,)),
        Target("ledger", "segment.jsonl", _ledgers, _read_ledger, (ProductError,)),
        Target("store", "store.sqlite", _stores, _read_store, (ProductError,)),
        Target("catalog", "catalog.json", _catalogs, _read_catalog),
        Target("tiff", "scene.tif", _tiffs, _read_scene, (SceneError,)),
        Target("vrt", "scene.vrt", _vrts, _read_scene, (SceneError,)),
    )
}
"""By name, in the order in which they are tried."""

__all__ = ["TARGETS", "GeosegError", "Target"]
