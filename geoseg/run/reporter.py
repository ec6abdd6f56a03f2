"""What a run tells while it goes on, and to whom: the protocol, and fan-out to several."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

BLOCKS = "blocks"
"""What a stage is made of, if it is not said otherwise."""

_RETOLD = {
    "Restarting worker": "a worker process died; another one takes its place",
    "% memory budget": "a worker process took more than its memory limit",
}


class Reporter(Protocol):
    """Listens to a run. All methods return at once and never raise."""

    def started(self, *, scenes: int, blocks: int, dashboard: str | None) -> None:
        """A run begins; called once."""
        ...

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
        """A stage begins; ``done_*`` of it were there before.

        Where its blocks have no pixels (``unit`` says what they are, like ``steps``), ``pixels``
        are as many as blocks.
        """
        ...

    def figures(self, **numbers: float) -> None:
        """How the stage goes, besides how far it is: a loss, a score."""
        ...

    def advance(self, *, blocks: int, pixels: int) -> None:
        """So many more blocks and pixels of the stage are done."""
        ...

    def message(self, text: str) -> None:
        """Something worth a line."""
        ...

    def warning(self, text: str) -> None:
        """Something that the user should look at."""
        ...

    def done(self, text: str) -> None:
        """The run has ended, well or not; called once."""
        ...

    def close(self) -> None:
        """Let go of the terminal or file; may be called twice."""
        ...


class Silent:
    """Tells nobody. Implements :class:`Reporter`."""

    def started(self, *, scenes: int, blocks: int, dashboard: str | None) -> None:
        """Nothing."""

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
        """Nothing."""

    def figures(self, **numbers: float) -> None:
        """Nothing."""

    def advance(self, *, blocks: int, pixels: int) -> None:
        """Nothing."""

    def message(self, text: str) -> None:
        """Nothing."""

    def warning(self, text: str) -> None:
        """Nothing."""

    def done(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Several:
    """Tells all of ``reporters``. Implements :class:`Reporter`."""

    def __init__(self, reporters: Sequence[Reporter]) -> None:
        self._reporters = tuple(reporters)

    def all(self) -> tuple[Reporter, ...]:
        """Who is told."""
        return self._reporters

    def started(self, *, scenes: int, blocks: int, dashboard: str | None) -> None:
        """To all."""
        for r in self._reporters:
            r.started(scenes=scenes, blocks=blocks, dashboard=dashboard)

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
        """To all."""
        for r in self._reporters:
            r.stage(
                name,
                blocks=blocks,
                pixels=pixels,
                done_blocks=done_blocks,
                done_pixels=done_pixels,
                unit=unit,
            )

    def figures(self, **numbers: float) -> None:
        """To all."""
        for r in self._reporters:
            r.figures(**numbers)

    def advance(self, *, blocks: int, pixels: int) -> None:
        """To all."""
        for r in self._reporters:
            r.advance(blocks=blocks, pixels=pixels)

    def message(self, text: str) -> None:
        """To all."""
        for r in self._reporters:
            r.message(text)

    def warning(self, text: str) -> None:
        """To all."""
        for r in self._reporters:
            r.warning(text)

    def done(self, text: str) -> None:
        """To all."""
        for r in self._reporters:
            r.done(text)

    def close(self) -> None:
        """To all."""
        for r in self._reporters:
            r.close()


class _ToReporter(logging.Handler):
    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.WARNING)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage().strip()
        told = next((new for old, new in _RETOLD.items() if old in text), text)
        self._reporter.warning(told)


@contextmanager
def logs_to(reporter: Reporter, name: str = "distributed") -> Iterator[None]:
    """Warnings of the logger ``name`` go to ``reporter``, not into the middle of its bar.

    Where they go to one already, they stay with it: of several scenes at once none has them alone.
    """
    logger = logging.getLogger(name)
    if any(isinstance(handler, _ToReporter) for handler in logger.handlers):
        yield
        return
    before, propagate = logger.handlers[:], logger.propagate
    logger.handlers, logger.propagate = [_ToReporter(reporter)], False
    try:
        yield
    finally:
        logger.handlers, logger.propagate = before, propagate
