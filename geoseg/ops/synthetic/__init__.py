"""A made-up landscape as Sentinel-2 would see it; any window alone equals the crop of the whole."""

from __future__ import annotations

from geoseg.ops.synthetic.scene import NO_CLASS, Observation, observe
from geoseg.ops.synthetic.spectra import BANDS, COVERS, MATERIALS

__all__ = ["BANDS", "COVERS", "MATERIALS", "NO_CLASS", "Observation", "observe"]
