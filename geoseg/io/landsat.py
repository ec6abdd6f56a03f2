"""Landsat products as USGS delivers them: folders with one file a band and an MTL file.

Source: Landsat 8-9 Collection 2 Level 1 and Level 2 Data Format Control Books (LSDS-1822, -1328).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from geoseg.errors import SceneError
from geoseg.io.names import common_name, sensor_of
from geoseg.io.refs import BandRef

_MTL = "*_MTL.txt"
_IMAGE = re.compile(r"(?P<id>.+?)_(?:SR_)?B(?P<number>\d{1,2})\.TIF", re.IGNORECASE)
_LINE = re.compile(r"\s*(\w+)\s*=\s*\"?([^\"\n]*?)\"?\s*")
_SURFACE = "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS"
_LEVEL1 = ("LEVEL1_RADIOMETRIC_RESCALING", "RADIOMETRIC_RESCALING")

Groups = dict[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class LandsatFolder:
    """A product: its name, its bands and masks by common name, and when it was acquired.

    Scales and offsets lead to reflectance: of the surface (Level 2), or at the top of the
    atmosphere, corrected for the sun's elevation (Level 1). Thermal bands are left out.
    """

    id: str
    refs: dict[str, BandRef]
    acquired: datetime | None


def is_landsat(path: str) -> bool:
    """Whether ``path`` is a folder with Landsat metadata."""
    return any(Path(path).glob(_MTL)) if Path(path).is_dir() else False


def landsat_folder(path: str) -> LandsatFolder:
    """What the metadata and the names of the files in a folder say; reads no raster.

    Raises:
        SceneError: There are several products, the metadata are damaged, or tell of no
            reflectance.
    """
    found = sorted(Path(path).glob(_MTL))
    if len(found) > 1:
        raise SceneError(
            f"{path}: {len(found)} Landsat products ({found[0].name}, {found[1].name}, ...); "
            f"each needs a folder of its own, or say which files with input.bands"
        )
    scene = found[0].name.removesuffix(_MTL[1:])
    try:
        groups = _groups(found[0].read_text("utf-8"))
        refs = _refs(Path(path), scene, groups)
        return LandsatFolder(scene, refs, _acquired(groups))
    except (ValueError, LookupError, OSError) as error:
        raise SceneError(f"{found[0]}: damaged Landsat metadata ({error})") from error


def _groups(text: str) -> Groups:
    """Keys and values by group; keys repeat, groups do not."""
    groups: Groups = {}
    stack: list[str] = []
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        key, value = match.groups()
        if key == "GROUP":
            stack.append(value)
        elif key == "END_GROUP":
            stack.pop()
        elif stack:
            groups.setdefault(stack[-1], {})[key] = value
    if not groups:
        raise ValueError("no GROUP in it")
    return groups


def _refs(folder: Path, scene: str, groups: Groups) -> dict[str, BandRef]:
    level2 = "_L2S" in scene
    names = (_SURFACE,) if level2 else _LEVEL1
    factors = next((groups[name] for name in names if name in groups), {})
    # A lower sun lights the same ground less.
    sun = 1.0 if level2 else math.sin(math.radians(_sun_elevation(groups)))
    sensor, refs = sensor_of(scene), {}
    for path in sorted(folder.iterdir()):
        match = _IMAGE.fullmatch(path.name)
        if match is None or match["id"] != scene or ("_SR_B" in path.name.upper()) != level2:
            continue
        number = match["number"]
        name, mult = (
            common_name(f"B{number}", sensor),
            factors.get(f"REFLECTANCE_MULT_BAND_{number}"),
        )
        if name is not None and mult is not None:
            add = float(factors[f"REFLECTANCE_ADD_BAND_{number}"])
            refs[name] = BandRef(str(path.absolute()), 1, float(mult) / sun, add / sun, 0.0)
    if not refs:
        raise SceneError(
            f"{folder}: no file of {scene} whose factor to reflectance its MTL file tells (products "
            f"older than Collection 1 have factors to radiance only); take the product of "
            f"Collection 2, or say with input.bands which files are meant, and what their numbers are"
        )
    for mask in folder.glob(f"{scene}_QA_PIXEL.[Tt][Ii][Ff]"):
        refs["qa_pixel"] = BandRef(str(mask.absolute()))
    return refs


def _sun_elevation(groups: Groups) -> float:
    found = [keys["SUN_ELEVATION"] for keys in groups.values() if "SUN_ELEVATION" in keys]
    if not found or not 0 < float(found[0]) <= 90:
        raise ValueError("no SUN_ELEVATION above the horizon, which Level 1 reflectance needs")
    return float(found[0])


def _acquired(groups: Groups) -> datetime | None:
    for keys in groups.values():
        if "DATE_ACQUIRED" in keys:
            time = keys.get("SCENE_CENTER_TIME", "00:00:00")[:8]
            return datetime.fromisoformat(f"{keys['DATE_ACQUIRED']}T{time}").replace(tzinfo=UTC)
    return None
