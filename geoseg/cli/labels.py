"""Commands that look labels over before anything is learnt from them."""

# ruff: noqa: PLC0415 (heavy imports wait until a command needs them: --help takes < 0.5 s)

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from geoseg.cli.options import AsJson, LogJson, Quiet, print_json, reporter
from geoseg.errors import InputError

labels = typer.Typer(
    help="Look labels over before anything is learnt from them.", no_args_is_help=True
)

Column = Annotated[str, typer.Option(help="Column of class names or codes of vector files.")]
Layer = Annotated[str, typer.Option(help="Layer, where a vector file has several.")]
Band = Annotated[int, typer.Option(help="Band of rasters.", min=1)]
ClassName = Annotated[
    str, typer.Option("--class", help="The class of all features, instead of a column.")
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN=VALUE",
        help="Only features whose column is this, or as a list has it. May be repeated.",
    ),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="JSON file to write.", show_default=False)
]
Workers = Annotated[int | None, typer.Option(help="Threads.", min=1, show_default=False)]


@labels.command("check")
def check(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="LABELS...",
            help="Rasters or vector files; PART=FILES names parts of a split, which are compared.",
            show_default=False,
        ),
    ],
    image: Annotated[
        list[str] | None,
        typer.Option(help="Images of the same places: files or patterns. May be repeated."),
    ] = None,
    legend: Annotated[
        str, typer.Option(help="A known legend, a model, or a table (.csv, .json) or raster.")
    ] = "",
    band: Band = 1,
    layer: Layer = "",
    column: Column = "",
    class_name: ClassName = "",
    where: Where = None,
    min_area: Annotated[str, typer.Option(help="Smaller regions are specks.")] = "3 px",
    min_width: Annotated[
        str, typer.Option(help="Thinner ones (2 area / perimeter) are slivers.")
    ] = "1 px",
    min_share: Annotated[float, typer.Option(help="Classes with less are rare.")] = 0.01,
    margin: Annotated[
        int, typer.Option(help="Pixels around each that are seen, too, for parts.", min=0)
    ] = 0,
    groups: Annotated[
        Path | None,
        typer.Option(help="CSV: first column file or stem; a column of what stays together."),
    ] = None,
    group_column: Annotated[str, typer.Option(help="That column.")] = "",
    places: Annotated[
        Path | None, typer.Option(help=".gpkg to write the places to.", show_default=False)
    ] = None,
    output: Output = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 for warnings, too.")
    ] = False,
    workers: Workers = None,
    as_json: AsJson = False,
    log_json: LogJson = False,
    quiet: Quiet = False,
) -> None:
    """Check labels: taxonomy, shapes, slivers, alignment, leakage, balance; and their hash.

    Exits with 0 where nothing is wrong, with 1 where there are faults, with 2 where the request is.
    """
    from geoseg.api.label_check import Wishes
    from geoseg.api.label_leaks import read_groups
    from geoseg.api.label_sets import check_labels
    from geoseg.api.legends import legend_called
    from geoseg.cli.show_labels import show_check
    from geoseg.io.label_files import expand

    source = _source(band, layer, column, class_name, where)
    teller = reporter(log_json=log_json, quiet=quiet)
    try:
        found = check_labels(
            {part: [source(path) for path in paths] for part, paths in read_parts(files).items()},
            Wishes(
                images=expand(image or ()),
                legend=legend_called(legend) if legend else None,
                min_area=min_area,
                min_width=min_width,
                min_share=min_share,
                margin=margin,
                groups={} if groups is None else read_groups(groups, group_column or None),
                places=places,
            ),
            reporter=teller,
            workers=workers,
        )
    finally:
        teller.close()
    values = found.as_dict()
    _write(values, output)
    if as_json:
        print_json(values)
    else:
        show_check(values)
    raise typer.Exit(1 if found.faults or (strict and found.warnings) else 0)


