"""Commands for alerts of forest loss: maps into a store, products out of it."""

# ruff: noqa: PLC0415 (heavy imports wait until a command needs them: --help takes < 0.5 s)

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoseg.cli.options import AsJson, LogJson, Quiet, print_json, reporter

if TYPE_CHECKING:
    from geoseg.workflow.alerts import Alerts

alerts = typer.Typer(
    help="Alerts of forest loss: take maps into a store, date by date; export what it knows.",
    no_args_is_help=True,
)


class Preset(StrEnum):
    """Whose rule."""

    radd = "radd"
    gfw = "gfw"


Store = Annotated[Path, typer.Argument(help="The store, a folder *.zarr.", show_default=False)]
Maps = Annotated[
    list[Path] | None,
    typer.Argument(help="Folders of products, or rasters of classes.", show_default=False),
]
Out = Annotated[Path, typer.Argument(help="Folder of the products.", show_default=False)]
Forest = Annotated[str, typer.Option(help="Class that is forest, or several: a,b.")]
Ignore = Annotated[str, typer.Option(help="Classes that say nothing, like clouds: a,b.")]
Baseline = Annotated[
    Path | None,
    typer.Option(help="A map: only its forest is watched. For a new store.", show_default=False),
]
Rule = Annotated[
    str,
    typer.Option(help="bayes, or k of n clear observations: 2/3. The store's own without it."),
]
Chi = Annotated[
    float | None,
    typer.Option(help="Probability that confirms, for bayes; else 0.975.", show_default=False),
]
Within = Annotated[str, typer.Option(help="Days in which an alert must be confirmed: '90 d'.")]
SeenForest = Annotated[
    int | None,
    typer.Option(
        help="Clear dates of forest in a row before a pixel is watched; 3, with a baseline 0.",
        min=0,
        show_default=False,
    ),
]
PresetOption = Annotated[Preset | None, typer.Option(help="A known rule.", show_default=False)]
MinArea = Annotated[
    str, typer.Option(help="The smallest polygon: '0.2 ha', or a preset (radd, eudr, corine).")
]
Workers = Annotated[int | None, typer.Option(help="Threads; else one a core.", min=1)]


@alerts.command("update")
def update(
    store: Store,
    maps: Maps = None,
    forest: Forest = "",
    ignore: Ignore = "",
    baseline: Baseline = None,
    preset: PresetOption = None,
    rule: Rule = "",
    chi: Chi = None,
    confirm_within: Within = "",
    seen_forest: SeenForest = None,
    workers: Workers = None,
    as_json: AsJson = False,
    log_json: LogJson = False,
    quiet: Quiet = False,
) -> None:
    """Take maps into a store of alerts. Their order changes nothing; a scene may come again."""
    from geoseg.api.alerts import has_baseline
    from geoseg.api.alerts import update as update_store
    from geoseg.io.dated_map import find_map
    from geoseg.workflow.alerts import Watching, section_of

    told: dict[str, Any] = {
        "preset": None if preset is None else preset.value,
        "rule": _rule(rule),
        "chi": chi,
        "confirm_within": confirm_within or None,
        "seen_forest": seen_forest,
    }
    told = {key: value for key, value in told.items() if value is not None}
    if told and (baseline is not None or has_baseline(store)):
        told["baseline"] = "known"  # all that a rule asks is whether there is one
    names, silent = _listed(forest), _listed(ignore)
    section: Alerts | None = section_of(told) if told else None
    watching = Watching(names, silent, baseline, None if section is None else section.rule_of())
    found = [find_map(path) for path in maps or ()]
    teller = reporter(log_json=log_json, quiet=quiet)
    try:
        done = update_store(store, found, watching, workers=workers, reporter=teller)
    finally:
        teller.close()
    if as_json:
        print_json(done.as_json())
    else:
        replaced = f" ({len(done.replaced)} of them again)" if done.replaced else ""
        typer.echo(
            f"{store}: {len(done.added)} scenes added{replaced}, {len(done.known)} known; blocks: "
            + ", ".join(f"{n} {what}" for what, n in sorted(done.blocks.items()))
        )


@alerts.command("export")
def export(
    store: Store,
    out: Out,
    min_area: MinArea = "",
    workers: Workers = None,
    as_json: AsJson = False,
    log_json: LogJson = False,
    quiet: Quiet = False,
) -> None:
    """Write alerts as rasters (GFW's numbers, OPERA's states, dates) and as polygons."""
    from geoseg.api.alerting import export_alerts

    teller = reporter(log_json=log_json, quiet=quiet)
    try:
        done = export_alerts(store, out, min_area=min_area or 0, workers=workers, reporter=teller)
    finally:
        teller.close()
    if as_json:
        print_json(
            {
                "products": {role: str(path) for role, path in done.paths.items()},
                "polygons": done.polygons,
                "left_out": done.left_out,
                "states": done.states,
            }
        )
    else:
        for role, path in done.paths.items():
            typer.echo(f"{role:<12} {path}")
        left = f", {done.left_out} smaller ones left out" if done.left_out else ""
        typer.echo(f"{done.polygons} alerts{left}")


@alerts.command("show")
def show(store: Store, workers: Workers = None, as_json: AsJson = False) -> None:
    """Say what a store holds: scenes, states, hectares."""
    from geoseg.api.alerting import show_alerts

    held = show_alerts(store, workers=workers)
    if as_json:
        print_json(held.as_json())
        return
    for day, scene in held.scenes:
        typer.echo(f"{day}  {scene}")
    typer.echo(f"rule: {held.rule}; forest: {', '.join(held.forest)}")
    for row in held.rows:
        typer.echo(f"{row.state:>3}  {row.name:<38} {row.pixels:>12} px {row.ha:>14,.2f} ha")
    if held.behind:
        typer.echo(f"{held.behind} blocks are behind: geoseg alerts update {store}")


def _listed(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _rule(text: str) -> str | dict[str, int] | None:
    """``bayes``, or ``k/n`` as the workflow has it."""
    k, slash, n = (part.strip() for part in text.partition("/"))
    if slash and k.isdecimal() and n.isdecimal():
        return {"k": int(k), "n": int(n)}
    return text.strip() or None
