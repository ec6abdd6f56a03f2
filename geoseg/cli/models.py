"""``geoseg models``: what is there, bringing models in, sending them out, and proving them."""

# ruff: noqa: PLC0415 (heavy imports wait until a command needs them: --help takes < 0.5 s)

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoseg.cli.options import AsJson, Silent, model_names, print_json

if TYPE_CHECKING:
    from geoseg.models.registry import ModelPackage
    from geoseg.models.told import Told

Bands = Annotated[str, typer.Option(help="Common names in the order of the input: red,green,...")]
Classes = Annotated[
    str, typer.Option(help="Names in the order of the scores: Land,Water; or a known legend.")
]
Units = Annotated[str, typer.Option(help="What the numbers are: reflectance or dn.")]
Mean = Annotated[str, typer.Option(help="Per band, or one for all: subtracted from the numbers.")]
Std = Annotated[str, typer.Option(help="Per band, or one for all: what they are divided by.")]
AnyModel = Annotated[
    str,
    typer.Argument(help="Name, folder or file.", show_default=False, autocompletion=model_names),
]
KnownModel = Annotated[
    str, typer.Argument(help="Name or folder.", show_default=False, autocompletion=model_names)
]
ModelName = Annotated[str, typer.Option(help="What the model will be called.")]
ArchitectureName = Annotated[
    str, typer.Option(help="Name of a network: see geoseg models architectures.")
]
Encoder = Annotated[str, typer.Option(help="Of smp or timm, where the network takes one.")]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--parameter",
        metavar="KEY=VALUE",
        help="Another parameter of the network, as JSON: encoder_depth=3. May be repeated.",
        show_default=False,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace a model of the same name.")]
AllowCode = Annotated[
    bool, typer.Option("--allow-code", help="Open TorchScript, which runs code that it brings.")
]

_OWED = ("license", "citation", "attribution")

models = typer.Typer(help="The models that geoseg knows.", no_args_is_help=True)


@models.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the models that can be called by name."""
    from geoseg.cli.show import show_models
    from geoseg.models.registry import available

    cards = available()
    if as_json:
        print_json([{"name": c.name, "version": c.version, "bands": c.bands} for c in cards])
    else:
        show_models(cards)


@models.command("architectures")
def list_architectures(as_json: AsJson = False) -> None:
    """List the networks that a card or a command may name, and what each takes."""
    from dataclasses import asdict

    from geoseg.cli.show_models import show_architectures
    from geoseg.models.zoo import ARCHITECTURES

    entries = list(ARCHITECTURES.values())
    if as_json:
        print_json([asdict(entry) for entry in entries])
    else:
        show_architectures(entries)


@models.command("measure")
def measure_architecture(
    architecture: Annotated[str, typer.Argument(help="Its name.", show_default=False)],
    encoder: Encoder = "",
    bands: Annotated[int, typer.Option(help="How many.", min=1, max=1000)] = 3,
    classes: Annotated[int, typer.Option(help="How many.", min=1, max=255)] = 2,
    parameter: Parameters = None,
    as_json: AsJson = False,
) -> None:
    """Measure a network without weights: parameters, FLOPs, reach, stride, memory."""
    from geoseg.api.models import measure_network
    from geoseg.cli.show_models import show_measured

    named = _architecture(architecture, encoder, parameter)
    found = measure_network(named, bands=bands, classes=classes)
    if as_json:
        print_json(found)
    else:
        show_measured(found)


@models.command("add")
def add_model(
    what: Annotated[
        str,
        typer.Argument(
            metavar="NAME|PATH|URL|hf://ORG/NAME|timm://NAME",
            help="A known public model (dynamicworld); a package, a folder of Hugging Face's hub or "
            "a model file (.onnx, .pt2, TorchScript); or an address of any of them.",
            show_default=False,
        ),
    ],
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="A local copy of a known model or of timm's weights, instead of fetching it.",
            show_default=False,
        ),
    ] = None,
    name: ModelName = "",
    bands: Bands = "",
    classes: Classes = "",
    units: Units = "",
    mean: Mean = "",
    std: Std = "",
    stride: Annotated[int | None, typer.Option(help="Chips are multiples of it.", min=1)] = None,
    size: Annotated[int | None, typer.Option(help="Side of a chip, in pixels.", min=1)] = None,
    margin: Annotated[int | None, typer.Option(help="Unused rim of a chip.", min=0)] = None,
    output: Annotated[
        str, typer.Option(help="What it gives: logits, probabilities, logit or probability.")
    ] = "",
    architecture: ArchitectureName = "",
    encoder: Encoder = "",
    parameter: Parameters = None,
    allow_code: AllowCode = False,
    force: Force = False,
    as_json: AsJson = False,
    quiet: Silent = False,
) -> None:
    """Bring a model in, so that workflows can call it by name.

    What a model says of itself is taken from it; the options are for what it does not say.
    """
    from dataclasses import replace

    from geoseg.api import add_model as bring_model

    told = _told(name, bands, classes, units, mean, std)
    told = replace(
        told,
        stride=stride,
        size=size,
        margin=margin,
        output=output or None,
        architecture=_architecture(architecture, encoder, parameter) if architecture else {},
        allow_code=allow_code,
    )
    _show_package(bring_model(what, source=source, force=force, told=told), as_json, quiet)


@models.command("convert")
def convert_weights(
    source: Annotated[Path, typer.Argument(help="A state_dict: .pth or .safetensors.")],
    out: Annotated[Path, typer.Argument(help="Folder of the package.", show_default=False)],
    architecture: ArchitectureName,
    bands: Bands,
    classes: Classes,
    units: Units,
    encoder: Encoder = "",
    parameter: Parameters = None,
    name: ModelName = "",
    mean: Mean = "",
    std: Std = "",
    force: Annotated[bool, typer.Option("--force", help="Replace a package.")] = False,
    as_json: AsJson = False,
    quiet: Silent = False,
) -> None:
    """Make a package of somebody's weights; of a pickle nothing but tensors is read."""
    from dataclasses import replace

    from geoseg.api.models import convert

    told = _told(name, bands, classes, units, mean, std)
    told = replace(told, architecture=_architecture(architecture, encoder, parameter))
    _show_package(convert(source, out, told, force=force), as_json, quiet)


