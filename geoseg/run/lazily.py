"""Work on Dask arrays, block by block, that begins when somebody asks for its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window

Span = tuple[int, int]
"""Rows or columns: the first, and the one after the last."""


def stacked(arrays: Sequence[Any]) -> Any:
    """Arrays ``(y, x)`` as one ``(band, y, x)``, of a dtype that holds all of their numbers."""
    dtype = np.result_type(*(array.dtype for array in arrays))
    return da.stack([array.astype(dtype) for array in arrays])


def by_blocks(
    arrays: Sequence[Any],
    work: Callable[..., NDArray[np.uint8]],
    *,
    block: int,
    seen: Callable[[Window], Window],
    planes: int,
) -> Any:
    """What ``work`` makes of each block of arrays, from the parts of them that it sees.

    Chunks of the arrays decide nothing: those that a part lies in are computed once, and cut.

    Args:
        arrays: Dask arrays ``(..., y, x)`` on one grid.
        work: Takes their parts and ``block_id``, whose last two are the row and column of the
            block; gives ``(plane, y, x)`` of the block.
        block: Side of a block, in pixels.
        seen: What of the arrays a block looks at; rows do not depend on columns, nor columns on rows.
        planes: How many come out.

    Returns:
        A Dask array ``(plane, y, x)`` uint8, of which each block is a chunk.
    """
    height, width = (int(n) for n in arrays[0].shape[-2:])
    rows, cols = _spans(height, block), _spans(width, block)
    seen_rows = [_rows(seen(Window(*_corner(span, cols[0])))) for span in rows]
    seen_cols = [_cols(seen(Window(*_corner(rows[0], span)))) for span in cols]
    parts = [_parts(_parts(array, seen_rows, -2), seen_cols, -1) for array in arrays]
    # All have as many axes, so that Dask pairs their blocks.
    aligned = [part if part.ndim == 3 else part[None] for part in parts]
    return da.map_blocks(
        work,
        *aligned,
        dtype=np.uint8,
        meta=np.empty((0, 0, 0), np.uint8),
        chunks=((planes,), _lengths(rows), _lengths(cols)),
    )


def per_chunk(array: Any, work: Callable[[NDArray[Any], Window], NDArray[Any]], size: int) -> Any:
    """What ``work`` makes of each chunk of a Dask array ``(y, x)``, as ``(row, column, size)``."""
    starts = [(0, *accumulate(lengths)) for lengths in array.chunks]

    def placed(values: NDArray[Any], block_id: tuple[int, ...] = ()) -> NDArray[Any]:
        (top, bottom), (left, right) = (
            (starts[axis][block_id[axis]], starts[axis][block_id[axis] + 1]) for axis in (0, 1)
        )
        return work(values, Window(top, left, bottom, right))[None, None]

    rows, cols = ((1,) * len(lengths) for lengths in array.chunks)
    return da.map_blocks(
        placed,
        array,
        dtype=np.float64,
        meta=np.empty((0, 0, 0)),
        new_axis=2,
        chunks=(rows, cols, (size,)),
    )


def _parts(array: Any, spans: Sequence[Span], axis: int) -> Any:
    """The spans of an axis one behind the other, each a chunk; what two of them see is there twice.

    All other axes but the last two are one chunk.
    """
    index: list[Any] = [slice(None)] * array.ndim
    cut = []
    for first, end in spans:
        index[axis] = slice(first, end)
        cut.append(array[tuple(index)])
    joined = da.concatenate(cut, axis=axis)
    chunks: dict[int, Any] = dict.fromkeys(range(array.ndim - 2), -1)
    return joined.rechunk({**chunks, array.ndim + axis: _lengths(spans)})


def _spans(length: int, block: int) -> list[Span]:
    return [(start, min(start + block, length)) for start in range(0, length, block)]


def _lengths(spans: Sequence[Span]) -> tuple[int, ...]:
    return tuple(end - start for start, end in spans)


def _corner(rows: Span, cols: Span) -> tuple[int, int, int, int]:
    return rows[0], cols[0], rows[1], cols[1]


def _rows(window: Window) -> Span:
    return window.y0, window.y1


def _cols(window: Window) -> Span:
    return window.x0, window.x1
