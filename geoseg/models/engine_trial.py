"""Engines tried on real chips: how fast each is, and how far its classes agree with torch's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import BlockError, ModelError
from geoseg.models.base import Batch, ModelCard, Segmenter
from geoseg.models.committee import Committee
from geoseg.models.engines import Runtime
from geoseg.models.fields import At

AGREEMENT = 0.995
"""Share of pixels that must get the class that torch gives in fp32, where nobody says another."""

REFERENCE = Runtime()

_GAIN = 1.05
"""An engine must be that many times as fast as torch to be taken instead of it."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one engine.

    Attributes:
        runtime: Which.
        seconds: For one chip on one thread; None where it cannot.
        agreement: Share of the compared pixels with the class of torch in fp32.
        fault: Why it cannot.
    """

    runtime: Runtime
    seconds: float | None = None
    agreement: float | None = None
    fault: str = ""

    def agrees(self, least: float) -> bool:
        """Whether it can, and gives the classes of torch often enough."""
        return self.agreement is not None and self.agreement >= least

    def __str__(self) -> str:
        if self.seconds is None or self.agreement is None:
            return f"{self.runtime}: cannot: {self.fault}"
        return f"{self.runtime}: {self.seconds:.3g} s a chip, {share(self.agreement)} agree"


def try_engines(
    committee: Committee,
    runtimes: Sequence[Runtime],
    chips: Batch,
    counted: NDArray[np.bool_],
    *,
    device: str = "auto",
) -> tuple[Trial, ...]:
    """Try ``runtimes`` on ``chips``, each on one thread; torch in fp32 comes first and always.

    Args:
        committee: The models, and the views of each chip.
        runtimes: What to try.
        chips: Real ones of the scene.
        counted: ``(chip, y, x)``: the pixels whose classes are compared.
        device: As in :func:`geoseg.models.registry.open_segmenter`.

    Raises:
        ModelError: Torch cannot.
    """
    reference = committee.open(device=device, threads=1)
    wanted, seconds = _timed(reference, chips)
    trials = [Trial(REFERENCE, seconds, 1.0)]
    for runtime in runtimes:
        if runtime == REFERENCE:
            continue
        try:
            engine = committee.open(
                device=device, precision=runtime.precision, threads=1, engine=runtime.engine
            )
            found, seconds = _timed(engine, chips)
        except (ModelError, BlockError) as error:
            trials.append(Trial(runtime, fault=str(error)))
            continue
        same = (found == wanted)[counted]
        trials.append(Trial(runtime, seconds, float(same.mean()) if same.size else None))
    return tuple(trials)


def fastest(trials: Sequence[Trial], least: float) -> Trial:
    """The fastest of those that agree; torch in fp32, the first, unless another gains by it."""
    first = trials[0]
    good = [trial for trial in trials if trial.seconds is not None and trial.agrees(least)]
    best = min(good, key=lambda trial: trial.seconds or 0.0, default=first)
    if first.seconds is None or best.seconds is None or best.seconds * _GAIN > first.seconds:
        return first
    return best


def allowance(cards: Sequence[ModelCard], asked: float | None = None) -> float:
    """The least agreement: as asked, else the strictest of what the cards' ``agreement`` say.

    Raises:
        ModelError: A card's is no share.
    """
    if asked is not None:
        return asked
    said = []
    for card in cards:
        found = card.about.get("agreement", AGREEMENT)
        fits = isinstance(found, int | float) and 0 < found <= 1
        At(f"model {card.name!r}: about", "", None).demand(
            fits, "agreement", found, "a share above 0, at most 1"
        )
        said.append(float(found))
    return max(said)


def share(agreement: float) -> str:
    """As percent, with the digits that tell good from perfect; never rounded up."""
    return f"{np.floor(agreement * 1e5) / 1e3:.3f} %"


def _timed(segmenter: Segmenter, chips: Batch) -> tuple[NDArray[np.uint8], float]:
    """Classes of all chips, and the seconds of the quickest: the first one also warms up."""
    index = np.empty(chips.valid.shape, np.uint8)
    quickest = float("inf")
    for number in (0, 0) if len(index) == 1 else range(len(index)):
        start = perf_counter()
        index[number] = segmenter.classify(_one(chips, number))[0][0]
        quickest = min(quickest, perf_counter() - start)
    return index, quickest


def _one(chips: Batch, number: int) -> Batch:
    part = slice(number, number + 1)
    return Batch(chips.values[part], chips.scale, chips.offset, chips.valid[part])
