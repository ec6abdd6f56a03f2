"""Where bands lie in the spectrum, by common name: haze is a matter of wavelength."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

CENTERS: Final = {
    "coastal": 0.443,
    "blue": 0.490,
    "green05": 0.531,
    "green": 0.560,
    "yellow": 0.610,
    "pan": 0.620,
    "red": 0.665,
    "rededge": 0.720,
    "rededge071": 0.705,
    "rededge075": 0.740,
    "rededge078": 0.783,
    "nir": 0.835,
    "nir08": 0.865,
    "nir09": 0.945,
    "swir12": 1.240,
    "swir16": 1.610,
    "swir22": 2.200,
}
"""Micrometres, by the common names of the STAC EO extension; bands that are not reflected sunlight
from the ground (thermal, cirrus, radar) are not among them."""


def relative(bands: Sequence[str]) -> list[float | None]:
    """Wavelength of each band over that of the shortest; None where a band has none."""
    centers = [CENTERS.get(band) for band in bands]
    least = min((c for c in centers if c is not None), default=1.0)
    return [None if c is None else c / least for c in centers]
