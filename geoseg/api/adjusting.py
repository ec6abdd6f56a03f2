"""Areas and accuracies of a map, adjusted by a sample that somebody has looked at."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.api.evaluation import Truth
from geoseg.api.scores import plain
from geoseg.api.strata import BLOCK, Strata, count_strata
from geoseg.errors import InputError
from geoseg.io.label_raster import LabelRaster
from geoseg.io.label_vectors import Features, LabelPoints, read_features
from geoseg.io.sample_points import REFERENCE, STRATUM
from geoseg.ops.area_estimation import AreaEstimates, Estimate, deviate, estimate_areas
from geoseg.ops.matching import Side
from geoseg.ops.metric import measure_grid
from geoseg.run.reporter import Reporter

_HECTARE = 1e4


@dataclass(frozen=True, slots=True, eq=False)
class AdjustedAreas:
    """What a sample says of a map; arrays are by class.

    Attributes:
        classes: Names of what is mapped or was found in the sample.
        sample: ``(mapped class, true class)`` points.
        estimates: Areas are in square metres.
        confidence: Of the intervals, e.g. 0.95.
        unlabelled: Points that nobody has filled in.
    """

    raster: Path
    points: Path
    classes: tuple[str, ...]
    sample: NDArray[np.int64]
    estimates: AreaEstimates
    confidence: float
    unlabelled: int

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON can say it; null where the sample cannot tell."""
        e = self.estimates
        return {
            "raster": str(self.raster),
            "points": str(self.points),
            "points_used": int(self.sample.sum()),
            "points_without_reference": self.unlabelled,
            "confidence": self.confidence,
            "overall_accuracy": self._interval(e.overall),
            "classes": [
                {
                    "name": name,
                    "points": int(self.sample[i].sum()),
                    "mapped_area_ha": float(e.mapped[i]) / _HECTARE,
                    "area_ha": self._interval(e.areas, i, _HECTARE),
                    "users_accuracy": self._interval(e.users, i),
                    "producers_accuracy": self._interval(e.producers, i),
                }
                for i, name in enumerate(self.classes)
            ],
            "sample": {"rows": "map", "columns": "reference", "counts": self.sample.tolist()},
            "proportions": e.proportions.tolist(),
        }

    def _interval(self, estimate: Estimate, at: int | tuple[()] = (), unit: float = 1.0) -> Any:
        return {
            "value": plain(float(estimate.value[at]) / unit),
            "standard_error": plain(float(estimate.error[at]) / unit),
            "plus_minus": plain(float(estimate.interval(self.confidence)[at]) / unit),
        }


def adjust_areas(
    points: Truth,
    raster: Path,
    *,
    ignore: Sequence[str],
    confidence: float,
    reporter: Reporter,
) -> AdjustedAreas:
    """See :func:`geoseg.api.estimate_areas`."""
    deviate(confidence)
    column = points.column or REFERENCE
    features = read_features(points.path, layer=points.layer, column=column, beside=(STRATUM,))
    if features.kind != "points":
        raise InputError(f"{points.path}: has {features.kind}; a sample is points")
    with closing(LabelRaster(raster)) as labels:
        strata = count_strata(labels, measure_grid(labels.grid), ignore, reporter)
        mapped, true = _pairs(features, labels, strata)
    if not len(mapped):
        raise InputError(f"{points.path}: no point lies in a class of {raster} that is kept")
    codes = (*strata.codes, *sorted(set(true.tolist()) - set(strata.codes)))
    names = tuple(labels.names.get(code, str(code)) for code in codes)
    index = {code: i for i, code in enumerate(codes)}
    sample = np.zeros((len(codes), len(codes)), np.int64)
    np.add.at(sample, ([index[c] for c in mapped], [index[c] for c in true]), 1)
    extra = len(codes) - len(strata.codes)
    census = sample.sum(axis=1) == np.pad(strata.pixels, (0, extra))
    _check(points.path, names[: len(strata.codes)], sample, census, strata)
    estimates = estimate_areas(sample, np.pad(strata.areas, (0, extra)), census)
    return AdjustedAreas(
        raster, points.path, names, sample, estimates, confidence, features.unlabelled
    )


def _pairs(
    features: Features, labels: LabelRaster, strata: Strata
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Mapped and true code of each point; those in classes that are left out are dropped."""
    places = LabelPoints(features, labels.grid)
    if places.outside:
        raise InputError(
            f"{features.path}: {places.outside} points lie beside {labels.path}; was the sample "
            f"drawn from another raster?"
        )
    mapped = np.full(len(places.values), -1, np.int16)
    for window, which in places.blocks(BLOCK):
        rows, columns = (places.places[which] - (window.y0, window.x0)).T
        mapped[which] = labels.codes(window)[rows, columns]
    stated = features.beside.get(STRATUM)
    if stated is not None:
        _compare(features.path, labels, mapped, stated[places.numbers])
    side = Side(str(labels.path), labels.names)
    codes = {code: side.find(name, "reference") for code, name in features.names.items()}
    true = np.array([codes.get(int(c), int(c)) for c in places.values], np.int16)
    kept = np.isin(mapped, strata.codes)
    return mapped[kept], true[kept]


def _compare(
    path: Path, labels: LabelRaster, mapped: NDArray[np.int16], stated: NDArray[Any]
) -> None:
    """A sample says nothing of a raster that it was not drawn from."""
    differ = mapped != stated
    if differ.any():
        has = int(mapped[differ][0])
        raise InputError(
            f"{path}: {int(differ.sum())} of {len(mapped)} points are not of the class that "
            f"{labels.path} has there (first: stratum {stated[differ][0]}, raster "
            f"{'without a class' if has < 0 else has}); was the sample drawn from another raster?"
        )


def _check(
    path: Path,
    names: Sequence[str],
    sample: NDArray[np.int64],
    census: NDArray[np.bool_],
    strata: Strata,
) -> None:
    for i, name in enumerate(names):
        count = int(sample[i].sum())
        if count < 2 and not census[i]:
            raise InputError(
                f"{path}: class {name!r} covers {strata.weights[i]:.2%} of the map but has "
                f"{count} points with a reference; a standard error takes at least 2 "
                f"(or leave the class out with ignore)"
            )
