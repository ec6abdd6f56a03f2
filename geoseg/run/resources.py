"""How the cores and the memory of a machine are shared out; the one place that sets it."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from math import ceil
from pathlib import Path

GDAL_CACHE_MB = 64
"""A worker reads each window once: GDAL's default (5 % of the machine, per process) is waste."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_LARGE, _KEPT = 32 << 20, 128 << 20  # bytes

CGROUP = Path("/sys/fs/cgroup")


def available_cores(cgroup: Path = CGROUP) -> int:
    """Cores that this process may use: its affinity, and its container's quota."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has no affinity
        cores = os.cpu_count() or 1
    quota = _read(cgroup / "cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit() and int(quota[1]):
        cores = min(cores, ceil(int(quota[0]) / int(quota[1])))
    return max(1, cores)


def available_memory(cgroup: Path = CGROUP) -> int:
    """Bytes that this process may use: the machine's, or its container's limit."""
    import psutil  # noqa: PLC0415 (who only counts cores does without it)

    total = int(psutil.virtual_memory().total)
    limit = _read(cgroup / "memory.max")
    return min(total, int(limit)) if limit.isdigit() else total


def give_back_arrays() -> None:
    """Say what glibc keeps of freed memory, in this process; elsewhere this does nothing.

    Arrays above 32 MB go back to the system at once; smaller ones come from pools, of which 128 MB
    may be free at the end. By itself glibc finds limits as it goes. Lower ones save little memory,
    and cost more time than what is done with the arrays: each page comes back by a fault, cleared.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, _LARGE)
        library.mallopt(_TRIM_THRESHOLD, _KEPT)


def worker_environment(cores: int, workers: int) -> dict[str, str]:
    """Environment of one of ``workers`` processes that share ``cores``.

    Threads of all libraries together never exceed the cores; GDAL's cache stays small.
    """
    threads = str(max(1, cores // max(1, workers)))
    return {
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "VECLIB_MAXIMUM_THREADS": threads,
        "NUMBA_NUM_THREADS": threads,
        "GDAL_NUM_THREADS": threads,
        "GDAL_CACHEMAX": str(GDAL_CACHE_MB),
        # glibc keeps an arena per thread and gives little back: blocks come and go in all of them.
        "MALLOC_ARENA_MAX": "2",
        "MALLOC_TRIM_THRESHOLD_": "65536",
        # Workers share the client's terminal; what happens to a block is told by its outcome.
        "DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "error",
    }


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
