"""Files of boundary arcs: what a block leaves behind for joining."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import BlockError
from geoseg.grid import Window
from geoseg.io.atomic import replacing
from geoseg.io.bucket import BucketPath, Place, as_place
from geoseg.ops.arcs import ARC, BlockArcs
from geoseg.ops.regions import REGION

_VERSION = 2  # 2: regions know their lowest confidence
_AHEAD = 8
"""Blocks that are fetched from a store at once."""
_TABLES = {
    "regions": REGION,
    "arcs": ARC,
    "vertices": np.dtype(np.uint16),
    "rim": np.dtype(np.int32),
}


def arcs_path(folder: str | Place, window: Window) -> Place:
    """Where the arcs of a block are kept."""
    return as_place(folder) / f"y{window.y0:07d}_x{window.x0:07d}.npz"


def save_arcs(folder: str | Place, block: BlockArcs) -> Place:
    """Write the arcs of a block; the same arcs give the same bytes.

    Raises:
        ProductError: The folder cannot be written to.
    """
    path = arcs_path(folder, block.window)
    w = block.window
    head = np.array([_VERSION, *block.shape, w.y0, w.x0, w.y1, w.x1], np.int64)
    with replacing(path) as made, made.open("wb") as file:
        np.savez(file, head=head, **{name: getattr(block, name) for name in _TABLES})
    return path


def load_arcs(folder: str | Place, window: Window, shape: tuple[int, int]) -> BlockArcs:
    """Read the arcs of a block of a raster of ``shape``.

    Raises:
        BlockError: The file is missing or damaged, or belongs to another raster.
    """
    path = arcs_path(folder, window)
    try:
        # numpy leaves files open that it cannot read, unless they are opened for it.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            head, tables = file["head"], {name: file[name] for name in _TABLES}
    except FileNotFoundError as error:
        raise BlockError(f"{path}: block {window} has not been traced") from error
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise BlockError(
            f"{path}: not a file of arcs, or damaged; trace the block again"
        ) from error
    expected = [_VERSION, *shape, window.y0, window.x0, window.y1, window.x1]
    if head.tolist() != expected:
        raise BlockError(
            f"{path}: has the arcs of another raster or version {head.tolist()}, wanted are "
            f"{expected} (version, shape, window); trace the block again"
        )
    return BlockArcs(window, shape, **{n: _typed(path, tables[n], t) for n, t in _TABLES.items()})


def load_all_arcs(
    folder: str | Place, windows: Iterable[Window], shape: tuple[int, int]
) -> Generator[BlockArcs, None, None]:
    """Read the arcs of many blocks, one at a time."""
    if not isinstance(as_place(folder), BucketPath):
        for window in windows:
            yield load_arcs(folder, window, shape)
        return
    rest = iter(windows)
    with ThreadPoolExecutor(_AHEAD, thread_name_prefix="arcs") as pool:
        while some := list(islice(rest, _AHEAD)):  # a store answers late, but many at once
            yield from pool.map(lambda window: load_arcs(folder, window, shape), some)


def _typed(path: Place, table: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if table.dtype.itemsize != dtype.itemsize or table.dtype.names != dtype.names:
        raise BlockError(f"{path}: not a file of arcs, or damaged; trace the block again")
    # What numpy reads has the same bytes, but not the flag that says that fields are aligned.
    return table.view(dtype)
