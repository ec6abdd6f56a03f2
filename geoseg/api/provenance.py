"""Where products come from: what the maps of a run say of it, and what is read again of any file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from geoseg.api import fingerprint
from geoseg.api.accounts import model_record
from geoseg.api.holes import Holes
from geoseg.api.planning import RunPlan
from geoseg.errors import InputError
from geoseg.io.environment import is_remote
from geoseg.io.provenance import Provenance
from geoseg.io.read_provenance import read_provenance
from geoseg.scene import Scene

State = Literal["unchanged", "changed", "not found", "not checked"]


def of_map(
    run: RunPlan,
    scene: Scene,
    inputs: Sequence[Mapping[str, Any]],
    *,
    of: str,
    engine: Mapping[str, Any],
    holes: Holes,
) -> Provenance:
    """Of the map of ``scene``; ``of`` is the fingerprint of all that it depends on."""
    about: dict[str, Any] = {"workflow": run.workflow.name, "scene": scene.id}
    if scene.acquired is not None and scene.combined is None:
        about["acquired"] = scene.acquired.isoformat()
    if holes:
        about["failed_blocks"] = holes.windows()
    return Provenance(
        "map",
        inputs,
        run.workflow.results_settings(),
        fingerprint.software(),
        of,
        {**model_record(run.committee.card, run.committee), "engine": dict(engine)},
        about,
    )


@dataclass(frozen=True, slots=True)
class Input:
    """One file that a product was made of, and what became of it since.

    Attributes:
        name: Path, address or scene, as the product says it.
        told: What the product knows of it.
        state: ``not checked`` where it is on a server, or no checksum was taken of it.
    """

    name: str
    told: Mapping[str, Any]
    state: State


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a product says of where it comes from; see :class:`geoseg.io.provenance.Provenance`.

    Raises:
        InputError: It is not there, is damaged, or says nothing.
    """
    return read_provenance(Path(path))


def check_inputs(document: Mapping[str, Any]) -> list[Input]:
    """The inputs of a product, each compared with its checksum where its file is still here.

    Relative paths count from the folder that geoseg was started in.

    Raises:
        InputError: The document is not of geoseg's form.
    """
    found = document.get("inputs")
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise InputError("provenance: 'inputs' is no list of files; geoseg has not written it")
    return [_checked(one) for one in found]


def _checked(told: Mapping[str, Any]) -> Input:
    name = str(told.get("href", told.get("scene", "?")))
    sums = [key for key in ("sha256", "sha256_of_samples") if key in told]
    if "href" not in told or is_remote(name) or not sums:
        return Input(name, told, "not checked")
    (now,) = fingerprint.inputs([name])
    if "bytes" not in now:
        return Input(name, told, "not found")
    same = all(now.get(key) == told[key] for key in (*sums, "bytes"))
    return Input(name, told, "unchanged" if same else "changed")
