"""How a command starts and ends fast: what libraries only look for waits until it is used."""

from __future__ import annotations

import gc
import sys
import threading

from geoseg.run.putting_off import collect_later, defer

_STARTED = threading.Event()


def is_ours() -> bool:
    """Whether this process is the command line's, and nobody else's."""
    return _STARTED.is_set()


def start_fast() -> None:
    """Spare this process what libraries do at their import for those who will not use it.

    For the command line only: in a process of somebody else's, modules are not ours to hold back.
    """
    _STARTED.set()
    collect_later()
    # rasterio looks whether there is boto3, odc-geo whether there is dask, numba whether there
    # are BLAS functions for kernels that multiply matrices: all three by loading them.
    defer("boto3")
    defer("dask", is_dask_collection=_is_dask_collection)
    defer("scipy.linalg.cython_blas")


def leave_fast() -> None:
    """Spare this process the searches for cycles among all that is loaded, as it ends."""
    gc.freeze()
    forking = sys.modules.get("geoseg.run.forking")
    if forking is not None:  # else there were no workers
        forking.end()


def _is_dask_collection(value: object) -> bool:
    """Nothing is, as long as there is no dask that could have made it."""
    base = sys.modules.get("dask.base")
    return base is not None and bool(base.is_dask_collection(value))
