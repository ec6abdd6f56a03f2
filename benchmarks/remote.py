"""A run on a server that takes its time, against the same run on local files, in pairs.

    python benchmarks/remote.py [--size 1536] [--latency 0.1] [--pairs 3] [--split]
                                [--model NAME | --busy SECONDS] [--lanes 3]

The sample scene is written as a COG (``--split``: one for each band) and served on loopback with
``--latency`` seconds before each answer. Both runs use the same workers and the same blocks.
Printed are the seconds of the segment stage on the wall, the seconds that blocks spent reading,
and the ratio of the throughputs of each pair (1: the latency is hidden).

With ``--busy`` one worker with ``--lanes`` blocks in hand runs in this process, and its model takes
so many seconds for each block without using a core, as one on a GPU does: that shows what is hidden
even where other processes keep the cores busy. The first blocks, which wait for the headers, count.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.shutil import copy

from geoseg import api
from geoseg.grid import blocks
from geoseg.io.files import FilesSource
from geoseg.io.reader import ScenePixels
from geoseg.io.refs import BandRef
from geoseg.io.sample import SampleSource, SampleSpec
from geoseg.io.traffic import METER, NOTHING, Traffic, forget
from geoseg.models.base import Batch
from geoseg.ops.tiling import Lattice
from geoseg.run.base import Done
from geoseg.run.reporter import Silent
from geoseg.run.serial import Serial
from geoseg.scene import Scene
from geoseg.steps.segment import SegmentBlocks, Tiling
from geoseg.testing import ArrayStore, ConstantModel, fake_card

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from range_server import Faults, serving


def write_scene(folder: Path, size: int, *, split: bool) -> tuple[tuple[str, ...], list[str]]:
    """The sample scene as COGs; gives its bands and the names of the files."""
    source = SampleSource(SampleSpec(size=(size, size)), folder / "sample")
    source.write()
    (path,) = {band.uri for band in source.scenes(["red"])[0].bands.values()}
    with rasterio.open(path) as file:
        bands = tuple(file.descriptions)
        if not split:
            copy(file, folder / "scene.tif", driver="COG", compress="deflate", blocksize=512)
            return bands, ["scene.tif"]
    for index, name in enumerate(bands, 1):
        with (
            rasterio.open(path) as file,
            rasterio.open(folder / "band.tif", "w", **(file.profile | {"count": 1})) as one,
        ):
            one.write(file.read(index), 1)
        copy(folder / "band.tif", folder / f"{name}.tif", driver="COG", compress="deflate")
    return bands, [f"{name}.tif" for name in bands]


def run(base: str, out: Path, scene: tuple[tuple[str, ...], list[str]], options: Any) -> Any:
    """One run; gives what run.json says."""
    bands, names = scene
    paths = [f"{base}/{name}" for name in names]
    places = {band: {"path": path} for band, path in zip(bands, paths, strict=False)}
    source = {"path": paths, "bands": list(bands)} if len(paths) == 1 else {"bands": places}
    workflow = {
        "geoseg": 1,
        "name": "remote",
        "input": {"kind": "files", "scale": 1e-4, "units": "reflectance", **source},
        "model": {"name": options.model},
        "tiling": {"block": options.block},
        "output": {"directory": str(out)},
        "cluster": {"workers": options.workers, "dashboard": False},
    }
    path = out.with_suffix(".yaml")
    path.write_text(json.dumps(workflow))
    return api.run(path, reporter=Silent(), force=True).scenes[0].record


class Busy(ConstantModel):
    """A model that takes its time, and no core."""

    seconds = 0.0

    def scores(self, batch: Batch) -> NDArray[np.float32]:
        """The constant, after a while."""
        time.sleep(self.seconds)  # stands for a model on a device: waits, and leaves the core free
        return super().scores(batch)


@dataclass(frozen=True)
class BusyJob:
    """Implements :class:`geoseg.run.base.Job` with a model that only waits."""

    scene: Scene
    seconds: float
    key: str = "busy"

    def open(self) -> SegmentBlocks:
        """On no worker but this process."""
        model = Busy(card=fake_card("busy", bands=tuple(self.scene.bands)))
        model.seconds = self.seconds
        shape = (int(self.scene.grid.shape[0]), int(self.scene.grid.shape[1]))
        stores = ArrayStore(shape), ArrayStore(shape)
        return SegmentBlocks(ScenePixels(self.scene), model, *stores, TILING)


TILING = Tiling(Lattice(256, 32, 8), batch=64)
BLOCK = 2 * 192


def run_busy(base: str, out: Path, scene: tuple[tuple[str, ...], list[str]], options: Any) -> Any:
    """One worker's share of a run; gives what run.json would say."""
    bands, names = scene
    places = {
        band: BandRef(f"{base}/{names[i if len(names) > 1 else 0]}", 1 if len(names) > 1 else i + 1)
        for i, band in enumerate(bands)
    }
    found = FilesSource(bands=places).scenes(bands)[0]
    windows = list(blocks(tuple(found.grid.shape), BLOCK))
    METER.take()
    start = time.perf_counter()
    done = list(Serial(options.lanes).run(BusyJob(found, options.busy), windows))
    wall = time.perf_counter() - start
    failed = [one.error for one in done if not isinstance(one, Done)]
    assert not failed, f"{out}: {failed[0]}"
    reports = [one.report for one in done if isinstance(one, Done)]
    traffic = sum((Traffic(**report["remote"]) for report in reports), NOTHING)
    parts = {name: sum(r["seconds"][name] for r in reports) for name in ("read", "wait", "infer")}
    return {"seconds": {"segment": {"wall": wall, **parts}}, "remote": asdict(traffic)}


def shown(name: str, record: Any) -> float:
    """A line about one run; gives the wall time of its segment stage."""
    seconds = record["seconds"]["segment"]
    print(
        f"{name}: segment {seconds['wall']:.2f} s, blocks read {seconds['read']:.2f} s, waited "
        f"{seconds['wait']:.2f} s, infer {seconds['infer']:.2f} s; "
        f"{record['remote']['requests']} requests, {record['remote']['bytes'] / 1e6:.1f} MB"
    )
    return float(seconds["wall"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--size", type=int, default=1536)
    parser.add_argument("--latency", type=float, default=0.1)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--block", default="auto")
    parser.add_argument("--split", action="store_true", help="one file for each band")
    parser.add_argument("--model", default="landcover-s2")
    parser.add_argument("--busy", type=float, help="seconds of a model that only waits")
    parser.add_argument("--lanes", type=int, default=3)
    options = parser.parse_args()
    once = run if options.busy is None else run_busy
    with tempfile.TemporaryDirectory() as room, serving(Path(room)) as server:
        folder, ratios = Path(room), []
        scene = write_scene(folder, options.size, split=options.split)
        for pair in range(options.pairs):
            server.reset(Faults())
            forget(f"/vsicurl/{server.url}")
            local = shown("local ", once(str(folder), folder / f"local{pair}", scene, options))
            server.reset(Faults(latency=options.latency))
            there = shown("remote", once(server.url, folder / f"remote{pair}", scene, options))
            print(f"        the server counted {server.requests} requests")
            ratios.append(local / there)
        print(f"throughput, remote over local: {median(ratios):.3f}", [round(r, 3) for r in ratios])


if __name__ == "__main__":
    main()
