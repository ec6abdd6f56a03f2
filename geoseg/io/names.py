"""What bands are called: common names from sensors' own names; and dates in file names."""

from __future__ import annotations

import logging
import re
from calendar import isleap
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal

log = logging.getLogger(__name__)

Sensor = Literal["sentinel2", "oli", "tm"]

COMMON = (
    "coastal",
    "blue",
    "green",
    "green05",
    "yellow",
    "red",
    "rededge071",
    "rededge075",
    "rededge078",
    "nir",
    "nir08",
    "nir09",
    "cirrus",
    "swir16",
    "swir22",
    "pan",
    "lwir",
    "lwir11",
    "lwir12",
)
"""Common names of the STAC EO extension."""

SENTINEL2 = {
    "B01": "coastal",
    "B02": "blue",
    "B03": "green",
    "B04": "red",
    "B05": "rededge071",
    "B06": "rededge075",
    "B07": "rededge078",
    "B08": "nir",
    "B8A": "nir08",
    "B09": "nir09",
    "B10": "cirrus",
    "B11": "swir16",
    "B12": "swir22",
}
_OLI = ("coastal", "blue", "green", "red", "nir08", "swir16", "swir22", "pan", "cirrus")
_TM = ("blue", "green", "red", "nir08", "swir16", "", "swir22")
_BY_NUMBER: dict[Sensor, dict[str, str]] = {
    "sentinel2": {key[1:].lstrip("0"): name for key, name in SENTINEL2.items()},
    "oli": {str(i): name for i, name in enumerate(_OLI, 1)} | {"10": "lwir11", "11": "lwir12"},
    "tm": {str(i): name for i, name in enumerate(_TM, 1) if name},
}
_SYNONYMS = {
    "rededge1": "rededge071",
    "rededge2": "rededge075",
    "rededge3": "rededge078",
    "nir narrow": "nir08",
    "swir1": "swir16",
    "swir2": "swir22",
    "near infrared": "nir",
    "near-infrared": "nir",
    "panchromatic": "pan",
}
MASK_NAMES = ("scl", "qa_pixel", "fmask", "udm2")

STAND_INS = {"nir": "nir08"}
"""What may stand in for a band that a scene does not have (Sentinel-2 B8A for B08)."""

_NUMBERED = re.compile(r"(?:^|[^a-z0-9])(?:sr_|toa_)?b(?:and)?[ _]?(0?[1-9]a?|1[0-2])(?![a-z0-9])")
_LANDSAT = re.compile(r"(?:^|[^a-z0-9])l([cote])0?([4-9])(?=[^0-9]|\d{6})")
_SENTINEL2 = re.compile(r"(?:^|[^a-z0-9])(?:s2[abcd]_|s2[abcd]?_?msi|t\d\d[a-z]{3}_\d{8})")
_HLS = re.compile(r"(?:^|[^a-z0-9])hls[._]?([ls])30(?![0-9])")
_CLOCK = r"(?:[T_]([01]\d|2[0-3])([0-5]\d)([0-5]\d))?(?!\d)"
_DATE = re.compile(
    r"(?<!\d)((?:19|20)\d\d)[-_.]?(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12]\d|3[01])" + _CLOCK
)
# Day of the year: HLS and MODIS (2024145T173909, A2024145), 2024-145.
_DAY = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_]?([0-3]\d\d)" + _CLOCK)
# Landsat's older scene identifiers: sensor, path and row, year and day, station.
_LANDSAT_DAY = re.compile(r"(?<![A-Za-z0-9])L[COTEM]\d\d{6}((?:19|20)\d\d)([0-3]\d\d)[A-Z]{3}\d\d")
_TAG_DATE = re.compile(
    r"\s*(\d{4})[:\-](\d\d)[:\-](\d\d)(?:[ T](\d\d):(\d\d):(\d\d)(?:\.\d+)?)?\s*(?:Z|\+00:00)?\s*"
)


