"""The order in which blocks are handed out: so that who has one has its neighbours, too."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise, zip_longest
from typing import Final

from geoseg.grid import Window

_BITS: Final = 21
"""Rows and columns of blocks are counted below two to that."""


def neighbours_together(blocks: Sequence[Window], workers: int) -> tuple[Window, ...]:
    """The same blocks; of each ``workers`` in a row, the first lies beside the first of the next.

    They follow a Hilbert curve, on which what is near is near in the scene. It is cut into as many
    parts as there are workers, which are dealt out in turns: workers that are as fast as each other
    take one part each, without anybody telling them to. Source: Hilbert (1891),
    doi:10.1007/BF01199431.
    """
    rows, cols = ({at: n for n, at in enumerate(sorted(set(ats)))} for ats in _corners(blocks))
    bits = min(_BITS, max(len(rows), len(cols), 2).bit_length())
    along = sorted(blocks, key=lambda block: _distance(rows[block.y0], cols[block.x0], bits))
    count, workers = len(along), max(1, workers)
    cuts = [round(count * part / workers) for part in range(workers + 1)]
    parts = [along[low:high] for low, high in pairwise(cuts)]
    turns = chain.from_iterable(zip_longest(*parts))
    return tuple(block for block in turns if block is not None)


def _corners(blocks: Sequence[Window]) -> tuple[list[int], list[int]]:
    return [block.y0 for block in blocks], [block.x0 for block in blocks]


def _distance(y: int, x: int, bits: int) -> int:
    """How far along the curve that fills ``2**bits`` rows and columns."""
    found = 0
    for bit in reversed(range(bits)):
        side = 1 << bit
        right, below = int(bool(x & side)), int(bool(y & side))
        found += side * side * ((3 * right) ^ below)
        if not below:
            if right:
                x, y = side - 1 - (x & (side - 1)), side - 1 - (y & (side - 1))
            x, y = y, x
    return found
