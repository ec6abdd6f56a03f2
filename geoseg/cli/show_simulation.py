"""How a run on paper is printed for people, on stdout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from geoseg.api.simulating import Simulation

_BUSY = {
    "model": "models, while the run goes on",
    "cores": "cores of the workers",
    "client": "client: start, first looks, products that it makes",
    "scheduler": "scheduler",
}


def show_simulation(found: Simulation) -> None:
    """A short table."""
    forecast, pool = found.forecast, found.pool
    wall = forecast.wall
    each = "with a GPU each" if pool.gpu else f"with {pool.models} in the model at once"
    pixels, side = found.pixels / 1e6, f"{found.runs}, each of {forecast.scenes} scenes and"
    share = f"{pool.lanes} blocks in hand, {pool.cores:g} cores for {pool.together}"
    lines = [
        f"{_duration(wall)} for {pixels:,.0f} Mpx ({pixels / wall:,.2f} Mpx/s)",
        f"  runs side by side  {side} {forecast.blocks:,} blocks",
        f"  workers of a run   {pool.workers} {each}, {share}",
        f"  tasks as in        {found.times.source}",
        f"  {'start':<18} {_duration(forecast.start)}",
        *(f"  {name:<18} {_duration(seconds)}" for name, seconds in forecast.stages.items()),
        f"  {'client':<18} {_duration(forecast.client)}",
        f"  idle {forecast.waiting:6.1%}       workers' time without any block or product",
    ]
    lines += [f"  busy {found.busy[name]:6.1%}       {text}" for name, text in _BUSY.items()]
    if forecast.tries > forecast.blocks:
        again = forecast.tries - forecast.blocks
        lines.append(f"  tried again        {again:,.0f} blocks, {forecast.failed:,.1f} failed")
    rates = f"{found.reading / 1e6:,.1f} MB/s read, {found.writing / 1e6:,.1f} MB/s written"
    lines += [
        f"  bottleneck         {found.bottleneck}",
        f"  to feed one model  {found.feeding:.2f} cores that read and write",
        f"  while segmenting   {rates}, before compression",
        f"  simulated in       {found.took:.1f} s, {forecast.simulated} scenes block by block",
    ]
    typer.echo("\n".join(lines))


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86400:.1f} days"