@models.command("export")
def export_model(
    name: AnyModel,
    out: Annotated[
        Path,
        typer.Argument(
            help="A folder for a package, or one .onnx or .pt2 file.", show_default=False
        ),
    ],
    kind: Annotated[
        str,
        typer.Option("--format", help="safetensors, pt2, onnx, or deepness (ONNX for QGIS)."),
    ] = "",
    softmax: Annotated[
        bool, typer.Option("--softmax", help="Give probabilities, temperature and all.")
    ] = False,
    size: Annotated[
        int | None, typer.Option(help="Chips of this size only; else of any.", min=1)
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(help="deepness: of the layer in QGIS; 0.0001 for reflectance, 1 for dn."),
    ] = None,
    offset: Annotated[float, typer.Option(help="deepness: added after scaling.")] = 0.0,
    allow_code: AllowCode = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    as_json: AsJson = False,
    quiet: Silent = False,
) -> None:
    """Write a model for others to run, and prove that it gives the same scores."""
    from dataclasses import asdict

    from geoseg.api.models import export

    asked: dict[str, Any] = {"softmax": softmax, "size": size, "scale": scale, "offset": offset}
    made = export(name, out, kind=kind or None, force=force, allow_code=allow_code, **asked)
    if as_json:
        print_json(asdict(made))
    elif not quiet:
        typer.echo(
            f"{made.path}: {made.bytes / 1e6:.2f} MB; probabilities are within "
            f"{made.difference:.1g} of the original's"
        )


@models.command("check")
def check_model(
    name: AnyModel,
    write: Annotated[
        bool, typer.Option("--write", help="Keep the scores of now as those to compare with.")
    ] = False,
    allow_code: AllowCode = False,
    as_json: AsJson = False,
    quiet: Silent = False,
) -> None:
    """Prove a model: card, checksum, scores, reach, costs. Exits with 2 where one is wrong."""
    from geoseg.api.models import check
    from geoseg.cli.show_models import show_check
    from geoseg.models.proof import as_json as plain

    lines = check(name, write=write, allow_code=allow_code)
    if as_json:
        print_json(plain(lines))
    elif not quiet or any(line.fault for line in lines):
        show_check([line for line in lines if line.fault] if quiet else lines)
    raise typer.Exit(2 if any(line.fault for line in lines) else 0)


@models.command("show")
def show_model(
    name: KnownModel,
) -> None:
    """Print the card of a model: what it needs, what it gives, how good it is."""
    from geoseg.models.registry import CARD_FILE, find

    typer.echo((find(name).folder / CARD_FILE).read_text("utf-8").rstrip())


def _show_package(package: ModelPackage, as_json: bool, quiet: bool) -> None:
    """A model that came in, and what whoever uses it has to know."""
    card = package.card
    known = {key: card.about[key] for key in _OWED if key in card.about}
    if as_json:
        found = {"name": card.name, "version": card.version, "folder": package.folder}
        print_json(found | known)
    elif not quiet:
        typer.echo(f"{card.name} {card.version}: {package.folder}")
        for key, value in known.items():
            typer.echo(f"{key}: {value}")


def _told(name: str, bands: str, classes: str, units: str, mean: str, std: str) -> Told:
    from geoseg.models.told import Told

    return Told(
        name=name or None,
        bands=_words(bands),
        classes=_words(classes),
        units=units or None,
        mean=_numbers("--mean", mean),
        std=_numbers("--std", std),
    )


def _architecture(name: str, encoder: str, parameters: list[str] | None) -> dict[str, Any]:
    """As a card has it; values that are not JSON are texts."""
    import json

    from geoseg.errors import ModelError

    found: dict[str, Any] = {"name": name} | ({"encoder": encoder} if encoder else {})
    for text in parameters or ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ModelError(f"--parameter {text}: wanted KEY=VALUE")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _numbers(option: str, text: str) -> tuple[float, ...]:
    from geoseg.errors import ModelError

    try:
        return tuple(float(word) for word in _words(text))
    except ValueError:
        raise ModelError(f"{option} {text}: wanted numbers with commas between them") from None
