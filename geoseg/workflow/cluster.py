"""Where a workflow's work is done, as frozen sections: every kind of cluster, and the keys it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from geoseg.workflow.faults import UnfitError, choices, show
from geoseg.workflow.fields import Dashboard, FilePath, Memory, Slug, Span, Text
from geoseg.workflow.section import Section
from geoseg.workflow.units import Duration

Kind = Literal["local", "address", "cuda", "slurm", "pbs", "kubernetes", "gateway"]
Count = Annotated[int, Field(ge=1, le=10_000)]
Cores = Annotated[int, Field(ge=1, le=1024)]

_BATCH: Final = ("slurm", "pbs")
_STARTED: Final = (*_BATCH, "kubernetes")
"""Kinds that start workers elsewhere, and say what each of them gets."""

_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "workers": ("local", "cuda", *_STARTED, "gateway"),
    "adaptive": ("local", *_STARTED, "gateway"),
    "memory": ("local", "cuda", *_STARTED),
    "cores": _STARTED,
    "gpu": _STARTED,
    "cpu_workers": ("cuda",),
    "address": ("address", "gateway"),
    "wait": ("address", *_STARTED, "gateway"),
    "queue": _BATCH,
    "account": _BATCH,
    "walltime": _BATCH,
    "interface": _BATCH,
    "python": _BATCH,
    "scratch": _BATCH,
    "prologue": _BATCH,
    "directives": _BATCH,
    "namespace": ("kubernetes",),
    "image": ("kubernetes",),
    "environment": ("kubernetes",),
    "volumes": ("kubernetes",),
    "auth": ("gateway",),
    "options": ("gateway",),
    "tls": ("local", "address", "cuda", *_BATCH),
}
"""Which kinds a key is for; those that are not here are for all."""

_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "address": ("address",),
    "slurm": ("memory",),
    "pbs": ("memory",),
    "kubernetes": ("image", "memory"),
}


def expand_cluster(value: object) -> object:
    """The long way to write a cluster: an address, or the name of a kind."""
    if isinstance(value, str):
        if "://" not in value:
            return {"kind": value}
        web = value.startswith(("http://", "https://"))  # no scheduler is reached by these
        return {"kind": "gateway" if web else "address", "address": value}
    if isinstance(value, dict) and "address" in value and "kind" not in value:
        return {"kind": "address", **value}
    return value


def _address(value: object) -> str:
    if not isinstance(value, str) or "://" not in value or value.endswith("://"):
        raise UnfitError("expected a scheduler's address like tcp://10.0.0.5:8786", show(value))
    return value


def _mounted(volumes: dict[str, str]) -> dict[str, str]:
    for path in volumes:
        if not path.startswith("/"):
            raise UnfitError("expected folders of the pods like /data", show(path), at=(path,))
    return volumes


def _some_time(value: Duration) -> Duration:
    if value.timedelta.total_seconds() < 60:
        raise UnfitError("expected a minute at least, like '4 h'", show(str(value)))
    return value


class Tls(Section):
    """Certificates with which client, scheduler and workers prove to each other who they are."""

    ca: FilePath
    """PEM file of the authority that has signed all certificates of the cluster."""
    cert: FilePath
    """PEM file of this client's certificate."""
    key: FilePath
    """PEM file of its private key."""


class Adaptive(Section):
    """As many workers as there is work for; none is taken away that has a block in hand."""

    minimum: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Workers that are always there."""
    maximum: Count
    """Most workers at a time."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.maximum < self.minimum:
            advice = f"expected {self.minimum} (minimum) at least"
            raise UnfitError(advice, show(self.maximum), at=("maximum",))
        return self


class GpuPool(Section):
    """Workers with a GPU, in the same cluster: they segment, all others do the rest."""

    workers: Count
    """Workers with a GPU each."""
    cores: Cores = 8
    """Cores of each of them, for reading and writing beside the GPU."""
    memory: Memory
    """Memory of each of them."""
    queue: Text | None = None
    """Partition (SLURM) or queue (PBS) that has GPUs; that of the other workers without it."""
    directives: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    """More options of their jobs; without them SLURM is asked for --gres=gpu:1."""
    image: Text | None = None
    """Container image; that of the other workers without it."""


