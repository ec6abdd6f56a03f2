"""How far two people agree on labels of one place, neither of whom is the truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geoseg.api import fingerprint
from geoseg.api.evaluation import Comparison, Mapped, Truth, read_tolerance
from geoseg.api.scores import Evaluation
from geoseg.errors import InputError
from geoseg.grid import GeoBox, Window
from geoseg.io.geopackage import write_geopackage
from geoseg.io.headers import read_header
from geoseg.io.label_raster import LabelRaster
from geoseg.io.label_vectors import Features, LabelPolygons, read_features
from geoseg.io.provenance import Provenance
from geoseg.ops.matching import Matching, Side, match
from geoseg.run.reporter import Reporter
from geoseg.run.resources import available_cores
from geoseg.steps.assess import Labels
from geoseg.steps.polygons import Wanted
from geoseg.steps.vectorize import vectorize_windows

LAYER = "differences"
_OUTSIDE = 255
_MOST_CLASSES = 180  # pairs of classes must fit into 15 bits


@dataclass(frozen=True, slots=True, eq=False)
class LabelAgreement:
    """What two label sets have in common.

    Attributes:
        evaluation: Of the first as if the second were the truth.
        regions: Where they differ, if that was written; None if not.
        area: Square metres of these.
    """

    evaluation: Evaluation
    regions: int | None
    area: float | None

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON can say it."""
        different = None
        if self.regions is not None and self.area is not None:
            different = {"regions": self.regions, "area_ha": self.area / 1e4}
        return {"agreement": self.evaluation.as_dict(), "differences": different}


@dataclass(frozen=True, slots=True)
class Terms:
    """How two label sets are compared.

    Attributes:
        image: Whose grid polygons are compared on, where neither is a raster.
        tolerance: How far a boundary may be off, e.g. ``20 m``.
        mapping: From classes of the second to classes of the first, as in ``geoseg evaluate``.
        ignore: Classes of the second to leave out.
        differences: A ``.gpkg`` to write where they differ to, with what either says.
        outside: Class of what has no label, as outside of polygons; not compared without it.
    """

    image: Path | None = None
    tolerance: str = "2 px"
    mapping: Mapping[str, str] = field(default_factory=dict)
    ignore: Sequence[str] = ()
    differences: Path | None = None
    outside: str | None = None


def agree(
    one: Truth, other: Truth, terms: Terms, *, reporter: Reporter, workers: int | None
) -> LabelAgreement:
    """See :func:`geoseg.api.label_sets.compare_labels`."""
    differences = terms.differences
    if differences is not None and differences.suffix.lower() != ".gpkg":
        raise InputError(f"differences: {differences} does not end in .gpkg")
    with ExitStack() as files:
        labels, side = _first(one, other, terms.image, files)
        source: LabelRaster | Features
        if other.is_vector:
            source = read_features(other.path, layer=other.layer, column=other.column)
            if source.kind != "polygons":
                raise InputError(f"{other.path}: has {source.kind}; compared are areas")
        else:
            source = files.enter_context(closing(LabelRaster(other.path, labels.grid)))
        theirs = Side(str(other.path), source.names, source.coded)
        second: Mapped = (
            source if isinstance(source, LabelRaster) else LabelPolygons(source, labels.grid)
        )
        if terms.outside is not None:
            side, theirs = _with_outside(side, theirs, terms.outside)
            labels, second = _Everywhere(labels, _OUTSIDE), _Everywhere(second, _OUTSIDE)
        matching = match(
            side, theirs, mapping=_own_classes(side, theirs, terms.mapping), ignore=terms.ignore
        )
        reach = read_tolerance(terms.tolerance, labels.grid)
        comparison = Comparison(labels, matching, None, reach, reporter, workers)
        unlabelled = 0 if isinstance(source, LabelRaster) else source.unlabelled
        kind = "raster" if isinstance(source, LabelRaster) else source.kind
        found = comparison.with_labels(second, kind, {"unlabelled_features": unlabelled})
        if not found.confusion.pixels:
            raise InputError(f"{other.path}: nowhere has it a label where {one.path} has one, too")
        if differences is None:
            return LabelAgreement(found, None, None)
        pairs = _Pairs(labels, second, matching, found.classes)
        origin = _provenance(one, other, terms)
        regions, area = _write(differences, pairs, labels.grid, workers, origin)
    return LabelAgreement(found, regions, area)


def _provenance(one: Truth, other: Truth, terms: Terms) -> Provenance:
    inputs = fingerprint.inputs([str(one.path), str(other.path)])
    settings = {k: v for k, v in asdict(terms).items() if k != "differences"}
    return Provenance("differences of labels", inputs, settings, fingerprint.software())


