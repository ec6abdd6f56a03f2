"""From a workflow's section to a cluster: what is started, and what each worker may use."""

from __future__ import annotations

from geoseg.plan import Resources
from geoseg.run.clusters.base import (
    BatchJobs,
    Certificates,
    ClusterSpec,
    Elastic,
    GatewayAccess,
    GpuWorkers,
    Pods,
)
from geoseg.run.resources import available_cores, available_memory, visible_gpus
from geoseg.workflow.cluster import Cluster

SPARE_LANES = 2
"""Blocks that a worker has in hand beside those in the model: one is read, one is written."""

MEMORY_SHARE = 0.8
"""Part of the machine's free memory that local workers may take together."""

MOST_GPU_LANES = 8
"""Blocks in hand on a worker with a GPU of this machine, at most: more cores feed it no faster."""

RUNNING_SECONDS, STARTED_SECONDS = 20.0, 600.0
"""To wait for the first worker of a cluster that runs, and of one that somebody has to start."""


def resources_of(cluster: Cluster) -> Resources:
    """What the workflow grants, and what this machine has where it says nothing."""
    if cluster.kind == "local":
        workers = cluster.most_workers or available_cores()
        models = max(1, available_cores() // workers)
        lanes = cluster.threads or models + SPARE_LANES
        return Resources(workers, lanes, min(models, lanes), _memory_here(cluster, workers))
    if cluster.kind == "cuda":
        workers = (cluster.workers or len(visible_gpus()) or 1) + cluster.cpu_workers
        cores = available_cores() // workers
        lanes = cluster.threads or max(1 + SPARE_LANES, min(MOST_GPU_LANES, cores))
        return Resources(workers, lanes, 1, _memory_here(cluster, workers))
    return _resources_elsewhere(cluster)


def _memory_here(cluster: Cluster, workers: int) -> int:
    if cluster.memory is not None:
        return cluster.memory.bytes
    return int(MEMORY_SHARE * available_memory() / workers)


def _resources_elsewhere(cluster: Cluster) -> Resources:
    """Of workers with cores of their own; those that run already are only known once we connect."""
    workers = cluster.most_workers or 8
    if cluster.gpu is not None:  # they segment, which takes the most
        lanes = cluster.threads or 1 + SPARE_LANES
        return Resources(cluster.gpu.workers, lanes, 1, cluster.gpu.memory.bytes)
    models = cluster.cores or 1
    lanes = cluster.threads or models + SPARE_LANES
    memory = None if cluster.memory is None else cluster.memory.bytes
    return Resources(workers, lanes, min(models, lanes), memory)


def spec_of(cluster: Cluster, resources: Resources) -> ClusterSpec:
    """The cluster that a workflow asks for, with what the plan gives its workers."""
    adaptive, tls, image = cluster.adaptive, cluster.tls, cluster.image
    pods = Pods(image, cluster.namespace, cluster.environment, cluster.volumes) if image else None
    seconds = RUNNING_SECONDS if cluster.kind in {"local", "cuda", "address"} else STARTED_SECONDS
    return ClusterSpec(
        kind=cluster.kind,
        workers=resources.workers if cluster.kind == "local" else cluster.workers,
        threads=resources.lanes,
        memory=None if cluster.memory is None else cluster.memory.bytes,
        address=cluster.address,
        dashboard=cluster.dashboard,
        timeout=seconds if cluster.wait is None else cluster.wait.timedelta.total_seconds(),
        tls=None if tls is None else Certificates(tls.ca, tls.cert, tls.key),
        elastic=None if adaptive is None else Elastic(adaptive.minimum, adaptive.maximum),
        cores=cluster.cores or 1,
        gpu=_gpu_workers(cluster),
        cpu_workers=cluster.cpu_workers,
        jobs=_jobs(cluster),
        pods=pods,
        access=GatewayAccess(cluster.auth, cluster.options),
    )


def _gpu_workers(cluster: Cluster) -> GpuWorkers | None:
    pool = cluster.gpu
    if pool is None:
        return None
    return GpuWorkers(
        pool.workers, pool.cores, pool.memory.bytes, pool.queue, pool.directives, pool.image
    )


def _jobs(cluster: Cluster) -> BatchJobs:
    span, standard = cluster.walltime, BatchJobs()
    return BatchJobs(
        queue=cluster.queue,
        account=cluster.account,
        walltime=standard.walltime if span is None else int(span.timedelta.total_seconds()),
        interface=cluster.interface,
        python=cluster.python,
        scratch=cluster.scratch,
        prologue=cluster.prologue,
        directives=cluster.directives,
    )
