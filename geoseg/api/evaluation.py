"""How good a map is: compared with a raster, polygons or points of the truth, block by block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from geoseg.api.scores import Evaluation
from geoseg.errors import InputError
from geoseg.grid import GeoBox, blocks
from geoseg.io.class_raster import check_no_picture
from geoseg.io.grids import pixel_sides
from geoseg.io.label_raster import ConfidenceRaster, LabelRaster
from geoseg.io.label_vectors import (
    SUFFIXES,
    Features,
    LabelPoints,
    LabelPolygons,
    read_features,
)
from geoseg.ops.accuracy import UNJUDGED, Confusion, score
from geoseg.ops.boundaries import BoundaryCounts, Tolerance, score_boundaries
from geoseg.ops.calibration import Reliability, calibrate
from geoseg.ops.matching import Matching, Side, match
from geoseg.run.reporter import Reporter
from geoseg.run.threads import each_block
from geoseg.steps.assess import AssessBlock, Assessed, Labels, rely
from geoseg.workflow.units import Length

BLOCK = 1024
TOLERANCE = "2 px"
FARTHEST = 1000
"""Pixels of tolerance at most: a block is read with that much around it."""


@dataclass(frozen=True, slots=True)
class Truth:
    """Where the truth is.

    Attributes:
        path: A raster, or a vector file with polygons or points.
        layer: Of a vector file that has several.
        column: Of a vector file: class names or codes.
    """

    path: Path
    layer: str | None = None
    column: str | None = None

    @property
    def is_vector(self) -> bool:
        """Whether it is not a raster."""
        return self.column is not None or self.path.suffix.lower() in SUFFIXES


def evaluate_map(
    prediction: Path,
    truth: Truth,
    *,
    confidence: Path | None,
    ignore: Sequence[str],
    tolerance: str,
    mapping: Mapping[str, str],
    reporter: Reporter,
    workers: int | None,
) -> Evaluation:
    """See :func:`geoseg.api.evaluate`."""
    with ExitStack() as files:
        labels = files.enter_context(closing(LabelRaster(prediction)))
        check_no_picture(prediction)
        sure = None
        if confidence is not None:
            sure = files.enter_context(closing(ConfidenceRaster(confidence, labels.grid)))
        reach = read_tolerance(tolerance, labels.grid)
        source: LabelRaster | Features
        if truth.is_vector:
            source = read_features(truth.path, layer=truth.layer, column=truth.column)
        else:
            source = files.enter_context(closing(LabelRaster(truth.path, labels.grid)))
        matching = match(
            Side(str(prediction), labels.names),
            Side(str(truth.path), source.names, source.coded),
            mapping=mapping,
            ignore=ignore,
        )
        comparison = Comparison(labels, matching, sure, reach, reporter, workers)
        found = comparison.with_source(source)
    if not found.confusion.pixels:
        raise InputError(
            f"{truth.path}: nowhere on {prediction} is there both a label and a prediction; "
            f"do they cover the same place?"
        )
    return found


def read_tolerance(text: str, grid: GeoBox) -> Tolerance:
    """A length like ``20 m`` or ``2 px`` on the ground of ``grid``.

    Raises:
        InputError: It is no length, or spans too many pixels.
    """
    sides = pixel_sides(grid)
    try:
        metres = Length.parse(text).metres(max(sides))
    except ValueError as error:
        raise InputError(f"tolerance: {error}") from error
    tolerance = Tolerance(metres, sides)
    if tolerance.halo > FARTHEST:
        raise InputError(
            f"tolerance: {text} spans {tolerance.halo - 1} pixels; at most {FARTHEST - 1} can be"
        )
    return tolerance


class Mapped(Labels, Protocol):
    """What is judged: classes on a grid, from a file."""

    @property
    def path(self) -> Path:
        """Of the file."""
        ...


@dataclass(frozen=True, slots=True)
class Comparison:
    """A map, how its classes are those of the truth, and how to go through it."""

    labels: Mapped
    matching: Matching
    confidence: ConfidenceRaster | None
    tolerance: Tolerance
    reporter: Reporter
    workers: int | None

    def with_source(self, truth: LabelRaster | Features) -> Evaluation:
        """Compare with whatever the truth is."""
        if isinstance(truth, LabelRaster):
            return self.with_labels(truth, truth.kind, {})
        return self.with_features(truth)

    def with_labels(self, truth: Mapped, kind: str, left_out: Mapping[str, int]) -> Evaluation:
        """Compare every pixel with labels that are on the same grid."""
        return self._evaluation(truth.path, kind, self._on_grid(truth), left_out)

    def with_features(self, truth: Features) -> Evaluation:
        """Compare with polygons or points."""
        left_out = {"unlabelled_features": truth.unlabelled}
        if truth.kind == "polygons":
            total = self._on_grid(LabelPolygons(truth, self.labels.grid))
        else:
            points = LabelPoints(truth, self.labels.grid)
            left_out["points_outside"] = points.outside
            total = self._at_points(points)
        return self._evaluation(truth.path, truth.kind, total, left_out)

    def _on_grid(self, truth: Labels) -> Assessed:
        """Compare every pixel."""
        work = AssessBlock(self.labels, truth, self.matching, self.tolerance, self.confidence)
        height, width = (int(n) for n in self.labels.grid.shape)
        total = Assessed.empty(len(self.matching.classes))
        for some in each_block(
            work,
            tuple(blocks((height, width), BLOCK)),
            name="evaluate",
            reporter=self.reporter,
            workers=self.workers,
        ):
            total += some
        return total

    def _at_points(self, points: LabelPoints) -> Assessed:
        """Compare pixels that points lie in, each point for itself."""
        classes = len(self.matching.classes)
        truth = self.matching.truth.apply(points.values)
        predicted = np.full(len(truth), UNJUDGED, np.int16)
        confidence = np.full(len(truth), np.nan)
        for window, which in points.blocks(BLOCK):
            rows, columns = (points.places[which] - (window.y0, window.x0)).T
            codes = self.labels.codes(window)[rows, columns]
            predicted[which] = self.matching.prediction.apply(codes)
            if self.confidence is not None:
                confidence[which] = self.confidence.shares(window)[rows, columns]
        return Assessed(
            Confusion.of(truth, predicted, classes),
            BoundaryCounts.empty(classes),
            rely(truth, predicted, confidence) if self.confidence else Reliability.empty(),
        )

    def _evaluation(
        self, truth: Path, kind: str, total: Assessed, left_out: Mapping[str, int]
    ) -> Evaluation:
        """Scores of the classes that occur."""
        occurring = np.flatnonzero(total.confusion.occurring)
        confusion = Confusion(
            total.confusion.counts[np.ix_(occurring, occurring)],
            total.confusion.unmapped[occurring],
        )
        edges = total.boundaries
        points = kind == "points"
        return Evaluation(
            self.labels.path,
            truth,
            kind,
            tuple(self.matching.classes[i] for i in occurring),
            confusion,
            score(confusion.counts),
            None if points else score_boundaries(edges.select(occurring)),
            None if points else self.tolerance.metres,
            calibrate(total.reliability) if self.confidence else None,
            left_out,
        )
