"""The labels of a scene as classes of a legend: rasters, polygons and points, one over another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.grid import Window
from geoseg.io.label_raster import NO_LABEL, SceneCodes
from geoseg.io.label_vectors import (
    SUFFIXES,
    Features,
    LabelPoints,
    LabelPolygons,
    read_features,
)
from geoseg.legend import Legend
from geoseg.ops.matching import closest_name
from geoseg.scene import Scene

UNKNOWN = 255
"""Class index of a pixel that no layer knows, or that is not to be learnt from."""

IGNORE = "ignore"
ALL_OTHERS = "*"
_UNLISTED, _NOTHING, _IGNORED = -3, -1, -2


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """One layer of labels, as it was asked for.

    Attributes:
        key: Where it stands in the workflow.
        path: May hold ``{scene}`` and ``{stem}``.
        band: Of a raster.
        layer: Of a vector file.
        column: Of a vector file.
        where: Which features of a vector file count.
        classes: Class of the legend by name or code of the file; empty: those called alike.
        outside: Class of what lies outside of all polygons.
        trim: Cut a raster without a place that is larger than the scene.
        strict: Whether labels that are not listed are an error.
        optional: Whether a scene may have no such file.
    """

    key: str
    path: str
    band: int = 1
    layer: str | None = None
    column: str | None = None
    where: Mapping[str, object] = field(default_factory=dict)
    classes: Mapping[str, str] = field(default_factory=dict)
    outside: str | None = None
    trim: bool = False
    strict: bool = False
    optional: bool = False

    def file(self, scene: Scene) -> Path:
        """The file of a scene."""
        stem = Path(scene.sources[0]).stem
        if "{scene}" in self.path and (set(scene.id) & set("/\\\0") or scene.id == ".."):
            # Ids come from catalogs, which must not choose a folder of this machine.
            raise InputError(f"scene {scene.id!r}: its id cannot be part of the name of a file")
        text = self.path.replace("{scene}", scene.id).replace("{stem}", stem)
        return Path(text).expanduser().absolute()


class _Codes(Protocol):
    def codes(self, window: Window) -> NDArray[np.int16]: ...


@dataclass(frozen=True, slots=True)
class _Layer:
    """An opened layer: codes, and the class index of each code (the last entry: no label)."""

    path: Path
    spec: LayerSpec
    source: _Codes
    table: NDArray[np.int16]
    names: Mapping[int, str]
    strict: bool

    def classes(self, window: Window) -> tuple[NDArray[np.int16], Counter[str]]:
        """Class indices, or negative numbers; and how many pixels have which unlisted label."""
        codes = self.source.codes(window)
        found = self.table[codes]
        strange: Counter[str] = Counter()
        if (found == _UNLISTED).any():
            numbers, counts = np.unique(codes[found == _UNLISTED], return_counts=True)
            for code, count in zip(numbers.tolist(), counts.tolist(), strict=True):
                strange[self.names.get(code, str(code))] += count
            if self.strict:
                raise InputError(
                    f"{self.path}: holds {', '.join(map(repr, strange))}, which labels.classes "
                    f"does not list; list it (with 'ignore' if it is not to be learnt from), or "
                    f"leave out labels.strict"
                )
        return found, strange


class SceneLabels:
    """Classes of a scene's pixels. May be read from several threads."""

    def __init__(self, layers: Sequence[_Layer]) -> None:
        self._layers = tuple(layers)

    @property
    def files(self) -> tuple[Path, ...]:
        """What is read."""
        return tuple(dict.fromkeys(layer.path for layer in self._layers))

    @property
    def parts(self) -> tuple[tuple[Path, LayerSpec], ...]:
        """What is read, and as what."""
        return tuple((layer.path, layer.spec) for layer in self._layers)

    def read(self, window: Window) -> tuple[NDArray[np.uint8], Counter[str]]:
        """Class indices ``(y, x)``, :data:`UNKNOWN` where there is none; and unlisted labels.

        Of several layers the first that knows a pixel says what it is; ``ignore`` is an answer.

        Raises:
            InputError: A file cannot be read, or holds a label that a strict layer does not list.
        """
        out = np.full(window.shape, _NOTHING, np.int16)
        strange: Counter[str] = Counter()
        for layer in self._layers:
            found, unlisted = layer.classes(window)
            strange += unlisted
            open_ = (out == _NOTHING) & ((found >= 0) | (found == _IGNORED))
            out[open_] = found[open_]
        out[out < 0] = UNKNOWN
        return out.astype(np.uint8), strange

    def close(self) -> None:
        """Let go of open files."""
        for layer in self._layers:
            if isinstance(layer.source, SceneCodes):
                layer.source.close()


