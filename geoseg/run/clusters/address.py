"""A scheduler that somebody else has started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from distributed import Client

from geoseg.errors import ClusterError
from geoseg.run.clusters.base import ClusterSpec


@contextmanager
def start(spec: ClusterSpec, blocks: int | None = None) -> Iterator[Client]:  # noqa: ARG001 (see Starter)
    """See :class:`geoseg.run.clusters.base.Starter`; ends nothing."""
    security = None if spec.tls is None else spec.tls.security()
    try:
        client = Client(spec.address, timeout=spec.timeout, set_as_default=False, security=security)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"cluster: no scheduler answers at {spec.address} within {spec.timeout:g} s; start one "
            f"with 'dask scheduler', or use kind 'local'"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=spec.timeout)
        except TimeoutError as error:
            raise ClusterError(
                f"cluster: the scheduler at {spec.address} has no workers; start some with "
                f"'dask worker {spec.address}'"
            ) from error
        yield client
