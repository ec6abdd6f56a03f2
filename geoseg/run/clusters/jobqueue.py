"""Workers as jobs of a batch system, SLURM or PBS, by way of dask-jobqueue."""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Security
from distributed.core import Status

from geoseg.errors import ClusterError
from geoseg.run.clusters.base import (
    GPU,
    LOOPBACK,
    Certificates,
    ClusterSpec,
    GpuWorkers,
    optional,
)
from geoseg.run.clusters.local import DASHBOARD_PORT, free_port
from geoseg.run.clusters.scaling import adapt
from geoseg.run.clusters.waiting import wait_for
from geoseg.run.resources import dask_settings

MEMBER = "geoseg.run.member worker"
DEATH_SECONDS = 300
"""A worker that finds no scheduler for so long ends, and its job with it."""

ROOM = 512 * 2**20
"""Bytes of a job above those of its worker, which is replaced before the kernel ends the job."""

_CLASSES: Mapping[str, str] = {"slurm": "SLURMCluster", "pbs": "PBSCluster"}
_SUBMITS: Mapping[str, str] = {"slurm": "sbatch", "pbs": "qsub"}
_GPU_DIRECTIVES: Mapping[str, tuple[str, ...]] = {"slurm": ("--gres=gpu:1",), "pbs": ()}


