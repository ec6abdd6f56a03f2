"""A command as it is felt from outside: seconds on the wall, CPU seconds, peak memory."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

EVERY = 0.1
"""Seconds between two looks at the memory."""


@dataclass(frozen=True)
class Felt:
    """What a command took.

    Attributes:
        wall: Seconds from its start to its end.
        cpu: Seconds of all its processes.
        memory: Bytes at most, of all its processes together, at the looks that were taken; pages
            that several of them share count once (proportional set size).
        said: What it printed.
    """

    wall: float
    cpu: float
    memory: int
    said: str


class CommandError(Exception):
    """A command failed; the text is the end of what it said."""


def felt(
    command: Sequence[str], *, log: Path, environment: Mapping[str, str], timeout: float
) -> Felt:
    """Run a command to its end.

    Args:
        command: Program and arguments.
        log: File that takes what it prints.
        environment: All of it.
        timeout: Seconds after which it, and only it with its children, is stopped.

    Raises:
        CommandError: It failed, or took too long.
    """
    with log.open("w") as out:
        start = time.perf_counter()
        process = subprocess.Popen(
            [*command], stdout=out, stderr=subprocess.STDOUT, env={**environment}
        )
        watch = _Watch(process.pid, start + timeout)
        watch.start()
        # wait4 counts the children that the process itself has waited for, and no one else's.
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = code = os.waitstatus_to_exitcode(status)
        watch.end()
    said = log.read_text("utf-8", errors="replace")
    if watch.late:
        raise CommandError(f"stopped after {timeout:.0f} s")
    if code:
        raise CommandError(f"exit code {code}: {' '.join(said.split())[-300:]}")
    return Felt(wall, usage.ru_utime + usage.ru_stime, watch.peak, said)


class _Watch(threading.Thread):
    """Looks at the memory of a process and all below it."""

    def __init__(self, pid: int, deadline: float) -> None:
        super().__init__(daemon=True)
        self._pid, self._deadline, self._ended = pid, deadline, threading.Event()
        self.peak, self.late = 0, False

    def run(self) -> None:
        """Until told to end."""
        while not self._ended.wait(EVERY):
            with suppress(psutil.Error):
                root = psutil.Process(self._pid)
                family = [root, *root.children(recursive=True)]
                self.peak = max(self.peak, sum(_memory(process) for process in family))
                if time.perf_counter() > self._deadline and not self.late:
                    self.late = True
                    for process in reversed(family):
                        with suppress(psutil.Error):
                            process.kill()

    def end(self) -> None:
        """Stop, and wait for the last look."""
        self._ended.set()
        self.join()


def _memory(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return int(process.memory_full_info().pss)
    return 0
