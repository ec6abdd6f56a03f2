"""From a card's architecture to a network: own ones, and those of smp, timm and transformers."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import nn

from geoseg.errors import ModelError
from geoseg.models.base import ModelCard
from geoseg.models.card_rules import planes
from geoseg.models.dynamicworld import DynamicWorld
from geoseg.models.fields import closest
from geoseg.models.light import FCN, LRASPP, FastSCNN
from geoseg.models.networks import GeosegUNet
from geoseg.models.zoo import ARCHITECTURES

NAMES: Final = tuple(ARCHITECTURES)

# What the card says elsewhere, and what would download weights or change what comes out.
_NOT_ASKED = {"self", "encoder_name", "encoder_weights", "in_channels", "classes", "activation"}
_NOT_ASKED |= {"aux_params", "kwargs"}


_MOST_WEIGHTS: Final = 1e9
"""Of the own network: 4 GB."""


def build(card: ModelCard, *, seed: int = 0) -> nn.Module:
    """The network that ``card.architecture`` describes, with random weights; nothing is downloaded.

    ``{"name": "geoseg-unet", "widths": [...], "depths": [...]}`` or
    ``{"name": "unet", "encoder": "resnet34", ...}``: :mod:`geoseg.models.zoo` lists all names with
    what they take.

    Raises:
        ModelError: No such architecture, encoder or parameter.
    """
    parameters = dict(card.architecture)
    name = parameters.pop("name", None)
    if name not in NAMES:
        raise ModelError(
            f"model {card.name!r}: no architecture {name!r}{closest(str(name), NAMES) or ';'} "
            f"known: {', '.join(NAMES)}"
        )
    make = _MAKERS.get(str(name), _smp)
    # The caller's random numbers are not ours to use up.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make(card, str(name), parameters)
    return network.eval()


def steps(network: nn.Module) -> int:
    """The stride that a network says it has: of its coarsest features; 1 where it says nothing."""
    for part in (network, getattr(network, "encoder", None)):
        found = getattr(part, "output_stride", None)
        if isinstance(found, int):
            return found
    return 1


def check_stride(network: nn.Module, card: ModelCard) -> None:
    """Refuse a card whose stride is not the network's, by running one small chip."""
    # Some decoders bend features to fit instead of failing, and then move with the chip's start.
    halved = steps(network)
    if card.stride % halved:
        raise ModelError(
            f"model {card.name!r}: its card says stride {card.stride}, its network works in "
            f"steps of {halved} px; wanted a multiple of {halved}"
        )
    # Three strides: a network that halves once more than the card says cannot take them.
    side = card.size if card.fixed else 3 * card.stride
    what = f"{'the size' if card.fixed else 'three times the stride'} of its card"
    what += "" if card.fixed else f" ({card.stride})"
    wanted = (1, len(card.legend.classes), side, side)
    try:
        with torch.inference_mode():
            found = tuple(network(torch.zeros(1, len(card.bands), side, side)).shape)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise ModelError(
            f"model {card.name!r}: its network does not take chips of {side} px, {what}: "
            f"{_first_line(error)}"
        ) from error
    if found != wanted:
        raise ModelError(
            f"model {card.name!r}: for a chip of {side} px ({what}) its network gives {found}; "
            f"the card says {wanted}"
        )


def _own(card: ModelCard, name: str, parameters: Mapping[str, Any]) -> nn.Module:
    _known_only(card, name, parameters, {"widths", "depths"})
    shapes = {"widths": (16, 32, 64, 96), "depths": (1, 2, 2)}
    for key, default in shapes.items():
        found = parameters.get(key, default)
        counts = isinstance(found, list | tuple) and len(found) == len(default)
        least = 1 if key == "widths" else 0
        if not counts or not all(isinstance(n, int) and n >= least for n in found):
            raise ModelError(
                f"model {card.name!r}: architecture {name}: {key} {found!r}; "
                f"wanted {len(default)} whole numbers like {list(default)}"
            )
        shapes[key] = tuple(found)
    widths: Any = shapes["widths"]
    depths: Any = shapes["depths"]
    count = sum(9 * b * (a + d * b) for a, b, d in zip(widths, widths[1:], depths, strict=False))
    if count > _MOST_WEIGHTS:
        raise ModelError(
            f"model {card.name!r}: architecture {name}: widths {list(widths)} and depths "
            f"{list(depths)} make {count:.1e} weights; wanted at most {_MOST_WEIGHTS:.0e}"
        )
    classes = planes(card)
    return GeosegUNet(len(card.bands), classes, widths=widths, depths=depths)


def _dynamicworld(card: ModelCard, name: str, parameters: Mapping[str, Any]) -> nn.Module:
    _known_only(card, name, parameters, set())
    return DynamicWorld(len(card.bands), planes(card))


def _fast_scnn(card: ModelCard, name: str, parameters: Mapping[str, Any]) -> nn.Module:
    _known_only(card, name, parameters, set())
    return FastSCNN(len(card.bands), planes(card))


