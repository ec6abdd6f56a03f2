"""Which files make which scene, as an input of files tells it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from geoseg.errors import SceneError
from geoseg.io.names import MASK_NAMES, STAND_INS, common_names, sensor_of
from geoseg.io.patterns import SCENE, common_stem, find, stem

Match = tuple[str | None, str]
"""What ``{scene}`` stands for in a file's path (None without it), and the path."""


@dataclass(frozen=True, slots=True)
class Group:
    """The files of one scene: a main one, and one for each of some bands."""

    id: str
    main: str | None = None
    by_band: Mapping[str, str] = field(default_factory=dict)

    @property
    def paths(self) -> tuple[str, ...]:
        """All of them."""
        return (*((self.main,) if self.main else ()), *self.by_band.values())


def either(name: str) -> set[str]:
    """The band, and what may stand in for it."""
    return {name, STAND_INS.get(name, name)}


def by_patterns(
    main: list[Match], patterns: Mapping[str, str], needed: Collection[str], wanted: Sequence[str]
) -> list[Group]:
    """Scenes of files that are found by a pattern for each band, beside ``main`` ones.

    Only bands that are ``needed`` have to be there.

    Raises:
        SceneError: One of them is missing, or there are several files for one.
    """
    return _by_band(main, _find_bands(patterns, needed), wanted)


def by_main_file(files: list[Match], bands: Collection[str]) -> list[Group]:
    """Scenes of one file each; several that are of one scene by their names are its bands.

    ``bands`` are those that the analyst names; where names of files do not tell all of them, each
    file is a scene.
    """
    if any(scene is not None for scene, _ in files):
        groups = _by_name(files)
        if all(group.main or set(bands) <= set(group.by_band) for group in groups):
            return groups
    return [Group(stem(path) if scene is None else scene, path) for scene, path in files]


def _find_bands(patterns: Mapping[str, str], needed: Collection[str]) -> dict[str, list[Match]]:
    """Files of all bands, as they name the scene; only those that are needed have to be there."""
    found = {}
    for name, pattern in patterns.items():
        try:
            found[name] = find(pattern)
        except SceneError:
            if name in needed:
                raise
    return found


def _by_band(
    main: list[Match],
    found: Mapping[str, list[Match]],
    wanted: Sequence[str],
) -> list[Group]:
    """Files of the bands that are called alike; a file without ``{scene}`` is in all scenes."""
    listed = [*main, *(match for matches in found.values() for match in matches)]
    scenes = sorted({scene for scene, _ in listed if scene is not None})
    groups = []
    for scene in scenes or (None,):
        by_band = {name: only(scene, name, matches) for name, matches in found.items()}
        paths = {name: path for name, path in by_band.items() if path is not None}
        own = only(scene, "path", main)
        shown = scene or common_stem([own] if own else list(paths.values()))
        # Where there is a main file, it may have what has no file of its own.
        if own is None:
            _complain_of_gaps(shown, [n for n in wanted if not either(n) & set(paths)], paths)
        groups.append(Group(shown, own, paths))
    return groups


def _complain_of_gaps(scene: str, missing: Sequence[str], there: Iterable[str]) -> None:
    if missing:
        has = ", ".join(there) or "none"
        raise SceneError(f"scene {scene}: no file for band {', '.join(missing)}; it has {has}")


def only(scene: str | None, what: str, matches: Sequence[Match]) -> str | None:
    """The file of ``scene`` among ``matches``, or the one that is not of any scene."""
    mine = [path for key, path in matches if key == scene or key is None]
    if len(mine) > 1:
        raise SceneError(
            f"{f'scene {scene}' if scene else 'input'}: {len(mine)} files for {what}, among them "
            f"{Path(mine[0]).name} and {Path(mine[1]).name}; say with {SCENE} what names a scene"
        )
    return mine[0] if mine else None


def _by_name(files: list[Match]) -> list[Group]:
    """Files of one scene whose names tell the bands (``..._B02.jp2``, ``..._SR_B4.TIF``)."""
    by_scene: defaultdict[str, list[str]] = defaultdict(list)
    for scene, path in files:
        by_scene[scene or stem(path)].append(path)
    groups = []
    for scene, paths in by_scene.items():
        if len(paths) == 1:
            groups.append(Group(scene, paths[0]))
            continue
        names = common_names([stem(path) for path in paths], sensor_of(Path(paths[0]).name))
        tally = Counter(name for name in names if name)
        by_band = {n: p for n, p in zip(names, paths, strict=True) if n and tally[n] == 1}
        others = [path for name, path in zip(names, paths, strict=True) if name is None]
        # An image with all bands, and its masks.
        whole = len(others) == 1 and set(by_band) <= set(MASK_NAMES)
        groups.append(Group(scene, others[0] if whole else None, by_band))
    return groups
