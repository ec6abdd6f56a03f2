"""The class codes of a block with one pixel around it, as the kernels that trace want them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.ops.kernels import entry
from geoseg.ops.regions import NODATA, as_codes
from geoseg.ops.scratch import Scratch


@entry
def _place(values: Any, hole: Any, at: Any, padded: Any) -> bool:
    """Put ``values`` at ``at``, holes and all around as no class; whether one stood for it."""
    top, left = at
    strange = False
    for i in range(padded.shape[0]):
        row = padded[i]
        if i < top or i >= top + values.shape[0]:
            row[:] = NODATA
            continue
        row[:left] = NODATA
        row[left + values.shape[1] :] = NODATA
        line, into = values[i - top], row[left:]
        for j in range(len(line)):
            code = np.int16(line[j])
            strange |= code == NODATA
            into[j] = NODATA if code == hole else code
    return strange


def padded_codes(
    classes: NDArray[Any], nodata: int | None, seen: Window, window: Window, scratch: Scratch
) -> NDArray[np.int16]:
    """Codes ``(h + 2, w + 2)`` of a block and one pixel around, nodata beyond what is seen.

    Args:
        classes: Whole numbers or booleans of ``seen``; may be a masked array.
        nodata: What stands for no class; None if nothing does.
        seen: Where the classes lie.
        window: The block; ``seen`` reaches at most one pixel beyond it.
        scratch: Where the codes are kept.

    Raises:
        InputError: A code does not lie within -32767..32767.
    """
    if isinstance(classes, np.ma.MaskedArray) or classes.dtype not in (np.uint8, np.int16):
        classes, nodata = as_codes(classes, nodata), int(NODATA)
    # Read-only or strided arrays would be compiled for anew.
    values = np.require(classes, requirements=["C", "W"])
    hole = NODATA if nodata is None or abs(nodata) > -int(NODATA) else np.int16(nodata)
    padded = scratch.array("padded", (window.shape[0] + 2, window.shape[1] + 2), np.int16)
    at = seen.y0 - window.y0 + 1, seen.x0 - window.x0 + 1
    if _place(values, hole, at, padded) and nodata != NODATA:
        as_codes(values, nodata)  # says what is wrong
    return padded
