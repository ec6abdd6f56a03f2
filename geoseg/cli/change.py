"""The command that tells what changed between two maps."""

# ruff: noqa: PLC0415 (heavy imports wait until a command needs them: --help takes < 0.5 s)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoseg.cli.options import AsJson, LogJson, Quiet, print_json, reporter
from geoseg.errors import InputError

if TYPE_CHECKING:
    from datetime import datetime

    from geoseg.api.change import Changed

_SHOWN = 12  # transitions that are worth a line each


class Edges(StrEnum):
    """What becomes of changes along edges of classes."""

    weigh = "weigh"
    erode = "erode"
    keep = "keep"


class Side(StrEnum):
    """One of the two maps."""

    before = "before"
    after = "after"


class PatchesBy(StrEnum):
    """What one patch of change is."""

    origin = "from"
    transition = "transition"


Names = Annotated[
    list[str] | None,
    typer.Option(
        "--name",
        metavar="AFTER=BEFORE",
        help="A class of AFTER that BEFORE calls otherwise. May be repeated.",
        show_default=False,
    ),
]
Path_ = Annotated[Path | None, typer.Option(help="Percents, where no confidence.tif is beside.")]


def change(
    before: Annotated[
        Path, typer.Argument(help="The earlier map: products or a raster.", show_default=False)
    ],
    after: Annotated[Path, typer.Argument(help="The later map.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="Folder of the products.", show_default=False)],
    from_: Annotated[
        str, typer.Option("--from", help="Classes whose changes are asked for: a,b; else all.")
    ] = "",
    to: Annotated[str, typer.Option(help="Classes that they became: a,b; else any.")] = "",
    grid: Annotated[Side, typer.Option(help="Whose pixels are compared.")] = Side.before,
    name: Names = None,
    ignore: Annotated[str, typer.Option(help="Classes that count as not seen: a,b.")] = "",
    background: Annotated[
        str, typer.Option(help="The class of pixels without one; else they were not seen.")
    ] = "",
    min_confidence: Annotated[
        int, typer.Option(help="Percent that both maps must be sure.", min=0, max=100)
    ] = 0,
    min_area: Annotated[
        str, typer.Option(help="The smallest patch: '0.5 ha', or corine, eudr, radd.")
    ] = "",
    patches: Annotated[
        PatchesBy, typer.Option(help="A patch: all that one class became, or one transition.")
    ] = PatchesBy.origin,
    forest_mask: Annotated[
        str, typer.Option(metavar="FILE[:CLASS]", help="Only look where this is forest.")
    ] = "",
    edges: Annotated[
        Edges, typer.Option(help="Changes along class edges: weigh, erode, or keep them.")
    ] = Edges.weigh,
    edge_width: Annotated[
        int, typer.Option(help="Pixels that edges may be off.", min=1, max=8)
    ] = 1,
    max_shift: Annotated[float, typer.Option(help="Warn of a larger shift, in pixels.")] = 0.3,
    simplify: Annotated[str, typer.Option(help="How far outlines may move: '8 m'.")] = "",
    formats: Annotated[str, typer.Option(help="Of polygons.")] = "gpkg,geoparquet",
    before_date: Annotated[str, typer.Option(help="Where the file does not say: 2020-12-31.")] = "",
    after_date: Annotated[str, typer.Option(help="Where the file does not say.")] = "",
    before_confidence: Path_ = None,
    after_confidence: Path_ = None,
    workers: Annotated[
        int | None, typer.Option(help="Worker processes; else threads of this one.", min=1)
    ] = None,
    as_json: AsJson = False,
    log_json: LogJson = False,
    quiet: Quiet = False,
) -> None:
    """Tell what changed between two maps: rasters, polygons, a transition matrix.

    Pixels without a class on one of the dates are not compared. Differences along the edges of
    classes count only where the maps are surer of them than of an edge that lies elsewhere.
    """
    from geoseg.api.change import Known
    from geoseg.api.change import change as compare

    settings: dict[str, Any] = {
        "from": _listed(from_),
        "to": _listed(to),
        "grid": grid.value,
        "names": _pairs(name or []),
        "ignore": _listed(ignore),
        "background": background or None,
        "min_confidence": min_confidence,
        "min_area": min_area or 0,
        "patches": patches.value,
        "forest_mask": forest_mask or None,
        "edges": edges.value,
        "edge_width": edge_width,
        "max_shift": max_shift,
        "simplify": simplify or None,
        "formats": _listed(formats),
    }
    known = Known(
        _moment(before_date, "--before-date"),
        _moment(after_date, "--after-date"),
        before_confidence,
        after_confidence,
    )
    teller = reporter(log_json=log_json, quiet=quiet)
    try:
        result = compare(
            before, after, out, known=known, workers=workers, reporter=teller, **settings
        )
    finally:
        teller.close()
    if as_json:
        print_json(
            {"products": result.products, "warnings": result.warnings, "change": result.record}
        )
    else:
        _show(out, result)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        theirs, equals, ours = text.partition("=")
        if not (equals and theirs.strip() and ours.strip()):
            raise InputError(f"--name {text!r}: expected AFTER=BEFORE, as in Forest=Trees")
        pairs[theirs.strip()] = ours.strip()
    return pairs


def _moment(text: str, option: str) -> datetime | None:
    from geoseg.workflow.faults import UnfitError
    from geoseg.workflow.fields import parse_moment

    try:
        return parse_moment(text) if text else None
    except UnfitError as error:
        raise InputError(f"{option}: {error}") from None


def _show(out: Path, result: Changed) -> None:
    record = result.record
    typer.echo(
        f"{out}: {record['before']['date'] or 'before'} to {record['after']['date'] or 'after'}"
    )
    rows = record["transitions"]
    for row in rows[:_SHOWN]:
        typer.echo(f"{row['ha']:>14,.2f} ha  {row['from']} → {row['to']}")
    if len(rows) > _SHOWN:
        rest = sum(row["ha"] for row in rows[_SHOWN:])
        typer.echo(f"{rest:>14,.2f} ha  in {len(rows) - _SHOWN} other transitions")
    typer.echo(
        f"{record['changed_ha']:>14,.2f} ha  of change, of {record['compared_ha']:,.2f} ha compared"
    )
    for what, key in (
        ("not seen on one date or both", "not_seen_ha"),
        ("not looked at", "not_looked_at_ha"),
    ):
        if record[key]:
            typer.echo(f"{record[key]:>14,.2f} ha  {what}")
    left = record["left_out_ha"]
    _show_left_out(left)
    typer.echo(f"{record['polygons']['count']} polygons; {record['areas_note'].partition(';')[0]}")


def _show_left_out(left: Mapping[str, float]) -> None:
    words = {"unsure": "not sure enough", "edges": "along edges", "small": "too small"}
    told = [f"{left[key]:,.2f} ha {text}" for key, text in words.items() if left[key]]
    if told:
        typer.echo(f"left out: {', '.join(told)}")
