"""What a run does to all blocks of a scene, one thing after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from geoseg.api import fingerprint
from geoseg.api.chosen import Chosen
from geoseg.api.jobs import WorkFolder
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


@dataclass(frozen=True, slots=True)
class Stage:
    """One job over all blocks of a scene, and what its stored blocks depend on.

    ``counts``: whether its reports say what the map holds.
    """

    name: str
    job: Job
    blocks: tuple[Window, ...]
    parts: dict[str, str]
    counts: bool = False

    def ledger(self, work: WorkFolder) -> Ledger:
        """What is done of it."""
        return Ledger.open(work.ledger(self.name), fingerprint.digest(self.parts), self.parts)
