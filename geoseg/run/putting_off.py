"""Imports made cheaper: what libraries load for those who will not use it is put off."""

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


def defer(name: str, **known: object) -> None:
    """Put off loading ``name``, if it is installed; what is ``known`` of it needs no loading."""
    if name in sys.modules or find_spec(name.partition(".")[0]) is None:
        return
    module = _Deferred(name)
    module.__spec__ = ModuleSpec(name, None)
    vars(module).update(known)
    sys.modules[name] = module


def collect_later() -> None:
    """Have the first search for cycles wait until all is loaded, and leave that alone then."""
    first, *others = gc.get_threshold()

    def once(phase: str, _found: object) -> None:
        if phase == "stop":
            gc.callbacks.remove(once)
            gc.freeze()
            gc.set_threshold(first, *others)

    gc.callbacks.append(once)
    gc.set_threshold(_OBJECTS, *others)
