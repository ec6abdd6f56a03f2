"""Blocks as tasks of Dask: one try at a block, and how a task gets at its job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from geoseg.grid import Window
from geoseg.run.base import Job
from geoseg.run.opened import Answer


@dataclass(frozen=True, slots=True)
class Way:
    """How tasks get at their job.

    Attributes:
        job: What is done.
        name: Stands first in the keys of tasks, and names answers.
        task: Does one block on a worker: takes ``told``, and the block's window.
        told: The job, or where it is.
        stop: Called on each worker with ``stopped``: no further block is to be begun.
        stopped: Which job.
    """

    job: Job
    name: str
    task: Callable[[Any, tuple[int, int, int, int]], Answer]
    told: Any
    stop: Callable[..., Any]
    stopped: str


@dataclass(frozen=True, slots=True)
class Try:
    """One submission of a block."""

    block: Window
    number: int = 0
    unopened: int = 0
    alone: bool = False

    @property
    def name(self) -> tuple[int | str, ...]:
        """The same in every run, and another one for every try; after the job, a key of Dask's.

        So Dask's dashboard shows one group of tasks for each job.
        """
        b = self.block
        again = (f"again{self.number}.{self.unopened}",) if self.number or self.unopened else ()
        return (b.y0, b.x0, b.y1, b.x1, *again)
