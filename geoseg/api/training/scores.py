"""How a trained network does on a part of the ground, set by set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from geoseg.models.base import ModelCard
from geoseg.ops.accuracy import Confusion, Scores, score
from geoseg.ops.calibration import Calibration, calibrate


@dataclass(frozen=True, slots=True, eq=False)
class PartScores:
    """How a part of the ground was judged, and with which temperature.

    Attributes:
        sets: What :func:`geoseg.models.training.judge.judge` said, by name of the set.
        temperature: That scores are divided by.
    """

    sets: Mapping[str, Any]
    temperature: float

    @property
    def confusion(self) -> Confusion:
        """Of all sets together."""
        found: Confusion = reduce(add, (judged.confusion for judged in self.sets.values()))
        return found

    @property
    def calibrations(self) -> tuple[Calibration, Calibration]:
        """Without temperature, and with it."""
        plain = reduce(add, (judged.reliability for judged in self.sets.values()))
        after = reduce(add, (judged.calibrated for judged in self.sets.values()))
        return calibrate(plain), calibrate(after)

    @property
    def before(self) -> float | None:
        """Expected calibration error without temperature."""
        return number(self.calibrations[0].error)

    @property
    def after(self) -> float | None:
        """Expected calibration error with it."""
        return number(self.calibrations[1].error)

    @property
    def loss(self) -> float | None:
        """Mean negative log-likelihood without temperature."""
        pixels = [judged.confusion.pixels for judged in self.sets.values()]
        losses = [judged.loss for judged in self.sets.values()]
        return number(float(np.average(losses, weights=pixels)))

    def summary(self, card: ModelCard) -> dict[str, Any]:
        """What the card says of it."""
        counts = self.confusion
        found = score(counts.counts)
        return {
            "mean_iou": number(found.mean_iou),
            "overall_accuracy": number(found.accuracy),
            "iou": _by_class(card, found, "iou"),
            "loss": self.loss,
            "pixels": counts.pixels,
        }

    def by_set(self, card: ModelCard) -> dict[str, dict[str, Any]]:
        """The same of each set, where there are several."""
        if len(self.sets) == 1:
            return {}
        return {
            name: {**judged.summary(card), "pixels": judged.confusion.pixels}
            for name, judged in self.sets.items()
        }

    def as_dict(self, card: ModelCard) -> dict[str, Any]:
        """All of it, for programs."""
        counts = self.confusion.counts
        found = score(counts)
        columns = {key: _by_class(card, found, key) for key in ("iou", "f1", "precision", "recall")}
        rows = {
            name: {"pixels": int(counts[i].sum())} | {key: c[name] for key, c in columns.items()}
            for i, name in enumerate(card.legend.names)
        }
        return {
            **self.summary(card),
            "mean_f1": number(found.mean_f1),
            "kappa": number(found.kappa),
            "calibration_error_before": self.before,
            "calibration_error_after": self.after,
            "classes": rows,
            "sets": self.by_set(card),
            "confusion": {"rows": "truth", "columns": "prediction", "counts": counts.tolist()},
        }


def _by_class(card: ModelCard, found: Scores, key: str) -> dict[str, float | None]:
    values = getattr(found, key)
    return {name: number(value) for name, value in zip(card.legend.names, values, strict=True)}


def number(value: float) -> float | None:
    """As JSON can say it."""
    return round(float(value), 6) if np.isfinite(value) else None
