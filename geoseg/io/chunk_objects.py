"""Chunks of a Zarr v2 array in a store, read as windows; what was fetched is kept for a while."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numcodecs  # type: ignore[import-untyped]  # publishes no types
import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ProductError
from geoseg.io.bucket import BucketPath

KEPT = 16 * 2**20
"""Bytes of encoded chunks that one array keeps: rows of blocks are read in several strips."""
AT_ONCE = 8


class ChunkObjects:
    """A 2-D array whose chunks are objects called ``row.column``; read like a ``zarr.Array``."""

    def __init__(self, path: BucketPath) -> None:
        self._path = path
        try:
            told = json.loads((path / ".zarray").read_bytes())
            self.shape: tuple[int, ...] = tuple(int(n) for n in told["shape"])
            self.chunks: tuple[int, ...] = tuple(int(n) for n in told["chunks"])
            self.dtype = np.dtype(told["dtype"])
            self.fill_value = int(told["fill_value"])
        except FileNotFoundError as error:
            raise ProductError(f"{path}: there is no such array") from error
        except (ValueError, KeyError, TypeError) as error:
            raise ProductError(f"{path}/.zarray: is damaged: {error!r:.100}") from error
        self._kept: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def __getitem__(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        """A window inside the array; several chunks are fetched at once.

        Raises:
            ValueError, RuntimeError: A chunk is damaged.
            ProductError: The store does not answer.
        """
        rows, cols = slices
        high, wide = self.chunks
        out = np.empty((rows.stop - rows.start, cols.stop - cols.start), self.dtype)
        wanted = [
            (r, c)
            for r in range(rows.start // high, -(-rows.stop // high))
            for c in range(cols.start // wide, -(-cols.stop // wide))
        ]

        def place(at: tuple[int, int]) -> None:
            top, left = at[0] * high, at[1] * wide
            y0, y1 = max(top, rows.start), min(top + high, rows.stop)
            x0, x1 = max(left, cols.start), min(left + wide, cols.stop)
            part = out[y0 - rows.start : y1 - rows.start, x0 - cols.start : x1 - cols.start]
            chunk = self._chunk(at)
            part[:] = (
                self.fill_value
                if chunk is None
                else chunk[y0 - top : y1 - top, x0 - left : x1 - left]
            )

        if len(wanted) == 1:
            place(wanted[0])
        elif wanted:
            with ThreadPoolExecutor(min(AT_ONCE, len(wanted))) as pool:
                list(pool.map(place, wanted))
        return out

    def forget(self) -> None:
        """Keep nothing of what was fetched: the next read sees what is stored."""
        with self._lock:
            self._kept.clear()

    def _chunk(self, at: tuple[int, int]) -> NDArray[Any] | None:
        """A whole chunk; None where there is none, so that it is all fill."""
        with self._lock:
            data = self._kept.get(at)
        if data is None:
            try:
                data = (self._path / f"{at[0]}.{at[1]}").read_bytes()
            except FileNotFoundError:
                return None  # not kept: somebody may write it yet
            self._keep(at, data)
        decoded = numcodecs.Zstd().decode(data)
        return np.frombuffer(decoded, self.dtype).reshape(self.chunks)

    def _keep(self, at: tuple[int, int], data: bytes) -> None:
        with self._lock:
            self._kept[at] = data
            while sum(map(len, self._kept.values())) > KEPT:
                self._kept.popitem(last=False)