class LabelReader:
    """Opens labels of scenes; vector files that label several scenes are read once."""

    def __init__(self, legend: Legend) -> None:
        self._legend = legend
        self._features: dict[tuple[object, ...], Features] = {}

    def open(self, scene: Scene, specs: Sequence[LayerSpec]) -> SceneLabels:
        """The labels of ``scene``.

        Raises:
            InputError: A file is missing, cannot be used, does not fit the scene, or has a class
                that the legend does not.
        """
        there = [spec for spec in specs if not (spec.optional and not spec.file(scene).exists())]
        return SceneLabels([self._open(scene, spec) for spec in there])

    def _open(self, scene: Scene, spec: LayerSpec) -> _Layer:
        path = spec.file(scene)
        if not path.exists():
            raise InputError(
                f"{spec.key}: scene {scene.id}: no file {path}; labels.missing: skip leaves out "
                f"scenes without labels"
            )
        if spec.column is not None or spec.where or path.suffix.lower() in SUFFIXES:
            return self._vector(scene, spec, path)
        listed = {int(code) for code in spec.classes if code.isdecimal()}
        raster = SceneCodes(path, scene, band=spec.band, listed=listed, trim=spec.trim)
        table = self._table(spec, raster.names, coded=True)
        return _Layer(path, spec, raster, table, raster.names, spec.strict)

    def _vector(self, scene: Scene, spec: LayerSpec, path: Path) -> _Layer:
        if scene.grid.crs is None:
            raise InputError(
                f"{spec.key}: {scene.sources[0]} does not say where it lies, so that {path} "
                f"cannot be laid onto it; give it a CRS and a geotransform, or use label rasters"
            )
        features = self._read(spec, path)
        names = features.names
        source: _Codes
        if features.kind == "polygons":
            source = LabelPolygons(features, scene.grid)
        else:
            source = _PointCodes(features, scene)
        one = set(spec.classes) == {ALL_OTHERS}
        table = self._table(spec, {} if one else names, coded=one or features.coded)
        if spec.outside is not None:
            table[NO_LABEL] = self._index(spec, spec.outside, "outside")
        return _Layer(path, spec, source, table, names, spec.strict)

    def _read(self, spec: LayerSpec, path: Path) -> Features:
        key = (path, spec.layer, spec.column, tuple(sorted(spec.where.items())))
        if key not in self._features:
            one = spec.column is None and set(spec.classes) == {ALL_OTHERS}
            self._features[key] = read_features(
                path, layer=spec.layer, column=spec.column, where=spec.where, one_class=one
            )
        return self._features[key]

    def _table(
        self, spec: LayerSpec, names: Mapping[int, str], *, coded: bool
    ) -> NDArray[np.int16]:
        """Class index by code; the last entry is for pixels without a code."""
        table = np.full(257, _UNLISTED, np.int16)
        table[NO_LABEL] = _NOTHING
        codes = {name.casefold(): code for code, name in names.items()}
        if not spec.classes:
            self._match_alike(spec, table, codes, coded=coded)
            return table
        if ALL_OTHERS in spec.classes:
            table[:256] = self._index(spec, spec.classes[ALL_OTHERS], f"classes.{ALL_OTHERS}")
        for text, name in spec.classes.items():
            if text == ALL_OTHERS:
                continue
            index = self._index(spec, name, f"classes.{text}")
            if text.casefold() in codes:
                table[codes[text.casefold()]] = index
            elif coded and text.isdecimal() and int(text) < 256:
                table[int(text)] = index
            elif coded and not names:
                raise InputError(
                    f"{spec.key}.classes: {text!r} is no code 0 to 255, and {spec.path} has no names"
                )
        return table

    def _match_alike(
        self, spec: LayerSpec, table: NDArray[np.int16], codes: Mapping[str, int], *, coded: bool
    ) -> None:
        """Classes that are called like those of the legend, or where nothing is, numbered so."""
        alike = [(codes[n.casefold()], i) for i, n in enumerate(self._legend.names)
                 if n.casefold() in codes]  # fmt: skip
        if not alike and coded and not codes:
            alike = [(value, index) for index, value in enumerate(self._legend.values)]
        if not alike:
            raise InputError(
                f"{spec.key}: no class of {spec.path} is called like one of the legend "
                f"({', '.join(self._legend.names)}); it has {', '.join(codes) or 'none'}; say with "
                f"labels.classes which is which"
            )
        for code, index in alike:
            table[code] = index

    def _index(self, spec: LayerSpec, name: str, key: str) -> int:
        if name.casefold() == IGNORE:
            return _IGNORED
        known = {other.casefold(): i for i, other in enumerate(self._legend.names)}
        if name.casefold() in known:
            return known[name.casefold()]
        raise InputError(
            f"{spec.key}.{key}: the legend has no class {name!r}"
            f"{closest_name(name, self._legend.names)}; it has {', '.join(self._legend.names)}, "
            f"and 'ignore'"
        )


class _PointCodes:
    """Codes of the pixels that points lie in; of several in a pixel the last says it."""

    def __init__(self, features: Features, scene: Scene) -> None:
        points = LabelPoints(features, scene.grid)
        order = np.argsort(points.places[:, 0], kind="stable")
        self._places, self._values = points.places[order], points.values[order]

    def codes(self, window: Window) -> NDArray[np.int16]:
        out = np.full(window.shape, NO_LABEL, np.int16)
        first, last = np.searchsorted(self._places[:, 0], (window.y0, window.y1))
        places, values = self._places[first:last], self._values[first:last]
        inner = (places[:, 1] >= window.x0) & (places[:, 1] < window.x1)
        out[places[inner, 0] - window.y0, places[inner, 1] - window.x0] = values[inner]
        return out
