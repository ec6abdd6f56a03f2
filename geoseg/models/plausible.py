"""Whether a scene's numbers are like those that a model was trained on, and if not, what is wrong.

The card knows mean and standard deviation of each band. Numbers far from them are told with what
they look like: another scale, Sentinel-2's offset left out or subtracted twice, swapped bands.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Final

from geoseg.models.base import ModelCard
from geoseg.models.scaling import physical_norms
from geoseg.ops.spread import Spread

_FAR = 3.0
"""Standard deviations between a scene's median and the trained mean that are worth a word."""

_DN: Final = (
    (30, math.inf, "they look like 16-bit numbers: set input.scale: 0.00390625 (1/256)"),
    (0, 1 / 60, "they look like shares of 1: set input.scale: 255"),
)
_REFLECTANCE: Final = (
    (600, math.inf, "they look like reflectance times 10000: set input.scale: 0.0001"),
    (30, 600, "they look like bytes or percent, and not like reflectance: check input.scale"),
    (0, 1 / 300, "they look as if they had been scaled twice: set input.scale: 1"),
)
"""By how many times larger than in the training the medians are."""

_BRIGHTER: Final = (("nir", "red"), ("nir", "green"), ("nir", "blue"), ("red", "blue"))
_NIR: Final = {"nir08": "nir"}
_MUCH = 1.3
_LAND = 0.15  # reflectance that only land, snow and clouds have in the near infrared

_DARK_BANDS: Final = frozenset({"nir", "nir08", "nir09", "swir16", "swir22"})
"""Water is black in them, whatever the air does: what is grey there has an offset."""

_LANDSAT_BLACK = 7000  # Collection 2 has reflectance 0 at 7273

Norms = Sequence[tuple[float, float]]


def doubt_numbers(card: ModelCard, found: Sequence[Spread], *, scene: str) -> list[str]:
    """Warnings, for people, where the numbers of a scene are unlike those of the training.

    Args:
        card: Of the model.
        found: Physical values of the scene, by the card's bands.
        scene: What it is called.
    """
    norms = physical_norms(card)
    if all(mean == 0 for mean, _ in norms):
        return []  # the card only knows how to scale
    far = [abs(s.median - mean) > _FAR * std for s, (mean, std) in zip(found, norms, strict=True)]
    guess = _other_scale(card, found, norms) or _other_offset(card, found) or _swapped(card, found)
    if guess is None and not any(far):
        return []
    told = range(len(found)) if guess else [at for at, is_far in enumerate(far) if is_far]
    numbers = "; ".join(_numbers(card.bands[at], found[at], norms[at]) for at in told)
    why = guess or "check input.scale, input.offset and input.bands; clouds and snow look so too"
    what = f"its numbers are unlike those that model {card.name} was trained on"
    return [f"scene {scene}: {what}: {why} ({numbers})"]


def _numbers(band: str, found: Spread, norm: tuple[float, float]) -> str:
    return (
        f"{band}: median {found.median:.4g}, 2 to 98 % {found.low:.4g} to {found.high:.4g}, "
        f"trained on {norm[0]:.4g} ± {norm[1]:.4g}"
    )


def _other_scale(card: ModelCard, found: Sequence[Spread], norms: Norms) -> str | None:
    """What numbers look like that are too large or too small by much in most bands."""
    ratio = median(abs(s.median) / mean for s, (mean, _) in zip(found, norms, strict=True) if mean)
    if card.units == "dn":
        return next((what for low, high, what in _DN if low < ratio < high), None)
    lows, highs = [s.low for s in found], [s.high for s in found]
    if min(lows) > _LANDSAT_BLACK and max(highs) < 2**16:
        return (
            "they look like Landsat Collection 2 as stored: set input.scale: 0.0000275 and "
            "input.offset: -0.2"
        )
    return next((what for low, high, what in _REFLECTANCE if low < ratio < high), None)


def _other_offset(card: ModelCard, found: Sequence[Spread]) -> str | None:
    """Sentinel-2's offset of -1000 / 10000: dark pixels are equally grey in all bands."""
    if card.units != "reflectance" or not _DARK_BANDS & set(card.bands) or len(found) < 3:
        return None
    lows = [s.low for s in found]
    if max(lows) - min(lows) > 0.06:
        return None
    if 0.085 < min(lows) < 0.14:
        return (
            "even dark pixels have 0.1 in all bands, as if Sentinel-2's offset of -1000 had been "
            "left out: set input.offset: -0.1"
        )
    if -0.14 < median(lows) < -0.05:
        return (
            "dark pixels have -0.1 in all bands, as if an offset of -1000 had been added to "
            "numbers that have none (Sentinel-2 before baseline 04.00): set input.offset: 0"
        )
    return None


def _swapped(card: ModelCard, found: Sequence[Spread]) -> str | None:
    """Two bands of which the wrong one is brighter where a scene is bright.

    There, soil and plants are brighter in near infrared than in any colour, and brighter in red
    than in blue; snow and clouds are about as bright. Colours without units tell nothing.
    """
    high = {_NIR.get(b, b): s.high for b, s in zip(card.bands, found, strict=True)}
    if card.units != "reflectance":
        return None
    pairs = [(a, b) for a, b in _BRIGHTER if {a, b} <= set(high) and high[b] > _LAND]
    wrong = [(a, b) for a, b in pairs if high[b] > _MUCH * high[a]]
    if not wrong:
        return None
    brighter, other = max(wrong, key=lambda pair: high[pair[1]] / max(high[pair[0]], 1e-9))
    return (
        f"bright places have more {other} than {brighter}, as if the two were swapped, or all bands "
        f"in another order: check input.bands"
    )