@contextmanager
def start(spec: ClusterSpec, blocks: int | None = None) -> Iterator[Client]:  # noqa: ARG001 (see Starter)
    """See :class:`geoseg.run.clusters.base.Starter`; jobs are cancelled at the end.

    The folder that geoseg is started in must be seen by the nodes: certificates and what jobs say
    lie there while the cluster lives.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=".geoseg-jobs-", dir="."))
        room = Path(folder).absolute()
        stack.enter_context(dask.config.set(dask_settings({})))
        cluster = stack.enter_context(_cluster(spec, room))
        client = stack.enter_context(Client(cluster, set_as_default=False))
        most = _asked(cluster, spec)
        wait_for(client, spec, words=lambda: f"{most} were asked for; {last_words(room)}")
        yield client


def _cluster(spec: ClusterSpec, room: Path) -> Any:
    module, command = jobqueue(spec.kind), _SUBMITS[spec.kind]
    found = getattr(module, _CLASSES[spec.kind])
    if shutil.which(command) is None:
        raise ClusterError(
            f"cluster: kind '{spec.kind}' needs '{command}', which is not found here; start geoseg "
            f"where jobs are submitted from"
        )
    tls = temporary(spec.kind, room) if spec.tls is None else spec.tls
    port = DASHBOARD_PORT if spec.dashboard is True else int(spec.dashboard)
    try:
        return found(
            security=tls.security(),
            shared_temp_directory=str(room),
            silence_logs=False,
            scheduler_options={
                "dashboard": bool(port),
                "dashboard_address": f"{LOOPBACK}:{free_port(port) if port else 0}",
            },
            **job_options(spec, room),
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise ClusterError(f"cluster: kind '{spec.kind}' does not start: {_line(error)}") from error


def jobqueue(kind: str) -> Any:
    """dask-jobqueue, imported by any thread, and without its handler of Ctrl-C.

    dask-jobqueue 0.9 sets that as it is imported, which only the main thread may do; and a run
    that is asked to stop would end without having let go of anything.
    """
    importing, real = threading.get_ident(), signal.signal

    def unless_imported(number: Any, handler: Any) -> Any:
        if threading.get_ident() == importing:
            return signal.getsignal(number)
        return real(number, handler)

    signal.signal = unless_imported  # type: ignore[assignment]  # (for as long as an import takes)
    try:
        return optional("dask_jobqueue", kind)
    finally:
        signal.signal = real


def temporary(kind: str, room: Path) -> Certificates:
    """A certificate that only this run has: who reaches a scheduler can run anything as its user."""
    optional("cryptography", kind)
    made = Security.temporary()
    files = {"ca": made.tls_ca_file, "cert": made.tls_worker_cert, "key": made.tls_worker_key}
    for name, text in files.items():
        (room / f"{name}.pem").write_text(text)  # which only its owner can enter
    return Certificates(**{name: str(room / f"{name}.pem") for name in files})


def job_options(spec: ClusterSpec, room: Path, gpu: GpuWorkers | None = None) -> dict[str, Any]:
    """What dask-jobqueue is told of each job; of one with a GPU where ``gpu`` is given.

    Raises:
        ClusterError: ``room`` has a character that job scripts do not bear.
    """
    if shlex.quote(str(room)) != str(room):
        raise ClusterError(
            f"cluster: kind '{spec.kind}' cannot be used in {room.parent}, as job scripts name "
            f"files there; start geoseg in a folder without spaces and quotes"
        )
    jobs, resources = spec.jobs, (["--resources", f"{GPU}=1"] if gpu else [])
    cores, memory = (gpu.cores, gpu.memory) if gpu else (spec.cores, spec.memory)
    if memory is None:
        raise ClusterError(f"cluster: kind '{spec.kind}' needs the memory of a worker")
    more = (gpu.directives or _GPU_DIRECTIVES[spec.kind]) if gpu else ()
    return {
        "queue": (gpu.queue if gpu else None) or jobs.queue,
        "account": jobs.account,
        "walltime": clock(jobs.walltime),
        "interface": jobs.interface,
        "python": shlex.quote(jobs.python or sys.executable),
        "worker_command": MEMBER,
        "worker_extra_args": ["--no-dashboard", "--dashboard-address", f"{LOOPBACK}:0", *resources],
        # dask-jobqueue's cores are threads of the worker: blocks in hand, not cores of the job.
        "cores": spec.threads,
        "processes": 1,
        "memory": f"{memory}B",
        "local_directory": shlex.quote(jobs.scratch) if jobs.scratch else "${TMPDIR:-/tmp}",
        "death_timeout": DEATH_SECONDS,
        "job_script_prologue": ["set -e", *jobs.prologue],
        "job_extra_directives": [*jobs.directives, *more],
        "log_directory": str(room),
        "job_name": "geoseg",
        **_size(spec.kind, cores, memory + ROOM, gpu=gpu is not None),
    }


def _size(kind: str, cores: int, memory: int, *, gpu: bool) -> dict[str, Any]:
    """What one job takes, in its batch system's words."""
    megabytes = -(-memory // 2**20)
    if kind == "slurm":
        return {"job_cpu": cores, "job_mem": f"{megabytes}M"}
    gpus = ":ngpus=1" if gpu else ""
    return {"resource_spec": f"select=1:ncpus={cores}:mem={megabytes}MB{gpus}"}


def _asked(cluster: Any, spec: ClusterSpec) -> int:
    """Ask for all jobs; those whose time is over are replaced. Returns how many there are at first."""
    room, gpus = Path(cluster.shared_temp_directory), 0
    if spec.gpu is not None:
        ((_, like),) = cluster.new_worker_spec().items()
        options = like["options"] | job_options(spec, room, spec.gpu)
        gpus = spec.gpu.workers
        for number in range(gpus):
            cluster.worker_spec[f"geoseg-gpu-{number}"] = {"cls": like["cls"], "options": options}
    # With a pool of GPUs, the others are asked for only where there are to be some.
    least = spec.elastic.minimum if spec.elastic else spec.workers or (0 if gpus else 1)
    for _ in range(least):
        cluster.worker_spec.update(cluster.new_worker_spec())
    try:
        # As scale() does, which tells nobody of what the batch system refuses.
        cluster.sync(cluster._correct_state)  # noqa: SLF001 (see above)
    except (RuntimeError, ValueError, OSError) as error:
        for job in cluster._created:  # noqa: SLF001 (it would not close with jobs that never began)
            if job.status is Status.created:
                job.status = Status.failed
        said = _line(error)
        raise ClusterError(f"cluster: kind '{spec.kind}': a job was refused: {said}") from error
    total = gpus + least
    adapt(cluster, total, spec.elastic.maximum if spec.elastic else total)
    return total


def clock(seconds: int) -> str:
    """``HH:MM:SS``, which SLURM and PBS both read, also beyond a day."""
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def last_words(room: Path) -> str:
    """The last line of what a job said, or why there is none."""
    logs = sorted(room.glob("*.err")) + sorted(room.glob("*.[eo]*"))
    for log in logs:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        if lines:
            return f"a job said: {lines[-1].strip()[:300]}"
    return "none of their jobs has said a word: they may be waiting in the queue"


def _line(error: Exception) -> str:
    """dask-jobqueue's errors are pages with what a command said."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[lines.index("stderr:") + 1] if "stderr:" in lines[:-1] else ""
    return (said or (lines[0] if lines else type(error).__name__))[:300]
