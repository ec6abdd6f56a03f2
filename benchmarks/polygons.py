"""From a class raster to a GeoPackage of polygons: geoseg, GDAL, rasterio with geopandas.

    python benchmarks/polygons.py [--size 4096 10980] [--map worldcover.tif] [--repeat 3]
    python benchmarks/polygons.py --all --repeat 3     # all sizes, and the real maps

Each contender is a process of its own (and its children) that reads the same GeoTIFF and writes a
GeoPackage with a spatial index, one after the other, round by round; the least of the rounds
counts. Measured are CPU time (user and system, children included), wall time, and the peak memory
of the largest process and of all together. How many polygons were written, and what they cover,
must be equal. The machine code of geoseg is compiled before, as after a first use.

``gdal`` is the newest GDAL at hand, the one inside the wheel of rasterio or pyogrio;
``gdal-system`` the one that has bindings for the system's Python. ``generalized`` is how
``--generalize`` says: with it, smaller regions go to neighbours, and outlines are simplified and
smoothed. Real maps are looked for in the folder ``visible`` of ``GEOSEG_DATA``.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import pyogrio
import rasterio
import shapely
from gdal_polygonize import version
from land_cover import write_land_cover

GDAL = "/usr/bin/python3"  # one that has GDAL's own bindings
# What gdal_polygonize.py does, but within one transaction: without it takes ten times as long.
POLYGONIZE = """
import sys
from osgeo import gdal, ogr, osr
gdal.UseExceptions()
raster = gdal.Open(sys.argv[1])
band = raster.GetRasterBand(1)
out = ogr.GetDriverByName("GPKG").CreateDataSource(sys.argv[2])
layer = out.CreateLayer("land_use", raster.GetSpatialRef(), ogr.wkbPolygon)
layer.CreateField(ogr.FieldDefn("class_code", ogr.OFTInteger))
out.StartTransaction()
gdal.Polygonize(band, band.GetMaskBand(), layer, 0)
out.CommitTransaction()
"""
SLOW = ("rasterio", "coverage_simplify")
RARE = (*SLOW, "gdal-system")  # run --repeat-slow times: they take minutes
LARGEST_SLOW = 11_000  # pixels a side; beyond, what holds all polygons as objects is left out
LARGEST_CHECKED = 11_000
BASELINES = ("gdal", "rasterio", "coverage_simplify")
ALL_SIZES = (4096, 10_980, 21_960)
REAL_MAPS = (
    "worldcover_saotome_36000px/*_Map.tif",
    "lulc_1m_10000px/*.tif",
    "cdl_iowa_8000px/*.tif",
    "lcmap_5000px/*_LCPRI.tif",
)
SIZES = ("VmRSS", "VmHWM")


class Cost(NamedTuple):
    """What a contender took."""

    cpu: float  # seconds
    wall: float  # seconds
    largest: float  # MB of the largest process
    together: float  # MB of all processes
    file: float  # MB


@dataclass(frozen=True)
class Result:
    """The least of several rounds, and what was written."""

    cost: Cost
    polygons: int
    area: float

    def least(self, other: Result) -> Result:
        """The lesser costs of both, which wrote the same."""
        costs = zip(self.cost, other.cost, strict=True)
        return Result(Cost(*map(min, costs)), self.polygons, self.area)


def geoseg_in_process(raster: Path, out: Path, threads: int) -> None:
    """Without command line and reporter, on ``threads`` besides the one that joins."""
    from geoseg.io.class_raster import NO_CLASS, ClassRaster  # noqa: PLC0415 - memory is compared
    from geoseg.io.geopackage import write_geopackage  # noqa: PLC0415 - memory is compared
    from geoseg.steps.vectorize import vectorize_windows  # noqa: PLC0415 - memory is compared

    source = ClassRaster(raster)
    polygons = vectorize_windows(source.read, source.grid, nodata=NO_CLASS, threads=threads)
    write_geopackage(out, {"land_use": polygons}, grid_crs=source.grid, styles={}, tags={})


def one_thread(raster: Path, out: Path) -> None:
    geoseg_in_process(raster, out, 1)


def two_threads(raster: Path, out: Path) -> None:
    geoseg_in_process(raster, out, 2)


def rasterio_to_geopandas(raster: Path, out: Path, *, simplify: bool = False) -> None:
    """As in the documentation of both: all polygons as objects, then to a file."""
    import geopandas  # noqa: PLC0415 - memory is compared
    from rasterio.features import shapes  # noqa: PLC0415 - memory is compared
    from shapely.geometry import shape  # noqa: PLC0415 - memory is compared

    with rasterio.open(raster) as file:
        codes, mask = file.read(1), file.read_masks(1)
        transform, crs = file.transform, file.crs
    found = [(shape(g), int(code)) for g, code in shapes(codes, mask, transform=transform)]
    geometry, code = zip(*found, strict=True)
    frame = geopandas.GeoDataFrame({"class_code": code}, geometry=list(geometry), crs=crs)
    if simplify:
        frame["geometry"] = shapely.coverage_simplify(frame.geometry.values, 2 * transform.a)
    frame.to_file(out, driver="GPKG", engine="pyogrio")


def coverage_simplify(raster: Path, out: Path) -> None:
    rasterio_to_geopandas(raster, out, simplify=True)


IN_PYTHON: dict[str, Callable[[Path, Path], None]] = {
    "one-thread": one_thread,
    "two-threads": two_threads,
    "rasterio": rasterio_to_geopandas,
    "coverage_simplify": coverage_simplify,
}
CONTENDERS = ("geoseg", "workers", "generalized", "gdal", "gdal-system", *IN_PYTHON)
EXACT = ("geoseg", "workers", "gdal", "gdal-system", "one-thread", "two-threads", "rasterio")


def newest_gdal() -> tuple[str, str]:
    """The libgdal of the wheels that is the newest, and its version; empty without any."""
    found = [
        str(path)
        for package in (rasterio, pyogrio)
        for path in Path(package.__file__).parents[1].glob(f"{package.__name__}.libs/libgdal-*.so*")
    ]
    ranked = [(tuple(map(int, version(path).split(".")[:3])), path) for path in found]
    numbers, path = max(ranked, default=((), ""))
    return path, ".".join(map(str, numbers))


def system_gdal() -> str:
    """The version of the GDAL whose bindings the system's Python has; empty without any."""
    probe = [GDAL, "-c", "from osgeo import gdal, ogr; print(gdal.__version__)"]
    if not Path(GDAL).is_file():
        return ""
    return subprocess.run(probe, check=False, capture_output=True, text=True).stdout.strip()


