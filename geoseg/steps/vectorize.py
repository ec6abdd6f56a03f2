"""Class rasters to polygons: trace each block on its own, then join them all."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.grid import GeoBox, Window, blocks
from geoseg.io.arcs import load_all_arcs, save_arcs
from geoseg.io.atomic import described
from geoseg.io.base import RasterReader
from geoseg.io.bucket import Place
from geoseg.legend import Legend
from geoseg.ops.arcs import BlockArcs, trace_block
from geoseg.ops.metric import Metric, measure_grid
from geoseg.ops.padding import padded_codes
from geoseg.ops.scratch import Scratch
from geoseg.steps.polygons import Polygons, Wanted

_BLOCK = 1024

Read = Callable[[Window], NDArray[Any]]
"""Gives the pixels of a window ``(y, x)``."""


@dataclass(frozen=True, slots=True)
class Tracer:
    """Traces blocks of classes; several threads may call it at once.

    Attributes:
        classes: Gives class codes.
        metric: How large the pixels of the whole raster are.
        nodata: The code of pixels without a class; None if all have one.
        confidence: Gives percents, 255 where there is none.
    """

    classes: Read
    metric: Metric
    nodata: int | None = None
    confidence: Read | None = None
    _local: threading.local = field(default_factory=threading.local, init=False, repr=False)

    def __call__(self, block: Window) -> BlockArcs:
        """Trace a block, reading one pixel more on each side where the raster has it."""
        around = Window(block.y0 - 1, block.x0 - 1, block.y1 + 1, block.x1 + 1)
        seen = around & Window(0, 0, *self.metric.shape)
        if not hasattr(self._local, "scratch"):
            self._local.scratch = Scratch()
        scratch: Scratch = self._local.scratch
        codes = padded_codes(self.classes(seen), self.nodata, seen, block, scratch)
        percent = None if self.confidence is None else self.confidence(block)
        return trace_block(codes, block, self.metric, confidence=percent, scratch=scratch)


@dataclass(frozen=True, slots=True)
class TraceBlock:
    """Traces blocks of a class raster, once all their neighbours are written too.

    Every block of the raster must be traced, also those without data: a block owns the edges on
    its upper and left rim. Fulfils :class:`geoseg.run.base.BlockWork`.

    Attributes:
        classes: Class codes.
        grid: The grid of the whole raster.
        folder: Where the arcs go, one file a block.
        confidence: Percent, 255 where there is none.
        nodata: The code of pixels without a class; None if all have one.
    """

    classes: RasterReader
    grid: GeoBox
    folder: Place
    confidence: RasterReader | None = None
    nodata: int | None = 255
    _trace: Tracer = field(init=False, repr=False)

    def __post_init__(self) -> None:
        confidence = None if self.confidence is None else self.confidence.read
        trace = Tracer(self.classes.read, measure_grid(self.grid), self.nodata, confidence)
        object.__setattr__(self, "_trace", trace)

    def __call__(self, block: Window) -> dict[str, Any]:
        """Trace one block and save its arcs; says how much there was."""
        traced = self._trace(block)
        path = save_arcs(self.folder, traced)
        return {
            "regions": len(traced.regions),
            "arcs": len(traced.arcs),
            "vertices": len(traced.vertices),
            **described(path),
        }

    def close(self) -> None:
        """Nothing is held open."""


def assemble(
    folder: str | Place,
    grid: GeoBox,
    windows: Iterable[Window],
    *,
    legend: Legend | None = None,
    wanted: Wanted | None = None,
) -> Polygons:
    """The polygons of a raster all of whose blocks have been traced.

    Files are read one after the other while the polygons are iterated over.

    Args:
        folder: Where :class:`TraceBlock` put the arcs.
        grid: The grid of the raster.
        windows: All blocks in row-major order, as from :func:`geoseg.grid.blocks`.
        legend: Where the names of classes are found.
        wanted: Which polygons; all if None.

    Raises:
        BlockError: While iterating: a file is missing, damaged, or of another raster.
    """
    shape = int(grid.shape[0]), int(grid.shape[1])
    traced = load_all_arcs(folder, windows, shape)
    return Polygons(traced, grid, measure_grid(grid), legend=legend, wanted=wanted)


def vectorize_array(
    array: NDArray[Any],
    grid: GeoBox,
    *,
    legend: Legend | None = None,
    nodata: int | None = None,
    wanted: Wanted | None = None,
    confidence: NDArray[np.uint8] | None = None,
    block: int = _BLOCK,
    threads: int = 1,
) -> Polygons:
    """The polygons of an array of classes, without any file.

    Args:
        array: ``(y, x)`` whole numbers or booleans within -32767..32767; masked pixels of a
            masked array have no class.
        grid: Where it lies.
        legend: Where the names of classes, and nodata, are found.
        nodata: The code of pixels without a class; that of the legend if None.
        wanted: Which polygons; all if None.
        confidence: ``(y, x)`` percent, 255 where there is none.
        block: Rows and columns of a block; no result depends on it.
        threads: Blocks that are traced at once, ahead of joining.

    Raises:
        InputError: The array is not one of classes, or does not fit the grid (or while iterating).
    """
    array = np.asanyarray(array)
    _check_array("array", array, grid, "biu", "whole numbers")
    if confidence is not None:
        _check_array("confidence", confidence, grid, "u", "percents as uint8")
    nodata = legend.nodata if nodata is None and legend is not None else nodata
    percent = None if confidence is None else partial(_read, confidence)
    return vectorize_windows(
        partial(_read, array),
        grid,
        legend=legend,
        nodata=nodata,
        wanted=wanted,
        confidence=percent,
        block=block,
        threads=threads,
    )


def vectorize_windows(
    read: Read,
    grid: GeoBox,
    *,
    legend: Legend | None = None,
    nodata: int | None = None,
    wanted: Wanted | None = None,
    confidence: Read | None = None,
    block: int = _BLOCK,
    threads: int = 1,
) -> Polygons:
    """The polygons of classes that are read window by window, without any file in between.

    Args:
        read: Gives class codes; called from several threads where there are several.
        grid: Where they lie.
        legend: Where the names of classes are found.
        nodata: The code of pixels without a class; None if all have one.
        wanted: Which polygons; all if None.
        confidence: Gives percents, 255 where there is none.
        block: Rows and columns of a block; no result depends on it.
        threads: Blocks that are traced at once, ahead of joining.

    Raises:
        InputError: A setting makes no sense (or while iterating: codes are out of range).
    """
    if block < 1 or threads < 1:
        raise InputError(f"block {block} and threads {threads} must be at least 1")
    metric = measure_grid(grid)
    trace = Tracer(read, metric, nodata, confidence)
    traced = _ahead(trace, blocks(metric.shape, block), threads)
    return Polygons(traced, grid, metric, legend=legend, wanted=wanted)


def _read(array: NDArray[Any], window: Window) -> NDArray[Any]:
    return array[window.slices]


def _check_array(what: str, array: NDArray[Any], grid: GeoBox, kinds: str, wanted: str) -> None:
    shape = tuple(int(n) for n in grid.shape)
    if array.shape != shape:
        raise InputError(f"{what} of shape {array.shape} does not fit a grid of {shape}")
    if array.dtype.kind not in kinds:
        raise InputError(f"{what} of {array.dtype}: wanted are {wanted}")


def _ahead(
    trace: Callable[[Window], BlockArcs], windows: Iterable[Window], threads: int
) -> Iterator[BlockArcs]:
    """Blocks in order, ``threads`` of them traced at once."""
    if threads == 1:
        yield from map(trace, windows)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="trace") as pool:
        begun: deque[Future[BlockArcs]] = deque()
        for window in windows:
            begun.append(pool.submit(trace, window))
            if len(begun) > threads:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
