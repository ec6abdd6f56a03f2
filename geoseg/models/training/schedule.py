"""How the learning rate goes: up in a line, then down along a cosine."""

from __future__ import annotations

import math

from geoseg.models.training.base import TrainingSettings


def learning_rate(settings: TrainingSettings, step: int) -> float:
    """Of the step ``step`` (0 is the first): a function of its number alone.

    It grows over the first ``warmup`` of all steps, is the highest at the end of that, and falls
    along half a cosine towards 0, which it would reach one step after the last (Loshchilov & Hutter
    2017, arXiv:1608.03983).
    """
    rising = round(settings.warmup * settings.steps)
    if step < rising:
        return settings.learning_rate * (step + 1) / rising
    done = (step - rising) / max(1, settings.steps - rising)
    return settings.learning_rate * (1 + math.cos(math.pi * min(1.0, done))) / 2
