"""What a scene needs beside its engine, found on a thread of its own while that is chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from geoseg.api import fingerprint
from geoseg.api.looking import Numbers, look_at
from geoseg.api.planning import SceneTask
from geoseg.models.committee import Committee


@dataclass(frozen=True, slots=True)
class Hashed:
    """What the files of a scene are: their states before they were hashed, and what they hold."""

    files: Mapping[str, fingerprint.FileState]
    inputs: list[dict[str, Any]]


class Ahead:
    """Hashes of a scene's files, and a look at its numbers; each is found once.

    Args:
        task: The scene.
        committee: The models whose numbers they should be.
        patience: Seconds that the look may take.
        pool: Whose threads find them, once they were begun; else they are found when asked for.
    """

    def __init__(
        self, task: SceneTask, committee: Committee, patience: float, pool: ThreadPoolExecutor
    ) -> None:
        self._task, self._committee, self._patience = task, committee, patience
        self._pool = pool
        self._hashed: Future[Hashed] | None = None
        self._looked: Future[tuple[Numbers, list[str]]] | None = None

    def begin(self) -> None:
        """Find all of it, and load what makes products; returns at once."""
        # Hashing and reading leave the interpreter to others, importing does not.
        self._hashed = self._pool.submit(self._hash)
        self._looked = self._pool.submit(self._look)
        self._pool.submit(import_module, "geoseg.api.products")

    def hashed(self) -> Hashed:
        """What the files are."""
        return self._hash() if self._hashed is None else self._hashed.result()

    def looked(self) -> tuple[Numbers, list[str]]:
        """How the numbers are spread, and what is doubtful about them."""
        return self._look() if self._looked is None else self._looked.result()

    def _hash(self) -> Hashed:
        files = fingerprint.files(self._task.plan.scene.sources)
        states = fingerprint.states(files)  # before they are hashed
        fingerprint.code()  # which is kept
        return Hashed(states, fingerprint.inputs(files))

    def _look(self) -> tuple[Numbers, list[str]]:
        return look_at(self._task, self._committee, self._patience)


@contextmanager
def ahead(task: SceneTask, committee: Committee, patience: float) -> Iterator[Ahead]:
    """What a scene needs, for as long as it is begun; what nobody waits for any more is dropped."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="geoseg-ahead")
    try:
        yield Ahead(task, committee, patience, pool)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
