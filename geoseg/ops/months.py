"""Months of the calendar, and spans of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A month of the calendar; ``month`` is 1 to 12."""

    year: int
    month: int

    @property
    def index(self) -> int:
        """Months since the year 0."""
        return 12 * self.year + self.month - 1

    @classmethod
    def at(cls, index: int) -> Month:
        """The month of that index."""
        return cls(index // 12, index % 12 + 1)

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"


@dataclass(frozen=True, slots=True)
class Span:
    """From a month to another, both with it; empty where ``last`` comes before ``first``."""

    first: Month
    last: Month

    def __str__(self) -> str:
        return f"{self.first}..{self.last}"


def years_between(first: Span, last: Span) -> list[Span]:
    """The months between two spans, a part for each year of the calendar."""
    start, end = Month.at(first.last.index + 1), Month.at(last.first.index - 1)
    return [
        Span(max(start, Month(year, 1)), min(end, Month(year, 12)))
        for year in range(start.year, end.year + 1)
        if start <= end
    ]


def halves(span: Span) -> tuple[Span, Span] | None:
    """The first and the last half of the calendar years; the one in the middle is in neither.

    None where there is one year only: half a year says nothing of seasons.
    """
    years = span.last.year - span.first.year + 1
    if years < 2:
        return None
    half = years // 2
    first = Span(span.first, Month(span.first.year + half - 1, 12))
    return first, Span(Month(span.last.year - half + 1, 1), span.last)
