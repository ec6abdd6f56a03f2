"""What a run does to all blocks of a scene, one thing after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from geoseg.api import fingerprint
from geoseg.api.chosen import Chosen
from geoseg.api.jobs import Proof, WorkFolder
from geoseg.grid import Window
from geoseg.run.base import Job
from geoseg.run.ledger import Ledger


@dataclass(frozen=True, slots=True)
class MadeFrom:
    """What the results of a scene depend on; ``products`` is the hash of all of it."""

    inputs: list[dict[str, Any]]
    parts: dict[str, str]
    products: str
    engine: Chosen
    files: Mapping[str, fingerprint.FileState]

    @property
    def stored(self) -> dict[str, str]:
        """What blocks depend on that are kept until the products are made.

        The times of files are among it, as a file may have been another for a while.
        """
        return {**self.parts, "times of input files": fingerprint.digest(self.files)}


class ProvenJob(Job, Protocol):
    """A job whose stored blocks can be held against their reports."""

    def proof(self) -> Proof:
        """See :data:`Proof`."""
        ...


@dataclass(frozen=True, slots=True)
class Stage:
    """One job over all blocks of a scene, and what its stored blocks depend on.

    ``counts``: whether its reports say what the map holds.
    """

    name: str
    job: ProvenJob
    blocks: tuple[Window, ...]
    parts: dict[str, str]
    counts: bool = False

    def ledger(self, work: WorkFolder) -> Ledger:
        """What is done of it."""
        return Ledger.open(work.ledger(self.name), fingerprint.digest(self.parts), self.parts)

    def changes(self, work: WorkFolder) -> list[str] | None:
        """What it depends on that is not as it was; None where nothing was begun."""
        path = work.ledger(self.name)
        return Ledger.changes(path, fingerprint.digest(self.parts), self.parts)
