"""Surface reflectances of what a landscape is made of, in June and in September.

Bands: blue 490, green 560, red 665, nir 842, swir16 1610, swir22 2190 nm (Sentinel-2 B02, B03,
B04, B08, B11, B12). Typical values, rounded, none copied from a single record: materials follow the
shapes and levels of the USGS Spectral Library 7 (Kokaly et al. 2017, doi:10.3133/ds1035) and the
ECOSTRESS library 1.0 (Meerdink et al. 2019, doi:10.1016/j.rse.2019.05.015); canopies and water,
which libraries measure by the leaf and the cup, follow clear Sentinel-2 L2A pixels of western
Europe (medians: pasture .03 .06 .03 .41 .16 .07, lakes .018 .019 .012 .009 .006 .006), and a test
holds them there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

BANDS: Final = ("blue", "green", "red", "nir", "swir16", "swir22")

MATERIALS: Final[dict[str, tuple[float, ...]]] = {
    "clear water": (0.020, 0.022, 0.012, 0.008, 0.005, 0.004),
    "green water": (0.024, 0.042, 0.022, 0.014, 0.006, 0.005),
    "silty water": (0.055, 0.085, 0.078, 0.036, 0.012, 0.008),
    "flood water": (0.062, 0.086, 0.090, 0.048, 0.018, 0.011),
    "conifers": (0.018, 0.034, 0.021, 0.235, 0.098, 0.043),
    "broadleaves": (0.023, 0.052, 0.026, 0.425, 0.178, 0.072),
    "broadleaves, late": (0.027, 0.054, 0.038, 0.350, 0.168, 0.076),
    "lush grass": (0.029, 0.063, 0.034, 0.420, 0.170, 0.077),
    "mown grass": (0.044, 0.080, 0.060, 0.330, 0.235, 0.125),
    "dry grass": (0.062, 0.092, 0.102, 0.270, 0.285, 0.175),
    "heath": (0.034, 0.050, 0.052, 0.215, 0.190, 0.108),
    "heath in flower": (0.044, 0.052, 0.066, 0.225, 0.200, 0.115),
    "green cereal": (0.027, 0.056, 0.031, 0.480, 0.175, 0.075),
    "ripe cereal": (0.068, 0.108, 0.128, 0.310, 0.290, 0.180),
    "stubble": (0.088, 0.124, 0.160, 0.275, 0.345, 0.245),
    "maize": (0.026, 0.055, 0.030, 0.440, 0.190, 0.080),
    "root crop": (0.032, 0.070, 0.037, 0.520, 0.195, 0.085),
    "dark soil": (0.052, 0.072, 0.092, 0.145, 0.215, 0.180),
    "pale soil": (0.100, 0.142, 0.186, 0.265, 0.350, 0.305),
    "sand": (0.155, 0.205, 0.255, 0.325, 0.395, 0.365),
    "rock": (0.120, 0.145, 0.165, 0.205, 0.245, 0.220),
    "limestone": (0.235, 0.275, 0.310, 0.355, 0.385, 0.330),
    "slash": (0.055, 0.074, 0.092, 0.178, 0.262, 0.188),
    "asphalt": (0.082, 0.094, 0.104, 0.128, 0.150, 0.146),
    "concrete": (0.185, 0.215, 0.240, 0.285, 0.310, 0.288),
    "mixed roofs": (0.094, 0.109, 0.135, 0.195, 0.225, 0.205),
    "roof tiles": (0.082, 0.104, 0.165, 0.245, 0.285, 0.255),
    "metal roofs": (0.330, 0.345, 0.355, 0.375, 0.345, 0.310),
}


@dataclass(frozen=True, slots=True)
class Cover:
    """What a pixel may be covered with: two materials a season, and how they vary.

    ``mix`` is the share of the second material; an object (field, stand, block) departs from it
    by up to ``spread``, a patch within it by about ``patchy`` and a pixel by ``fine`` (one
    standard deviation each). ``uneven`` is the standard deviation of brightness within; ``glint``
    the sunlight that waves throw into the sensor, alike in all bands.
    """

    name: str
    code: int
    june: tuple[str, str]
    september: tuple[str, str]
    mix: tuple[float, float]
    spread: float = 0.2
    patchy: float = 0.05
    fine: float = 0.03
    uneven: float = 0.03
    glint: float = 0.0


_WATER, _TREES, _GRASS, _CROPS, _BUILT, _BARE = 1, 2, 3, 4, 5, 6


def _cover(
    name: str, code: int, june: tuple[str, str], september: tuple[str, str] | None = None,
    *, mix: tuple[float, float] = (0.4, 0.4), vary: tuple[float, float, float, float],
    glint: float = 0.0,
) -> Cover:  # fmt: skip
    return Cover(name, code, june, september or june, mix, *vary, glint)


COVERS: Final = (
    _cover("river", _WATER, ("clear water", "silty water"), mix=(0.35, 0.5),
           vary=(0.05, 0.10, 0.01, 0.02), glint=0.003),
    _cover("lake", _WATER, ("clear water", "green water"), mix=(0.3, 0.45),
           vary=(0.5, 0.10, 0.01, 0.03), glint=0.004),
    _cover("flood", _WATER, ("flood water", "dark soil"), mix=(0.1, 0.1),
           vary=(0.05, 0.10, 0.03, 0.04), glint=0.003),
    _cover("forest", _TREES, ("conifers", "broadleaves"), ("conifers", "broadleaves, late"),
           mix=(0.5, 0.5), vary=(0.75, 0.10, 0.05, 0.07)),
    _cover("hedge", _TREES, ("broadleaves", "lush grass"), ("broadleaves, late", "lush grass"),
           mix=(0.2, 0.2), vary=(0.2, 0.05, 0.05, 0.06)),
    _cover("ride", _TREES, ("conifers", "dry grass"), mix=(0.4, 0.45),
           vary=(0.1, 0.05, 0.08, 0.05)),
    _cover("pasture", _GRASS, ("lush grass", "mown grass"), mix=(0.3, 0.35),
           vary=(0.5, 0.07, 0.03, 0.03)),
    _cover("grassland", _GRASS, ("lush grass", "dry grass"), mix=(0.35, 0.6),
           vary=(0.25, 0.16, 0.05, 0.04)),
    _cover("shrubs", _GRASS, ("heath", "lush grass"), ("heath in flower", "dry grass"),
           mix=(0.3, 0.3), vary=(0.2, 0.16, 0.07, 0.05)),
    _cover("regrowth", _GRASS, ("lush grass", "slash"), ("mown grass", "slash"), mix=(0.4, 0.4),
           vary=(0.3, 0.12, 0.08, 0.05)),
    _cover("cereal", _CROPS, ("green cereal", "ripe cereal"), ("stubble", "dark soil"),
           mix=(0.55, 0.35), vary=(0.55, 0.06, 0.03, 0.02)),
    _cover("maize field", _CROPS, ("dark soil", "maize"), ("maize", "ripe cereal"),
           mix=(0.4, 0.25), vary=(0.35, 0.09, 0.03, 0.02)),
    _cover("roots", _CROPS, ("root crop", "pale soil"), ("root crop", "dark soil"),
           mix=(0.2, 0.25), vary=(0.2, 0.06, 0.03, 0.02)),
    _cover("fallow", _CROPS, ("dark soil", "pale soil"), ("dark soil", "green cereal"),
           mix=(0.45, 0.3), vary=(0.5, 0.09, 0.03, 0.03)),
    _cover("field margin", _CROPS, ("lush grass", "dry grass"), mix=(0.4, 0.6),
           vary=(0.2, 0.05, 0.06, 0.03)),
    _cover("track", _CROPS, ("pale soil", "lush grass"), mix=(0.4, 0.4),
           vary=(0.1, 0.05, 0.08, 0.03)),
    _cover("suburb", _BUILT, ("mixed roofs", "lush grass"), ("mixed roofs", "mown grass"),
           mix=(0.34, 0.34), vary=(0.12, 0.05, 0.16, 0.14)),
    _cover("centre", _BUILT, ("roof tiles", "asphalt"), mix=(0.5, 0.5),
           vary=(0.25, 0.05, 0.25, 0.16)),
    _cover("industry", _BUILT, ("concrete", "metal roofs"), mix=(0.35, 0.35),
           vary=(0.35, 0.05, 0.22, 0.12)),
    _cover("street", _BUILT, ("asphalt", "roof tiles"), mix=(0.25, 0.25),
           vary=(0.1, 0.05, 0.12, 0.08)),
    _cover("road", _BUILT, ("asphalt", "concrete"), mix=(0.25, 0.25),
           vary=(0.2, 0.05, 0.06, 0.05)),
    _cover("scree", _BARE, ("rock", "dry grass"), mix=(0.22, 0.28),
           vary=(0.1, 0.15, 0.08, 0.08)),
    _cover("quarry", _BARE, ("limestone", "pale soil"), mix=(0.4, 0.4),
           vary=(0.35, 0.18, 0.06, 0.08)),
    _cover("sand bar", _BARE, ("sand", "dark soil"), mix=(0.2, 0.25),
           vary=(0.1, 0.12, 0.05, 0.05)),
    _cover("clearcut", _BARE, ("slash", "pale soil"), mix=(0.3, 0.3),
           vary=(0.3, 0.12, 0.08, 0.07)),
)  # fmt: skip

INDEX: Final = {cover.name: np.uint8(k) for k, cover in enumerate(COVERS)}
CODES: Final[NDArray[np.uint8]] = np.array([cover.code for cover in COVERS], np.uint8)


def endmembers(season: int) -> NDArray[np.float32]:
    """Reflectances ``(cover, 2, band)`` in June (0) or September (1)."""
    pairs = [(c.june, c.september)[season] for c in COVERS]
    return np.array([[MATERIALS[a], MATERIALS[b]] for a, b in pairs], np.float32)


def variation(season: int) -> NDArray[np.float32]:
    """``(cover, 6)``: mix, spread, patchy, fine, uneven, glint."""
    rows = [(c.mix[season], c.spread, c.patchy, c.fine, c.uneven, c.glint) for c in COVERS]
    return np.array(rows, np.float32)
