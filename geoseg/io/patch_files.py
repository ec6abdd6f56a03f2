"""Files of patches: what a block knows of those at its rim, and which of them are too small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.io.mmu_files import load_tables, save_tables
from geoseg.ops.patch_areas import RimPatches

_RIM: dict[str, np.dtype[Any]] = {
    "measures": np.dtype(np.int64),
    "rim": np.dtype(np.int32),
    "groups": np.dtype(np.int16),
}
_SMALL: dict[str, np.dtype[Any]] = {"small": np.dtype(np.bool_)}


def save_rim(folder: Path, shape: tuple[int, int], found: RimPatches) -> None:
    """Write what a block of a raster of ``shape`` knows of the patches at its rim.

    Raises:
        ProductError: The folder cannot be written to.
    """
    tables = {name: getattr(found, name) for name in _RIM}
    save_tables(folder, "rim", found.window, shape, tables)


def load_rim(folder: Path, window: Window, shape: tuple[int, int]) -> RimPatches:
    """Read what :func:`save_rim` wrote.

    Raises:
        BlockError: The file is missing or damaged, or belongs to another raster.
    """
    return RimPatches(window, **load_tables(folder, "rim", window, shape, _RIM))


def save_small(
    folder: Path, window: Window, shape: tuple[int, int], small: NDArray[np.bool_]
) -> None:
    """Write which of the patches at the rim of a block are too small.

    Raises:
        ProductError: The folder cannot be written to.
    """
    save_tables(folder, "small", window, shape, {"small": small})


def load_small(folder: Path, window: Window, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Read what :func:`save_small` wrote.

    Raises:
        BlockError: The file is missing or damaged, or belongs to another raster.
    """
    return load_tables(folder, "small", window, shape, _SMALL)["small"]
