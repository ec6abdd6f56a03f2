"""A look at a scene's numbers before it is mapped, beside those that the models were trained on."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import Any

from geoseg.api.planning import SceneTask
from geoseg.errors import RemoteError, SceneError
from geoseg.io.environment import is_remote
from geoseg.io.opening import open_pixels
from geoseg.models.base import ModelCard
from geoseg.models.committee import Committee
from geoseg.models.plausible import doubt_numbers
from geoseg.ops.spread import Spread
from geoseg.run.patience import LateError, in_time
from geoseg.steps.look import look

_WINDOWS = 12
_REMOTE_WINDOWS = 4  # each costs a request a band

Numbers = dict[str, dict[str, float]]


def look_at(task: SceneTask, committee: Committee, patience: float) -> tuple[Numbers, list[str]]:
    """How the numbers of each band are spread, and warnings where they are not a model's.

    Empty where nothing is valid in the few windows that are read, or where they cannot be read
    from here, or not within ``patience`` seconds: the workers say what is wrong with files.
    """
    plan = task.plan
    bands = plan.card.bands
    windows = _REMOTE_WINDOWS if any(map(is_remote, plan.scene.sources)) else _WINDOWS

    def seen() -> tuple[Spread, ...] | None:
        with closing(open_pixels(plan.scene)) as pixels:
            return look(pixels, bands, plan.blocks, windows=windows)

    try:
        found = in_time(patience, seen)
    except (SceneError, RemoteError, LateError):
        found = None
    if found is None:
        return {}, []
    by_band = dict(zip(bands, found, strict=True))
    doubts: dict[str, None] = {}
    for card in _different([member.card for member in committee.members]):
        spreads = [by_band[band] for band in card.bands]
        doubts |= dict.fromkeys(doubt_numbers(card, spreads, scene=plan.scene.id))
    numbers = {
        band: {key: float(f"{value:.6g}") for key, value in asdict(spread).items()}
        for band, spread in by_band.items()
    }
    return numbers, list(doubts)


def _different(cards: list[ModelCard]) -> list[ModelCard]:
    """Cards that were trained on other numbers; of equals the first."""
    found: dict[Any, ModelCard] = {}
    for card in cards:
        found.setdefault((card.bands, card.units, card.mean, card.std, card.scaling), card)
    return list(found.values())
