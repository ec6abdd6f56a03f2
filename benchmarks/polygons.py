"""Polygons of a land-cover map: geoseg against rasterio with geopandas, in one run.

    python benchmarks/polygons.py [--size 4096] [--block 1024] [--threads 1]

Each contender runs in a process of its own on the same map, to a GeoPackage. Printed are seconds
of wall and CPU time from the map in memory to the polygons in memory (for geoseg an Arrow table,
for rasterio a GeoDataFrame) and to the file, and the peak memory of the process, of which the
imports and the map are shown apart. Machine code is compiled before, and that is printed, too.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from land_cover import land_cover
from numpy.typing import NDArray

TRANSFORM = Affine(10, 0, 499980, 0, -10, 5300040)
CRS = "EPSG:32633"
Seconds = dict[str, float]


@contextmanager
def stopwatch(into: dict[str, Seconds], name: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    into[name] = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_geoseg(codes: NDArray[np.uint8], out: Path, options: argparse.Namespace) -> dict[str, Any]:
    import pyarrow as pa  # noqa: PLC0415 - memory is compared
    import pyogrio  # noqa: PLC0415 - memory is compared
    from odc.geo.geobox import GeoBox  # noqa: PLC0415 - memory is compared

    from geoseg.steps.vectorize import vectorize_array  # noqa: PLC0415 - memory is compared

    stages: dict[str, Seconds] = {}
    with stopwatch(stages, "compile"):
        corner = codes[:600, :600]
        grid = GeoBox(corner.shape, TRANSFORM, CRS)
        vectorize_array(corner, grid, nodata=0, block=100).read_all()
    grid = GeoBox(codes.shape, TRANSFORM, CRS)
    before = peak_megabytes()

    def polygons() -> Any:
        return vectorize_array(codes, grid, nodata=0, block=options.block, threads=options.threads)

    with stopwatch(stages, "memory"):
        count = sum(batch.num_rows for batch in polygons())
    peak = peak_megabytes()
    with stopwatch(stages, "file"):
        stream = polygons()
        pyogrio.write_arrow(
            pa.RecordBatchReader.from_batches(stream.schema, iter(stream)),
            out,
            driver="GPKG",
            geometry_name="geometry",
            geometry_type="Polygon",
            crs=CRS,
        )
    return {"count": count, "stages": stages, "before": before, "peak": peak}


def run_rasterio(codes: NDArray[np.uint8], out: Path, _: argparse.Namespace) -> dict[str, Any]:
    import geopandas  # noqa: PLC0415 - memory is compared
    from rasterio.features import shapes  # noqa: PLC0415 - memory is compared
    from shapely.geometry import shape  # noqa: PLC0415 - memory is compared

    stages: dict[str, Seconds] = {}
    before = peak_megabytes()
    with stopwatch(stages, "memory"):
        found = [
            (shape(geometry), int(code))
            for geometry, code in shapes(codes, codes != 0, transform=TRANSFORM)
        ]
        geometry, code = zip(*found, strict=True)
        frame = geopandas.GeoDataFrame({"class_code": code}, geometry=list(geometry), crs=CRS)
    peak = peak_megabytes()
    with stopwatch(stages, "file"):
        frame.to_file(out, driver="GPKG", engine="pyogrio")
    for clock, seconds in stages["memory"].items():
        stages["file"][clock] += seconds
    return {"count": len(frame), "stages": stages, "before": before, "peak": peak}


CONTENDERS = {"geoseg": run_geoseg, "rasterio": run_rasterio}


def compare(options: argparse.Namespace, folder: Path) -> None:
    codes = folder / "codes.npy"
    np.save(codes, land_cover(0, 0, options.size, options.size))
    results = {}
    for name in CONTENDERS:
        command = [sys.executable, __file__, *sys.argv[1:], "--contender", name, "--map", codes]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        results[name] = json.loads(done.stdout)
    print(
        f"{options.size} x {options.size} px, blocks of {options.block}, {options.threads} threads"
    )
    for name, result in results.items():
        stages = ", ".join(
            f"{stage} {s['wall']:.2f} s wall {s['cpu']:.2f} s CPU"
            for stage, s in result["stages"].items()
        )
        print(f"{name:9}{result['count']:>9,} polygons; {stages}")
        print(f"{'':9}peak {result['peak']:,.0f} MB, {result['before']:,.0f} MB before")
    ours, theirs = (results[name]["stages"] for name in CONTENDERS)
    for stage in ("memory", "file"):
        ratios = (theirs[stage][clock] / ours[stage][clock] for clock in ("cpu", "wall"))
        print("to {}: {:.1f} times less CPU, {:.1f} times less wall".format(stage, *ratios))
    assert results["geoseg"]["count"] == results["rasterio"]["count"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--block", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--map", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.contender is None:
            compare(options, Path(folder))
            return
        codes = np.load(options.map)
        out = Path(folder, "polygons.gpkg")
        print(json.dumps(CONTENDERS[options.contender](codes, out, options)))


if __name__ == "__main__":
    main()
