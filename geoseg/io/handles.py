"""Open files, lent to one thread at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from threading import Lock

import rasterio
from rasterio.io import DatasetReader

from geoseg.io.environment import is_remote
from geoseg.io.gates import gate_of
from geoseg.io.limits import open_raster


class Handles:
    """Keeps files open between reads.

    GDAL's datasets must not be used by two threads at a time: each read borrows one, and there are
    as many for a file as threads read it at once.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._idle: defaultdict[tuple[str, int | None], list[DatasetReader]] = defaultdict(list)
        self._closed = False

    @contextmanager
    def borrow(self, name: str, *, overview: int | None = None) -> Iterator[DatasetReader]:
        """A dataset for one thread. ``name`` is what GDAL opens: a path or the XML of a VRT.

        ``overview`` is which one of a file is opened as if it were all, counted from 0.
        """
        key = name, overview
        with self._lock:
            if self._closed:
                raise ValueError("read from a scene that is closed")
            idle = self._idle[key]
            dataset = idle.pop() if idle else None
        if dataset is None:
            dataset = _opened(name, overview)
        try:
            with gate_of(name).shared() if is_remote(name) else nullcontext():
                yield dataset
        except BaseException:
            # After an error a dataset may be in any state.
            dataset.close()
            raise
        if not self._taken_back(key, dataset):
            dataset.close()

    def _taken_back(self, key: tuple[str, int | None], dataset: DatasetReader) -> bool:
        with self._lock:
            if not self._closed:
                self._idle[key].append(dataset)
            return not self._closed

    def close(self) -> None:
        """Close what nobody uses, and the rest as soon as it is given back."""
        with self._lock:
            self._closed = True
            idle = [dataset for group in self._idle.values() for dataset in group]
            self._idle.clear()
        for dataset in idle:
            dataset.close()


def _opened(name: str, overview: int | None) -> DatasetReader:
    """A dataset of a thread's own: sharing would hand the same one of GDAL's to several."""
    if name.startswith("<"):  # XML that we have written, of a file that was looked at
        return rasterio.open(name, sharing=False)
    if not is_remote(name):
        return open_raster(name, sharing=False, overview=overview)
    # rasterio asks for masks under the interpreter's lock, and GDAL then reads the directories of a
    # TIFF. Where another thread fetches the same part of it, GDAL waits for that thread; which waits
    # for the interpreter's lock, if the server fails and GDAL's error is logged: neither goes on.
    # Hence nobody else reads the file while it is opened and its masks are asked for; GDAL
    # remembers the answer.
    with gate_of(name).alone():
        dataset = open_raster(name, sharing=False, overview=overview)
        try:
            _ = dataset.mask_flag_enums
        except BaseException:
            dataset.close()
            raise
    return dataset
