"""What all kinds of clusters have in common: what is asked for, and what starts it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from geoseg.errors import ClusterError

if TYPE_CHECKING:  # distributed takes a second, and planning only looks at specs
    from distributed import Client, Security

LOOPBACK = "127.0.0.1"
PRELOAD = "geoseg.run.on_worker"
GPU = "GPU"
"""The resource that workers offer who have one, and that tasks ask for; counts GPUs."""

Kind = Literal["local", "address", "cuda", "slurm", "pbs", "kubernetes", "gateway"]


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: of the authority that signed all of a cluster's certificates, and our own two."""

    ca: str
    cert: str
    key: str

    def security(self) -> Security:
        """As distributed wants it; nothing is said in the clear.

        Raises:
            ClusterError: A file is missing, or is not what it should be.
        """
        from distributed import Security  # noqa: PLC0415 (see above)

        for what in ("ca", "cert", "key"):
            if not Path(getattr(self, what)).is_file():
                raise ClusterError(f"cluster.tls.{what}: {getattr(self, what)}: no such file")
        security = Security(
            tls_ca_file=self.ca,
            tls_client_cert=self.cert,
            tls_client_key=self.key,
            tls_scheduler_cert=self.cert,
            tls_scheduler_key=self.key,
            tls_worker_cert=self.cert,
            tls_worker_key=self.key,
            require_encryption=True,
        )
        try:
            security.get_connection_args("client")
        except (OSError, ValueError) as error:  # ssl's own errors are OSErrors
            raise ClusterError(
                f"cluster.tls: {self.ca}, {self.cert} and {self.key} are no PEM files that belong "
                f"together ({getattr(error, 'reason', None) or error})"
            ) from error
        return security


@dataclass(frozen=True, slots=True)
class Elastic:
    """As many workers as there is work for, between these two."""

    minimum: int
    maximum: int


@dataclass(frozen=True, slots=True)
class GpuWorkers:
    """Workers with a GPU each, beside the others.

    Attributes:
        workers: How many.
        cores: Of each.
        memory: Bytes of each.
        queue: Of the batch system; None: that of the other workers.
        directives: Of the batch system.
        image: Of their containers; None: that of the other workers.
    """

    workers: int
    cores: int
    memory: int
    queue: str | None = None
    directives: tuple[str, ...] = ()
    image: str | None = None


@dataclass(frozen=True, slots=True)
class BatchJobs:
    """What a batch system is told of each job, which is one worker; None: what it does by itself.

    Attributes:
        queue: Partition or queue.
        account: Who is charged.
        walltime: Seconds.
        interface: Network interface that scheduler and workers talk over.
        python: Interpreter of the jobs; None: this one.
        scratch: Folder of each node.
        prologue: Lines of the script before the worker starts.
        directives: Options of the batch system.
    """

    queue: str | None = None
    account: str | None = None
    walltime: int = 4 * 3600
    interface: str | None = None
    python: str | None = None
    scratch: str | None = None
    prologue: tuple[str, ...] = ()
    directives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pods:
    """Where pods come from; ``volumes`` are claims by the folder that pods see them at."""

    image: str
    namespace: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GatewayAccess:
    """How a Dask Gateway knows us, and the options of its clusters."""

    auth: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """Where blocks run.

    Attributes:
        kind: ``local``: worker processes on this machine, reached by loopback only; ``cuda``: the
            same, one for each GPU; ``address``: a scheduler that is already there; ``slurm``,
            ``pbs``: jobs of a batch system; ``kubernetes``: pods; ``gateway``: a Dask Gateway.
        workers: Worker processes, without ``gpu``; None: one a core (local), or one a GPU (cuda).
        threads: Blocks that one worker has in flight (read, in the model, written).
        memory: Bytes that one worker may use; a worker that takes more is replaced, and its
            blocks run again. None: no limit.
        address: Of the scheduler, like ``tcp://host:8786``, or of the gateway.
        dashboard: True: at 8787 or the next free port; a number: at that port; False: none.
            Of schedulers on this machine only.
        timeout: Seconds to wait for the scheduler, and then for its first workers.
        tls: Certificates; all connections are encrypted where there are any.
        elastic: Instead of ``workers``.
        cores: Of each worker that is started elsewhere.
        gpu: Workers with GPUs beside the others; segmentation waits for one of them.
        cpu_workers: Workers without a GPU beside those of ``cuda``.
        jobs, pods, access: What only one kind has.
    """

    kind: Kind = "local"
    workers: int | None = None
    threads: int = 3
    memory: int | None = None
    address: str | None = None
    dashboard: bool | int = True
    timeout: float = 20.0
    tls: Certificates | None = None
    elastic: Elastic | None = None
    cores: int = 1
    gpu: GpuWorkers | None = None
    cpu_workers: int = 0
    jobs: BatchJobs = BatchJobs()
    pods: Pods | None = None
    access: GatewayAccess = field(default_factory=GatewayAccess)

    def __post_init__(self) -> None:
        if self.kind == "address" and not self.address:
            raise ClusterError("cluster: kind 'address' needs an address, like tcp://host:8786")
        if self.kind in {"local", "cuda"} and self.address:
            raise ClusterError("cluster: an address was given; it needs kind 'address'")
        for what, value in (("workers", self.workers), ("threads", self.threads)):
            if value is not None and value < 1:
                raise ClusterError(f"cluster: {what}: found {value}, at least 1 is needed")

    @property
    def here(self) -> bool:
        """Whether all workers are processes of this machine."""
        return self.kind in {"local", "cuda"}


class Starter(Protocol):
    """What each module of this package calls ``start``."""

    def __call__(self, spec: ClusterSpec, blocks: int | None) -> AbstractContextManager[Client]:
        """A client of the cluster, which ends with the context where it was started by it.

        With at most as many workers as there are ``blocks``, where they cost nothing to start.

        Raises:
            ClusterError: Something is missing, or nothing answers.
        """
        ...


_EXTRAS: Mapping[str, str] = {
    "dask_jobqueue": "hpc",
    "cryptography": "hpc",
    "dask_kubernetes": "kubernetes",
    "dask_gateway": "gateway",
}


def optional(module: str, kind: str) -> Any:
    """A package that not everybody has installed.

    Raises:
        ClusterError: It is not installed, or cannot be loaded; says what installs it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package, extra = module.partition(".")[0], _EXTRAS[module.partition(".")[0]]
        lacks = isinstance(error, ModuleNotFoundError) and error.name == package
        found = "is not installed" if lacks else f"cannot be loaded ({error})"
        raise ClusterError(
            f"cluster: kind '{kind}' needs {package.replace('_', '-')}, which {found}; "
            f"pip install 'geoseg[{extra}]'"
        ) from error
