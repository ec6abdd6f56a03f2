"""Scenes in files: one multi-band file each, one file per band, SAFE or Landsat folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from geoseg.errors import SceneError
from geoseg.io.assemble import Place, assemble, choose
from geoseg.io.folders import meant
from geoseg.io.groups import Group, Match, by_main_file, by_patterns, either, only
from geoseg.io.headers import Header, read_header
from geoseg.io.known import known_units, named_bands, with_known_numbers
from geoseg.io.landsat import is_landsat, landsat_folder
from geoseg.io.names import MASK_NAMES, common_names, date_from_tags, date_in
from geoseg.io.patterns import SCENE, find, stem
from geoseg.io.refs import BandRef, MaskRef, Nodata, Overrides, in_utc
from geoseg.io.safe import is_safe, safe_scene
from geoseg.scene import Band, Resampling, Scene, Units

_ACQUIRED = ("ACQUISITIONDATETIME", "ACQUISITION_DATETIME", "ACQUISITION_DATE", "ACQUISITIONDATE")


@dataclass(frozen=True, slots=True)
class FilesSource:
    """Scenes in files on disk (or at URLs).

    Attributes:
        path: Patterns with ``*``, ``?``, ``[...]``, ``**`` and ``{scene}``, relative to the
            current folder. Each file is a scene called like the file, unless ``{scene}`` or
            ``bands`` say that several files make one. A folder stands for what is in it: see
            :func:`geoseg.io.folders.meant`.
        bands: Common names in file order (with as many patterns as names: one file for each);
            or each name with its place; empty: as the files' descriptions, colours and names say.
        scale: Factor to physical values, whatever the files say.
        offset: Added after scaling.
        units: What scale and offset lead to; ``"dn"`` leaves numbers as stored.
        nodata: Number of pixels without data, whatever the files say.
        mask: Which pixels are hidden.
        crs: For files that have none.
        date: Of acquisition.
        resampling: How bands of another resolution come onto the scene's grid.
        placeless: Take files that do not say where they lie: chips of somebody's data set.
    """

    path: tuple[str, ...] = ()
    bands: tuple[str, ...] | Mapping[str, BandRef] = ()
    scale: float | None = None
    offset: float | None = None
    units: Units | None = None
    nodata: Nodata = None
    mask: MaskRef | None = None
    crs: str | None = None
    date: datetime | None = None
    resampling: Resampling = "auto"
    placeless: bool = False

    @property
    def overrides(self) -> Overrides:
        """What holds for all bands."""
        return Overrides(
            self.scale, self.offset, self.nodata, self.units, self.resampling, self.crs
        )

    def scenes(self, wanted: Sequence[str]) -> list[Scene]:
        """The scenes, with the bands called ``wanted`` and their masks, sorted by id.

        Reads headers only.

        Raises:
            SceneError: Nothing matches a pattern, a file cannot be used, or a band is missing.
        """
        _check_names(self.bands, wanted)
        matches = list(dict.fromkeys(match for path in self.path for match in meant(path)))
        folders = [path for _, path in matches if is_safe(path)]
        files = [(scene, path) for scene, path in matches if not is_safe(path)]
        scenes = [
            _landsat(self, folder, wanted)
            if is_landsat(folder)
            else safe_scene(
                folder, wanted, mask=self.mask, overrides=self.overrides, date=self.date
            )
            for folder in folders
        ]
        if files or not folders:
            scenes += [
                _Reader(self, group, wanted).scene() for group in _groups(self, files, wanted)
            ]
        return sorted(_distinct(scenes), key=lambda scene: scene.id)


def _landsat(source: FilesSource, folder: str, wanted: Sequence[str]) -> Scene:
    """The scene in a Landsat folder; what is asked for goes before what its metadata say."""
    found = landsat_folder(folder)
    stored = source.units == "dn"
    refs = {
        name: replace(
            ref,
            scale=None if stored or source.scale is not None else ref.scale,
            offset=None if stored or source.offset is not None else ref.offset,
            nodata=ref.nodata if source.nodata is None else source.nodata,
        )
        for name, ref in found.refs.items()
    }
    told = replace(
        source,
        bands=refs,
        units=source.units or "reflectance",
        date=source.date or found.acquired,
    )
    paths = {name: _path(ref) for name, ref in refs.items()}
    return _Reader(told, Group(found.id, None, paths), wanted).scene()


def _check_names(bands: tuple[str, ...] | Mapping[str, BandRef], wanted: Sequence[str]) -> None:
    missing = [name for name in wanted if not either(name) & set(bands)]
    if bands and missing:
        raise SceneError(
            f"input.bands: no {', '.join(missing)}, which the model needs; it names "
            f"{', '.join(bands)}"
        )


def _groups(source: FilesSource, files: list[Match], wanted: Sequence[str]) -> list[Group]:
    """Which files make which scene."""
    if isinstance(source.bands, Mapping):
        patterns = {name: ref.path for name, ref in source.bands.items() if ref.path is not None}
    elif _one_pattern_a_band(source, files):
        patterns = dict(zip(source.bands, source.path, strict=True))
        files = []
    else:
        patterns = {}
    if not patterns:
        return by_main_file(files, source.bands)
    needed = {other for name in wanted for other in either(name)}
    needed |= {source.mask.method} if source.mask else set()
    return by_patterns(files, patterns, needed, wanted)


def _one_pattern_a_band(source: FilesSource, files: list[Match]) -> bool:
    """Whether the n-th pattern is the n-th band, and not another scene."""
    if not len(source.path) == len(source.bands) > 1:
        return False
    if all(SCENE in pattern for pattern in source.path):
        return True
    if len(files) != len(source.path):
        return False
    if common_names([stem(path) for _, path in files]) == list(source.bands):
        return True
    return all(
        read_header(path, crs=source.crs, placeless=source.placeless).count == 1
        for _, path in files
    )


class _Reader:
    """Reads the headers of one scene's files, each once."""

    def __init__(self, source: FilesSource, group: Group, wanted: Sequence[str]) -> None:
        self._source, self._group, self._wanted = source, group, wanted
        self._headers: dict[str, Header] = {}

    def scene(self) -> Scene:
        refs = self._refs()
        chosen = choose(
            self._wanted, [name for name in refs if name not in MASK_NAMES], self._group.id
        )
        bands = {name: self._band(name, refs[other]) for name, other in chosen.items()}
        used = [self._headers[band.uri] for band in bands.values()]
        named = {(ref.path, ref.index) for ref in refs.values()}
        return assemble(
            self._group.id,
            bands,
            # A fourth band that is called nir is no alpha band, whatever its colour says (NAIP).
            own_masks=[h.own_mask() for h in used if (h.uri, h.alpha) not in named],
            mask=self._source.mask,
            find_mask=lambda: self._mask_place(refs),
            acquired=self._acquired(used),
            units=self._source.units or known_units(bands.values()),
        )

    def _header(self, path: str) -> Header:
        if path not in self._headers:
            self._headers[path] = read_header(
                path, crs=self._source.crs, placeless=self._source.placeless
            )
        return self._headers[path]

    def _refs(self) -> dict[str, BandRef]:
        """Every band that has a name, with the path of its file."""
        group, bands = self._group, self._source.bands
        refs = {name: BandRef(path) for name, path in group.by_band.items()}
        if isinstance(bands, Mapping):
            for name, ref in bands.items():
                path = group.by_band.get(name) if ref.path else group.main
                if path is not None:
                    refs[name] = replace(ref, path=path)
        elif group.main is not None:
            header = self._header(group.main)
            named = {name: i for i, name in enumerate(bands, 1)} if bands else named_bands(header)
            if header.palette and len(self._wanted) > 1:
                raise SceneError(
                    f"{group.main}: its only band holds numbers of colours in a palette; make it an "
                    f"image of three bands first (gdal_translate -expand rgb in.tif out.tif)"
                )
            if len(named) > header.count:
                raise SceneError(
                    f"{group.main}: input.bands names {len(named)} bands, "
                    f"the file has {header.count}"
                )
            refs |= {name: BandRef(group.main, index) for name, index in named.items()}
        return refs

    def _band(self, name: str, ref: BandRef) -> Band:
        header = self._header(_path(ref))
        asked = self._source.overrides.band(ref)
        return with_known_numbers(header.band(name, asked), asked)

    def _mask_place(self, refs: Mapping[str, BandRef]) -> Place:
        """Where the mask is.

        Raises:
            SceneError: Nothing says it.
        """
        ref = self._source.mask
        if ref is None:
            raise AssertionError("asked for a mask that nobody wants")
        if ref.path is not None:
            return self._place(self._mask_file(ref.path), 1 if ref.index is None else ref.index)
        if ref.index is not None and self._group.main is not None:
            return self._place(self._group.main, ref.index)
        if ref.method in refs:
            return self._place(_path(refs[ref.method]), refs[ref.method].index)
        own = [m for path in self._group.paths if (m := self._header(path).own_mask())]
        if ref.method == "alpha" and own:
            return self._place(own[0].uri, own[0].index)
        raise SceneError(
            f"scene {self._group.id}: no band is called {ref.method}; say where the mask is with "
            f"input.mask.path or input.mask.index"
        )

    def _mask_file(self, pattern: str) -> str:
        scene = self._group.id
        path = only(scene, "mask", find(pattern))
        if path is None:
            raise SceneError(f"scene {scene}: no mask file {pattern.replace(SCENE, scene)}")
        return path

    def _place(self, path: str, index: int) -> Place:
        header = self._header(path)
        if index == 0:
            if not header.masked:
                raise SceneError(f"{path}: has no internal mask (input.mask.index: 0)")
            return Place(path, 0, header.grid, "uint8")
        header.check_index(index, "mask")
        return Place(path, index, header.grid, header.dtypes[index - 1], header.count)

    def _acquired(self, headers: Sequence[Header]) -> datetime | None:
        """When the scene was taken.

        Names go before TIFFTAG_DATETIME, which is when the file was made.
        """
        if self._source.date is not None:
            return in_utc(self._source.date)
        tags = headers[0].tags if headers else {}
        paths = [Path(path) for path in self._group.paths]
        of_files, of_folders = (p.name for p in paths), (p.parent.name for p in paths)
        names = (self._group.id, *of_files, *of_folders)  # 2024-06-03/ortho.tif
        return (
            date_from_tags(tags, _ACQUIRED)
            or next((found for name in names if (found := date_in(name))), None)
            or date_from_tags(tags, ("TIFFTAG_DATETIME",))
        )


def _path(ref: BandRef) -> str:
    if ref.path is None:
        raise AssertionError("a band without a file")
    return ref.path


def _distinct(scenes: Sequence[Scene]) -> list[Scene]:
    """The scenes with ids that differ: those that are called alike get their folder's name."""
    tally = Counter(scene.id for scene in scenes)
    named = [
        scene
        if tally[scene.id] == 1
        else replace(scene, id=f"{Path(scene.sources[0]).parent.name}_{scene.id}")
        for scene in scenes
    ]
    again = [name for name, count in Counter(s.id for s in named).items() if count > 1]
    if again:
        raise SceneError(f"two scenes are called {again[0]}; tell them apart with {SCENE}")
    return named
