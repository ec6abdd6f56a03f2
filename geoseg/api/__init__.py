"""The whole way of a scene, for callers who do not care about the floors below."""

# ruff: noqa: PLC0415 (import geoseg takes milliseconds: what a function needs waits until it is called)

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.api.vectorizing import vectorize

if TYPE_CHECKING:
    from geoseg.api.adjusting import AdjustedAreas
    from geoseg.api.designing import Design, Sample
    from geoseg.api.evaluation import Truth
    from geoseg.api.planning import RunPlan
    from geoseg.api.results import RunResult
    from geoseg.api.scores import Evaluation
    from geoseg.api.simulating import Simulation, Wanted
    from geoseg.api.training.planning import TrainingPlan
    from geoseg.api.training.run import TrainingResult
    from geoseg.models.registry import ModelPackage
    from geoseg.models.told import Told
    from geoseg.run.reporter import Reporter
    from geoseg.workflow import TrainingWorkflow, Workflow

    AnyWorkflow = str | os.PathLike[str] | Workflow

__all__ = [
    "add_model",
    "design_sample",
    "estimate_areas",
    "evaluate",
    "plan",
    "plan_training",
    "predict",
    "run",
    "simulate",
    "train",
    "vectorize",
]


def plan(workflow: AnyWorkflow, *, overrides: Sequence[str] = ()) -> RunPlan:
    """Say what a run would do. Reads headers, but no pixel, and imports no torch.

    Memory is that of the engine which computes a scene, where that is known before a trial; else of
    the one that takes the most.

    Args:
        workflow: A YAML file, or a workflow that was read.
        overrides: Settings like ``output.directory=maps``, for a file.

    Raises:
        InputError: Workflow, scenes, area and model do not fit together.
    """
    from geoseg.api.known_engines import with_known_engines
    from geoseg.api.planning import plan_workflow

    read = _read(workflow, overrides)
    with read.pointing():
        return with_known_engines(plan_workflow(read))


def run(
    workflow: AnyWorkflow,
    *,
    overrides: Sequence[str] = (),
    reporter: Reporter | None = None,
    force: bool = False,
    now: datetime | None = None,
) -> RunResult:
    """Run a workflow; goes on where an earlier run was interrupted, skips what is finished.

    Args:
        workflow: A YAML file, or a workflow that was read.
        overrides: Settings like ``output.directory=maps``, for a file.
        reporter: Told of progress; nobody is, without it.
        force: Do again what is finished.
        now: The time of the run, which the last days of a workflow count from; without it that of
            this machine.

    Raises:
        InputError: Workflow, scenes, area and model do not fit together; nothing was written.
        LockedError: Another run holds the output.
        BlockError: A block failed, and the workflow says to stop at that.
        StoppedError: SIGINT or SIGTERM came; what is done is kept.
    """
    from geoseg.run import forking

    if not overrides and isinstance(workflow, str | os.PathLike):
        forking.begin_early(workflow)
    read = _read(workflow, overrides)
    if read.cluster.here:
        # While this process loads what it needs itself, and plans.
        forking.begin(["torch"] if read.model.engine.startswith("torch") else [])

    from geoseg.api.nights import run_workflow
    from geoseg.run.reporter import Silent

    with read.pointing():
        return run_workflow(read, reporter or Silent(), force=force, now=now)


def simulate(
    workflow: AnyWorkflow,
    wanted: Wanted | None = None,
    *,
    overrides: Sequence[str] = (),
    measured: str | os.PathLike[str] | None = None,
) -> Simulation:
    """Say how long a run would take, and what would hold it up; writes nothing that stays.

    Args:
        workflow: A YAML file, or a workflow that was read.
        wanted: Workers, GPUs, latency, failures, scenes; as the workflow has it without.
        overrides: Settings like ``cluster.workers=2``, for a file.
        measured: Output folder of a finished run, which says what tasks take; without it, a few
            blocks of the first scene are read and predicted.

    Raises:
        InputError: Workflow, scenes, model and what is asked do not fit together.
    """
    from geoseg.api.simulating import simulate_plan

    folder = None if measured is None else Path(measured)
    read = _read(workflow, overrides)
    with read.pointing():
        return simulate_plan(read, wanted, measured=folder)


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
    from geoseg.workflow import from_data

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


def add_model(
    what: str,
    *,
    source: str | os.PathLike[str] | None = None,
    force: bool = False,
    told: Told | None = None,
) -> ModelPackage:
    """Bring a model in, so that workflows can call it by name.

    Args:
        what: The name of a known public model; a folder: of a model package, or as Hugging Face's
            hub has them; a file: ONNX, ``torch.export`` or TorchScript; an address: http(s), of the
            folder that has ``card.json``, ``hf://organisation/name`` or ``timm://name``.
        source: For a known model or ``timm://``: a local copy of what would be fetched.
        force: Replace a model of the same name.
        told: What the model does not say of itself.

    Returns:
        The package, in the first folder of ``GEOSEG_MODELS`` or the user's data folder.

    Raises:
        ModelError: There is no such model, it is not what it should be, or its name is taken;
            nothing was written.
    """
    from geoseg.api.adding import add

    return add(what, source=None if source is None else Path(source), force=force, told=told)


def train(
    workflow: str | os.PathLike[str] | TrainingWorkflow,
    *,
    overrides: Sequence[str] = (),
    reporter: Reporter | None = None,
    force: bool = False,
) -> TrainingResult:
    """Train a model; goes on where an earlier training was interrupted.

    Args:
        workflow: A YAML file, or a workflow that was read.
        overrides: Settings like ``training.steps=4000``, for a file.
        reporter: Told of progress; nobody is, without it.
        force: Train again what is finished.

    Returns:
        The folder of the model package, with scores and all else that is known of it.

    Raises:
        InputError: Workflow, scenes, labels and model do not fit together; nothing was written.
        TrainingError: The network stopped learning.
        LockedError: Another training holds the output.
        StoppedError: SIGINT or SIGTERM came; what is done is kept.
    """
    from geoseg.api.training.run import train_workflow
    from geoseg.run.reporter import Silent

    read = _read_training(workflow, overrides)
    with read.pointing():
        return train_workflow(read, reporter or Silent(), force=force)


