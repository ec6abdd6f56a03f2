"""All commands; what they do lives below, and is imported when they are called."""

# ruff: noqa: PLC0415 (heavy imports wait until a command needs them: --help takes < 0.5 s)

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from geoseg import __version__
from geoseg.cli.alerts import alerts
from geoseg.cli.catalog import catalog
from geoseg.cli.change import change
from geoseg.cli.diff import diff
from geoseg.cli.evaluate import evaluate
from geoseg.cli.events import events
from geoseg.cli.init import init
from geoseg.cli.jobs import clean, schedule, status
from geoseg.cli.labels import labels
from geoseg.cli.land_use import land_use
from geoseg.cli.manners import accompany
from geoseg.cli.models import models
from geoseg.cli.options import (
    AsJson,
    LogJson,
    ModelOption,
    Quiet,
    Settings,
    Silent,
    WorkflowFile,
    print_json,
    reporter,
)
from geoseg.cli.plan import plan
from geoseg.cli.plots import plots
from geoseg.cli.provenance import provenance
from geoseg.cli.report import report
from geoseg.cli.style import style
from geoseg.cli.train import train
from geoseg.cli.vectorize import vectorize
from geoseg.cli.view import view
from geoseg.cli.water import water


class InterruptedCommand(Exception):  # noqa: N818 (no error, but what Ctrl-C and SIGTERM do)
    """Carries a KeyboardInterrupt, its cause, past typer, which would drop what it says."""


class Commands(TyperGroup):
    """All commands; what interrupts one is told by :func:`geoseg.cli.run`."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            raise InterruptedCommand from interrupt


app = typer.Typer(
    name="geoseg",
    cls=Commands,
    help="Land-cover maps and polygons from satellite and drone scenes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(models, name="models")
app.add_typer(evaluate, name="evaluate")
app.add_typer(labels, name="labels")
app.add_typer(catalog, name="catalog")
app.command("change")(change)
app.command("diff")(diff)
app.command("init")(init)
app.command("plan")(plan)
app.command("plots")(plots)
app.command("report")(report)
app.command("provenance")(provenance)
app.add_typer(alerts, name="alerts")
app.command("style")(style)
app.command("train")(train)
app.command("vectorize")(vectorize)
app.command("view")(view)
app.command("water")(water)
app.command("land-use")(land_use)
app.command("status")(status)
app.command("events")(events)
app.command("clean")(clean)
app.command("schedule")(schedule)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"geoseg {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error came from (any command).")
    ] = False,
) -> None:
    """Land-cover maps and polygons from satellite and drone scenes."""


@app.command()
def run(
    workflow: WorkflowFile,
    settings: Settings = None,
    force: Annotated[bool, typer.Option("--force", help="Do again what is finished.")] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 3 where nothing was new.")
    ] = False,
    as_json: AsJson = False,
    log_json: LogJson = False,
    quiet: Quiet = False,
) -> None:
    """Run a workflow: scenes in, maps and polygons out. Goes on where it was interrupted."""
    from geoseg.api import run as run_workflow
    from geoseg.cli.show import result_json, show_result

    teller = reporter(log_json=log_json, quiet=quiet)
    try:
        result = run_workflow(workflow, overrides=settings or [], reporter=teller, force=force)
    finally:
        teller.close()
    print_json(result_json(result)) if as_json else show_result(result)
    nothing_new = exit_code and not any(scene.fresh for scene in result.scenes)
    raise typer.Exit(3 if nothing_new and not result.failed else result.exit_code)


@app.command()
def validate(
    workflows: Annotated[list[Path], typer.Argument(help="Workflow files.", show_default=False)],
    settings: Settings = None,
    as_json: AsJson = False,
    quiet: Silent = False,
) -> None:
    """Check workflow files, those that train too, word by word. Opens no scene."""
    from dataclasses import asdict

    from geoseg.errors import WorkflowError
    from geoseg.workflow import load_any

    wrong: list[tuple[Path, WorkflowError]] = []
    for path in workflows:
        try:
            load_any(path, overrides=settings or [])
            if not (quiet or as_json):
                typer.echo(f"{path}: ok")
        except WorkflowError as error:
            wrong.append((path, error))
    if as_json:
        problems = {path: [asdict(one) for one in error.problems] for path, error in wrong}
        print_json({str(path): problems.get(path, []) for path in workflows})
        raise typer.Exit(2 if wrong else 0)
    if wrong:
        raise WorkflowError("\n".join(str(error) for _, error in wrong))


@app.command()
def predict(
    scene: Annotated[list[str], typer.Argument(help="Files or patterns.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="Folder of the products.", show_default=False)],
    model: ModelOption = "landcover-s2",
    bands: Annotated[
        str, typer.Option(help="Common names in file order: blue,green,red,nir,...")
    ] = "",
    units: Annotated[str, typer.Option(help="What the numbers are: reflectance or dn.")] = "",
    scale: Annotated[float | None, typer.Option(help="Factor to reflectance.")] = None,
    offset: Annotated[float | None, typer.Option(help="Added after scaling.")] = None,
    tta: Annotated[
        str, typer.Option(help="Views of each chip to average: none, flips or d4.")
    ] = "",
    settings: Settings = None,
    force: Annotated[bool, typer.Option("--force", help="Do again what is finished.")] = False,
    as_json: AsJson = False,
    log_json: LogJson = False,
    quiet: Quiet = False,
) -> None:
    """Map scenes without a workflow file."""
    from geoseg.api import predict as predict_scenes
    from geoseg.cli.show import result_json, show_result

    teller = reporter(log_json=log_json, quiet=quiet)
    given: dict[str, Any] = {"units": units or None, "scale": scale, "offset": offset}
    try:
        result = predict_scenes(
            scene,
            out,
            model=model,
            bands=[b.strip() for b in bands.split(",") if b.strip()],
            numbers={key: value for key, value in given.items() if value is not None},
            overrides=[*([f"model.tta={tta}"] if tta else []), *(settings or [])],
            reporter=teller,
            force=force,
        )
    finally:
        teller.close()
    print_json(result_json(result)) if as_json else show_result(result)
    raise typer.Exit(result.exit_code)


@app.command()
def sample(
    directory: Annotated[Path, typer.Argument(help="Where to write it.", show_default=False)],
    size: Annotated[str, typer.Option(help="Pixels, or ROWSxCOLUMNS.")] = "1024",
    seed: Annotated[int, typer.Option(help="The same seed gives the same scene.")] = 7,
    date: Annotated[int, typer.Option(help="1, or 2 with clearings and a flood.")] = 1,
    clouds: Annotated[bool, typer.Option(help="With clouds and their shadows.")] = True,
    as_json: AsJson = False,
    log_json: LogJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a synthetic Sentinel-2-like scene with its mask and its true classes."""
    from geoseg.api.samples import write_sample

    teller = reporter(log_json=log_json, quiet=quiet)
    try:
        path = write_sample(
            directory, size=size, seed=seed, date=date, clouds=clouds, reporter=teller
        )
    finally:
        teller.close()
    if as_json:
        print_json({"scene": path, "catalog": path.with_name("catalog.json")})
    else:
        typer.echo(str(path))


