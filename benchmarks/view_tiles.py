"""How long tiles of `geoseg view` take, over HTTP, from a product as large as a Sentinel-2 tile.

    python benchmarks/view_tiles.py [--size 10980]

Writes classes, confidence and an image of that size to a temporary folder, serves them, and asks for
tiles one after the other as a browser does that zooms and pans: at each zoom level, some tiles that
lie on the product, each for the first time. Prints median, 95th percentile and most milliseconds on
the wall, and the median of the CPU time that server and client took together: on a machine with
other work only the latter says something of this program.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
import urllib.request
from math import asinh, pi, radians, tan
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import numpy as np
import rasterio
from affine import Affine
from map_products import GRID
from odc.geo.geobox import GeoBox
from products import LEGEND, ArrayStore, class_map
from rasterio.shutil import copy as copy_raster
from rasters import write

from geoseg.api.viewer.layers import find_products
from geoseg.api.viewer.reviewing import Desk
from geoseg.api.viewer.routes import Map
from geoseg.api.viewer.server import MapServer
from geoseg.io.cog import write_class_cog, write_confidence_cog

EACH = 12


def main() -> None:
    """Make, serve, ask, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=10980)
    size = parser.parse_args().size
    with tempfile.TemporaryDirectory() as folder:
        places = make(Path(folder), size)
        with MapServer(Map(find_products(places), Desk("bench"))) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            ask_all(server.address)
            server.shutdown()
            server.shown.close()


def make(folder: Path, size: int) -> list[Path]:
    """A product of `size` pixels a side, and an image."""
    grid = GeoBox((size, size), Affine(*tuple(GRID.affine)[:6]), GRID.crs)
    codes = class_map((size, size))
    write_class_cog(ArrayStore(codes), grid, LEGEND, folder / "classes.tif", tags={})
    sure = (codes % 50 + 50).astype(np.uint8)
    write_confidence_cog(ArrayStore(sure), grid, folder / "confidence.tif", tags={})
    bands = np.stack([codes.astype(np.uint16) * n for n in (10, 14, 20)])
    plain = folder / "plain.tif"
    write(plain, bands, transform=grid.affine, crs=str(grid.crs), nodata=0)
    copy_raster(plain, folder / "image.tif", driver="COG", COMPRESS="DEFLATE")
    plain.unlink()
    return [folder / f"{name}.tif" for name in ("classes", "confidence", "image")]


def ask_all(address: str) -> None:
    """Ask for tiles of each layer at each zoom, and print how long they took."""
    catalog = json.loads(fetch(address + "catalog.json"))
    layers = [layer for product in catalog["products"] for layer in product["rasters"]]
    everything = []
    print(f"rasterio {rasterio.__version__}, GDAL {rasterio.__gdal_version__}")
    print(
        "| layer | zoom | tiles | median ms | p95 ms | most ms | CPU ms |\n| --- | --- | --- | --- | --- | --- | --- |"
    )
    for layer in layers:
        fetch(f"{address}tiles/{layer['id']}/22/0/0")  # opens the file
        for zoom in range(8, layer["deepest"] + 1):
            tiles = tiles_of(layer["extent"], zoom)
            chosen = random.Random(zoom).sample(  # noqa: S311 (no secret)
                tiles, min(EACH, len(tiles))
            )
            took = [timed(f"{address}tiles/{layer['id']}/{zoom}/{x}/{y}") for x, y in chosen]
            everything += took
            print(f"| {layer['kind']} | {zoom} | {len(took)} | {told(took)} |")
    print(f"| all | | {len(everything)} | {told(everything)} |")


def told(took: list[tuple[float, float]]) -> str:
    """Median, 95th percentile and most of the wall, and median of the CPU, in milliseconds."""
    wall, cpu = np.array(took).T * 1e3
    return " | ".join(f"{n:.0f}" for n in (*np.quantile(wall, (0.5, 0.95, 1)), np.median(cpu)))


def tiles_of(extent: list[float], zoom: int) -> list[tuple[int, int]]:
    """All tiles that touch a box; some thousands of them at most."""
    west, south, east, north = extent
    side = 2**zoom
    x0, x1 = (int((lon + 180) / 360 * side) for lon in (west, east))
    y0, y1 = (int((1 - asinh(tan(radians(lat))) / pi) / 2 * side) for lat in (north, south))
    return [(x, y) for x in range(x0, x1 + 1) for y in range(y0, y1 + 1)]


def timed(address: str) -> tuple[float, float]:
    """Seconds that an answer takes, on the wall and of this process."""
    begun, worked = time.perf_counter(), time.process_time()
    fetch(address)
    return time.perf_counter() - begun, time.process_time() - worked


def fetch(address: str) -> bytes:
    """The content of an answer."""
    with urllib.request.urlopen(address, timeout=60) as answer:  # noqa: S310 (our own server)
        return answer.read()


if __name__ == "__main__":
    main()
