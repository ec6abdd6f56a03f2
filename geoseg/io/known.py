"""What the names of well-known products tell of their bands and numbers, where files do not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from geoseg.io.headers import Header
from geoseg.io.names import common_name
from geoseg.io.patterns import stem
from geoseg.io.refs import BandRef
from geoseg.scene import Band, Units


@dataclass(frozen=True, slots=True)
class Known:
    """A product: ``reflectance = number * scale + offset``; a scale of None tells nothing of it.

    Attributes:
        scale: Factor to reflectance.
        offset: Added after scaling.
        nodata: Number of pixels without data.
        bands: Common names in file order, by how many bands the file has.
    """

    scale: float | None = None
    offset: float = 0.0
    nodata: float | None = None
    bands: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    def applied(self, band: Band, asked: BandRef) -> Band:
        """``band`` with what its file and the analyst left open."""
        said = asked.scale is not None or asked.offset is not None
        if self.nodata is not None and asked.nodata is None and band.nodata is None:
            band = replace(band, nodata=self.nodata)
        if said or self.scale is None or (band.scale, band.offset) != (1.0, 0.0):
            return band
        return replace(band, scale=self.scale, offset=self.offset)

    def is_reflectance(self, band: Band) -> bool:
        """Whether the numbers of ``band`` become what the product says."""
        if self.scale is None:
            return False
        near = abs(band.scale / self.scale - 1) < 1e-6
        return near and abs(band.offset - self.offset) < 1e-9


# HLS v2.0 User Guide (Masek et al. 2021), tables 6 to 8; thermal bands of L30 are not reflectance.
_HLS = Known(1e-4, 0.0, -9999.0)
# Landsat Collection 2 Level 2 Science Product Guide (LSDS-1619), table 6-1.
_LANDSAT = Known(2.75e-5, -0.2, 0.0)
# Planet Imagery Product Specifications (2023): 4 bands and SuperDove's 8.
_PLANET_BANDS = {
    4: ("blue", "green", "red", "nir"),
    8: ("coastal", "blue", "green05", "green", "yellow", "red", "rededge071", "nir"),
}
_KNOWN: tuple[tuple[re.Pattern[str], Known], ...] = (
    (re.compile(r"l[coet]0[4-9]_l2s[pr]_\d{6}_\d{8}_\d{8}_02_[a-z0-9]{2}_sr_b[1-7]\b"), _LANDSAT),
    (re.compile(r"hls\.s30\.t\w{5}\.\d{7}t\d{6}\.v2\.\d\.b(?:0\d|1[0-2]|8a)\b"), _HLS),
    (re.compile(r"hls\.l30\.t\w{5}\.\d{7}t\d{6}\.v2\.\d\.b0[1-79]\b"), _HLS),
    (
        re.compile(r"\d{8}_\d{6}(?:_\d\d)?_[0-9a-f]{4}_3b_analyticms_sr(?:_|\b)"),
        Known(1e-4, 0.0, 0.0, _PLANET_BANDS),
    ),
    # Radiance: its coefficients are in an XML file beside it.
    (
        re.compile(r"\d{8}_\d{6}(?:_\d\d)?_[0-9a-f]{4}_3b_analyticms(?:_|\b)"),
        Known(nodata=0.0, bands=_PLANET_BANDS),
    ),
    (
        re.compile(r"m_\d{7}_(?:ne|nw|se|sw)_\d\d_(?:h|\d{1,3})_\d{8}(?:_|\b)"),
        Known(bands={4: ("red", "green", "blue", "nir")}),
    ),
)


def known_product(uri: str) -> Known | None:
    """What the file's name tells: Landsat Collection 2, HLS, PlanetScope, NAIP; or None."""
    name = Path(uri.partition("?")[0]).name.lower()
    return next((known for pattern, known in _KNOWN if pattern.match(name)), None)


def with_known_numbers(band: Band, asked: BandRef) -> Band:
    """``band`` with what its product tells and nobody else does; ``asked`` is what others said."""
    known = known_product(band.uri)
    return band if known is None else known.applied(band, asked)


def known_units(bands: Iterable[Band]) -> Units | None:
    """Reflectance, where all files are of products whose numbers are known."""
    known = [(known_product(band.uri), band) for band in bands]
    sure = all(product and product.is_reflectance(band) for product, band in known)
    return "reflectance" if sure else None


def named_bands(header: Header) -> Mapping[str, int]:
    """Index of every band that has a name: by the file, by the product that it is, or by its name.

    The file's name counts where it has one band only.
    """
    known = known_product(header.uri)
    listed = known.bands.get(header.count, ()) if known else ()
    if len(header.named) < len(listed):
        return {name: index for index, name in enumerate(listed, 1)}
    if header.count == 1 and not header.named:
        name = common_name(stem(header.uri))
        return {} if name is None else {name: 1}
    return header.named
