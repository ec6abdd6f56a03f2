"""How much of a risk a plot is: one declared rule, from what was seen on it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

MAX_GAP: Final = 90
"""Days after the cut-off by which a layer must begin for what it does not show to mean anything."""


class Risk(IntEnum):
    """What is said of a plot; the numbers are those in products."""

    NONE = 0
    LOW = 1
    HIGH = 2
    UNKNOWN = 3

    @property
    def words(self) -> str:
        """What a person reads."""
        return ("none", "low", "high", "cannot be told")[self]


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen on a plot.

    Attributes:
        plot_ha: How large it is.
        observed: Share 0..1 of it where some layer would have shown a loss, that begins at most
            :data:`MAX_GAP` days after the cut-off and ends after it.
        loss_ha: Loss of forest since the cut-off.
        confirmed_ha: The part of it that its source has confirmed.
        undated_ha: Loss that may have been before the cut-off or after it, or that may not have
            been of forest.
    """

    plot_ha: float
    observed: float
    loss_ha: float
    confirmed_ha: float
    undated_ha: float


@dataclass(frozen=True, slots=True)
class RiskRule:
    """When a plot is a risk.

    Attributes:
        trace_ha: Less loss than that is none: 0.01 ha is one pixel of 10 m.
        high_ha: Confirmed loss of that much is a high risk: 0.2 ha is the smallest alert of RADD.
        high_share: So is confirmed loss on that share 0..1 of a plot, however small it is.
        min_observed: Where less of a plot than this share was observed, little loss says nothing.
    """

    trace_ha: float = 0.01
    high_ha: float = 0.2
    high_share: float = 0.1
    min_observed: float = 0.95

    def judge(self, seen: Seen | None) -> Risk:
        """The risk of a plot; None is one that could not be looked at.

        High wins over "cannot be told", as what was seen is enough; all else needs that the plot
        was observed and that its loss has a date.
        """
        if seen is None or seen.plot_ha <= 0:
            return Risk.UNKNOWN
        confirmed = seen.confirmed_ha
        if confirmed >= self.trace_ha and (
            confirmed >= self.high_ha or confirmed >= self.high_share * seen.plot_ha
        ):
            return Risk.HIGH
        if seen.observed < self.min_observed or seen.undated_ha >= self.trace_ha:
            return Risk.UNKNOWN
        return Risk.LOW if seen.loss_ha >= self.trace_ha else Risk.NONE

    def sentences(self) -> tuple[str, ...]:
        """The rule in words, the strongest first."""
        high = f"at least {self.high_ha:g} ha, or on at least {self.high_share:.0%} of the plot"
        unseen = f"less than {self.min_observed:.0%} of the plot was observed"
        undated = f"at least {self.trace_ha:g} ha may be older than the cut-off or not of forest"
        observed = (
            "where a layer would have shown a loss; not by layers that end before the cut-off, or "
            f"begin more than {MAX_GAP} days after it"
        )
        return (
            f"high: confirmed loss since the cut-off of {high} (and {self.trace_ha:g} ha)",
            f"cannot be told: otherwise, where the plot has no usable outline, {unseen}, or {undated}",
            f"low: otherwise, loss since the cut-off of at least {self.trace_ha:g} ha",
            "none: otherwise",
            f"observed: {observed}",
        )
