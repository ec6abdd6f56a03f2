"""How fast a stage goes, and when it will end."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping

from geoseg.run.reporter import BLOCKS

SPAN_SECONDS = 60.0
"""The speed is that of the last minute: a slow start is soon forgotten."""

MOST_MARKS = 256


class Pace:
    """Counts the blocks and pixels of one stage against ``clock`` (seconds).

    Attributes:
        blocks, pixels: Totals of the stage.
        done_blocks, done_pixels: What is done of them, with what was there before.
        unit: What blocks are.
        figures: How it goes, besides how far it is.
    """

    def __init__(
        self,
        *,
        blocks: int,
        pixels: int,
        done_blocks: int = 0,
        done_pixels: int = 0,
        unit: str = "blocks",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.blocks, self.pixels = blocks, pixels
        self.done_blocks, self.done_pixels = done_blocks, done_pixels
        self.unit = unit
        self.figures: dict[str, float] = {}
        self._clock = clock
        self._begun, self._before = clock(), done_pixels
        self._marks: deque[tuple[float, int]] = deque([(self._begun, done_pixels)], MOST_MARKS)

    def advance(self, *, blocks: int, pixels: int) -> None:
        """So many more are done."""
        self.done_blocks += blocks
        self.done_pixels += pixels
        now = self._clock()
        self._marks.append((now, self.done_pixels))
        while len(self._marks) > 2 and now - self._marks[1][0] > SPAN_SECONDS:
            self._marks.popleft()

    @property
    def ended(self) -> bool:
        """Whether all blocks are done."""
        return self.done_blocks >= self.blocks

    @property
    def seconds(self) -> float:
        """Since the stage began, until now or its end."""
        return (self._marks[-1][0] if self.ended else self._clock()) - self._begun

    @property
    def share(self) -> float:
        """Done of all, 0..1, by pixels where there are any."""
        if self.pixels:
            return min(1.0, self.done_pixels / self.pixels)
        return min(1.0, self.done_blocks / self.blocks) if self.blocks else 1.0

    @property
    def speed(self) -> float | None:
        """Pixels per second: of late, and of all when it has ended; None before a first block."""
        since, then = (self._begun, self._before) if self.ended else self._marks[0]
        last, now = self._marks[-1]
        passed = (last if self.ended else self._clock()) - since
        return (now - then) / passed if now > then and passed > 0 else None

    @property
    def left(self) -> float | None:
        """Seconds to go, if the speed stays; None while it is unknown."""
        speed = self.speed
        return max(0, self.pixels - self.done_pixels) / speed if speed else None


def figures_text(figures: Mapping[str, float]) -> str:
    """``loss 0.412  mean IoU 0.63``."""
    return "  ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in figures.items())


def clock_text(seconds: float) -> str:
    """``75`` as ``1:15``, ``3700`` as ``1:01:40``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def opening_text(scenes: int, blocks: int, dashboard: str | None) -> str:
    """How much there is to do, and where to watch it."""
    watch = f", dashboard at {dashboard}" if dashboard else ""
    return f"{scenes} scene{'s' * (scenes != 1)}, {blocks} block{'s' * (blocks != 1)}{watch}"


def numbers_text(pace: Pace) -> str:
    """``12/40 blocks  3.1 Mpx/s  1:15 left``; at the end the time it took."""
    text = f"{pace.done_blocks}/{pace.blocks} {pace.unit}"
    speed, left = pace.speed, pace.left
    if speed is not None:
        fast = f"{speed / 1e6:.1f} Mpx/s" if pace.unit == BLOCKS else f"{speed:.1f} {pace.unit}/s"
        text += f"  {fast}"
    if pace.figures:
        text += f"  {figures_text(pace.figures)}"
    if pace.ended:
        return f"{text}  in {clock_text(pace.seconds)}"
    return text if left is None else f"{text}  {clock_text(left)} left"
