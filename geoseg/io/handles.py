"""Open files, lent to one thread at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import rasterio
from rasterio.io import DatasetReader

from geoseg.io.limits import open_raster


class Handles:
    """Keeps files open between reads.

    GDAL's datasets must not be used by two threads at a time: each read borrows one, and there are
    as many for a file as threads read it at once.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._idle: defaultdict[str, list[DatasetReader]] = defaultdict(list)
        self._closed = False

    @contextmanager
    def borrow(self, name: str) -> Iterator[DatasetReader]:
        """A dataset for one thread. ``name`` is what GDAL opens: a path or the XML of a VRT."""
        with self._lock:
            if self._closed:
                raise ValueError("read from a scene that is closed")
            idle = self._idle[name]
            dataset = idle.pop() if idle else None
        if dataset is None:
            # sharing would hand the same GDAL dataset to several threads.
            own = name.startswith("<")  # XML that we have written, of a file that was looked at
            opened = rasterio.open if own else open_raster
            dataset = opened(name, sharing=False)
        try:
            yield dataset
        except BaseException:
            # After an error a dataset may be in any state.
            dataset.close()
            raise
        if not self._taken_back(name, dataset):
            dataset.close()

    def _taken_back(self, name: str, dataset: DatasetReader) -> bool:
        with self._lock:
            if not self._closed:
                self._idle[name].append(dataset)
            return not self._closed

    def close(self) -> None:
        """Close what nobody uses, and the rest as soon as it is given back."""
        with self._lock:
            self._closed = True
            idle = [dataset for group in self._idle.values() for dataset in group]
            self._idle.clear()
        for dataset in idle:
            dataset.close()