def _over_timm(card: ModelCard, name: str, parameters: Mapping[str, Any]) -> nn.Module:
    """FCN and LR-ASPP, over any encoder of timm that gives feature maps."""
    entry = ARCHITECTURES[name]
    _known_only(card, name, parameters, {"encoder", *entry.parameters})
    asked = dict(parameters)
    encoder = _encoder(card, str(asked.pop("encoder", entry.encoder)), timm_only=True)
    make: Callable[..., nn.Module] = FCN if name == "fcn" else LRASPP
    bands, classes = len(card.bands), planes(card)
    return _made(
        card, name, parameters, lambda: make(encoder.removeprefix("tu-"), bands, classes, **asked)
    )


def _mask2former(card: ModelCard, name: str, parameters: Mapping[str, Any]) -> nn.Module:
    from geoseg.models.hugging import mask2former  # noqa: PLC0415 (transformers takes seconds)

    _known_only(card, name, parameters, set(ARCHITECTURES[name].parameters))
    bands, classes = len(card.bands), planes(card)
    return _made(card, name, parameters, lambda: mask2former(bands, classes, **parameters))


def _transformers(card: ModelCard, name: str, parameters: Mapping[str, Any]) -> nn.Module:
    from geoseg.models.hugging import from_config  # noqa: PLC0415 (the same)

    _known_only(card, name, parameters, {"config"})
    config = parameters.get("config")
    if not isinstance(config, Mapping):
        raise ModelError(
            f"model {card.name!r}: architecture {name}: config {config!r}; wanted what the "
            f"model's config.json says"
        )
    bands, classes = len(card.bands), planes(card)
    return _made(card, name, parameters, lambda: from_config(config, bands=bands, classes=classes))


def _smp(card: ModelCard, name: str, parameters: Mapping[str, Any]) -> nn.Module:
    import segmentation_models_pytorch as smp  # noqa: PLC0415 (takes a second, own models need none)

    make: Callable[..., nn.Module] = getattr(smp, ARCHITECTURES[name].smp)
    asked = dict(parameters)
    encoder = asked.pop("encoder", None)
    accepted = set(inspect.signature(make).parameters)
    if encoder is not None:
        asked["encoder_name"] = _encoder(card, str(encoder), timm_only=name == "dpt")
    _known_only(card, name, parameters, (accepted - _NOT_ASKED) | {"encoder"})
    if name == "dpt":
        asked["dynamic_img_size"] = True  # chips are of any size, not only of the pretrained one
    bands, classes = len(card.bands), planes(card)
    return _made(
        card,
        name,
        parameters,
        lambda: make(**asked, encoder_weights=None, in_channels=bands, classes=classes),
    )


_MAKERS: Final[Mapping[str, Callable[[ModelCard, str, Mapping[str, Any]], nn.Module]]] = {
    "geoseg-unet": _own,
    "dynamicworld": _dynamicworld,
    "fcn": _over_timm,
    "lraspp": _over_timm,
    "fast-scnn": _fast_scnn,
    "mask2former": _mask2former,
    "transformers": _transformers,
}


def _made(
    card: ModelCard, name: str, parameters: Mapping[str, Any], make: Callable[[], nn.Module]
) -> nn.Module:
    """What ``make`` gives; what it says against the card's parameters as one line."""
    try:
        return make()
    except ModelError as error:
        raise ModelError(f"model {card.name!r}: {error}") from error
    except Exception as error:  # others' constructors fail in every way
        raise ModelError(
            f"model {card.name!r}: {name} cannot be built with {_short(parameters)}: "
            f"{_first_line(error)}"
        ) from error


def _encoder(card: ModelCard, name: str, *, timm_only: bool) -> str:
    """Smp's name of an encoder: its own, or timm's with smp's prefix."""
    import segmentation_models_pytorch as smp  # noqa: PLC0415 (takes a second, own models need none)
    import timm  # noqa: PLC0415 (the same)

    own = set() if timm_only else set(smp.encoders.encoders)
    foreign = name.removeprefix("tu-")
    if name in own:
        return name
    if timm.is_model(foreign):
        return f"tu-{foreign}"
    hint = closest(name, itertools.chain(own, timm.list_models()))
    raise ModelError(
        f"model {card.name!r}: no encoder {name!r}{hint or ';'} "
        f"{'' if timm_only else 'encoders of segmentation-models-pytorch and '}"
        f"all of timm are known"
    )


def _known_only(card: ModelCard, name: str, parameters: Mapping[str, Any], known: set[str]) -> None:
    for key in parameters:
        if key not in known:
            raise ModelError(
                f"model {card.name!r}: architecture {name} has no parameter {key!r}"
                f"{closest(key, known) or ';'} it has {', '.join(sorted(known)) or 'none'}"
            )


def _short(parameters: Mapping[str, Any]) -> str:
    text = str(dict(parameters))
    return text if len(text) <= 120 else f"{text[:117]}..."


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