@app.command()
def schema(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.")] = None,
    training: Annotated[bool, typer.Option("--train", help="Of workflows that train.")] = False,
    events: Annotated[bool, typer.Option("--events", help="Of the events of runs.")] = False,
) -> None:
    """Print the JSON Schema of workflows, for editors."""
    from geoseg.run.event_schema import event_schema_text
    from geoseg.workflow.schema_file import schema_text, training_schema_text

    text = training_schema_text() if training else schema_text()
    text = event_schema_text() if events else text
    if output is None:
        typer.echo(text, nl=False)
    else:
        from geoseg.io.atomic import write_bytes

        write_bytes(output, text.encode())
        typer.echo(str(output))


@app.command()
def doctor(
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="WORKFLOW|ADDRESS",
            help="Ask the workers of a workflow's cluster, or of a scheduler, instead.",
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="S3://BUCKET/FOLDER|WORKFLOW",
            help="Ask a store whether it does all that outputs in it need, with objects that go again.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check what is installed and what this machine has; say what is missing and what mends it."""
    from geoseg.api.doctor import examine, examine_cluster
    from geoseg.cli.show import show_health

    if cluster is not None:
        findings = examine_cluster(cluster)
    elif store is not None:
        from geoseg.api.store_check import examine_store

        findings = examine_store(store)
    else:
        findings = examine()
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        show_health(findings)
    bad = any(f.needed and not f.ok for f in findings)
    raise typer.Exit((1 if cluster is None and store is None else 2) if bad else 0)


accompany(app)
