"""Commands that say how good a map is."""

# ruff: noqa: PLC0415 (heavy imports wait until a command needs them: --help takes < 0.5 s)

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from geoseg.cli.options import AsJson, LogJson, Quiet, print_json, reporter
from geoseg.errors import InputError

if TYPE_CHECKING:
    from geoseg.api.scores import Evaluation

_DEFAULT = "map"
_PICTURES = (".png", ".svg")


class _MapByDefault(TyperGroup):
    """``geoseg evaluate PREDICTION TRUTH`` means ``geoseg evaluate map PREDICTION TRUTH``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put in the word that may be left out."""
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)


evaluate = typer.Typer(
    cls=_MapByDefault,
    help="Say how good a map is: `geoseg evaluate PREDICTION TRUTH`, or one of the commands below.",
    no_args_is_help=True,
)

Ignore = Annotated[
    list[str] | None,
    typer.Option("--ignore", help="Leave out this class, by name or code. May be repeated."),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="JSON file to write.", show_default=False)
]
Layer = Annotated[str, typer.Option("--layer", help="Layer, where a vector file has several.")]


@evaluate.command(_DEFAULT)
def evaluate_map(
    prediction: Annotated[
        Path, typer.Argument(help="A raster of class codes.", show_default=False)
    ],
    truth: Annotated[
        Path, typer.Argument(help="A raster, or polygons or points.", show_default=False)
    ],
    layer: Layer = "",
    column: Annotated[str, typer.Option(help="Column of class names or codes.")] = "",
    confidence: Annotated[
        Path | None, typer.Option(help="Raster of confidence: percent, or 0 to 1.")
    ] = None,
    ignore: Ignore = None,
    tolerance: Annotated[
        str, typer.Option(help="How far a boundary may be off, e.g. 20 m.")
    ] = "2 px",
    mapping: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLASS=CLASS,...",
            help="Class of the truth = class of the prediction, by name or code; prediction:A=B "
            "renames or merges classes of the prediction; * is all others; =ignore leaves out.",
        ),
    ] = None,
    output: Output = None,
    report: Annotated[
        Path | None,
        typer.Option(help="HTML file to write: scores and pictures.", show_default=False),
    ] = None,
    confusion_plot: Annotated[
        Path | None, typer.Option(help=".png or .svg to write.", show_default=False)
    ] = None,
    reliability_plot: Annotated[
        Path | None, typer.Option(help=".png or .svg to write.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    log_json: LogJson = False,
    quiet: Quiet = False,
) -> None:
    """Compare a map with the truth; `geoseg evaluate PREDICTION TRUTH` will do."""
    _check_suffix(report, "report", (".html", ".htm"))
    _check_suffix(confusion_plot, "confusion-plot", _PICTURES)
    _check_suffix(reliability_plot, "reliability-plot", _PICTURES)
    if reliability_plot is not None and confidence is None:
        raise InputError("reliability-plot: there is none without --confidence RASTER")
    from geoseg.api import evaluate as evaluate_prediction
    from geoseg.api.evaluation import Truth
    from geoseg.cli.show_scores import show_evaluation

    teller = reporter(log_json=log_json, quiet=quiet)
    try:
        found = evaluate_prediction(
            prediction,
            Truth(truth, layer or None, column or None),
            confidence=confidence,
            ignore=ignore or (),
            tolerance=tolerance,
            mapping=read_pairs(mapping or (), "mapping"),
            reporter=teller,
        )
    finally:
        teller.close()
    _draw(found, report, confusion_plot, reliability_plot)
    _tell(found, show_evaluation, output, as_json=as_json)


@evaluate.command("design")
def design(
    raster: Annotated[Path, typer.Argument(help="A raster of class codes.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="A .gpkg file.", show_default=False)],
    standard_error: Annotated[
        float, typer.Option(help="Wished for overall accuracy, as a share.")
    ] = 0.01,
    points: Annotated[
        int | None, typer.Option(help="So many points, whatever the standard error is then.")
    ] = None,
    expected: Annotated[
        list[str] | None,
        typer.Option(
            help="User's accuracy to expect: 0.9 for all, or Water=0.95. May be repeated."
        ),
    ] = None,
    allocation: Annotated[str, typer.Option(help="proportional (to area) or equal.")] = (
        "proportional"
    ),
    minimum: Annotated[int, typer.Option(help="Points of the rarest class at least.")] = 50,
    seed: Annotated[int, typer.Option(help="The same seed gives the same points.")] = 0,
    ignore: Ignore = None,
    as_json: AsJson = False,
    log_json: LogJson = False,
    quiet: Quiet = False,
) -> None:
    """Draw a stratified random sample to check a map by, as large as a standard error takes."""
    from geoseg.api import design_sample
    from geoseg.api.designing import Design
    from geoseg.cli.show_scores import show_sample

    wished = Design(
        standard_error=standard_error,
        points=points,
        expected=_accuracies(expected or ()),
        allocation=allocation,
        minimum=minimum,
        seed=seed,
        ignore=tuple(ignore or ()),
    )
    teller = reporter(log_json=log_json, quiet=quiet)
    try:
        sample = design_sample(raster, out, wished, reporter=teller)
    finally:
        teller.close()
    _tell(sample, show_sample, None, as_json=as_json)


@evaluate.command("areas")
def areas(
    points: Annotated[
        Path, typer.Argument(help="The sample, with its references.", show_default=False)
    ],
    raster: Annotated[
        Path, typer.Argument(help="The map that it was drawn from.", show_default=False)
    ],
    layer: Layer = "",
    column: Annotated[str, typer.Option(help="Column of the reference classes.")] = "reference",
    confidence: Annotated[float, typer.Option(help="Of the intervals, as a share.")] = 0.95,
    ignore: Ignore = None,
    output: Output = None,
    as_json: AsJson = False,
    log_json: LogJson = False,
    quiet: Quiet = False,
) -> None:
    """Say how large the classes really are: areas adjusted for the map's errors, with intervals."""
    from geoseg.api import estimate_areas
    from geoseg.api.evaluation import Truth
    from geoseg.cli.show_scores import show_areas

    teller = reporter(log_json=log_json, quiet=quiet)
    try:
        found = estimate_areas(
            Truth(points, layer or None, column),
            raster,
            ignore=ignore or (),
            confidence=confidence,
            reporter=teller,
        )
    finally:
        teller.close()
    _tell(found, show_areas, output, as_json=as_json)


def read_pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """``A=B,C=D`` as a dictionary; names may have anything but commas and equals signs.

    Raises:
        InputError: It is something else, or says something twice.
    """
    pairs: dict[str, str] = {}
    for item in ",".join(texts).split(",") if texts else ():
        key, equals, value = (part.strip() for part in item.partition("="))
        if not (key and equals and value):
            raise InputError(f"{option}: {item!r} is not like CLASS=CLASS")
        if key in pairs:
            raise InputError(f"{option}: {key!r} is there twice")
        pairs[key] = value
    return pairs


def _accuracies(texts: Sequence[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for text in texts:
        key, _, number = text.rpartition("=")
        try:
            found[key.strip() or "*"] = float(number)
        except ValueError as error:
            raise InputError(f"expected: {text!r} is not like 0.9 or Water=0.95") from error
    return found


def _check_suffix(path: Path | None, option: str, suffixes: Sequence[str]) -> None:
    if path is not None and path.suffix.lower() not in suffixes:
        raise InputError(f"{option}: {path} does not end in {' or '.join(suffixes)}")


def _draw(
    found: Evaluation, report: Path | None, confusion: Path | None, reliability: Path | None
) -> None:
    """Write the pictures that were asked for."""
    if report is None and confusion is None and reliability is None:
        return
    from geoseg.api.evaluation_page import evaluation_page
    from geoseg.io.atomic import write_bytes
    from geoseg.io.charts import confusion_chart, form_of, reliability_chart

    if report is not None:
        write_bytes(report, evaluation_page(found))
    if confusion is not None:
        counts, names = found.confusion.counts, found.classes
        write_bytes(confusion, confusion_chart(counts, names, form=form_of(confusion)))
    if reliability is not None and found.calibration is not None:
        chart = reliability_chart(found.calibration, form=form_of(reliability))
        write_bytes(reliability, chart)


def _tell(found: Any, show: Any, output: Path | None, *, as_json: bool) -> None:
    import json

    values = found.as_dict()
    if output is not None:
        from geoseg.io.atomic import write_bytes

        write_bytes(output, (json.dumps(values, indent=2) + "\n").encode())
    if as_json:
        print_json(values)
    else:
        show(values)
        if output is not None:
            typer.echo(str(output))
