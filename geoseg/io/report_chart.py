"""Lines over time as the numbers of an SVG drawing, which templates draw: no library is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import floor, log10

WIDTH, HEIGHT = 760, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 14, 12, 34
_DASHES = ("", "7 4", "2 4", "10 3 2 3")
_TICKS = 5
_LEAST = 1e-9  # what is less than that is nothing
_DOTTED = 60  # with more points than that, a mark on each is clutter


@dataclass(frozen=True, slots=True)
class Line:
    """A line: its name, colour, dashes, and points ``"x,y x,y"`` in the drawing."""

    name: str
    color: str
    dash: str
    points: str
    marks: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing of lines.

    Attributes:
        words: What it shows, for those who do not see it.
        unit: Of the upright axis.
        lines: In the order in which they are drawn.
        across, upright: Ticks: where, and what stands there.
    """

    words: str
    unit: str
    lines: tuple[Line, ...]
    across: tuple[tuple[float, str], ...]
    upright: tuple[tuple[float, str], ...]
    box: tuple[int, int, int, int] = (_LEFT, _TOP, WIDTH - _RIGHT, HEIGHT - _BOTTOM)
    size: tuple[int, int] = (WIDTH, HEIGHT)


def lines_chart(
    days: Sequence[date],
    values: Mapping[str, Sequence[float]],
    colors: Mapping[str, str],
    unit: str,
) -> Chart | None:
    """Values by day, a line for each name; None where there are not two days.

    Args:
        days: ``(point,)``, increasing.
        values: ``(point,)`` by name, none below 0.
        colors: ``#rrggbb`` by name.
        unit: What the values are.
    """
    if len(set(days)) < 2:
        return None
    first, length = days[0], (days[-1] - days[0]).days
    highest = max((max(row) for row in values.values()), default=0.0)
    step = _step(highest if highest > _LEAST else 1.0)
    most = step * _TICKS
    xs = [_across((day - first).days / length) for day in days]

    def place(row: Sequence[float]) -> tuple[tuple[float, float], ...]:
        return tuple((x, _upright(value / most)) for x, value in zip(xs, row, strict=True))

    lines = tuple(
        Line(
            name,
            colors[name],
            _DASHES[number % len(_DASHES)],
            " ".join(f"{x},{y}" for x, y in place(row)),
            place(row) if len(days) <= _DOTTED else (),
        )
        for number, (name, row) in enumerate(values.items())
    )
    return Chart(
        words=f"{', '.join(values)} from {days[0]} to {days[-1]}; the numbers are in the table below.",
        unit=unit,
        lines=lines,
        across=tuple(
            (_across(k / 4), str(first + timedelta(days=round(length * k / 4)))) for k in range(5)
        ),
        upright=tuple((_upright(k / _TICKS), f"{step * k:,.6g}") for k in range(_TICKS + 1)),
    )


def _across(share: float) -> float:
    return round(_LEFT + share * (WIDTH - _LEFT - _RIGHT), 1)


def _upright(share: float) -> float:
    return round(HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM), 1)


def _step(most: float) -> float:
    """What lies between two ticks, so that ``most`` still fits: 1, 2, 2.5 or 5 times ten to n."""
    power = 10.0 ** floor(log10(most / _TICKS))
    return next(power * n for n in (1, 2, 2.5, 5, 10) if power * n * _TICKS >= most * 0.999)
