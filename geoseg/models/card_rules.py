"""What holds for every model card, whichever file it came from."""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import Final

from geoseg.models.base import ModelCard
from geoseg.models.fields import At
from geoseg.models.scaling import SCALINGS, STANDARDISE
from geoseg.models.zoo import ARCHITECTURES

OUTPUTS: Final = ("logits", "probabilities", "logit", "probability")
"""What a network may give; the last two are one plane, of the second of two classes."""
ONE_PLANE: Final = OUTPUTS[2:]

MOST_BANDS: Final = 1024
LARGEST_STRIDE: Final = 1024
LARGEST_SIZE: Final = 2**15
LARGEST_REACH: Final = 2**20
LARGEST_ACTIVATION: Final = 2**30
"""Bytes for a pixel."""
LONGEST_NAME: Final = 200
LARGEST_PARAMETER: Final = 2**16
LONGEST_PARAMETER: Final = 256

_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_.\-]+[a-zA-Z0-9]\Z")
_SEMVER = re.compile(r"\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


def planes(card: ModelCard) -> int:
    """How many planes the card's network gives."""
    return 1 if card.output in ONE_PLANE else len(card.legend.classes)


def check_name(name: str, where: str) -> None:
    """Refuse a name that no model may have; ``where`` begins the message."""
    wanted = "3 or more letters, digits, '_', '-', '.', beginning with a letter"
    At(where, "", None).demand(_NAME.match(name), "name", name, wanted)


def check_card(card: ModelCard, where: str) -> None:
    """Refuse a card whose entries do not fit together; ``where`` begins the message."""
    check_name(card.name, where)
    at = At(where, "", None)
    count = len(card.bands)
    at.demand(_SEMVER.match(card.version), "version", card.version, "a version like 1.0.0")
    once = 0 < count == len(set(card.bands))
    at.demand(once and all(card.bands), "bands", card.bands, "names, each once")
    at.demand(len(card.mean) == count, "mean", card.mean, f"{count} numbers, one per band")
    at.demand(len(card.std) == count, "std", card.std, f"{count} numbers, one per band")
    finite = all(map(math.isfinite, (*card.mean, *card.std)))
    at.demand(finite, "mean and std", (card.mean, card.std), "finite numbers")
    at.demand(all(s > 0 for s in card.std), "std", card.std, "numbers above 0")
    at.demand(card.units in ("reflectance", "dn"), "units", card.units, "reflectance or dn")
    at.demand(card.scaling in SCALINGS, "scaling", card.scaling, " or ".join(SCALINGS))
    known = card.scaling == STANDARDISE or card.units == "reflectance"
    at.demand(known, "units", card.units, f"reflectance, for the scaling {card.scaling}")
    at.demand(card.stride >= 1, "stride", card.stride, "a whole number from 1")
    _check_bounds(at, card)
    multiple = f"a multiple of the stride {card.stride}"
    at.demand(card.size > 0 == card.size % card.stride, "size", card.size, multiple)
    at.demand(card.margin >= 0 == card.margin % card.stride, "margin", card.margin, multiple)
    less = f"less than half the size {card.size}"
    at.demand(card.size > 2 * card.margin, "margin", card.margin, less)
    at.demand((card.reach or 0) >= 0, "reach", card.reach, "pixels from 0, or null")
    at.demand(card.output in OUTPUTS, "output", card.output, " or ".join(OUTPUTS))
    pair = card.output in ONE_PLANE
    at.demand(
        not pair or len(card.legend.classes) == 2, "output", card.output, "two classes for it"
    )
    at.demand(card.activation_bytes > 0, "activation_bytes", card.activation_bytes, "above 0")
    legend = card.legend
    at.demand(0 <= legend.nodata <= 255, "legend.nodata", legend.nodata, "a code within 0..255")
    at.demand(legend.name and all(legend.names), "legend", legend.names, "names, none empty")
    low, high = card.gsd or (1.0, 1.0)
    at.demand(0 < low <= high < math.inf, "gsd", card.gsd, "metres [from, to]")
    if card.weights is not None:
        plain = card.weights not in ("", ".", "..") and not set(card.weights) & set("/\\")
        plain = plain and card.weights.isprintable() and len(card.weights.encode()) <= LONGEST_NAME
        at.demand(plain, "weights", card.weights, "a file name in the card's own folder")
    if card.sha256 is not None:
        at.demand(_SHA256.match(card.sha256), "sha256", card.sha256, "64 hexadecimal digits")
        at.demand(card.weights is not None, "weights", card.weights, "a file for the sha256")


def _check_bounds(at: At, card: ModelCard) -> None:
    """Refuse numbers beyond all networks there are: memory would be taken for what they say."""
    bounds = (
        ("bands", len(card.bands), MOST_BANDS),
        ("stride", card.stride, LARGEST_STRIDE),
        ("size", card.size, LARGEST_SIZE),
        ("reach", card.reach or 0, LARGEST_REACH),
        ("activation_bytes", card.activation_bytes, LARGEST_ACTIVATION),
    )
    for name, found, most in bounds:
        at.demand(found <= most, name, found, f"at most {most}")
    for key, value in card.architecture.items():
        numbers = value if isinstance(value, list | tuple) else [value]
        small = all(not isinstance(n, int) or abs(n) <= LARGEST_PARAMETER for n in numbers)
        at.demand(
            small and len(numbers) <= LONGEST_PARAMETER,
            f"architecture.{key}",
            value,
            f"numbers up to {LARGEST_PARAMETER}, no more than {LONGEST_PARAMETER} of them",
        )


def check_architecture(card: ModelCard, where: str) -> None:
    """Refuse an architecture that no network has; for weights that come without their network."""
    name, known = card.architecture.get("name"), ", ".join(ARCHITECTURES)
    At(where, "", None).demand(name in ARCHITECTURES, "architecture.name", name, f"one of {known}")


def is_time(text: str) -> bool:
    """Whether it is a date and time with its zone, as STAC wants them."""
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
