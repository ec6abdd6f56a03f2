"""What a run is made of: a job that opens once per worker, and an outcome per block."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from geoseg.grid import Window

Report = Mapping[str, Any]
"""What a block says of itself: small, JSON-able (counts, seconds, checksums)."""


class BlockWork(Protocol):
    """An opened job: model, files and stores are held. Called from several threads at once."""

    def __call__(self, block: Window) -> Report:
        """Do one block; doing it twice gives the same bytes."""
        ...

    def close(self) -> None:
        """Let go of files and models."""
        ...


class Job(Protocol):
    """What has to be done to every block of a scene. Small and picklable; holds no array."""

    @property
    def key(self) -> str:
        """The same for the same work; workers keep one opened job per key."""
        ...

    def open(self) -> BlockWork:
        """Load the model and open the files; happens once on each worker."""
        ...


@dataclass(frozen=True, slots=True)
class Ran:
    """Where and when a block was tried the last time.

    Attributes:
        worker: Address; "" in the client's own process.
        began: Seconds since 1970, by the worker's clock.
        seconds: How long it took there, opening the job included.
        tries: This one included.
    """

    worker: str
    began: float
    seconds: float
    tries: int = 1


@dataclass(frozen=True, slots=True)
class Done:
    """One block is computed and stored; ``ran`` is no part of what came of it."""

    block: Window
    report: Report
    ran: Ran | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Failed:
    """One block could not be computed; the others go on.

    ``wrong_input``: it will not be, as long as the input is as it is. ``everywhere``: it is not the
    block that is wrong, others would fail alike, as where the disk is full or the job cannot be
    opened.
    """

    block: Window
    error: str
    traceback: str = ""
    wrong_input: bool = False
    everywhere: bool = False
    ran: Ran | None = field(default=None, compare=False)


Outcome = Done | Failed


def tried(outcome: Outcome, times: int) -> Outcome:
    """``outcome``, knowing that it took so many tries."""
    if outcome.ran is None or outcome.ran.tries == times:
        return outcome
    return replace(outcome, ran=replace(outcome.ran, tries=times))


class Stop:
    """Once asked for, no further block is begun; those that run are finished.

    ``at_once``: nor are those waited for that run. Plain flags: they may be set from any thread, and
    from a signal handler.
    """

    __slots__ = ("asked", "at_once")

    def __init__(self) -> None:
        self.asked = self.at_once = False


class Executor(Protocol):
    """Runs a job on every block, in any order; never raises for a block that fails."""

    def run(
        self, job: Job, blocks: Iterable[Window], *, stop: Stop | None = None
    ) -> Generator[Outcome, None, None]:
        """Outcomes as they come, exactly one for each block that was begun.

        ``blocks`` are distinct. Closing the generator drops what is queued.

        Raises:
            ClusterError: The workers cannot take the job.
            ClusterLostError: Nothing is left that could run blocks.
        """
        ...
