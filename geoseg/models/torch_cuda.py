"""A lane on a GPU: a stream, pinned memory, and the kernels of a shape recorded as a graph."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from geoseg.models.torch_lanes import Arrays, OnHost
from geoseg.models.torch_pass import ALONE, BROKEN, OnDevice, Output, Pass

log = logging.getLogger(__name__)

_KEPT: Final = 4
"""Shapes whose memory a lane keeps: a run has one, and at most three more at a scene's rim."""

_FAILED: Final[list[torch.cuda.CUDAGraph]] = []
"""Graphs that are never freed: torch's allocator goes on asking whether they are recording."""

_Key = tuple[tuple[int, ...], str, tuple[Output, ...]]


class CudaLane:
    """Implements :class:`geoseg.models.torch_lanes.Lane`.

    All that a lane does is queued on its own stream: numbers go up from pinned memory, kernels
    run, bytes come down into pinned memory. While one lane computes, the copy engines work for the
    others.
    """

    def __init__(self, run: Pass, *, graphs: bool) -> None:
        self._run, self._graphs = run, graphs
        self._stream = torch.cuda.Stream(run.device)  # type: ignore[no-untyped-call]  # torch's stubs lack it
        # Waiting must not take a core from those who read and write.
        self._done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # the same
        self._sets: dict[_Key, _Buffers] = {}
        self._current: _Buffers | None = None

    def launch(self, chips: OnHost, count: int, wanted: Sequence[Output]) -> None:
        """See :class:`geoseg.models.torch_lanes.Lane`."""
        with torch.cuda.device(self._run.device), torch.cuda.stream(self._stream):
            self._current = buffers = self._buffers(chips, count, tuple(wanted))
            buffers.upload(chips)
            buffers.compute(self._run, graphs=self._graphs)
            buffers.download()
            self._done.record(self._stream)

    def fetch(self) -> Arrays:
        """See :class:`geoseg.models.torch_lanes.Lane`."""
        buffers = self._current
        assert buffers is not None, "nothing was launched"  # noqa: S101 (the caller's order)
        self._done.synchronize()
        return buffers.found

    def clear(self) -> None:
        """See :class:`geoseg.models.torch_lanes.Lane`."""
        self._stream.synchronize()
        with ALONE:
            self._sets.clear()
        self._current = None

    def _buffers(self, chips: OnHost, count: int, wanted: tuple[Output, ...]) -> _Buffers:
        key = chips.values.shape[1:], str(chips.kind), wanted
        found = self._sets.get(key)
        if found is None or found.count != count:
            with ALONE:
                if found is None and len(self._sets) >= _KEPT:
                    self._sets.pop(next(iter(self._sets)))
                self._sets.pop(key, None)
                found = self._sets[key] = _Buffers(self._run, chips, count, wanted)
        return found


class _Buffers:
    """The memory of one shape: what goes up, what comes down, and the graph between them."""

    def __init__(self, run: Pass, chips: OnHost, count: int, wanted: tuple[Output, ...]) -> None:
        self.count, self._wanted = count, wanted
        kind, shape = chips.kind, chips.values.shape[1:]
        self._unsigned = kind == np.uint16
        # Torch knows uint16 only in part: their bits travel as int16.
        travels = np.dtype(np.int16) if self._unsigned else kind
        dtype = torch.from_numpy(np.empty(0, travels)).dtype
        self._values = _pinned((count, *shape), dtype)
        self._valid = _pinned((count, *shape[1:]), torch.bool)
        self._linear = _pinned(chips.linear.shape, torch.float32)
        self._on_device = OnDevice(
            torch.empty_like(self._values, device=run.device),
            self._unsigned,
            torch.empty_like(self._valid, device=run.device),
            torch.empty_like(self._linear, device=run.device),
        )
        kinds = {BROKEN: torch.bool, "scores": torch.float32}
        area = (count, *shape[1:])
        self._down = {
            name: _pinned(run.shape_of(name, area), kinds.get(name, torch.uint8))
            for name in (*wanted, BROKEN)
        }
        self._outputs: Mapping[str, Tensor] = {}
        self._graph: torch.cuda.CUDAGraph | None = None
        self._warm = False

    @property
    def found(self) -> Arrays:
        """What came down."""
        return {name: values.numpy() for name, values in self._down.items()}

    def upload(self, chips: OnHost) -> None:
        """Into pinned memory, and from there to the device, as the stream gets to it."""
        here, count = self._values.numpy(), len(chips.values)
        if self._unsigned:
            here = here.view(np.uint16)
        np.copyto(here[:count], chips.values, casting="unsafe")
        valid = self._valid.numpy()
        valid[:count], valid[count:] = chips.valid, False
        np.copyto(self._linear.numpy(), chips.linear)
        there = self._on_device
        there.stored.copy_(self._values, non_blocking=True)
        there.valid.copy_(self._valid, non_blocking=True)
        there.linear.copy_(self._linear, non_blocking=True)

    def compute(self, run: Pass, *, graphs: bool) -> None:
        """The pass: the first time as it comes, then recorded, then replayed."""
        if self._graph is not None:
            self._graph.replay()
            return
        with run.repeatable():
            # Also before it is recorded: cuDNN and cuBLAS open and plan for each thread that uses
            # them, which cannot be recorded, and it may have been another thread the first time.
            self._outputs = run(self._on_device, self._wanted)
            if graphs and self._warm and run.unrecorded is None:
                self._record(run)
        self._warm = True

    def download(self) -> None:
        """As soon as the stream has computed it."""
        for name, here in self._down.items():
            here.copy_(self._outputs[name], non_blocking=True)
        if self._graph is None:
            self._outputs = {}

    def _record(self, run: Pass) -> None:
        """Record the kernels and run them, if they can be recorded; once more if it failed."""
        for again in (True, False):
            graph = torch.cuda.CUDAGraph()
            try:
                # Other lanes go on meanwhile: only what this thread does is recorded.
                with torch.cuda.graph(
                    graph, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"
                ):
                    outputs = run(self._on_device, self._wanted)
            except RuntimeError as error:
                _FAILED.append(graph)
                _not_recorded(run, error, again=again)
            else:
                self._graph, self._outputs = graph, outputs
                graph.replay()
                return


def _not_recorded(run: Pass, error: BaseException, *, again: bool) -> None:
    """Get ready to try once more, or say why it is not tried any more."""
    # What ends a recording that is broken already hides what broke it.
    while error.__context__ is not None:
        error = error.__context__
    if isinstance(error, torch.cuda.OutOfMemoryError) or not isinstance(error, RuntimeError):
        raise error
    torch.cuda.synchronize(run.device)
    if not again:
        run.unrecorded = str(error).splitlines()[0]
        log.warning(
            "model %s: its kernels cannot be recorded, they are started one by one: %s",
            run.card.name,
            run.unrecorded,
        )


def _pinned(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, pin_memory=True)