def plan_training(
    workflow: str | os.PathLike[str] | TrainingWorkflow,
    *,
    overrides: Sequence[str] = (),
    reporter: Reporter | None = None,
) -> TrainingPlan:
    """Say what a training would learn from: sets, classes, split. Writes nothing, needs no torch.

    Raises:
        InputError: Workflow, scenes, labels and model do not fit together.
    """
    from geoseg.api.training.planning import plan_training as look
    from geoseg.run.reporter import Silent

    read = _read_training(workflow, overrides)
    with read.pointing():
        return look(read, reporter or Silent())


def evaluate(
    prediction: str | os.PathLike[str],
    truth: str | os.PathLike[str] | Truth,
    *,
    confidence: str | os.PathLike[str] | None = None,
    ignore: Sequence[str] = (),
    tolerance: str = "2 px",
    mapping: Mapping[str, str] | None = None,
    reporter: Reporter | None = None,
    workers: int | None = None,
) -> Evaluation:
    """Compare a map with the truth, whatever its size and wherever the truth comes from.

    A raster of another grid is laid onto the prediction's by nearest neighbour; polygons say what
    the pixels are whose centre lies in them (the last one where some overlap); each point judges
    the pixel it lies in. Pixels without a label are not judged; labelled pixels without a
    prediction are counted apart.

    Args:
        prediction: A raster of class codes 0..255.
        truth: A raster of class codes, or a vector file; :class:`geoseg.api.evaluation.Truth` says
            which layer and column of it.
        confidence: A raster of percents or shares, for calibration.
        ignore: Classes of the truth to leave out, by name or code.
        tolerance: How far a boundary may be off, e.g. ``"20 m"``.
        mapping: From classes of the truth to classes of the prediction, by name or code. Without
            it classes are the same that have the same name, or, where one side has no names, the
            same code. Keys ``prediction:CLASS`` rename or merge classes of the prediction, ``*``
            is all others, and to ``ignore`` leaves a class out.
        reporter: Told of progress; nobody is, without it.
        workers: Threads; one a core without it.

    Raises:
        InputError: A file cannot be used, a class has no counterpart, or nothing can be compared.
    """
    from geoseg.api.evaluation import Truth, evaluate_map
    from geoseg.run.reporter import Silent

    return evaluate_map(
        Path(prediction),
        truth if isinstance(truth, Truth) else Truth(Path(truth)),
        confidence=None if confidence is None else Path(confidence),
        ignore=ignore,
        tolerance=tolerance,
        mapping=mapping or {},
        reporter=reporter or Silent(),
        workers=workers,
    )


def design_sample(
    raster: str | os.PathLike[str],
    out: str | os.PathLike[str],
    design: Design | None = None,
    *,
    reporter: Reporter | None = None,
) -> Sample:
    """Draw a stratified random sample of a map's pixels, to be looked at and filled in.

    The points do not depend on blocks or threads; the chance of a pixel is in proportion to its
    area on the ground. They are written in random order, with an empty column ``reference``.

    Args:
        raster: A raster of class codes 0..255; its classes are the strata.
        out: A ``.gpkg`` file.
        design: How many points, and how they are shared out.
        reporter: Told of progress; nobody is, without it.

    Raises:
        InputError: The raster cannot be used, or the design cannot be done.
    """
    from geoseg.api.designing import Design, draw_sample
    from geoseg.run.reporter import Silent

    return draw_sample(Path(raster), Path(out), design or Design(), reporter=reporter or Silent())


def estimate_areas(
    points: str | os.PathLike[str] | Truth,
    raster: str | os.PathLike[str],
    *,
    ignore: Sequence[str] = (),
    confidence: float = 0.95,
    reporter: Reporter | None = None,
) -> AdjustedAreas:
    """Areas of a map's classes adjusted for its errors, by a sample that has been filled in.

    Args:
        points: A file with the column ``reference``, or another that ``Truth`` says; points that
            have none are left out. Where there is a column ``stratum``, it must be what the raster
            has at the point.
        raster: The map that the sample was drawn from.
        ignore: Classes that were left out of the sample.
        confidence: Of the intervals.
        reporter: Told of progress; nobody is, without it.

    Raises:
        InputError: A file cannot be used, or a class has too few points.
    """
    from geoseg.api.adjusting import adjust_areas
    from geoseg.api.evaluation import Truth
    from geoseg.run.reporter import Silent

    return adjust_areas(
        points if isinstance(points, Truth) else Truth(Path(points)),
        Path(raster),
        ignore=ignore,
        confidence=confidence,
        reporter=reporter or Silent(),
    )


def _read_training(
    workflow: str | os.PathLike[str] | TrainingWorkflow, overrides: Sequence[str]
) -> TrainingWorkflow:
    from geoseg.workflow import TrainingWorkflow, load_training

    if isinstance(workflow, TrainingWorkflow):
        return workflow
    return load_training(workflow, overrides=overrides)


def _read(workflow: AnyWorkflow, overrides: Sequence[str]) -> Workflow:
    from geoseg.workflow import Workflow, load

    return workflow if isinstance(workflow, Workflow) else load(workflow, overrides=overrides)


def _literal(path: str) -> str:
    """A path as a template that means just this path."""
    return path.replace("{", "{{").replace("}", "}}")
