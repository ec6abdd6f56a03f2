"""Lanes: how chips get to a device, through the network, and back, several calls at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.models.torch_pass import OnDevice, Output, Pass

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class OnHost:
    """Chips of a batch as the host holds them; see :class:`geoseg.models.torch_pass.OnDevice`."""

    values: NDArray[Any]
    valid: NDArray[np.bool_]
    linear: NDArray[np.float32]

    @property
    def kind(self) -> np.dtype[Any]:
        """What numbers travel as: small integers as they are, all others as fp32."""
        kind = self.values.dtype.newbyteorder("=")
        small = (np.uint16, np.uint8, np.int8, np.int16, np.int32)
        return kind if kind in small else np.dtype(np.float32)


class Lane(Protocol):
    """One call's way through a device: one group of chips at a time."""

    def launch(self, chips: OnHost, count: int, wanted: Sequence[Output]) -> None:
        """Start a pass over ``chips``, filled up to ``count`` with such as are not valid."""

    def fetch(self) -> Arrays:
        """What came of it, for all ``count`` chips, in arrays that the next launch may reuse."""

    def clear(self) -> None:
        """Give up all memory; what was launched is waited for and forgotten."""


class DirectLane:
    """A lane that computes in the caller's thread, with the memory of the host."""

    def __init__(self, run: Pass) -> None:
        self._run = run
        self._found: Arrays = {}

    def launch(self, chips: OnHost, count: int, wanted: Sequence[Output]) -> None:
        """See :class:`Lane`."""
        kind = chips.kind
        values = _filled(chips.values.astype(kind, copy=False), count)
        unsigned = kind == np.uint16
        with self._run.repeatable():
            stored = torch.from_numpy(values.view(np.int16) if unsigned else values)
            valid = torch.from_numpy(_filled(chips.valid, count))
            on_device = OnDevice(stored, unsigned, valid, torch.from_numpy(chips.linear))
            found = self._run(on_device, wanted)
        self._found = {name: values.numpy() for name, values in found.items()}

    def fetch(self) -> Arrays:
        """See :class:`Lane`."""
        found, self._found = self._found, {}
        return found

    def clear(self) -> None:
        """See :class:`Lane`."""
        self._found = {}


class Lanes:
    """The lanes of a device: as many as callers want, or a few that they share.

    Args:
        make: Makes one.
        count: How many; None: one for whoever asks.
    """

    def __init__(self, make: Callable[[], Lane], count: int | None) -> None:
        self._make, self._left = make, count
        self._idle: list[Lane] = []
        self._changed = threading.Condition()
        self._count = count

    def take(self, *, wait: bool) -> Lane | None:
        """One that nobody uses; None where there is none and the caller will not ``wait``."""
        with self._changed:
            while True:
                if self._idle:
                    return self._idle.pop()
                if self._left is None:
                    return self._make()
                if self._left:
                    self._left -= 1
                    return self._make()
                if not wait:
                    return None
                self._changed.wait()

    def give(self, lane: Lane) -> None:
        """Let others have it."""
        with self._changed:
            if self._count is not None:
                self._idle.append(lane)
                self._changed.notify()

    @property
    def several(self) -> bool:
        """Whether others may have one at the same time."""
        return self._count is not None and self._count > 1

    def retire(self, lane: Lane) -> bool:
        """Do without ``lane`` from now on, if there is another; else let others have it."""
        with self._changed:
            if self.several and self._count is not None:
                self._count -= 1
                return True
        self.give(lane)
        return False

    def rest(self) -> None:
        """Let lanes that nobody uses give up their memory."""
        with self._changed:
            for lane in self._idle:
                lane.clear()


def _filled(values: NDArray[Any], count: int) -> NDArray[Any]:
    """``count`` chips, the last of them 0, as torch wants them: contiguous and writeable."""
    if len(values) == count:
        return np.require(values, requirements=["C", "W"])
    whole = np.zeros((count, *values.shape[1:]), values.dtype)
    whole[: len(values)] = values
    return whole
