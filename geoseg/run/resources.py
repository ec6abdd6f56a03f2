"""How the cores and the memory of a machine are shared out; the one place that sets it."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import Final

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
    if not quota:  # version 1
        quota = [_read(cgroup / "cpu" / f"cpu.cfs_{what}_us") for what in ("quota", "period")]
    if len(quota) == 2 and all(number.isdigit() for number in quota) and int(quota[1]):
        cores = min(cores, ceil(int(quota[0]) / int(quota[1])))
    return max(1, cores)


def available_memory(cgroup: Path = CGROUP) -> int:
    """Bytes that this process may use: the machine's, or its container's limit."""
    import psutil  # noqa: PLC0415 (who only counts cores does without it)

    total = int(psutil.virtual_memory().total)
    limit = _read(cgroup / "memory.max") or _read(cgroup / "memory" / "memory.limit_in_bytes")
    return min(total, int(limit)) if limit.isdigit() else total


def visible_gpus() -> tuple[str, ...]:
    """The NVIDIA GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` calls them.

    Source: https://docs.nvidia.com/cuda/cuda-programming-guide (CUDA_VISIBLE_DEVICES)
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return tuple(str(n) for n in range(len(nvidia_smi("name"))))
    found = []
    for name in given.split(","):
        if not name.strip() or name.strip().startswith("-"):
            break  # what comes after one that there is not is not seen either
        found.append(name.strip())
    return tuple(found)


def nvidia_smi(*columns: str) -> list[tuple[str, ...]]:
    """What NVIDIA's driver says of each GPU of this machine; nothing where there is no driver."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    asked = [tool, f"--query-gpu={','.join(columns)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    if done.returncode:
        return []
    return [tuple(v.strip() for v in line.split(",")) for line in done.stdout.splitlines() if line]


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


NANNY_ENVIRONMENT: Final = "distributed.nanny.environ"
"""Where distributed is told of the environment of worker processes."""


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
        # What a network computes on the way is as large as chips, and comes and goes a hundred times
        # a chip. By itself glibc fetches each such array from the system and gives it back, page by
        # page: a fifth of torch's time. One arena keeps up to 256 MB for the next; more goes back.
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
        "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
        # Workers share the client's terminal; what happens to a block is told by its outcome.
        "DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "error",
    }


def dask_settings(environment: Mapping[str, str]) -> dict[str, object]:
    """How our own clusters differ from distributed's defaults; given to :func:`dask.config.set`."""
    return {
        "distributed.nanny.pre-spawn-environ": dict(environment),
        # Forks, which nobody sets anything for before they start, set this themselves.
        NANNY_ENVIRONMENT: dict(environment),
        # Two deaths, then the block is tried alone (see OnDask).
        "distributed.scheduler.allowed-failures": 1,
        # No task holds data: nothing to spill or to rebalance, and a worker that is paused for
        # the memory of its libraries would never be woken. Only the promised limit counts.
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        "distributed.worker.memory.terminate": 1.0,
        # A clock that jumps (a machine that slept, a time server) would have all workers taken for
        # dead. One that died is known by its connection, one that hangs by its block, and one that
        # is frozen by schedulers that stay (on_scheduler).
        "distributed.scheduler.worker-ttl": None,
        "distributed.scheduler.active-memory-manager.start": False,
        "distributed.worker.profile.enabled": False,
        # Models and kernels hold the interpreter for seconds while they load; that is no news.
        "distributed.admin.tick.limit": "5 minutes",
        # Fifty times a second, for each of scheduler, nannies and workers, only to see that it can.
        "distributed.admin.tick.interval": "500ms",
    }


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
