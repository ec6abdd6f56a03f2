"""``geoseg train``: what it prints; what it does lives below."""

# ruff: noqa: PLC0415 (heavy imports wait until a command needs them)

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoseg.cli.options import (
    AsJson,
    LogJson,
    Quiet,
    Settings,
    WorkflowFile,
    print_json,
    reporter,
)

if TYPE_CHECKING:
    from geoseg.api.training.planning import SetPlan, TrainingPlan
    from geoseg.api.training.run import TrainingResult


def train(
    workflow: WorkflowFile,
    settings: Settings = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what would be learnt from.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Train again what is finished.")] = False,
    as_json: AsJson = False,
    log_json: LogJson = False,
    quiet: Quiet = False,
) -> None:
    """Train a model from labelled scenes. Goes on where it was interrupted."""
    from geoseg.api import plan_training
    from geoseg.api import train as train_model

    teller = reporter(log_json=log_json, quiet=quiet)
    try:
        if plan:
            planned = plan_training(workflow, overrides=settings or [], reporter=teller)
        else:
            result = train_model(workflow, overrides=settings or [], reporter=teller, force=force)
    finally:
        teller.close()
    if plan:
        print_json(asdict(planned)) if as_json else _show_plan(planned)
    else:
        print_json(dict(result.record)) if as_json else _show_result(result)


def _show_plan(plan: TrainingPlan) -> None:
    start = f", from {plan.start}" if plan.start else ""
    typer.echo(f"model      {plan.model}: {plan.architecture}{start}")
    typer.echo(f"bands      {', '.join(plan.bands)} ({plan.units})")
    for one in plan.sets:
        typer.echo(f"set        {one.name}: {_describe(one)}")
    if plan.unlabelled:
        typer.echo(f"unlabelled {plan.unlabelled} scenes")
    chips, side = plan.chips
    typer.echo(f"chips      {chips} of {side} px")
    typer.echo(f"output     {plan.folder}")
    typer.echo("")
    width = max(14, *(len(name) for name in plan.classes))
    parts = list(plan.pixels)
    typer.echo(f"{'labelled px':{width}}" + "".join(f"{part:>14}" for part in parts))
    for name in plan.classes:
        counts = "".join(f"{plan.pixels[part][name]:>14,}" for part in parts)
        typer.echo(f"{name:{width}}{counts}")
    for warning in plan.warnings:
        typer.echo(f"warning: {warning}", err=True)


def _describe(one: SetPlan) -> str:
    scenes = f"{one.scenes} scene{'s' * (one.scenes != 1)}"
    if one.by == "blocks" and one.block:
        return (
            f"{scenes} cut into squares of {one.block} px, {one.gap} px apart from what is held out"
        )
    shares = ", ".join(f"{count} {part}" for part, count in sorted(one.parts.items()))
    return f"{scenes} in {one.units} groups ({shares})"


def _show_result(result: TrainingResult) -> None:
    record: Any = result.record
    judged = record["scores"].get("test") or record["scores"].get("validation")
    if not result.fresh:
        typer.echo("nothing new: this training has ended before (--force does it again)")
    if judged is None:
        typer.echo("nothing was held out: nobody knows how good it is")
    else:
        part = "test" if "test" in record["scores"] else "validation"
        typer.echo(
            f"{part} ground: mean IoU {judged['mean_iou']:.3f}, overall accuracy "
            f"{judged['overall_accuracy']:.3f}, {judged['pixels']} pixels"
        )
        for name, row in judged["classes"].items():
            if row["iou"] is not None:
                typer.echo(f"  {name}: IoU {row['iou']:.3f}")
    typer.echo(str(result.folder))
