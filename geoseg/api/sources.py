"""Rasters that polygons are made of, as small descriptions that workers open."""

from __future__ import annotations

from typing import Any, Protocol

from geoseg.io.base import RasterReader


class CodeSource(Protocol):
    """Class codes that a worker can open. Small and picklable."""

    @property
    def nodata(self) -> int | None:
        """The code of pixels without a class; None if all have one."""

    def open(self) -> RasterReader:
        """Open them."""


class PercentSource(Protocol):
    """Probabilities of classes that a worker can open. Small and picklable."""

    @property
    def codes(self) -> tuple[int, ...]:
        """The class of each layer."""

    def open(self) -> Any:
        """Something whose ``read(window)`` gives ``(layer, y, x)``."""