@labels.command("agree")
def agree(
    one: Annotated[Path, typer.Argument(metavar="A", help="Labels.", show_default=False)],
    other: Annotated[
        Path, typer.Argument(metavar="B", help="Somebody else's.", show_default=False)
    ],
    image: Annotated[
        Path | None,
        typer.Option(help="On whose pixels polygons are compared.", show_default=False),
    ] = None,
    layer: Layer = "",
    column: Column = "",
    other_column: Annotated[str, typer.Option(help="Column of B, where it is another.")] = "",
    other_layer: Annotated[str, typer.Option(help="Layer of B, where it is another.")] = "",
    tolerance: Annotated[
        str, typer.Option(help="How far a boundary may be off, e.g. 20 m.")
    ] = "2 px",
    mapping: Annotated[
        list[str] | None,
        typer.Option(metavar="CLASS=CLASS,...", help="Class of B = class of A. * is all others."),
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="Leave out this class of B.")] = None,
    differences: Annotated[
        Path | None,
        typer.Option(help=".gpkg of where they differ, to write.", show_default=False),
    ] = None,
    outside: Annotated[
        str, typer.Option(help="Class of what has no label; not compared without it.")
    ] = "",
    output: Output = None,
    workers: Workers = None,
    as_json: AsJson = False,
    log_json: LogJson = False,
    quiet: Quiet = False,
) -> None:
    """Compare the labels of two people: kappa, IoU, boundaries, and where they differ."""
    from geoseg.api.evaluation import Truth
    from geoseg.api.label_agreement import Terms
    from geoseg.api.label_sets import compare_labels
    from geoseg.cli.evaluate import read_pairs
    from geoseg.cli.show_labels import show_agreement

    teller = reporter(log_json=log_json, quiet=quiet)
    try:
        found = compare_labels(
            Truth(one, layer or None, column or None),
            Truth(other, other_layer or layer or None, other_column or column or None),
            Terms(
                image=image,
                tolerance=tolerance,
                mapping=read_pairs(mapping or (), "mapping"),
                ignore=ignore or (),
                differences=differences,
                outside=outside or None,
            ),
            reporter=teller,
            workers=workers,
        )
    finally:
        teller.close()
    values = found.as_dict()
    _write(values, output)
    if as_json:
        print_json(values)
    else:
        show_agreement(values, differences)


@labels.command("hash")
def show_hash(
    files: Annotated[
        list[str], typer.Argument(metavar="LABELS...", help="Files.", show_default=False)
    ],
    band: Band = 1,
    layer: Layer = "",
    column: Column = "",
    class_name: ClassName = "",
    where: Where = None,
    as_json: AsJson = False,
) -> None:
    """Print the content hash of a set of labels: what it says, whatever files it is in."""
    from geoseg.api.labels import content_hash
    from geoseg.io.label_files import expand

    source = _source(band, layer, column, class_name, where)
    paths = expand(files)
    found = content_hash([source(path) for path in paths])
    if as_json:
        print_json({"hash": found, "files": paths})
    else:
        typer.echo(found)


def read_parts(texts: Sequence[str]) -> dict[str, list[Path]]:
    """Files by part: ``train=a*.tif test=b*.tif``, or files alone, which are one part.

    Raises:
        InputError: Some have a part and some have none.
    """
    from geoseg.io.label_files import expand

    found: dict[str, list[Path]] = {}
    for text in texts:
        part, equals, rest = text.partition("=")
        named = bool(equals and part.isidentifier() and rest and not Path(text).exists())
        key = part if named else ""
        found.setdefault(key, []).extend(expand([rest if named else text]))
    if "" in found and len(found) > 1:
        raise InputError("labels: name the part of all files (PART=FILES), or of none")
    return found


def _source(
    band: int, layer: str, column: str, class_name: str, where: Sequence[str] | None
) -> Any:
    """What makes a label file of a path."""
    from functools import partial

    from geoseg.cli.evaluate import read_pairs
    from geoseg.io.label_files import LabelFile

    if class_name and column:
        raise InputError("class: say either --class or --column")
    return partial(
        LabelFile,
        band=band,
        layer=layer or None,
        column=column or None,
        name=class_name or None,
        where=read_pairs(where or (), "where"),
    )


def _write(values: dict[str, Any], output: Path | None) -> None:
    if output is not None:
        from geoseg.io.atomic import write_bytes

        write_bytes(output, (json.dumps(values, indent=2) + "\n").encode())
