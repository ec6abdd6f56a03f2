"""A made-up landscape as Sentinel-2 would see it; any window alone equals the crop of the whole."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from geoseg.ops.synthetic.spectra import BANDS, COVERS, MATERIALS

if TYPE_CHECKING:
    from geoseg.ops.synthetic.scene import NO_CLASS, Observation, observe

__all__ = ["BANDS", "COVERS", "MATERIALS", "NO_CLASS", "Observation", "observe"]


def __getattr__(name: str) -> object:
    """What makes pixels, once it is asked for: numba takes its time to load."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.scene"), name)
