"""A job that is watched where it runs: workers count what they do, and go on with the run's trace."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from geoseg.grid import Window
from geoseg.run.base import BlockWork, Job, Report


@dataclass(frozen=True)
class ObservedJob:
    """``job``, and nothing else, for all who ask. Implements :class:`Job`.

    Attributes:
        job: What is done.
        stage: What it is called in metrics and traces.
        carrier: W3C fields of the span that its blocks belong to; empty without traces.
    """

    job: Job
    stage: str
    carrier: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The job's."""
        return self.job.key

    def open(self) -> BlockWork:
        """The opened job, watched."""
        return ObservedWork(self.job.open(), self.stage, self.carrier)

    def __getattr__(self, name: str) -> Any:
        """Whatever an executor asks a job, beyond what all of them say."""
        if name.startswith("__") or name == "job":  # which pickle asks for before there is any
            raise AttributeError(name)
        return getattr(self.job, name)


class ObservedWork:
    """Does blocks, counted and traced as far as this process can. Implements :class:`BlockWork`."""

    def __init__(self, work: BlockWork, stage: str, carrier: Mapping[str, str]) -> None:
        from geoseg.run.metrics import counts_of_worker  # noqa: PLC0415 (once for each stage)

        self.work, self._stage, self._carrier = work, stage, carrier
        self._counts = counts_of_worker()
        self._flush = None
        if self._counts is not None:
            self._counts.opened(self)
        if carrier:
            from geoseg.run import traces  # noqa: PLC0415 (only where traces are wanted)

            self._flush = traces.flush_soon

    def __call__(self, block: Window) -> Report:
        """Do ``block``."""
        with ExitStack() as stack:
            span = None
            if self._carrier:
                from geoseg.run import traces  # noqa: PLC0415 (as above)

                span = stack.enter_context(traces.block_span(self._stage, block, self._carrier))
            if self._counts is None:
                report = self.work(block)
            else:
                pixels = (block.y1 - block.y0) * (block.x1 - block.x0)
                with self._counts.trying(self._stage, pixels) as counted:
                    report = self.work(block)
                    counted(report)
            if span is not None:
                span(report)
        return report

    def close(self) -> None:
        """Let go of the work, and send what was traced."""
        self.work.close()
        if self._flush is not None:
            self._flush()
