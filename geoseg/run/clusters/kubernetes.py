"""Workers as pods of Kubernetes, by way of the Dask operator and dask-kubernetes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from distributed import Client

from geoseg.errors import ClusterError
from geoseg.run.clusters.base import GPU, ClusterSpec, Pods, optional
from geoseg.run.clusters.waiting import wait_for

MEMBER = ("python", "-m", "geoseg.run.member")
ROOM = 512 * 2**20
"""Bytes of a pod above those of its worker, which is replaced before the kernel ends the pod."""

GPU_RESOURCE = "nvidia.com/gpu"
GPU_GROUP = "gpu"
USER = 10001
"""Of geoseg's own images; see deploy/docker."""


@contextmanager
def start(spec: ClusterSpec, blocks: int | None = None) -> Iterator[Client]:  # noqa: ARG001 (see Starter)
    """See :class:`geoseg.run.clusters.base.Starter`; pods are deleted at the end."""
    module = optional("dask_kubernetes.operator", spec.kind)
    pods = _pods(spec)
    name = f"geoseg-{uuid.uuid4().hex[:8]}"
    with ExitStack() as stack:
        try:
            cluster = stack.enter_context(
                module.KubeCluster(
                    namespace=pods.namespace,
                    custom_cluster_spec=cluster_manifest(spec, name),
                    resource_timeout=round(spec.timeout),
                    quiet=True,
                )
            )
            if spec.gpu is not None:
                cluster.add_worker_group(GPU_GROUP, custom_spec=worker_manifest(spec, gpu=True))
            if spec.elastic is not None:
                cluster.adapt(minimum=spec.elastic.minimum, maximum=spec.elastic.maximum)
        except Exception as error:  # kr8s, httpx and the operator have errors of their own
            raise ClusterError(
                f"cluster: Kubernetes gives no Dask cluster "
                f"({type(error).__name__}: {' '.join(str(error).split())[:300]}); is kubectl "
                f"allowed to, and the Dask operator installed?"
            ) from error
        client = stack.enter_context(Client(cluster, set_as_default=False))
        wait_for(client, spec)
        yield client


def cluster_manifest(spec: ClusterSpec, name: str) -> dict[str, Any]:
    """The ``DaskCluster`` that the operator makes pods of.

    Source: https://kubernetes.dask.org/en/latest/operator_resources.html
    """
    own = {"dask.org/cluster-name": name, "dask.org/component": "scheduler"}
    ports = {"tcp-comm": 8786, "http-dashboard": 8787}
    container = {
        **_container(spec, "scheduler", _pods(spec).image),
        "command": [*MEMBER, "scheduler"],
        "args": ["--host", "0.0.0.0", "--port", "8786", "--dashboard-address", ":8787"],  # noqa: S104 (of its pod)
        "ports": [{"name": n, "containerPort": p, "protocol": "TCP"} for n, p in ports.items()],
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
        "readinessProbe": {
            "httpGet": {"port": "http-dashboard", "path": "/health"},
            "periodSeconds": 2,
        },
        "livenessProbe": {
            "httpGet": {"port": "http-dashboard", "path": "/health"},
            "initialDelaySeconds": 30,
            "periodSeconds": 30,
        },
    }
    service = {
        "type": "ClusterIP",
        "selector": own,
        "ports": [
            {"name": n, "protocol": "TCP", "port": p, "targetPort": n} for n, p in ports.items()
        ],
    }
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskCluster",
        "metadata": {"name": name},
        "spec": {
            # A client that died leaves pods behind: the operator ends those that have nothing to do.
            "idleTimeout": 3600,
            "scheduler": {"spec": _pod(spec, container), "service": service},
            "worker": worker_manifest(spec),
        },
    }


def worker_manifest(spec: ClusterSpec, *, gpu: bool = False) -> dict[str, Any]:
    """One group of workers: those with a GPU, or the others.

    Raises:
        ClusterError: Nobody says how much memory a worker has.
    """
    pool, image = spec.gpu if gpu else None, _pods(spec).image
    cores, memory = (pool.cores, pool.memory) if pool else (spec.cores, spec.memory)
    if memory is None:
        raise ClusterError("cluster: kind 'kubernetes' needs the memory of a worker")
    # Whole cores as limit, for libraries take as many threads.
    size = {"cpu": str(cores), "memory": f"{-(-(memory + ROOM) // 2**20)}Mi"}
    size |= {GPU_RESOURCE: "1"} if pool else {}
    container = {
        **_container(spec, "worker", (pool and pool.image) or image),
        "command": [*MEMBER, "worker"],
        "args": [
            "--name", "$(DASK_WORKER_NAME)",
            "--nthreads", str(spec.threads),
            "--memory-limit", str(memory),
            "--local-directory", "/tmp",  # noqa: S108 (of its pod)
            "--dashboard-address", ":8788",
            "--death-timeout", "300",
            *(("--resources", f"{GPU}=1") if pool else ()),
        ],
        "ports": [{"name": "http-dashboard", "containerPort": 8788, "protocol": "TCP"}],
        "resources": {"requests": size, "limits": size},
    }  # fmt: skip
    count = pool.workers if pool else spec.elastic.minimum if spec.elastic else spec.workers
    pod = _pod(spec, container)
    if pool:
        pod["tolerations"] = [{"key": GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"}]
    return {"replicas": (0 if spec.gpu else 1) if count is None else count, "spec": pod}


def _container(spec: ClusterSpec, name: str, image: str) -> dict[str, Any]:
    pods = _pods(spec)
    return {
        "name": name,
        "image": image,
        "env": [{"name": key, "value": value} for key, value in pods.environment.items()],
        "volumeMounts": [
            *({"name": n, "mountPath": path} for n, path in _volumes(pods)),
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 (of its pod)
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _pod(spec: ClusterSpec, container: Mapping[str, Any]) -> dict[str, Any]:
    """A pod that keeps the *restricted* Pod Security Standard, as those of deploy/kubernetes do."""
    pods = _pods(spec)
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [dict(container)],
        "volumes": [
            *(
                {"name": n, "persistentVolumeClaim": {"claimName": pods.volumes[path]}}
                for n, path in _volumes(pods)
            ),
            {"name": "tmp", "emptyDir": {"sizeLimit": "8Gi"}},
        ],
    }


def _volumes(pods: Pods) -> list[tuple[str, str]]:
    return [(f"volume-{n}", path) for n, path in enumerate(pods.volumes)]


def _pods(spec: ClusterSpec) -> Pods:
    if spec.pods is None:
        raise ClusterError("cluster: kind 'kubernetes' needs an image")
    return spec.pods
