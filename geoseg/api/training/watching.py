"""Tells a reporter of a training, and ends it when it is asked to."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from geoseg.models.training.base import Look
from geoseg.run.base import Stop
from geoseg.run.reporter import Reporter
from geoseg.run.stopping import StopRequest

STOPPED = "stopped; the same command goes on from here"


@dataclass(slots=True)
class Watching:
    """Implements :class:`geoseg.models.training.base.Watcher` and ``Narrator``.

    Attributes:
        reporter: Is told.
        steps: Of the whole training.
        stop: Whether to end.
        request: By which signal.
        looks: What was seen in this session.
    """

    reporter: Reporter
    steps: int
    stop: Stop
    request: StopRequest
    looks: list[Look] = field(default_factory=list)
    _begun: bool = False
    _loss: float = math.nan

    def step(self, done: int, of: int, loss: float) -> None:
        """A step is done; the bar begins with the first, which may not be number one.

        Raises:
            StoppedError: A signal came.
        """
        if not self._begun:
            self._begun = True
            self.reporter.stage(
                "train", blocks=of, pixels=of, done_blocks=done - 1, done_pixels=done - 1,
                unit="steps",
            )  # fmt: skip
        # The mean over the last steps: single batches say little.
        self._loss = loss if math.isnan(self._loss) else 0.95 * self._loss + 0.05 * loss
        self.reporter.figures(loss=round(self._loss, 4))
        self.reporter.advance(blocks=1, pixels=1)
        if self.stop.asked:
            raise self.request.error(STOPPED)

    def looked(self, look: Look) -> None:
        """What is held out was looked at."""
        self.looks.append(look)
        if look.held_out is not None:
            score = look.held_out["mean_iou"]
            if score is not None:
                self.reporter.figures(mean_IoU=score)
                self.reporter.message(
                    f"step {look.step}: loss {look.loss:.4f}, validation mean IoU {score:.4f}"
                )

    def note(self, text: str) -> None:
        """What a user should know."""
        self.reporter.message(text)
