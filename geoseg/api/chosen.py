"""The engine that computes a scene, why, and how that is kept beside its map."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.errors import ModelError
from geoseg.io.atomic import write_bytes
from geoseg.models.engine_trial import REFERENCE, Trial, share
from geoseg.models.engines import Runtime, is_installed

SMALL = "too small to gain by another"


class EngineRefusedError(ModelError):
    """The engine that was asked for cannot, or does not give the map that torch gives."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The engine of a scene, and why.

    Attributes:
        runtime: What computes, on every worker.
        why: In a few words.
        trials: What the trial came to, where there was one; torch in fp32 first.
        least: Share of pixels that had to agree.
        here: What it came to on this very scene, where the trial was on another.
        networks: sha256 of the networks in int8, which are this scene's own.
    """

    runtime: Runtime = REFERENCE
    why: str = "as asked"
    trials: tuple[Trial, ...] = ()
    least: float | None = None
    here: Trial | None = None
    networks: tuple[str, ...] = ()

    @property
    def part(self) -> dict[str, Any]:
        """What of it the results depend on."""
        own = {"networks": list(self.networks)} if self.networks else {}
        return {"runtime": str(self.runtime), "versions": self.runtime.versions} | own

    @property
    def record(self) -> dict[str, Any]:
        """What ``run.json`` says of it."""
        return asdict(self) | {"versions": self.runtime.versions}

    @property
    def told(self) -> str:
        """What the log says of it."""
        trials = f" ({'; '.join(map(str, self.trials))})" if self.trials else ""
        return f"{self.runtime}, {self.why}{trials}"

    @classmethod
    def read(cls, record: Mapping[str, Any], why: str) -> Chosen:
        """The way back of ``record``."""
        here = record["here"]
        return cls(
            Runtime(**record["runtime"]),
            why,
            tuple(_trial(t) for t in record["trials"]),
            record["least"],
            None if here is None else _trial(here),
            tuple(record["networks"]),
        )


def read_chosen(file: Path, key: str, why: str) -> Chosen | None:
    """What was written for the same ``key``; what cannot be read was not.

    Nor was what cannot be done here any more: its engine is not installed.
    """
    try:
        record = json.loads(file.read_text("utf-8"))
        found = Chosen.read(record, why) if record["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found is not None and is_installed(found.runtime.engine) else None


def write_chosen(file: Path, key: str, chosen: Chosen) -> None:
    """Write it for :func:`read_chosen`."""
    record = {"key": key} | chosen.record
    write_bytes(file, (json.dumps(record, indent=2) + "\n").encode())


def refused(trials: Sequence[Trial], least: float) -> EngineRefusedError:
    """Why none of those that were asked for will do."""
    told = "; ".join(map(str, trials))
    seen = [trial.agreement for trial in trials if trial.agreement is not None]
    if not seen:
        return EngineRefusedError(f"model.engine: {told}")
    lower = np.floor(max(seen) * 1000) / 1000
    return EngineRefusedError(
        f"model.engine: {told} with torch fp32 on chips of the scene, less than the "
        f"{share(least)} that are asked for; take engine: torch, or allow it with "
        f"model.agreement: {lower:g}"
    )


def _trial(record: Mapping[str, Any]) -> Trial:
    return Trial(**{**record, "runtime": Runtime(**record["runtime"])})
