"""What an evaluation found, for people and programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.ops.accuracy import Confusion, Scores
from geoseg.ops.boundaries import BoundaryScores
from geoseg.ops.calibration import Calibration


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """How a map agrees with the truth.

    Arrays are by class, in the order of ``classes``: those that occur in the truth or the map.

    Attributes:
        kind: Of the truth: ``raster``, ``polygons`` or ``points``.
        classes: Names.
        confusion: Pixels (or points) by true and mapped class; and those not mapped.
        scores: What follows from them.
        boundaries: Boundary F1; None for points.
        tolerance: Of boundaries, in metres.
        calibration: None where no confidence was given.
        left_out: Points beside the map, and features without a label.
    """

    prediction: Path
    truth: Path
    kind: str
    classes: tuple[str, ...]
    confusion: Confusion
    scores: Scores
    boundaries: BoundaryScores | None
    tolerance: float | None
    calibration: Calibration | None
    left_out: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON can say it; null where there is nothing to divide by."""
        edges, sure = self.boundaries, self.calibration
        return {
            "prediction": str(self.prediction),
            "truth": str(self.truth),
            "kind": self.kind,
            "pixels": self.confusion.pixels,
            "unmapped": int(self.confusion.unmapped.sum()),
            **self.left_out,
            "accuracy": plain(self.scores.accuracy),
            "kappa": plain(self.scores.kappa),
            "mean_iou": plain(self.scores.mean_iou),
            "weighted_iou": plain(self.scores.weighted_iou),
            "mean_f1": plain(self.scores.mean_f1),
            "mean_boundary_f1": None if edges is None else plain(edges.mean_f1),
            "boundary_tolerance_m": self.tolerance,
            "expected_calibration_error": None if sure is None else plain(sure.error),
            "classes": [self._class(i) for i in range(len(self.classes))],
            "confusion": {
                "rows": "truth",
                "columns": "prediction",
                "counts": self.confusion.counts.tolist(),
                "unmapped": self.confusion.unmapped.tolist(),
            },
            "calibration": None if sure is None else _bins(sure),
        }

    def _class(self, i: int) -> dict[str, Any]:
        counts, scores, edges = self.confusion.counts, self.scores, self.boundaries
        row: dict[str, Any] = {
            "name": self.classes[i],
            "true_pixels": int(counts[i].sum()),
            "mapped_pixels": int(counts[:, i].sum()),
        }
        for name in ("iou", "f1", "precision", "recall"):
            row[name] = plain(getattr(scores, name)[i])
        for name in ("f1", "precision", "recall"):
            row[f"boundary_{name}"] = None if edges is None else plain(getattr(edges, name)[i])
        return row


def plain(value: float | np.floating[Any]) -> float | None:
    """A number as JSON knows it."""
    return float(value) if isfinite(value) else None


def _bins(sure: Calibration) -> dict[str, Any]:
    return {
        "largest_error": plain(sure.largest),
        "bins": [
            {
                "above": round(float(sure.edges[i]), 12),
                "to": round(float(sure.edges[i + 1]), 12),
                "pixels": int(sure.count[i]),
                "confidence": plain(sure.confidence[i]),
                "accuracy": plain(sure.accuracy[i]),
            }
            for i in range(len(sure.count))
        ],
    }