def sensor_of(text: str) -> Sensor | None:
    """The sensor that a product's name or platform tells of."""
    low = text.lower()
    harmonized = _HLS.search(low)
    if harmonized:
        return "oli" if harmonized[1] == "l" else "sentinel2"
    if _SENTINEL2.search(low) or low.startswith("sentinel-2"):
        return "sentinel2"
    match = _LANDSAT.search(low)
    if match is None and not low.startswith("landsat-"):
        return None
    number = match[2] if match else low.removeprefix("landsat-")
    return "oli" if number in {"8", "9"} else "tm"


def common_name(text: str, sensor: Sensor | None = None) -> str | None:
    """The common name that ``text`` (a description, a key, a file's stem) says, or None.

    ``B04`` and ``B8A`` are Sentinel-2's; ``B4`` means something else to every sensor, so it is
    only understood where ``sensor`` is known.
    """
    low = text.strip().lower()
    low = _SYNONYMS.get(low, low)
    if low in COMMON or low in MASK_NAMES:
        return low
    if re.search(r"(?:^|[^a-z0-9])qa_pixel(?![a-z0-9])", low):
        return "qa_pixel"
    words: list[str] = [_SYNONYMS.get(word, word) for word in re.findall(r"[a-z0-9]+", low)]
    said = {word for word in words if word in COMMON or word in MASK_NAMES}
    if len(said) == 1:
        return said.pop()
    return None if said else _by_number(low, sensor or sensor_of(text))


def _by_number(low: str, sensor: Sensor | None) -> str | None:
    found = _NUMBERED.findall(low)
    if len(set(found)) != 1:
        return None
    number = found[0]
    if sensor is None and (number.startswith("0") or number == "8a"):
        sensor = "sentinel2"
    if sensor is None:
        return None
    return _BY_NUMBER[sensor].get(number.lstrip("0").upper())


def common_names(texts: Iterable[str | None], sensor: Sensor | None = None) -> list[str | None]:
    """Common names of several bands; a ``B8A`` or ``B02`` tells that all are Sentinel-2's."""
    listed = [text or "" for text in texts]
    if sensor is None:
        numbers = {number for text in listed for number in _NUMBERED.findall(text.strip().lower())}
        if any(number.startswith("0") or number == "8a" for number in numbers):
            sensor = "sentinel2"
    return [common_name(text, sensor) if text else None for text in listed]


def stand_in(name: str, there: Collection[str], scene: str) -> str | None:
    """What to read for ``name`` in a scene that has the bands ``there``; None: nothing."""
    if name in there:
        return name
    other = STAND_INS.get(name)
    if other in there:
        log.info("scene %s: no band %s, %s stands in for it", scene, name, other)
        return other
    return None


def date_in(text: str) -> datetime | None:
    """The date in a file's name, UTC: the first that is written out, else by its day of the year.

    ``20190727``, ``2019-07-27``, ``2019_07_27``, ``20221005T115411``, ``20230715_184512``;
    ``2024145``, ``2024145T173909``, ``2024-145``, and Landsat's ``LC80080592019335LGN00``.
    """
    for match in _DATE.finditer(text):
        found = _moment(match.groups())
        if found is not None:
            return found
    for pattern in (_LANDSAT_DAY, _DAY):
        for match in pattern.finditer(text):
            year, day, *clock = match.groups()
            found = _moment((year, "1", "1", *clock))
            if found is not None and 1 <= int(day) <= (366 if isleap(int(year)) else 365):
                return found + timedelta(days=int(day) - 1)
    return None


def date_from_tags(tags: Mapping[str, str], keys: Collection[str]) -> datetime | None:
    """The first date among the tags called ``keys``, UTC."""
    for key in keys:
        match = _TAG_DATE.fullmatch(tags.get(key, ""))
        found = _moment(match.groups()) if match else None
        if found is not None:
            return found
    return None


def _moment(parts: tuple[str | None, ...]) -> datetime | None:
    try:
        return datetime(*(int(part or 0) for part in parts), tzinfo=UTC)  # type: ignore[arg-type,misc]  # six numbers
    except ValueError:
        return None
