"""Blocks in this very process: for small runs, debugging and tests."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace

from geoseg.errors import PlanError
from geoseg.grid import Window
from geoseg.run.base import Job, Outcome, Stop, tried
from geoseg.run.opened import Answer, Opened


class Serial:
    """Implements :class:`geoseg.run.base.Executor` with ``lanes`` threads.

    With several lanes one block is read or written while another is in the model, which the job
    guards itself. One lane does strictly one block after the other, in the caller's thread, where
    a debugger finds it.
    """

    def __init__(self, lanes: int = 3, *, retries: int = 2) -> None:
        if lanes < 1:
            raise PlanError(f"cluster: {lanes} threads cannot work; at least 1 is needed")
        self.lanes, self.retries = lanes, retries

    def run(
        self, job: Job, blocks: Iterable[Window], *, stop: Stop | None = None
    ) -> Generator[Outcome, None, None]:
        """Outcomes as they come, exactly one for each block that was begun."""
        opened, stop = Opened(job), stop or Stop()
        run = self._one_by_one if self.lanes == 1 else self._laned
        try:
            yield from run(opened, blocks, stop)
        finally:
            opened.close()

    def _one_by_one(
        self, opened: Opened, blocks: Iterable[Window], stop: Stop
    ) -> Iterator[Outcome]:
        for block in blocks:
            answer = self._try(opened, block, stop)
            if answer.outcome is None:
                return
            yield answer.outcome

    def _laned(self, opened: Opened, blocks: Iterable[Window], stop: Stop) -> Iterator[Outcome]:
        waiting = iter(blocks)
        running: set[Future[Answer]] = set()
        with ThreadPoolExecutor(self.lanes, thread_name_prefix="geoseg-lane") as pool:
            while True:
                while len(running) < self.lanes and not stop.asked:
                    block = next(waiting, None)
                    if block is None:
                        break
                    running.add(pool.submit(self._try, opened, block, stop))
                if not running:
                    return
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    outcome = future.result().outcome
                    if outcome is not None:
                        yield outcome

    def _try(self, opened: Opened, block: Window, stop: Stop) -> Answer:
        """``block``, again where that may help."""
        answer = Answer(None)
        for number in range(1 + self.retries):
            if stop.asked:
                break
            answer = opened(block)
            if answer.outcome is not None:
                answer = replace(answer, outcome=tried(answer.outcome, number + 1))
            if not answer.again:
                break
        return answer
