"""Engines tried on real chips: how fast each is, and how far its classes agree with torch's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter, process_time

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import BlockError, ModelError
from geoseg.models.base import Batch, ModelCard, Segmenter
from geoseg.models.engines import Runtime
from geoseg.models.fields import At

AGREEMENT = 0.995
"""Share of pixels that must get the class that torch gives in fp32, where nobody says another."""

REFERENCE = Runtime()

ENOUGH = 2.0
"""An engine that agrees and is that many times as fast as torch ends the trial."""

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

    def gains(self, first: Trial, times: float) -> bool:
        """Whether it is so many times as fast as ``first``."""
        if self.seconds is None or first.seconds is None:
            return False
        return self.seconds * times <= first.seconds

    def __str__(self) -> str:
        if self.seconds is None or self.agreement is None:
            return f"{self.runtime}: cannot: {self.fault}"
        return f"{self.runtime}: {self.seconds:.3g} s a chip, {share(self.agreement)} agree"


Opening = Callable[[Runtime], Segmenter]
"""Loads the models of a run, to be computed so."""


def try_engines(
    opening: Opening,
    runtimes: Sequence[Runtime],
    chips: Batch,
    counted: NDArray[np.bool_],
    *,
    least: float | None = None,
    reference: Runtime = REFERENCE,
) -> tuple[Trial, ...]:
    """Try ``runtimes`` on ``chips``, one after the other; the reference comes first and always.

    Args:
        opening: Loads the models, for one thread a chip.
        runtimes: What to try.
        chips: Real ones of the scene.
        counted: ``(chip, y, x)``: the pixels whose classes are compared.
        least: The first that agrees so far, and gains enough, is the last that is tried; None:
            all are.
        reference: What the others are compared with.

    Raises:
        ModelError: The reference cannot.
    """
    wanted, seconds = _timed(opening(reference), chips)
    first = Trial(reference, seconds, 1.0)
    trials = [first]
    for runtime in runtimes:
        if runtime == reference:
            continue
        trials.append(_tried(opening, runtime, chips, counted, wanted))
        if least is not None and trials[-1].gains(first, ENOUGH) and trials[-1].agrees(least):
            break
    return tuple(trials)


def _tried(
    opening: Opening,
    runtime: Runtime,
    chips: Batch,
    counted: NDArray[np.bool_],
    wanted: NDArray[np.uint8],
) -> Trial:
    try:
        found, seconds = _timed(opening(runtime), chips)
    except (ModelError, BlockError) as error:
        return Trial(runtime, fault=str(error))
    same = (found == wanted)[counted]
    return Trial(runtime, seconds, float(same.mean()) if same.size else None)


def fastest(trials: Sequence[Trial], least: float) -> Trial:
    """The fastest of those that agree; torch in fp32, the first, unless another gains by it."""
    first = trials[0]
    good = [trial for trial in trials if trial.seconds is not None and trial.agrees(least)]
    best = min(good, key=lambda trial: trial.seconds or 0.0, default=first)
    return best if best.gains(first, _GAIN) else first


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
    """Classes of all chips, and the seconds of the quickest: the first one also warms up.

    On a CPU those of its own, which other work on the machine changes little; what a GPU does, the
    processor's clock does not see.
    """
    clock = process_time if segmenter.parallel else perf_counter
    index = np.empty(chips.valid.shape, np.uint8)
    quickest = float("inf")
    for number in (0, 0) if len(index) == 1 else range(len(index)):
        start = clock()
        index[number] = segmenter.classify(_one(chips, number))[0][0]
        quickest = min(quickest, clock() - start)
    return index, quickest


def _one(chips: Batch, number: int) -> Batch:
    part = slice(number, number + 1)
    return Batch(chips.values[part], chips.scale, chips.offset, chips.valid[part])