def command(name: str, raster: Path, out: Path, generalize: str) -> list[str] | str:
    """What to run; or why it cannot be."""
    ours = [sys.executable, "-m", "geoseg", "vectorize", str(raster), str(out), "-q"]
    if name == "geoseg":
        return ours
    if name == "workers":
        return [*ours, "--workers", "2"]
    if name == "generalized":
        return [*ours, *shlex.split(generalize)] if generalize else "needs --generalize"
    if name == "gdal":
        library, _ = newest_gdal()
        script = str(Path(__file__).with_name("gdal_polygonize.py"))
        there = [sys.executable, script, library, str(raster), str(out)]
        return there if library else "no wheel with a GDAL inside"
    if name == "gdal-system":
        there = [GDAL, "-c", POLYGONIZE, str(raster), str(out)]
        return there if system_gdal() else f"{GDAL} has no GDAL"
    return [sys.executable, __file__, "--contender", name, "--map", str(raster), "--out", str(out)]


def run(arguments: list[str], environment: dict[str, str] | None = None) -> Cost:
    """Run a process to its end, watching its memory and that of its children."""
    began, together, largest = time.perf_counter(), 0.0, 0.0
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, env=environment)
    watched = psutil.Process(process.pid)
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        now, peaks = resident(watched)
        together, largest = max(together, now), max(largest, peaks)
        time.sleep(0.01)  # often enough to see peaks, rarely enough to cost nothing
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{shlex.join(arguments)} failed with {process.returncode}")
    cpu, wall = usage.ru_utime + usage.ru_stime, time.perf_counter() - began
    return Cost(cpu, wall, largest, max(together, largest), 0)


def of_wheel() -> dict[str, str]:
    """The environment of this process, with the tables that the libgdal of a wheel needs."""
    library, _ = newest_gdal()
    package = pyogrio if "pyogrio.libs" in library else rasterio
    data = Path(package.__file__).parent
    return {
        **os.environ,
        "GDAL_DATA": str(data / "gdal_data"),
        "PROJ_DATA": str(data / "proj_data"),
    }


def resident(process: psutil.Process) -> tuple[float, float]:
    """MB of a process and its children together, and the peak so far of the largest.

    What they share counts for each. A process that was started by a large one has that one's
    peak in its ``ru_maxrss``; in ``VmHWM`` it has not.
    """
    total = largest = 0.0
    for one in (process, *children(process)):
        try:
            lines = Path(f"/proc/{one.pid}/status").read_text().splitlines()
        except OSError:
            continue  # it has just ended
        kilobytes = {
            k: int(v.split()[0]) for k, v in (x.split(":", 1) for x in lines) if k in SIZES
        }
        total += kilobytes.get("VmRSS", 0) / 1024
        largest = max(largest, kilobytes.get("VmHWM", 0) / 1024)
    return total, largest


def children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def written(path: Path, *, areas: bool) -> tuple[int, float]:
    """Polygons in a file, and what they cover in the units of its CRS, summed batch by batch."""
    if not areas:
        return int(pyogrio.read_info(path, layer=0)["features"]), float("nan")
    count, area = 0, 0.0
    with pyogrio.open_arrow(path, layer=0, columns=[], use_pyarrow=True) as (meta, reader):
        name = meta["geometry_name"] or "wkb_geometry"
        for batch in reader:
            geometries = batch.column(name).to_numpy(zero_copy_only=False)
            count += len(geometries)
            area += float(shapely.area(shapely.from_wkb(geometries)).sum())
    return count, area


