"""What the steps need from files; anything that behaves so will do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import GeoBox, Window


@dataclass(frozen=True, slots=True)
class Patch:
    """The pixels of one window, as stored: ``physical = values * scale + offset`` per band.

    ``values`` is ``(band, y, x)`` of any numeric dtype (never copied to float before the model
    needs it), ``scale`` and ``offset`` are ``(band,)`` float32, ``valid`` is ``(y, x)`` bool.
    Values of pixels that are not valid mean nothing, but are finite. ``observations`` ``(y, x)``
    uint8 says in how many scenes a pixel is valid, where several are combined; 255 is also more.
    """

    values: NDArray[Any]
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]
    valid: NDArray[np.bool_]
    observations: NDArray[np.uint8] | None = None


class Pixels(Protocol):
    """A scene one can read windows of. Must be safe to call from several threads."""

    @property
    def grid(self) -> GeoBox:
        """The grid that windows refer to."""
        ...

    def read(self, bands: Sequence[str], window: Window) -> Patch:
        """The pixels of ``window`` (which lies inside the grid), bands in the order asked for."""
        ...

    def close(self) -> None:
        """Let go of open files."""
        ...


class RasterReader(Protocol):
    """A one-band raster of whole numbers."""

    def read(self, window: Window) -> NDArray[Any]:
        """The pixels of a window, which lies inside the grid."""
        ...


class RasterStore(Protocol):
    """A one-band uint8 raster that takes whole blocks, each once, in any order, any process."""

    def write(self, window: Window, values: NDArray[np.uint8]) -> None:
        """Store one block."""
        ...

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Any window; pixels never written are the fill value."""
        ...
