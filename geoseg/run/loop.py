"""The loop around an executor: what is done is skipped, what gets done is written down."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Literal

from geoseg.errors import BlockError
from geoseg.grid import Window
from geoseg.run.base import Done, Executor, Failed, Job, Outcome, Stop
from geoseg.run.ledger import Ledger
from geoseg.run.reporter import Reporter, logs_to
from geoseg.run.stopping import StopRequest, stop_on_signals
from geoseg.run.watching import handed_over, tell_end, tell_of, watchers_of

OnError = Literal["stop", "skip_block"]


@dataclass(frozen=True, slots=True)
class Summary:
    """What came of a stage.

    Attributes:
        blocks: All of the stage.
        resumed: Those that were done before.
        done: Those that were done now.
        failed: Those that could not be done, in reading order.
        wall: Seconds from the first block to the last.
        seconds: By lane (``read``, ``infer``, ``write``...), summed over the blocks done now.
        ran: Seconds that these took on workers, summed.
    """

    blocks: int
    resumed: int
    done: int
    failed: tuple[Failed, ...]
    wall: float
    seconds: Mapping[str, float]
    ran: float = 0.0

    @property
    def left(self) -> int:
        """Blocks that were not begun, or whose end was not heard of."""
        return self.blocks - self.resumed - self.done - len(self.failed)


@dataclass(slots=True)
class _Tally:
    """What came of the blocks so far."""

    done: int = 0
    failed: list[Failed] = field(default_factory=list)
    seconds: Counter[str] = field(default_factory=Counter)
    ran: float = 0.0

    def ends(self, on_error: OnError) -> bool:
        """Whether no further block shall be begun."""
        if on_error == "stop":
            return bool(self.failed)
        return any(f.everywhere for f in self.failed)

    def summary(self, blocks: int, todo: int, wall: float) -> Summary:
        failed = tuple(sorted(self.failed, key=lambda f: f.block))
        return Summary(blocks, blocks - todo, self.done, failed, wall, dict(self.seconds), self.ran)


def run_blocks(
    executor: Executor,
    job: Job,
    blocks: Sequence[Window],
    ledger: Ledger,
    reporter: Reporter,
    *,
    name: str = "blocks",
    on_error: OnError = "stop",
) -> Summary:
    """Do all of ``blocks`` that the ledger does not have, and write them down there.

    With ``on_error="stop"`` no block is begun after one has failed; those that run are finished
    and kept. So they are when SIGINT or SIGTERM comes (a second one ends it at once). With
    ``"skip_block"`` the others are done, unless they would fail alike.

    Raises:
        BlockError: A block failed, and ``on_error`` is ``"stop"``; or it failed by what is wrong
            everywhere; or none could be done.
        StoppedError: A signal came.
        ClusterLostError: Nothing is left that could run blocks.
        ProductError: The ledger cannot be written.
    """
    todo, watchers = _begin(blocks, ledger, reporter, name), watchers_of(reporter)
    tally, stop, begun = _Tally(), Stop(), time.monotonic()

    def tell() -> None:
        reporter.message("stopping: running blocks are finished and kept (once more: at once)")

    try:
        with stop_on_signals(stop, tell) as request, logs_to(reporter):
            if todo:
                job = handed_over(job, name, watchers)
                with closing(executor.run(job, todo, stop=stop)) as outcomes:
                    for outcome in outcomes:
                        _take(outcome, tally, ledger, reporter)
                        tell_of(outcome, name, watchers)
                        stop.asked |= tally.ends(on_error)
            ledger.sync()
    finally:
        summary = tally.summary(len(blocks), len(todo), time.monotonic() - begun)
        tell_end(summary, name, watchers)
    _raise_if_stopped(request, summary, name)
    if tally.ends(on_error) or (summary.failed and not ledger.done):
        raise _block_error(summary, name)
    return summary


def _raise_if_stopped(request: StopRequest, summary: Summary, name: str) -> None:
    if request.asked and summary.left:
        raise request.error(
            f"{name}: stopped{request.by} with {summary.left} of {summary.blocks} "
            f"blocks to go; the same command goes on from there"
        )


def _begin(blocks: Sequence[Window], ledger: Ledger, reporter: Reporter, name: str) -> list[Window]:
    """Announce the stage; the blocks that are left to do."""
    done = ledger.done
    todo = [b for b in blocks if b not in done]
    pixels, left = sum(map(_area, blocks)), sum(map(_area, todo))
    reporter.stage(
        name,
        blocks=len(blocks),
        pixels=pixels,
        done_blocks=len(blocks) - len(todo),
        done_pixels=pixels - left,
    )
    return todo


def _take(outcome: Outcome, tally: _Tally, ledger: Ledger, reporter: Reporter) -> None:
    """Write one outcome down, and tell of it."""
    if isinstance(outcome, Done):
        ledger.record(outcome)
        tally.done += 1
        tally.ran += 0.0 if outcome.ran is None else outcome.ran.seconds
        seconds = outcome.report.get("seconds")
        if isinstance(seconds, Mapping):
            tally.seconds.update(seconds)
    else:
        tally.failed.append(outcome)
        reporter.warning(f"{_place(outcome.block)}: {outcome.error}")
    reporter.advance(blocks=1, pixels=_area(outcome.block))


def _block_error(summary: Summary, name: str) -> BlockError:
    """The first failed block speaks for all; its traceback comes along as a note.

    One that says what is wrong everywhere goes first.
    """
    first = next((f for f in summary.failed if f.everywhere), summary.failed[0])
    others = len(summary.failed) - 1
    more = f" (and {others} more block{'s' * (others > 1)})" if others else ""
    wrong = first.error if first.wrong_input else ""
    error = BlockError(f"{name}: {_place(first.block)}: {first.error}{more}", wrong_input=wrong)
    if first.traceback:
        error.add_note(f"What the block raised:\n{first.traceback.rstrip()}")
    return error


def _place(b: Window) -> str:
    return f"block rows {b.y0}:{b.y1}, columns {b.x0}:{b.x1}"


def _area(b: Window) -> int:
    return (b.y1 - b.y0) * (b.x1 - b.x0)