@dataclass(frozen=True, slots=True)
class _Everywhere:
    """Labels, and a class where there are none."""

    labels: Mapped
    outside: int

    @property
    def path(self) -> Path:
        """Of the file."""
        return self.labels.path

    @property
    def grid(self) -> GeoBox:
        """What windows refer to."""
        return self.labels.grid

    def codes(self, window: Window) -> NDArray[np.int16]:
        """Codes of a window ``(y, x)``."""
        codes = self.labels.codes(window)
        if (codes == self.outside).any():
            raise InputError(f"{self.path}: outside: code {self.outside} is a class of it already")
        return np.where(codes < 0, np.int16(self.outside), codes)


def _with_outside(one: Side, other: Side, name: str) -> tuple[Side, Side]:
    """Both with a name for all codes, and one more class."""
    filled = []
    for side, names in ((one, one.names or other.names), (other, other.names or one.names)):
        numbers = {code: str(code) for code in range(_OUTSIDE)} if side.coded else {}
        filled.append(Side(side.label, {**numbers, **names, _OUTSIDE: name}, side.coded))
    return filled[0], filled[1]


def _first(one: Truth, other: Truth, image: Path | None, files: ExitStack) -> tuple[Mapped, Side]:
    """The first labels, on their grid or that of the image or of the other labels."""
    if not one.is_vector:
        raster = files.enter_context(closing(LabelRaster(one.path)))
        return raster, Side(str(one.path), raster.names)
    grid = image if image is not None else None if other.is_vector else other.path
    if grid is None:
        raise InputError("image: say on whose pixels two sets of polygons are to be compared")
    features = read_features(one.path, layer=one.layer, column=one.column)
    if features.kind != "polygons":
        raise InputError(f"{one.path}: has {features.kind}; compared are areas")
    side = Side(str(one.path), features.names, features.coded)
    return LabelPolygons(features, read_header(str(grid)).grid), side


def _own_classes(side: Side, theirs: Side, mapping: Mapping[str, str]) -> dict[str, str]:
    """A class that only one of them has is a class of its own, not an error."""
    known = {name.casefold() for name in side.names.values()}
    given = {key.removeprefix("truth:").casefold() for key in mapping}
    if not known or "*" in given:
        return dict(mapping)
    own = {
        name: name
        for code, name in theirs.names.items()
        if name.casefold() not in known | given and str(code) not in given
    }
    return own | dict(mapping)


@dataclass(frozen=True, slots=True)
class _Pairs:
    """A number for each pair of classes that differ, 0 where they do not or one is not known."""

    one: Labels
    other: Labels
    matching: Matching
    occurring: tuple[str, ...]

    def __call__(self, window: Window) -> NDArray[np.int16]:
        count = len(self.occurring)
        # The last entry is for pixels that are not judged (-1).
        place = np.full(len(self.matching.classes) + 1, -1, np.int32)
        place[[self.matching.classes.index(name) for name in self.occurring]] = range(count)
        a = place[self.matching.prediction.apply(self.one.codes(window))]
        b = place[self.matching.truth.apply(self.other.codes(window))]
        differ = (a >= 0) & (b >= 0) & (a != b)
        return np.where(differ, a * count + b + 1, 0).astype(np.int16)


def _write(
    path: Path, pairs: _Pairs, grid: GeoBox, workers: int | None, origin: Provenance
) -> tuple[int, float]:
    """Polygons of where they differ, with what either says; how many, and their area."""
    classes = pairs.occurring
    if len(classes) > _MOST_CLASSES:
        raise InputError(f"differences: {len(classes)} classes are too many to write pairs of")
    polygons = vectorize_windows(
        pairs, grid, nodata=0, wanted=Wanted(connectivity=4), threads=workers or available_cores()
    )
    area = 0.0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal area
        for batch in polygons:
            area += float(batch.column("area_m2").to_numpy().sum())
            yield _with_both(batch, classes)

    written = write_geopackage(
        path,
        {LAYER: batches()},
        grid_crs=grid,
        styles={},
        tags=origin.document(),
        titles={LAYER: "Where two label sets differ"},
    )
    return written[LAYER], area


def _with_both(batch: pa.RecordBatch, classes: Sequence[str]) -> pa.RecordBatch:
    """Polygons of pairs, with the class that either has instead of the pair's number."""
    numbers = batch.column("class_code").to_numpy() - 1
    one, other = np.divmod(numbers, len(classes))
    columns = {
        "geometry": batch.column("geometry"),
        "one": pa.array([classes[i] for i in one], pa.string()),
        "other": pa.array([classes[i] for i in other], pa.string()),
        "area_m2": batch.column("area_m2"),
        "pixels": batch.column("pixels"),
    }
    kept = {name: batch.schema.field(name) for name in ("geometry", "area_m2", "pixels")}
    fields = [kept.get(name, pa.field(name, pa.string())) for name in columns]
    return pa.RecordBatch.from_arrays(
        list(columns.values()), schema=pa.schema(fields, batch.schema.metadata)
    )
