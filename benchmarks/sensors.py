"""Every shipped workflow on the real scene that suits it: what comes out, how long it takes.

    python benchmarks/sensors.py --data ../shared/data --out sensors [--only water naip]

Prints a Markdown table: sensor, scene, workflow, how many products, seconds on the wall, share of
valid pixels, warnings; and keeps all quicklooks in one folder, to be looked at. A workflow that
fails is a row, too, and the exit code is 1 then. There is no real product of Sentinel-2 L1C and of
PlanetScope among the scenes: ``tests/e2e/test_sensors_mapped.py`` makes them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

ROOT = Path(__file__).parents[1]
HLS = "HLS.S30.T32TMT.2021265T102031.v2.0"
HLS_CODES = ("B02", "B03", "B04", "B8A", "B11", "B12")

Prepare = Callable[[Path, Path], Mapping[str, str]]
"""Makes ready what a workflow needs of the data, in a folder; returns variables for it."""


def as_they_are(data: Path, folder: Path) -> Mapping[str, str]:
    """Nothing to be done."""
    del data, folder
    return {}


def hls_product(data: Path, folder: Path) -> Mapping[str, str]:
    """A chip of HLS laid out as a product; it does not say where it lies, so the place is made up."""
    chip = data / "visible" / "hls_water_landcover"
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    with rasterio.open(chip / "images" / "098.tif") as file:
        bands = file.read([2, 3, 4, 5, 6, 7])
    with rasterio.open(chip / "labels" / "098.tif") as file:
        fmask = file.read(4)
    place = {"crs": "EPSG:32632", "transform": Affine(30, 0, 600_000, 0, -30, 5_200_000)}
    folder.mkdir(parents=True)
    for code, values in zip((*HLS_CODES, "Fmask"), (*bands, fmask), strict=True):
        shape = {"height": values.shape[0], "width": values.shape[1], "count": 1}
        nodata = None if code == "Fmask" else -9999
        with rasterio.open(
            folder / f"{HLS}.{code}.tif", "w", driver="GTiff", dtype=values.dtype, nodata=nodata,
            **place, **shape,
        ) as file:  # fmt: skip
            file.write(values, 1)
    return {"HLS_SCENES": str(folder)}


def safe_catalog(data: Path, folder: Path) -> Mapping[str, str]:
    """A static STAC catalog of the SAFE product."""
    source = data / "visible" / "s2_l2a_T29UNU_safe"
    _geoseg("catalog", "build", str(source), "-o", str(folder), "--no-quicklook", check=True)
    return {"STAC_CATALOG": str(folder / "catalog.json")}


@dataclass(frozen=True)
class Case:
    """A sensor, the workflow for it, and what of the workflow is changed for the scene."""

    sensor: str
    workflow: str
    changes: Mapping[str, object] = field(default_factory=dict)
    prepare: Prepare = as_they_are

    @property
    def name(self) -> str:
        """What its folder is called."""
        return f"{self.workflow}-{self.sensor}".lower().replace(" ", "-").replace(",", "")


def cases(data: Path) -> Sequence[Case]:
    """All of them."""
    visible = data / "visible"
    boadella = {
        "input.path": str(visible / "boadella_reservoir_s2"),
        "input.scale": 0.0001,
        "input.mask": {"method": "none"},
        "model": "water-s2",
    }
    return (
        Case("Sentinel-2 L2A SAFE", "sentinel2-safe"),
        Case("Sentinel-2 in a STAC catalog", "stac", prepare=safe_catalog),
        Case("Sentinel-2 crop", "water"),
        Case("Sentinel-2, file a band", "folder"),
        Case("Sentinel-2, four dates", "composite", boadella),
        Case("Sentinel-2, four dates", "mosaic", boadella | {"grid": {"resolution": "10 m"}}),
        Case("Landsat 8 C2 L2", "landsat-c2"),
        Case("Landsat 8 crop", "landsat8"),
        Case("HLS S30", "hls", prepare=hls_product),
        Case("NAIP", "naip"),
        Case("Drone", "drone"),
        Case("8-bit colour", "forest"),
    )


def _geoseg(*words: str, check: bool = False, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "geoseg", *words],
        cwd=ROOT, env={**os.environ, **variables}, text=True, capture_output=True, check=check,
    )  # fmt: skip


def rows(case: Case, data: Path, out: Path) -> Iterator[tuple[str, ...]]:
    """A row of the table for each scene."""
    folder = out / case.name
    variables = {"GEOSEG_DATA": str(data), **case.prepare(data, out / f"{case.name}-input")}
    changes = {"output.directory": f"{folder}/{{scene}}", "output.quicklook": True} | case.changes
    words = [w for key, value in changes.items() for w in ("--set", f"{key}={json.dumps(value)}")]
    start = time.perf_counter()
    done = _geoseg("run", f"workflows/{case.workflow}.yaml", *words, **variables)
    seconds = time.perf_counter() - start
    told = [line for line in done.stderr.splitlines() if line.lower().startswith("warning")]
    if done.returncode:
        wrong = done.stderr.strip().splitlines()[-1:] or ["?"]
        yield case.sensor, "-", case.workflow, "0", f"{seconds:.0f}", "-", f"FAILED: {wrong[0]}"
        return
    for path in sorted(folder.glob("*/run.json")):
        record = json.loads(path.read_text("utf-8"))
        shutil.copy(path.with_name("quicklook.png"), out / f"{case.name}--{path.parent.name}.png")
        item = json.loads(path.with_name("item.json").read_text("utf-8"))
        own = [line.partition(": ")[2] for line in told if record["scene"] in line]
        share = record["valid_pixels"] / record["pixels"]
        yield (
            case.sensor, record["scene"], case.workflow, str(len(item["assets"])),
            f"{seconds:.0f}", f"{share:.1%}", "<br>".join(own) or "none",
        )  # fmt: skip


def main() -> int:
    """Run, print, keep the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--out", type=Path, default=ROOT / "products" / "sensors")
    parser.add_argument("--only", nargs="*", help="workflows to run; all without it")
    asked = parser.parse_args()
    data, out = asked.data.absolute(), asked.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    print("| sensor | scene | workflow | products | seconds | valid | warnings |")
    print("| --- | --- | --- | ---: | ---: | ---: | --- |")
    failed = False
    for case in cases(data):
        if asked.only and case.workflow not in asked.only:
            continue
        for row in rows(case, data, out):
            print("|", " | ".join(row), "|", flush=True)
            failed |= "FAILED" in row[-1]
    print(f"\nQuicklooks: {out}/*.png")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
