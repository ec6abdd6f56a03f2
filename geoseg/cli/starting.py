"""How a command starts and ends fast: what libraries only look for waits until it is used."""

from __future__ import annotations

import gc
import importlib
import sys
import threading
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_OBJECTS = 300_000
"""Containers that imports of all our libraries make, and that stay: not worth being gone over."""

_ASKED = {"__path__", "__pyx_capi__", "__version__"}
"""Names with underscores that whoever uses a module may want; others come from looking around."""

_LOADING = threading.RLock()


def start_fast() -> None:
    """Spare this process what libraries do at their import for those who will not use it.

    For the command line only: in a process of somebody else's, modules are not ours to hold back.
    """
    _collect_later()
    # rasterio looks whether there is boto3, odc-geo whether there is dask, numba whether there
    # are BLAS functions for kernels that multiply matrices: all three by loading them.
    _defer("boto3")
    _defer("dask", is_dask_collection=_is_dask_collection)
    _defer("scipy.linalg.cython_blas")


def leave_fast() -> None:
    """Spare this process the searches for cycles among all that is loaded, as it ends."""
    gc.freeze()
    forking = sys.modules.get("geoseg.run.forking")
    if forking is not None:  # else there were no workers
        forking.end()


class _Deferred(ModuleType):
    """Stands for a module that is loaded when somebody wants something of it."""

    def __getattr__(self, name: str) -> Any:
        own = self.__name__
        if name.startswith("__") and name not in _ASKED:
            raise AttributeError(f"module {own!r} has no attribute {name!r}")
        with _LOADING:
            if sys.modules.get(own) is self:
                del sys.modules[own]
            return getattr(importlib.import_module(own), name)


def _defer(name: str, **known: object) -> None:
    """Put off loading ``name``, if it is installed; what is ``known`` of it needs no loading."""
    if name in sys.modules or find_spec(name.partition(".")[0]) is None:
        return
    module = _Deferred(name)
    module.__spec__ = ModuleSpec(name, None)
    vars(module).update(known)
    sys.modules[name] = module


def _is_dask_collection(value: object) -> bool:
    """Nothing is, as long as there is no dask that could have made it."""
    base = sys.modules.get("dask.base")
    return base is not None and bool(base.is_dask_collection(value))


def _collect_later() -> None:
    """Have the first search for cycles wait until all is loaded, and leave that alone then."""
    first, *others = gc.get_threshold()

    def once(phase: str, _found: object) -> None:
        if phase == "stop":
            gc.callbacks.remove(once)
            gc.freeze()
            gc.set_threshold(first, *others)

    gc.callbacks.append(once)
    gc.set_threshold(_OBJECTS, *others)
