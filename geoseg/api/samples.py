"""Write the synthetic scene that comes with geoseg."""

from __future__ import annotations

import re
from pathlib import Path
from shutil import disk_usage

from geoseg.api.places import check_folder
from geoseg.errors import InputError
from geoseg.io.sample import SampleSource, SampleSpec
from geoseg.run.reporter import Reporter, Silent

_BYTES = 7.8
"""Of a pixel on the disk, once it is compressed."""
_SIZE = re.compile(r"(\d+)(?:[x,](\d+))?\Z")


def write_sample(
    directory: Path,
    *,
    size: str | int = 1024,
    seed: int = 7,
    date: int = 1,
    clouds: bool = True,
    reporter: Reporter | None = None,
) -> Path:
    """Write a synthetic Sentinel-2-like scene, its mask and its true classes; any size, streamed.

    Returns:
        The path of the scene; mask, truth and a STAC catalog lie beside it.

    Raises:
        InputError: A parameter is out of range.
        ProductError: The folder cannot be written to.
    """
    match = _SIZE.match(str(size).strip())
    if match is None:
        raise InputError(f"sample: size {size!r} is not like 1024 or 512x2048 (rows x columns)")
    rows, cols = int(match[1]), int(match[2] or match[1])
    if date not in (1, 2):
        raise InputError(f"sample: date {date} is not 1 or 2")
    spec = SampleSpec(size=(rows, cols), seed=seed, date=1 if date == 1 else 2, clouds=clouds)
    check_folder(directory, what="sample")
    check_room(spec.size, directory, what="sample")
    source = SampleSource(spec, directory)
    return source.write(progress=SampleStage(source, reporter or Silent()))


def check_room(size: tuple[int, int], directory: Path, *, what: str) -> None:
    """Refuse a sample that would fill the disk.

    Raises:
        InputError: There is not enough room left.
    """
    there = next(place for place in (directory, *directory.absolute().parents) if place.exists())
    wanted, left = size[0] * size[1] * _BYTES, disk_usage(there).free
    if wanted > left:
        raise InputError(
            f"{what}: {size[0]} x {size[1]} pixels take {wanted / 1e9:,.1f} GB, and {there} has "
            f"{left / 1e9:,.1f} GB left; make it smaller"
        )


class SampleStage:
    """Tells a reporter of a sample that is being written, block by block."""

    def __init__(self, source: SampleSource, reporter: Reporter) -> None:
        rows, cols = source.spec.size
        self._pixels, self._reporter, self._told = rows * cols, reporter, 0

    def __call__(self, done: int, blocks: int) -> None:
        """``done`` of ``blocks`` are written."""
        if done == 1:
            self._reporter.stage("sample", blocks=blocks, pixels=self._pixels)
        pixels = self._pixels * done // blocks
        self._reporter.advance(blocks=1, pixels=pixels - self._told)
        self._told = pixels
