"""How numba compiles: entries that Python calls, and helpers that only entries call.

Nothing is compiled when a module is imported. The first call of an entry takes up to a second;
the machine code is kept beside the module (or in ``NUMBA_CACHE_DIR``), where later processes find
it. An entry is compiled anew when *its own* file changes: whoever changes a helper or a constant
that entries of other files use has to touch those files too.
"""

from __future__ import annotations

from typing import Any

from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

# Helpers are not called from Python: leaving their wrappers out halves the time to compile.
_BARE: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

entry = njit(nogil=True, cache=True, error_model="numpy")
helper = njit(nogil=True, error_model="numpy", **_BARE)

# Arrays that are not counted: each time that a counted one is handed to a helper, or taken out of
# a tuple, costs an atomic operation, which is more than many a helper does. Such kernels cannot
# make arrays, only change those that they are given.
_UNCOUNTED: dict[str, Any] = {"_nrt": False}
uncounted_entry = njit(nogil=True, cache=True, error_model="numpy", **_UNCOUNTED)
uncounted_helper = njit(nogil=True, error_model="numpy", **_BARE, **_UNCOUNTED)


def _copy_bytes(
    _typing: Any, target: Any, _at: Any, source: Any, _begin: Any, _size: Any
) -> tuple[Any, Any]:
    signature = types.void(target, types.intp, source, types.intp, types.intp)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        out, inside = (
            context.make_array(kind)(context, builder, value).data
            for kind, value in ((sig.args[0], args[0]), (sig.args[2], args[2]))
        )
        target, source = builder.gep(out, [args[1]]), builder.gep(inside, [args[3]])
        cgutils.raw_memcpy(builder, target, source, args[4], 1)
        return context.get_dummy_value()

    return signature, generate


copy_bytes: Any = intrinsic(_copy_bytes)
"""``copy_bytes(target, at, source, begin, size)``: the C library's copy from array to array.

Places count in all bytes of an array; what is copied must not overlap. A loop over a few bytes, as
it is compiled, takes several times as long.
"""


def _load_word(_typing: Any, array: Any, _at: Any) -> tuple[Any, Any]:
    signature = types.int64(array, types.intp)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        word = context.get_value_type(types.int64)
        place = builder.bitcast(builder.gep(data, [args[1]]), word.as_pointer())
        return builder.load(place, align=1)

    return signature, generate


load_word: Any = intrinsic(_load_word)
"""``load_word(array, at)``: eight bytes from ``at`` on, which counts in elements, as one number.

All bytes of the array must be one after the other, and those eight must be among them.
"""
