"""What workers that join a run later must see: each looks by itself, before its first block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock
from weakref import WeakKeyDictionary

from distributed import Client, Worker, WorkerPlugin

from geoseg.errors import ClusterError
from geoseg.run.clusters.probe import (
    Needs,
    appears,
    installed,
    lacking,
    other_packages,
    probe,
    shut,
)

_EXPECTED: WeakKeyDictionary[Client, str] = WeakKeyDictionary()


class Joining(WorkerPlugin):
    """Held by each worker of a run, also by those that come later; looks once, when it is asked.

    Args:
        needs: What is to be seen. Weights are not hashed: whoever loads them does that.
        ours: The client's versions of packages that results depend on, ``""`` where it has none.
        held: Files that the client has written to folders of products, and keeps during the run.
    """

    def __init__(self, needs: Needs, ours: Mapping[str, str], held: tuple[str, ...] = ()) -> None:
        self.name, self.held = f"geoseg-joining-{needs.mark}", held
        self.needs, self.ours = replace(needs, weights={}), dict(ours)

    def setup(self, worker: Worker) -> None:
        """Get ready; files are looked at in a thread that may wait."""
        self._address, self._lock = worker.address, Lock()
        self._fault: str | None = None

    def check(self) -> None:
        """Refuse to do blocks where something is otherwise than at the client.

        Raises:
            ClusterError: Says what.
        """
        with self._lock:
            if self._fault is None:
                self._fault = next(
                    self._look(), ""
                )  # the first: a folder that hides takes its time
        if self._fault:
            raise ClusterError(f"cluster: worker {self._address} {self._fault}")

    def _look(self) -> Iterator[str]:
        yield from other_packages(self.ours, installed(self.ours))
        yield from lacking(self.needs)
        for folder in self.needs.folders:
            if folder.startswith("s3://"):
                name = probe(folder, self.needs.mark, self._address).name
                yield from (f"cannot write to {place}" for place in shut(folder, name))
            elif not Path(folder).is_dir():
                yield f"does not see the folder {folder}"
        for file in self.held:
            if not appears(Path(file)):
                yield f"sees another {Path(file).parent} than the client"


def expect(
    client: Client, needs: Needs, ours: Mapping[str, str], held: tuple[str, ...] = ()
) -> None:
    """From now on have workers look before they do a block for ``client``; see :class:`Joining`."""
    plugin = Joining(needs, ours, held)
    with suppress(OSError):  # of a worker that died just now; all others have it
        client.register_plugin(plugin, name=plugin.name)
    _EXPECTED[client] = plugin.name


def expected(client: Client) -> str:
    """The plugin that workers ask first; ``""``: none."""
    return _EXPECTED.get(client, "")


def dismiss(client: Client) -> None:
    """The run is over: nobody is to look any more."""
    name = _EXPECTED.pop(client, None)
    if name is not None and client.status == "running":
        # A worker that died just now has nothing to give back.
        with suppress(Exception):
            client.unregister_worker_plugin(name)
