"""A folder as input: the rasters in it, and the products of Sentinel-2 and Landsat."""

from __future__ import annotations

import re
from pathlib import Path

from geoseg.errors import SceneError
from geoseg.io.groups import Match
from geoseg.io.landsat import is_landsat
from geoseg.io.names import MASK_NAMES
from geoseg.io.patterns import find
from geoseg.io.safe import safe_folder
from geoseg.io.scene_files import RASTERS, WHOLE, SceneFiles, files_grouped

_MASK = re.compile(rf"(?P<scene>.+?)[-_. ](?:{'|'.join(MASK_NAMES)})(?![a-z0-9]).*", re.IGNORECASE)


def meant(path: str) -> list[Match]:
    """The scene names and paths of the files and products that ``path`` means.

    ``path`` is a pattern (:func:`geoseg.io.patterns.find`), or a folder. In a folder, each raster
    is a scene, but for files that have the same name with another band in it
    (``x_B02.tif``, ``x_B03.tif``), which are one scene, and for masks beside an image
    (``x_udm2.tif``), which belong to it. SAFE and Landsat product folders in it are scenes. What
    lies farther below does not count, nor do hidden files.

    Raises:
        SceneError: There is no such file, or nothing in the folder.
    """
    found: list[Match] = []
    for scene, place in find(path):
        found += _inside(Path(place)) if _is_plain(Path(place)) else [(scene, place)]
    return found


def _is_plain(place: Path) -> bool:
    """Whether it is a folder that is no product, not even a damaged one."""
    if not place.is_dir() or place.name.upper().endswith(".SAFE") or (place / "GRANULE").is_dir():
        return False
    return not (safe_folder(place) or is_landsat(str(place)))


def _inside(folder: Path) -> list[Match]:
    """Products and rasters of a folder.

    Raises:
        SceneError: There are none.
    """
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    products: list[Match] = [
        (None, str(path)) for path in entries if path.is_dir() and not _is_plain(path)
    ]
    scenes = files_grouped(folder, [path.name for path in entries if path.is_file()])
    found = products + _with_masks(scenes)
    if not found:
        raise SceneError(
            f"{folder}: a folder without rasters ({', '.join(RASTERS)}), Sentinel-2 SAFE or "
            f"Landsat product folders; for files farther below write {folder.name}/**/*.tif"
        )
    return found


def _with_masks(scenes: list[SceneFiles]) -> list[Match]:
    """The files of ``scenes``; a mask is with the image whose name goes on as its own begins."""
    whole = {s.files[WHOLE]: Path(s.files[WHOLE]).stem for s in scenes if WHOLE in s.files}
    masks = {path: match["scene"] for path, name in whole.items() if (match := _mask(name))}
    images = {path: name for path, name in whole.items() if path not in masks}
    found: list[Match] = [
        (scene.id, path)
        for scene in scenes
        if WHOLE not in scene.files
        for path in scene.files.values()
    ]
    for path, name in images.items():
        own = [mask for mask, start in masks.items() if name.startswith(start)]
        key = max((masks[mask] for mask in own), key=len, default=None)
        found.append((key, path))
        found += [(key, mask) for mask in own if masks[mask] == key]
    return found


def _mask(name: str) -> re.Match[str] | None:
    return _MASK.fullmatch(name)
