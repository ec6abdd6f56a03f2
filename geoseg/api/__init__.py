"""The whole way of a scene, for callers who do not care about the floors below."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.workflow import Workflow, from_data, load

if TYPE_CHECKING:
    from geoseg.api.planning import RunPlan
    from geoseg.api.results import RunResult
    from geoseg.models.registry import ModelPackage
    from geoseg.run.reporter import Reporter

__all__ = ["add_model", "plan", "predict", "run", "vectorize"]

AnyWorkflow = str | os.PathLike[str] | Workflow


def plan(workflow: AnyWorkflow, *, overrides: Sequence[str] = ()) -> RunPlan:
    """Say what a run would do. Reads headers, but no pixel, and imports no torch.

    Args:
        workflow: A YAML file, or a workflow that was read.
        overrides: Settings like ``output.directory=maps``, for a file.

    Raises:
        InputError: Workflow, scenes, area and model do not fit together.
    """
    from geoseg.api.planning import plan_workflow  # noqa: PLC0415 (rasterio and the like)

    return plan_workflow(_read(workflow, overrides))


def run(
    workflow: AnyWorkflow,
    *,
    overrides: Sequence[str] = (),
    reporter: Reporter | None = None,
    force: bool = False,
) -> RunResult:
    """Run a workflow; goes on where an earlier run was interrupted, skips what is finished.

    Args:
        workflow: A YAML file, or a workflow that was read.
        overrides: Settings like ``output.directory=maps``, for a file.
        reporter: Told of progress; nobody is, without it.
        force: Do again what is finished.

    Raises:
        InputError: Workflow, scenes, area and model do not fit together; nothing was written.
        LockedError: Another run holds the output.
        BlockError: A block failed, and the workflow says to stop at that.
        StoppedError: SIGINT or SIGTERM came; what is done is kept.
    """
    from geoseg.api.pipeline import run_plan  # noqa: PLC0415 (distributed takes a second to load)
    from geoseg.run.reporter import Silent  # noqa: PLC0415

    return run_plan(plan(workflow, overrides=overrides), reporter or Silent(), force=force)


def predict(
    scenes: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    model: str = "landcover-s2",
    bands: Sequence[str] = (),
    numbers: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    reporter: Reporter | None = None,
    force: bool = False,
) -> RunResult:
    """Map scenes without a workflow file.

    Args:
        scenes: Files or patterns; each file is a scene, so is a Sentinel-2 SAFE folder.
        out: Folder of the products; each scene gets its own below it where there are several.
        model: Name or folder of the model.
        bands: Common names in file order, where the files do not say.
        numbers: ``units``, ``scale``, ``offset``, ``nodata`` of the scenes, where the files do
            not say.
        overrides: Further settings of a workflow, like ``cluster.workers=1``.
        reporter: Told of progress; nobody is, without it.
        force: Do again what is finished.

    Raises:
        GeosegError: As :func:`run`.
    """
    paths = [scenes] if isinstance(scenes, str | os.PathLike) else list(scenes)
    one = len(paths) == 1 and not set(os.fspath(paths[0])) & set("*?[{")
    source: dict[str, Any] = {"kind": "files", "path": [os.fspath(p) for p in paths]}
    source |= {"bands": list(bands)} if bands else {}
    data = {
        "geoseg": 1,
        "name": "predict",
        "input": source | dict(numbers or {}),
        "model": model,
        "output": {"directory": _literal(os.fspath(out)) + ("" if one else "/{scene}")},
    }
    workflow = from_data(data, name="predict", overrides=overrides)
    return run(workflow, reporter=reporter, force=force)


def vectorize(
    raster: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    legend: str | None = None,
    classes: Sequence[str] = (),
    min_area: str | None = None,
    connectivity: int = 4,
    workers: int | None = None,
    reporter: Reporter | None = None,
) -> int:
    """Outline the classes of any raster of codes as polygons, exact across blocks.

    Args:
        raster: One band of codes 0..255.
        out: A ``.gpkg`` or ``.parquet`` file.
        legend: Name of a known legend; the raster's own category names and palette without it.
        classes: Names of the classes to outline; all without it.
        min_area: Leave out smaller polygons, e.g. ``"0.5 ha"``.
        connectivity: 4 or 8: whether pixels that only touch at a corner belong together.
        workers: Worker processes; one a core without it.
        reporter: Told of progress; nobody is, without it.

    Returns:
        How many polygons were written.

    Raises:
        InputError: The raster or a setting is wrong; nothing was written.
    """
    from geoseg.api.outlines import outline  # noqa: PLC0415 (numba and rasterio)

    return outline(
        Path(raster),
        Path(out),
        legend=legend,
        classes=tuple(classes),
        min_area=min_area,
        connectivity=connectivity,
        workers=workers,
        reporter=reporter,
    )


def add_model(
    what: str, *, source: str | os.PathLike[str] | None = None, force: bool = False
) -> ModelPackage:
    """Bring a model in, so that workflows can call it by name.

    Args:
        what: The name of a known public model, the folder of a model package, or its http(s)
            address (the folder that has ``card.json``, or that file).
        source: For a known model: a local copy of what would be fetched.
        force: Replace a model of the same name.

    Returns:
        The package, in the first folder of ``GEOSEG_MODELS`` or the user's data folder.

    Raises:
        ModelError: There is no such model, it is not what it should be, or its name is taken;
            nothing was written.
    """
    from geoseg.api.adding import add  # noqa: PLC0415 (torch)

    return add(what, source=None if source is None else Path(source), force=force)


def _read(workflow: AnyWorkflow, overrides: Sequence[str]) -> Workflow:
    return workflow if isinstance(workflow, Workflow) else load(workflow, overrides=overrides)


def _literal(path: str) -> str:
    """A path as a template that means just this path."""
    return path.replace("{", "{{").replace("}", "}}")
