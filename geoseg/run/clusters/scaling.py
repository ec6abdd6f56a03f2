"""How many workers there are: as many as asked for, or as many as there is work for."""

from __future__ import annotations

from typing import Any

from distributed.deploy.adaptive import Adaptive

INTERVAL = "1s"
WAIT_COUNT = 5
"""So many times in a row a worker must be one too many before it goes."""


MOMENT = "1ms"
FULL = 2
"""Blocks that wait where there are more than so many for each thread."""
PATIENCE = 3
"""So many times in a row blocks must wait before there are twice as many workers."""


class Unhurried(Adaptive):
    """Takes away no worker that has a block in hand; distributed's own only prefers idle ones.

    And grows while blocks wait: distributed asks for as many workers as would do in five seconds
    what it knows of. That is the window of blocks in flight, and never all that there are to do.
    """

    _behind = 0

    async def target(self) -> int:
        """How many workers there should be."""
        wanted = int(await super().target())  # type: ignore[no-untyped-call]  # (distributed has no types here)
        # In a moment, as many workers as have one task each for all of their threads.
        needed = int(await self.scheduler.adaptive_target(target_duration=MOMENT))
        there = len(self.plan)
        waits = needed > FULL * there
        self._behind = self._behind + 1 if waits else 0
        if not waits:
            return wanted
        return max(wanted, there * 2 if self._behind % PATIENCE == 0 else there)

    async def workers_to_close(self, target: int) -> list[str]:
        """Names of workers that are not needed, and do nothing."""
        chosen = await super().workers_to_close(target)
        if not chosen:
            return []
        known = await self.scheduler.identity()
        names = {who: worker["name"] for who, worker in known["workers"].items()}
        busy = await self.scheduler.processing(workers=None)
        idle = {str(name) for who, name in names.items() if not busy.get(who)}
        return [name for name in chosen if str(name) in idle]


def adapt(cluster: Any, minimum: int, maximum: int) -> None:
    """Let a cluster of ours have as many workers as there is work for, between these two.

    Where they are the same, workers that ended (a job whose time was over) are replaced.
    """
    cluster.adapt(
        Adaptive=Unhurried,
        minimum=minimum,
        maximum=maximum,
        interval=INTERVAL,
        wait_count=WAIT_COUNT,
    )
