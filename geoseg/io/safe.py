"""Sentinel-2 products as ESA delivers them: SAFE folders of JPEG 2000 files.

Source: Sentinel-2 Products Specification Document, S2-PDGS-TAS-DI-PSD.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree as ET

from geoseg.errors import SceneError
from geoseg.io.assemble import Place, assemble, choose
from geoseg.io.headers import read_header
from geoseg.io.names import SENTINEL2
from geoseg.io.refs import BandRef, MaskRef, Overrides, in_utc
from geoseg.scene import Band, Scene

log = logging.getLogger(__name__)

_CLASSI = "MSK_CLASSI_B00.jp2"
_IMAGE = re.compile(r".*_(B\d\d|B8A|SCL)(?:_(\d\d)m)?\.jp2", re.IGNORECASE)
_ORDER = tuple(SENTINEL2)
_BAND_IDS = (*_ORDER[:8], "B8A", *_ORDER[9:])


@dataclass(frozen=True, slots=True)
class _Product:
    """What the product's metadata says: ``reflectance = (number + offset) / quantification``."""

    quantification: float
    offsets: dict[str, float]
    sensed: datetime | None


def is_safe(path: str) -> bool:
    """Whether ``path`` is a folder that should be a SAFE product."""
    folder = Path(path)
    return folder.is_dir()


def safe_folder(path: str | Path) -> bool:
    """Whether a folder has the metadata of a SAFE product."""
    root = Path(path)
    return any(root.glob("MTD_MSIL*.xml")) or any(root.glob("S2?_*_MTD_*.xml"))


def safe_files(folder: str | Path) -> dict[str, str]:
    """Each band's finest file by its code (``B02``, ``B8A``, ``SCL``).

    Raises:
        SceneError: The product has no images, or several granules.
    """
    return _files(Path(folder))


def safe_scene(
    folder: str,
    wanted: Sequence[str],
    *,
    mask: MaskRef | None = None,
    overrides: Overrides | None = None,
    date: datetime | None = None,
) -> Scene:
    """The scene in a SAFE folder (L1C or L2A), in reflectance.

    L1C's is that at the top of the atmosphere, L2A's that of the surface. Each band is read at the finest resolution that is there. Pixels of number 0 have no data.

    Raises:
        SceneError: It is no SAFE product, its metadata are damaged, or a band's file is missing.
    """
    root = Path(folder)
    product = _product(root)
    files = _files(root)
    scene = root.name.removesuffix(".SAFE")
    given = overrides or Overrides()
    names = {common: code for code, common in SENTINEL2.items() if code in files}
    chosen = choose(wanted, names, scene)
    bands = {
        name: _band(name, names[other], files, product, given) for name, other in chosen.items()
    }
    when = date or product.sensed
    return assemble(
        scene,
        bands,
        own_masks=(),
        mask=mask,
        find_mask=lambda: _mask_place(scene, mask, files),
        acquired=None if when is None else in_utc(when),
        units=given.units or "reflectance",
    )


def _band(
    name: str, code: str, files: dict[str, str], product: _Product, overrides: Overrides
) -> Band:
    from_product = BandRef(
        scale=1 / product.quantification,
        offset=product.offsets.get(code, 0.0) / product.quantification,
        nodata=0.0,
    )
    asked = overrides.band(BandRef())
    return read_header(files[code], crs=overrides.crs).band(name, _over(from_product, asked))


def _over(base: BandRef, asked: BandRef) -> BandRef:
    return BandRef(
        base.path,
        base.index,
        base.scale if asked.scale is None else asked.scale,
        base.offset if asked.offset is None else asked.offset,
        base.nodata if asked.nodata is None else asked.nodata,
        asked.resampling,
    )


def _mask_place(scene: str, mask: MaskRef | None, files: dict[str, str]) -> Place:
    method = mask.method if mask else "none"
    code = {"scl": "SCL", "classi": _CLASSI}.get(method)
    if code is None or code not in files:
        offers = [name for name, key in (("scl", "SCL"), ("classi", _CLASSI)) if key in files]
        there = f"only {' and '.join(offers)}" if offers else "none"
        if "SCL" not in files:
            there += " (L1C products have no SCL, and clouds as an image only since baseline 04.00)"
        raise SceneError(f"scene {scene}: no mask {method}; this SAFE folder offers {there}")
    header = read_header(files[code])
    return Place(header.uri, 1, header.grid, header.dtypes[0], header.count)


def _files(root: Path) -> dict[str, str]:
    """Band code to its finest file, found by name: paths in the metadata are not followed.

    Raises:
        SceneError: The product has no images, or several granules.
    """
    granules = sorted(path for path in root.glob("GRANULE/*/IMG_DATA") if path.is_dir())
    if len(granules) != 1:
        found = f"{len(granules)} granules" if granules else "no GRANULE/*/IMG_DATA folder"
        raise SceneError(f"{root}: {found}; a Sentinel-2 SAFE folder with one granule is needed")
    best: dict[str, tuple[int, str]] = {}
    for path in sorted(granules[0].rglob("*")):
        match = _IMAGE.fullmatch(path.name)
        if match is None:
            continue
        code, metres = match[1].upper(), int(match[2] or 0)
        if code not in best or metres < best[code][0]:
            best[code] = metres, str(path.absolute())
    files = {code: path for code, (_, path) in best.items()}
    classi = granules[0].parent / "QI_DATA" / _CLASSI
    if classi.is_file():
        files[_CLASSI] = str(classi.absolute())
    return files


def _product(root: Path) -> _Product:
    found = sorted(root.glob("MTD_MSIL*.xml")) or sorted(root.glob("S2?_*_MTD_*.xml"))
    if not found:
        raise SceneError(
            f"{root}: a folder without MTD_MSIL2A.xml is no Sentinel-2 SAFE product; "
            f"for files in a folder write {root.name}/*.tif"
        )
    try:
        # Entities are expat's: bombs are refused since 2.4.1, external ones never resolved.
        tree = ET.parse(found[0])  # noqa: S314
        return _parsed(tree.getroot())
    except (ET.ParseError, ValueError, LookupError) as error:
        raise SceneError(f"{found[0]}: damaged product metadata ({error})") from error


def _parsed(root: ET.Element) -> _Product:
    texts: dict[str, str] = {}
    offsets: dict[str, float] = {}
    for element in root.iter():
        tag, text = element.tag.rpartition("}")[2], (element.text or "").strip()
        if tag in {"BOA_ADD_OFFSET", "RADIO_ADD_OFFSET"}:
            offsets[_BAND_IDS[int(element.attrib["band_id"])]] = float(text)
        elif text:
            texts.setdefault(tag, text)
    quantification = texts.get("BOA_QUANTIFICATION_VALUE") or texts.get("QUANTIFICATION_VALUE")
    if quantification is None or float(quantification) <= 0:
        raise ValueError("no BOA_QUANTIFICATION_VALUE or QUANTIFICATION_VALUE")
    _check_baseline(texts.get("PROCESSING_BASELINE", ""), offsets)
    sensed = texts.get("PRODUCT_START_TIME") or texts.get("DATATAKE_SENSING_START")
    when = datetime.fromisoformat(sensed) if sensed else None
    return _Product(float(quantification), offsets, when)


def _check_baseline(baseline: str, offsets: dict[str, float]) -> None:
    """Products since baseline 04.00 have offsets: without them reflectance would be 0.1 too high."""
    if baseline and float(baseline) >= 4 and not offsets:
        raise ValueError(
            f"processing baseline {baseline}, but no BOA_ADD_OFFSET or RADIO_ADD_OFFSET"
        )
