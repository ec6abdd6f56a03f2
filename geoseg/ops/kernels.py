"""How numba compiles: entries that Python calls, and helpers that only entries call.

Nothing is compiled when a module is imported. The first call of an entry takes up to a second;
the machine code is kept beside the module (or in ``NUMBA_CACHE_DIR``), where later processes find
it. An entry is compiled anew when *its own* file changes: whoever changes a helper or a constant
that entries of other files use has to touch those files too.
"""

from __future__ import annotations

from typing import Any

from numba import njit

# Helpers are not called from Python: leaving their wrappers out halves the time to compile.
_BARE: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

entry = njit(nogil=True, cache=True, error_model="numpy")
helper = njit(nogil=True, error_model="numpy", **_BARE)
