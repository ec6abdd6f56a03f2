"""Workers that a Dask Gateway starts for us."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from distributed import Client

from geoseg.errors import ClusterError
from geoseg.run.clusters.base import ClusterSpec, optional
from geoseg.run.clusters.waiting import wait_for


@contextmanager
def start(spec: ClusterSpec, blocks: int | None = None) -> Iterator[Client]:  # noqa: ARG001 (see Starter)
    """See :class:`geoseg.run.clusters.base.Starter`; the cluster is shut down at the end.

    How workers are started is the gateway's affair: what :mod:`geoseg.run.member` does for others
    is not done for them, and a block that a worker loses when the gateway ends it runs again.
    """
    module = optional("dask_gateway", spec.kind)
    with ExitStack() as stack:
        try:
            cluster = module.GatewayCluster(
                address=spec.address, auth=spec.access.auth, **spec.access.options
            )
            stack.callback(_let_go, cluster)
            stack.enter_context(cluster)
            if spec.elastic is not None:
                cluster.adapt(minimum=spec.elastic.minimum, maximum=spec.elastic.maximum)
            else:
                cluster.scale(spec.workers or 1)
            client = stack.enter_context(cluster.get_client(set_as_default=False))
        except Exception as error:  # aiohttp's errors, the gateway's own, and those of its options
            raise ClusterError(
                f"cluster: the gateway at {spec.address} gives no cluster "
                f"({type(error).__name__}: {' '.join(str(error).split())[:300]})"
            ) from error
        wait_for(client, spec)
        yield client


def _let_go(cluster: Any) -> None:
    """Keep what is closed from closing itself again when it is collected, which fails (2026.3.0)."""
    cluster.gateway._asynchronous = True  # noqa: SLF001 (there is no other way to tell it)
