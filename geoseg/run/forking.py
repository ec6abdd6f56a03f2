"""Worker processes as forks of one process that has loaded what all of them need.

A worker that is started afresh loads Python and its libraries for seconds, and two of them do it
twice. Here one process, the fork server of :mod:`multiprocessing`, loads them, while the client is
still planning; each worker is a copy of it that takes milliseconds, also one that takes the place of
one that died, and shares its memory until it writes to it. The server itself runs no code of ours
and has one thread, so that a fork is safe; it ends with the client.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, util
from pathlib import Path
from typing import Any, Final

from geoseg.run.resources import worker_environment

METHOD: Final = "forkserver" if sys.platform == "linux" else "spawn"
"""How workers are started; macOS has libraries that do not bear a fork, and Windows has no forks."""

FORKS: Final = METHOD == "forkserver"
"""Whether workers are forks."""

WORKERS_LOAD: Final = (
    "geoseg.run.forked",
    "distributed",
    "distributed.nanny",
    "numpy",
    "rasterio",
    "rasterio.warp",
    "odc.geo.geobox",
    "zarr",
    "geoseg.run.on_worker",
    "geoseg.api.jobs",
)
"""What every worker needs, and what those of a run are handed. Nothing of it starts a thread when it is
imported (a test looks)."""


_PARENT: Final = "__DASK_PARENT_PID"
_ELSEWHERE: Final = re.compile(r"://|\b(address|cuda|slurm|pbs|kubernetes|gateway)\b")
_TORCH: Final = re.compile(r"\bengine[\"']?\s*:\s*[\"']?torch\b")


def begin_early(workflow: str | os.PathLike[str]) -> None:
    """:func:`begin` by a glance at a YAML file, where it is clear: reading it takes half a second.

    A wrong guess costs time only: of a process that nobody forks, or of torch loaded later.
    """
    try:
        with Path(workflow).open(encoding="utf-8") as file:
            text = file.read(1 << 16)
    except (OSError, ValueError):
        return  # whoever reads it says what is wrong
    if not _ELSEWHERE.search(text):
        begin(["torch"] if _TORCH.search(text) else [])


def begin(modules: Sequence[str] = (), *, environment: Mapping[str, str] | None = None) -> None:
    """Start loading what workers need, in a process beside this one; returns at once.

    Does nothing where it runs already, or where workers are no forks.

    Args:
        modules: To load on top of :data:`WORKERS_LOAD`; those that are missing are passed over.
        environment: Of the workers, as far as libraries look at it when they are loaded.
    """
    if not FORKS or _runs():
        return
    # distributed writes it down again for each worker: a name that is there already moves nothing.
    os.environ.setdefault(_PARENT, str(os.getpid()))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*WORKERS_LOAD, *modules])
    wanted = worker_environment(1, 1) if environment is None else environment
    with _started_with(wanted):
        forkserver.ensure_running()


@contextmanager
def _started_with(wanted: Mapping[str, str]) -> Iterator[None]:
    """Processes that multiprocessing starts of its own have ``wanted`` in their environment.

    It can only hand on this process's own. And to set that while other threads run, which may read
    it at that moment (GDAL does all the time), ends in a segmentation fault: no lock guards it.
    """

    def start(path: bytes, args: Sequence[str | bytes], passfds: Iterable[int]) -> int:
        process = subprocess.Popen(
            args, executable=path, env=os.environ | dict(wanted), pass_fds=tuple(passfds)
        )
        process.returncode = 0  # whoever waits for it is multiprocessing
        return process.pid

    module: Any = util
    before, module.spawnv_passfds = module.spawnv_passfds, start
    try:
        yield
    finally:
        module.spawnv_passfds = before


def settings() -> dict[str, object]:
    """How distributed starts worker processes; given to :func:`dask.config.set`."""
    if FORKS:
        import distributed.utils  # noqa: PLC0415 (takes a second, in which the server begins)

        # It would load numpy, pandas and others in this process, to have them loaded in the other.
        distributed.utils._forkserver_preload_set = True  # noqa: SLF001 (there is no setting for it)
    return {"distributed.worker.multiprocessing-method": METHOD}


def end() -> None:
    """End the process that workers are forked from; its workers have ended before.

    By itself it ends with the client. But then nobody waits for it, and nobody is told what CPU time
    it and its workers took.
    """
    if not FORKS or not _runs():
        return
    server: Any = forkserver._forkserver  # noqa: SLF001 (there is no public way, and it is our child)
    pid, alive = server._forkserver_pid, server._forkserver_alive_fd  # noqa: SLF001 (as above)
    for name in ("pid", "alive_fd", "address"):
        setattr(server, f"_forkserver_{name}", None)
    os.close(alive)
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)  # it has nothing to save, and may be loading still
        os.waitpid(pid, 0)


def _runs() -> bool:
    server: Any = forkserver._forkserver  # noqa: SLF001 (as above)
    return server._forkserver_pid is not None  # noqa: SLF001 (as above)
