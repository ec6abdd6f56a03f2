"""A bar on a terminal that tells of progress."""

from __future__ import annotations

from contextlib import suppress
from typing import IO

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
)
from rich.text import Text

from geoseg.run.pace import Pace, numbers_text, opening_text
from geoseg.run.reporter import BLOCKS


class _Numbers(ProgressColumn):
    """Drawn anew with each refresh, so that the time left goes on between blocks."""

    def render(self, task: Task) -> Text:
        return Text(numbers_text(task.fields["pace"]))


class Terminal:
    """A bar that moves, with lines above it. Implements :class:`Reporter`."""

    def __init__(self, stream: IO[str]) -> None:
        self._console = Console(file=stream, highlight=False, soft_wrap=True)
        self._progress = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            _Numbers(),
            console=self._console,
            refresh_per_second=5,
            redirect_stdout=False,
        )
        self._task: TaskID | None = None
        self._pace = Pace(blocks=0, pixels=0)

    def started(self, *, scenes: int, blocks: int, dashboard: str | None) -> None:
        """How much there is to do, and where to watch it."""
        self._print(opening_text(scenes, blocks, dashboard))

    def stage(
        self,
        name: str,
        *,
        blocks: int,
        pixels: int,
        done_blocks: int = 0,
        done_pixels: int = 0,
        unit: str = BLOCKS,
    ) -> None:
        """A new bar below those that ended."""
        self._pace = Pace(
            blocks=blocks,
            pixels=pixels,
            done_blocks=done_blocks,
            done_pixels=done_pixels,
            unit=unit,
        )
        with suppress(OSError, ValueError):
            self._progress.start()
            self._task = self._progress.add_task(name, total=1.0, pace=self._pace)
            self._progress.update(self._task, completed=self._pace.share)

    def figures(self, **numbers: float) -> None:
        """Beside the bar."""
        self._pace.figures.update(numbers)

    def advance(self, *, blocks: int, pixels: int) -> None:
        """The bar grows."""
        self._pace.advance(blocks=blocks, pixels=pixels)
        if self._task is not None:
            self._progress.update(self._task, completed=self._pace.share)

    def message(self, text: str) -> None:
        """Above the bar."""
        self._print(text)

    def warning(self, text: str) -> None:
        """Above the bar, yellow."""
        self._print(f"warning: {text}", style="yellow")

    def done(self, text: str) -> None:
        """The bars stay as they are, with a line below."""
        self.close()
        self._print(text, style="bold")

    def close(self) -> None:
        """Give the terminal its cursor back."""
        with suppress(OSError, ValueError):
            self._progress.stop()

    def _print(self, text: str, style: str | None = None) -> None:
        with suppress(OSError, ValueError):
            self._console.print(text, style=style, markup=False)
