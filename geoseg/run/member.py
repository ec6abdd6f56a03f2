"""One scheduler or worker of a cluster that stays, set up as geoseg sets up its own.

    python -m geoseg.run.member scheduler [options of 'dask scheduler']
    python -m geoseg.run.member worker ADDRESS [options of 'dask worker']

Whoever starts members by hand, by SLURM, systemd, Docker or Kubernetes, need not know how many
threads libraries may take, what they keep of freed memory, or what distributed must not do.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Literal, NoReturn, cast

import dask

from geoseg.errors import ClusterError
from geoseg.run.resources import available_cores, dask_settings, worker_environment

Role = Literal["scheduler", "worker"]

THREADS = 3
"""Blocks that a worker has in hand at once, as in a local cluster: read, predicted, written."""

PRELOAD = "geoseg.run.on_worker"
SCHEDULER_PRELOAD = "geoseg.run.on_scheduler"


def worker_arguments(given: Sequence[str]) -> list[str]:
    """Arguments of ``dask worker``: those given, and ours where they say nothing.

    Raises:
        ClusterError: ``--nworkers`` is not a number of processes.
    """
    workers_of(given)
    added = [] if _value(given, "--nthreads") else ["--nthreads", str(THREADS)]
    return [*given, *added, "--preload", PRELOAD]


def workers_of(given: Sequence[str]) -> int:
    """Worker processes that ``dask worker`` is asked for.

    Raises:
        ClusterError: ``--nworkers`` is ``auto``, negative or no number: how cores are shared out
            must be known before the processes start.
    """
    value = _value(given, "--nworkers") or "1"
    if not value.isdecimal() or not int(value):
        raise ClusterError(f"--nworkers {value}: expected a number of processes, like 2")
    return int(value)


def _value(given: Sequence[str], option: str) -> str | None:
    """Of ``--option value`` or ``--option=value``; the last one counts."""
    found = None
    for at, word in enumerate(given):
        if word == option and at + 1 < len(given):
            found = given[at + 1]
        elif word.startswith(f"{option}="):
            found = word.removeprefix(f"{option}=")
    return found


def serve(role: Role, given: Sequence[str]) -> NoReturn:
    """Be a member until somebody ends it; does not return."""
    if role == "worker":
        from distributed.cli.dask_worker import main  # noqa: PLC0415 (a scheduler needs less)

        workers, arguments = workers_of(given), worker_arguments(given)
        environment = worker_environment(available_cores(), workers)
    else:
        from distributed.cli.dask_scheduler import main  # noqa: PLC0415 (a worker needs less)

        environment, arguments = {}, [*given, "--preload", SCHEDULER_PRELOAD]
    # What somebody has set on purpose (OMP_NUM_THREADS=2) stays: distributed prefers it, too.
    environment |= {name: os.environ[name] for name in environment if name in os.environ}
    dask.config.set(dask_settings(environment))
    main(args=arguments, prog_name=f"{__spec__.name} {role}")
    sys.exit(0)


def _main(words: Sequence[str]) -> NoReturn:
    role, given = (words[0] if words else ""), words[1:]
    if role not in {"scheduler", "worker"}:
        _refuse(f"expected 'scheduler' or 'worker', found {role!r}")
    try:
        serve(cast("Role", role), given)
    except ClusterError as error:
        _refuse(str(error))


def _refuse(why: str) -> NoReturn:
    print(f"error: {why}", file=sys.stderr)  # noqa: T201 (this is a command)
    sys.exit(2)


if __name__ == "__main__":
    _main(sys.argv[1:])