def measure(name: str, raster: Path, options: argparse.Namespace, folder: Path) -> Result | str:
    """A contender on a map, once; or why it was left out."""
    with rasterio.open(raster) as file:
        side = max(file.shape)
    if name in SLOW and side > LARGEST_SLOW:
        return f"not tried on more than {LARGEST_SLOW} px a side"
    out = folder / "out.gpkg"
    out.unlink(missing_ok=True)
    what = command(name, raster, out, options.generalize)
    if isinstance(what, str):
        return what
    cost = run(what, of_wheel() if name == "gdal" else None)
    polygons, area = written(out, areas=side <= LARGEST_CHECKED)
    return Result(cost._replace(file=out.stat().st_size / 1e6), polygons, area)


def compare(raster: Path, options: argparse.Namespace, folder: Path) -> None:
    """One table; times are against those of BASELINES, which come first."""
    with rasterio.open(raster) as file:
        print(f"\n**{raster.stem}**, {file.height} x {file.width} px\n", flush=True)
    first = [name for name in BASELINES if name in options.only]
    names = (*first, *(name for name in options.only if name not in first))
    found: dict[str, Result] = {}
    left_out: dict[str, str] = {}
    for turn in range(options.repeat):
        for name in names:
            if name in left_out or (name in RARE and turn >= options.repeat_slow):
                continue
            result = measure(name, raster, options, folder)
            if isinstance(result, str):
                left_out[name] = result
            else:
                found[name] = result.least(found.get(name, result))
    print("| | CPU s | wall s | largest MB | all MB | file MB | polygons | x CPU | x wall |")
    print("|---" * 9 + "|")
    bases = [found[name] for name in first if name in found]
    for name in names:
        print(row(name, found[name], bases) if name in found else f"| {name} | {left_out[name]} |")
    print(f"\nx: times less than {'/'.join(n for n in first if n in found) or 'nothing'}")
    check({name: result for name, result in found.items() if name in EXACT})


def row(name: str, result: Result, bases: list[Result]) -> str:
    """A line of the table."""
    cost = result.cost
    times = ("/".join(f"{b.cost[k] / cost[k]:.1f}" for b in bases) for k in (0, 1))
    numbers = f"{cost.cpu:.1f} | {cost.wall:.1f} | {cost.largest:,.0f} | {cost.together:,.0f}"
    counts = f"{cost.file:,.0f} | {result.polygons:,}"
    return f"| {name} | {numbers} | {counts} | {' | '.join(times)} |"


def check(results: dict[str, Result]) -> None:
    """All wrote the same."""
    first = next(iter(results.values()), None)
    for name, result in results.items():
        assert result.polygons == first.polygons, f"{name}: {result.polygons} polygons"
        same = np.isclose(result.area, first.area, rtol=1e-12, equal_nan=True)
        assert same, f"{name}: {result.area} instead of {first.area}"


def real_maps() -> list[Path]:
    """Those of :data:`REAL_MAPS` that are at hand."""
    visible = Path(os.environ.get("GEOSEG_DATA", "../shared/data")) / "visible"
    return [path for pattern in REAL_MAPS for path in sorted(visible.glob(pattern))]


def main() -> None:
    """Measure, print, check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs="*", default=[])
    parser.add_argument("--map", type=Path, nargs="*", default=[])
    parser.add_argument("--only", nargs="*", choices=CONTENDERS, default=CONTENDERS)
    parser.add_argument("--all", action="store_true", help="all sizes, and the real maps")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--repeat-slow", type=int, default=1, help="of those that take minutes")
    parser.add_argument(
        "--generalize",
        default="--min-area 0.2ha --simplify 10m --smooth corners",
        help="options of geoseg vectorize",
    )
    parser.add_argument("--contender", choices=IN_PYTHON, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.all:
        options.size, options.map = [*ALL_SIZES], [*options.map, *real_maps()]
    if options.contender:
        IN_PYTHON[options.contender](options.map[0], options.out)
        return
    versions = f"gdal {newest_gdal()[1] or '-'}, gdal-system {system_gdal() or '-'}"
    load = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before"
    print(f"{load}; {versions}, rasterio {rasterio.__version__}, shapely {shapely.__version__}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = folder / "small.tif"
        write_land_cover(small, 300)
        for contender in {"generalized", "one-thread"} & {*options.only} | {"geoseg"}:  # compiles
            run(command(contender, small, folder / f"{contender}.gpkg", options.generalize))
        for size in options.size or ([] if options.map else [4096]):
            write_land_cover(folder / f"land-cover-{size}.tif", size)
            compare(folder / f"land-cover-{size}.tif", options, folder)
        for raster in options.map:
            compare(raster, options, folder)


if __name__ == "__main__":
    main()