class Cluster(Section):
    """Where the work is done."""

    kind: Kind = "local"
    """local starts workers on this machine, cuda one for each of its GPUs; address uses a running
    Dask cluster; slurm, pbs and kubernetes start workers as jobs or pods, gateway asks a Dask
    Gateway for them."""
    workers: Count | None = None
    """Worker processes, jobs or pods; on this machine by cores and memory, or by GPUs, without it."""
    adaptive: Adaptive | None = None
    """More workers while there is more to do, fewer when there is less; instead of workers."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Blocks that a worker has in hand at once: one is read while another is predicted."""
    memory: Memory | None = None
    """Memory of each worker."""
    cores: Cores | None = None
    """Cores of each job or pod; 1 without it."""
    gpu: GpuPool | None = None
    """Workers with GPUs beside the others."""
    cpu_workers: Annotated[int, Field(ge=0, le=1024)] = 0
    """Workers without a GPU beside those of kind cuda."""
    address: Annotated[str, BeforeValidator(_address)] | None = None
    """Address of a running scheduler, or of a Dask Gateway (https://...)."""
    wait: Span | None = None
    """How long to wait for the first workers: a batch system may be busy; 10 min, for a running
    scheduler 20 s."""
    queue: Text | None = None
    """Partition (SLURM) or queue (PBS) of the jobs."""
    account: Text | None = None
    """Account that the jobs are charged to."""
    walltime: Annotated[Span, AfterValidator(_some_time)] | None = None
    """How long a job may take; 4 h without it."""
    interface: Text | None = None
    """Network interface like ib0 that scheduler and workers talk over."""
    python: FilePath | None = None
    """Python of the jobs, which has the same geoseg; the one that runs this without it."""
    scratch: FilePath | None = None
    """Folder of each node for what workers write on the way; $TMPDIR without it."""
    prologue: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    """Lines of the job script before the worker, like 'module load cuda'."""
    directives: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    """More options of the batch system, like '--constraint=haswell'."""
    namespace: Slug | None = None
    """Kubernetes namespace of the pods; that of the current context without it."""
    image: Text | None = None
    """Container image of scheduler and workers, with the same geoseg as this."""
    environment: dict[Text, Text] = Field(default_factory=dict)
    """Environment variables of the pods."""
    volumes: Annotated[dict[Text, Text], AfterValidator(_mounted)] = Field(default_factory=dict)
    """Claims of volumes by the folder that pods see them at: {/products: geoseg-products}."""
    auth: Literal["basic", "kerberos", "jupyterhub"] | None = None
    """How the gateway knows who you are; as Dask is configured without it."""
    options: dict[Text, str | int | float | bool] = Field(default_factory=dict)
    """Options of the gateway's clusters, like {image: geoseg, worker_cores: 2}."""
    dashboard: Dashboard = True
    """Serve Dask's dashboard; a number is its port."""
    tls: Tls | None = None
    """Encrypt all that client, scheduler and workers say to each other; addresses are tls://... then."""

    @model_validator(mode="after")
    def _suits_kind(self) -> Self:
        for key, kinds in _KEYS.items():
            if self.kind not in kinds and getattr(self, key) != Cluster.model_fields[
                key
            ].get_default(call_default_factory=True):
                raise UnfitError(_unused(self.kind, key, kinds), at=(key,))
        for key in ("address",) if self.kind == "gateway" else _NEEDED.get(self.kind, ()):
            if getattr(self, key) is None:
                raise UnfitError(f"required where kind is {self.kind}", at=(key,))
        return self

    @model_validator(mode="after")
    def _counted_once(self) -> Self:
        if self.adaptive is not None:
            if self.workers is not None:
                raise UnfitError("expected only one of workers and adaptive", at=("adaptive",))
            if self.gpu is not None:
                advice = "a pool of GPUs needs a fixed number of other workers: use workers"
                raise UnfitError(advice, at=("adaptive",))
        return self

    @model_validator(mode="after")
    def _encrypted(self) -> Self:
        if self.kind != "address":
            return self
        encrypted = (self.address or "").startswith("tls://")
        if self.tls is None and encrypted:
            raise UnfitError("required where the address begins with tls://", at=("tls",))
        if self.tls is not None and not encrypted:
            advice = "expected an address like tls://10.0.0.5:8786, as tls is given"
            raise UnfitError(advice, show(self.address), at=("address",))
        return self

    @property
    def most_workers(self) -> int | None:
        """Workers at most, without those that have a GPU; None where nothing is said."""
        return self.workers if self.adaptive is None else self.adaptive.maximum

    @property
    def here(self) -> bool:
        """Whether all workers are processes of this machine."""
        return self.kind in {"local", "cuda"}


def _unused(kind: str, key: str, kinds: tuple[str, ...]) -> str:
    if kind == "address" and key in {"workers", "memory", "adaptive"}:
        return "a running cluster has its own; use kind: local"
    return f"only used with kind: {choices(kinds)}"
