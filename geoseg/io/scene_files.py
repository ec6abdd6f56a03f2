"""Which files below a folder make which scene, by what they are called."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from geoseg.errors import CatalogError
from geoseg.io.names import Sensor, common_name, sensor_of
from geoseg.io.safe import safe_files, safe_folder

RASTERS = (".tif", ".tiff", ".jp2", ".vrt", ".img")
WHOLE = "image"
"""The key of a file that is a scene by itself."""
_BAND = re.compile(
    r"(?P<scene>.*?)[-_. ]?(?P<band>"
    r"(?:(?:SR|ST|TOA)_)?B(?:AND_?)?\d{1,2}A?(?:_\d\dm)?|SCL(?:_\d\dm)?|QA_PIXEL|Fmask"
    r"|coastal|blue|green|red|rededge\d?|nir(?:0[89])?|swir(?:1|2|16|22)|pan|lwir(?:11|12)?)"
    r"(?P<date>[-_. ](?:19|20)\d\d[-_.]?\d\d[-_.]?\d\d)?",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class SceneFiles:
    """The files of one scene: ``files`` by key (a band's name, or ``image``).

    ``safe`` is the folder of a SAFE product, None for other files.
    """

    id: str
    files: Mapping[str, str]
    safe: str | None = None


def scenes_below(folder: Path) -> list[SceneFiles]:
    """All scenes below ``folder``, by id: SAFE products, files by band, and other rasters.

    Hidden folders are passed over.

    Raises:
        CatalogError: There is no such folder, or no raster in it.
        SceneError: A SAFE product is not whole.
    """
    if not folder.is_dir():
        raise CatalogError(f"{folder}: no such folder; give one with scenes in it")
    found: list[SceneFiles] = []
    for root, folders, names in os.walk(folder):
        place = Path(root)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if safe_folder(place):
            folders.clear()
            name = place.name.removesuffix(".SAFE")
            found.append(SceneFiles(name, safe_files(place), str(place)))
        else:
            found += files_grouped(place, sorted(names))
    if not found:
        raise CatalogError(f"{folder}: no scene below it ({', '.join(RASTERS)} or SAFE folders)")
    return _distinct(sorted(found, key=lambda scene: scene.id), folder)


def files_grouped(folder: Path, names: Iterable[str]) -> list[SceneFiles]:
    """The scenes that the files called ``names`` in one folder make; others than rasters do not."""
    groups: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for name in names:
        path = folder / name
        if path.suffix.lower() in RASTERS and not name.startswith("."):
            scene, key = _split(path.stem, folder.name)
            groups[scene].setdefault(key, str(path.absolute()))
    return [
        SceneFiles(scene, files) if len(files) > 1 or _names(scene, files) else _alone(files)
        for scene, files in groups.items()
    ]


def _split(stem: str, folder: str) -> tuple[str, str]:
    """Scene and band of a file; a name that tells no band is a scene."""
    match = _BAND.fullmatch(stem)
    if match is None:
        return stem, WHOLE
    # ``20LLQ_B02_2021-09-22``: what follows the band belongs to the scene, too.
    name = match["scene"] + (match["date"] or "")
    return (name.lstrip("-_. ") or folder), match["band"]


def sensor_of_files(scene: str, keys: Iterable[str]) -> Sensor | None:
    """The sensor of files by band: ``B02`` and ``B8A`` are Sentinel-2's, where nothing else is."""
    known = sensor_of(scene)
    padded = any(re.match(r"B(0\d|8A)", key, re.IGNORECASE) for key in keys)
    return known or ("sentinel2" if padded else None)


def _names(scene: str, files: Mapping[str, str]) -> bool:
    """Whether the only file of a scene is its whole, or has a band's name."""
    sensor = sensor_of_files(scene, files)
    return all(key == WHOLE or common_name(key, sensor) for key in files)


def _alone(files: Mapping[str, str]) -> SceneFiles:
    path = next(iter(files.values()))
    return SceneFiles(Path(path).stem, {WHOLE: path})


def _distinct(scenes: list[SceneFiles], root: Path) -> list[SceneFiles]:
    """Scenes that are called alike get the names of their folders."""
    ids = [scene.id for scene in scenes]
    named = []
    for scene in scenes:
        place = Path(scene.safe or next(iter(scene.files.values()))).absolute().parent
        folders = place.relative_to(root.absolute()).parts if ids.count(scene.id) > 1 else ()
        named.append(replace(scene, id="_".join([*folders, scene.id])))
    return named
