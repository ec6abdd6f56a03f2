"""A run on disks that are too small: mounts them, runs, and prints what came of it as JSON lines.

Started in a mount namespace of its own (``unshare -rm``), so that nothing is left mounted.
Arguments: the workflow, what happens, and the output's folder, which is mounted over.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasters import NORTH_UP, UTM

from geoseg.cli import run as command
from geoseg.errors import ProductError
from geoseg.grid import Window
from geoseg.io.cog import write_class_cog
from geoseg.legend import LEGENDS

LEGEND = LEGENDS["landcover"]

SIZES = 120, 8000
"""KiB: enough for some blocks, and for all products."""


def can_mount() -> bool:
    """Whether small disks can be made here."""
    tried = [
        "/usr/bin/unshare",
        "-rm",
        "/usr/bin/mount",
        "-t",
        "tmpfs",
        "tmpfs",
        tempfile.gettempdir(),
    ]
    return Path(tried[0]).exists() and subprocess.run(tried, check=False).returncode == 0


def main(workflow: str, what: str, folder: str) -> None:
    """Print a line for each run."""
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    if what == "grows":
        mount("-t", "tmpfs", "-o", "size=16k", "tmpfs", folder)
        for size in SIZES:
            mount("-o", f"remount,size={size}k", folder)
            tell(workflow, out)
    elif what == "read-only":
        mount("-t", "tmpfs", "-o", "ro", "tmpfs", folder)
        tell(workflow, out)
    elif what == "cogs":
        print(json.dumps(cogs(out)))  # noqa: T201 (the answer)


def cogs(out: Path) -> dict[str, int]:
    """Write one raster to disks of many sizes; counts what came of it."""
    codes = np.random.default_rng(0).choice(np.array(LEGEND.values, np.uint8), (300, 300))
    store, grid = InMemory(codes), GeoBox(codes.shape, NORTH_UP, UTM)
    write_class_cog(store, grid, LEGEND, out / "whole.tif", tags={})
    whole = (out / "whole.tif").read_bytes()
    small = out / "small"
    small.mkdir()
    mount("-t", "tmpfs", "-o", "size=16k", "tmpfs", str(small))
    came = {"wrong": 0, "refused": 0, "whole": 0}
    for size in (*range(16, 84, 4), 100, 150, 200, 400):
        mount("-o", f"remount,size={size}k", str(small))
        try:
            write_class_cog(store, grid, LEGEND, small / "classes.tif", tags={})
            same = (small / "classes.tif").read_bytes() == whole
            came["whole" if same else "wrong"] += 1
        except ProductError:
            came["refused"] += 1
        (small / "classes.tif").unlink(missing_ok=True)
    return came


class InMemory:
    """Codes that are read as from a store."""

    block = 512

    def __init__(self, codes: NDArray[np.uint8]) -> None:
        self.codes = codes
        self.shape = codes.shape

    def read(self, window: Window) -> NDArray[np.uint8]:
        """A part of them."""
        return self.codes[window.slices]


def mount(*arguments: str) -> None:
    """Mount, or fail."""
    subprocess.run(["/usr/bin/mount", *arguments], check=True)


def tell(workflow: str, out: Path) -> None:
    """Run, and say how it ended and what lies in the output."""
    code = command(["run", workflow, "--quiet"])
    files = [p for p in sorted(out.rglob("*")) if p.is_file() and ".geoseg" not in p.parts]
    found = {str(p.relative_to(out)): sha256(p.read_bytes()).hexdigest() for p in files}
    print(json.dumps({"code": code, "files": found}), flush=True)  # noqa: T201 (the answer)
    sys.stderr.write("---\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
