"""How networks, measurements and proofs are printed for people, on stdout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from geoseg.models.proof import Line
    from geoseg.models.zoo import Architecture


def show_architectures(entries: Sequence[Architecture]) -> None:
    """Two lines for each network."""
    lines = []
    for e in entries:
        takes = {"none": "no encoder"}.get(e.encoders, f"encoders of {e.encoders}")
        first = f", e.g. {e.encoder}" if e.encoder else ""
        more = f"; {', '.join(e.parameters)}" if e.parameters else ""
        extra = f"; needs geoseg[{e.extra}]" if e.extra else ""
        lines += [f"{e.name}: {e.title}", f"  takes    {takes}{first}{more}{extra}"]
    _print(lines)


def show_measured(found: Mapping[str, Any]) -> None:
    """One line for each number."""
    reach = "everywhere" if found["reach"] is None else f"{found['reach']} px"
    _print(
        [
            f"parameters   {found['parameters']:,}",
            f"FLOPs        {found['flops_per_pixel']:,} for a pixel",
            f"reach        {reach}",
            f"stride       {found['stride']} px",
            f"memory       {found['activation_bytes']:,} bytes of activations for a pixel",
        ]
    )


def show_check(lines: Sequence[Line]) -> None:
    """What was looked at, and one line for each fault."""
    _print(
        [
            f"{'BAD' if line.fault else 'ok '} {line.what:<11} {line.found}"
            + (f" -> {line.fault}" if line.fault else "")
            for line in lines
        ]
    )


def _print(lines: Sequence[str]) -> None:
    # Long lines must stay whole: they are copied from here.
    Console(soft_wrap=True, highlight=False).print("\n".join(lines), markup=False)
