"""The command that tells where a product comes from, by what its own file says."""

# ruff: noqa: PLC0415 (heavy imports wait until a command needs them: --help takes < 0.5 s)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoseg.cli.options import AsJson, Silent, print_json

if TYPE_CHECKING:
    from geoseg.api.provenance import Input

_SHOWN = 20  # inputs that are worth a line each
_DIGITS = 12  # of a checksum


def provenance(
    product: Annotated[
        Path,
        typer.Argument(
            help="A GeoTIFF, GeoPackage, Parquet, FlatGeobuf, PMTiles or Zarr of geoseg.",
            show_default=False,
        ),
    ],
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Compare its inputs with their checksums; exit with 1 where one is changed.",
        ),
    ] = False,
    as_json: AsJson = False,
    quiet: Silent = False,
) -> None:
    """Tell which inputs, model, settings and versions a product was made of."""
    from geoseg.api.provenance import check_inputs, read

    document = read(product)
    inputs = check_inputs(document) if check else None
    if as_json:
        states = {} if inputs is None else {"checked": [[one.name, one.state] for one in inputs]}
        print_json({**document, **states})
    elif not quiet:
        _show(product, document, inputs)
    changed = inputs is not None and any(one.state == "changed" for one in inputs)
    raise typer.Exit(1 if changed else 0)


def _show(product: Path, document: Mapping[str, Any], inputs: Sequence[Input] | None) -> None:
    typer.echo(f"{product}: {document.get('product')}, by geoseg {document.get('geoseg')}")
    for key, value in document.items():
        if isinstance(value, str) and key not in ("geoseg", "product"):
            typer.echo(f"  {key:<12} {value}")
    model = document.get("model")
    if isinstance(model, dict):
        digest = _short(model.get("sha256"))
        typer.echo(f"  {'model':<12} {model.get('name')} {model.get('version')}{digest}")
    told = document.get("inputs") or []
    typer.echo(f"  {'inputs':<12} {len(told)}")
    for number, one in enumerate(told[:_SHOWN]):
        state = "" if inputs is None else f"  {inputs[number].state}"
        name = one.get("href", one.get("scene"))
        digest = _short(one.get("sha256") or one.get("sha256_of_samples") or one.get("content"))
        typer.echo(f"    {name}{digest}{state}")
    if len(told) > _SHOWN:
        typer.echo(f"    and {len(told) - _SHOWN} more; --json has all of them")
    software = document.get("software") or {}
    versions = ", ".join(f"{name} {version}" for name, version in sorted(software.items()))
    typer.echo(f"  {'versions':<12} {versions}")
    typer.echo(f"  {'settings':<12} --json has them")


def _short(digest: object) -> str:
    return f" (sha256 {digest[:_DIGITS]}…)" if isinstance(digest, str) and digest else ""
