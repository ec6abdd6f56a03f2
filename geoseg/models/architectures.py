"""From a card's architecture to a network: the project's own U-Net and the zoo of smp and timm."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import nn

from geoseg.errors import ModelError
from geoseg.models.base import ModelCard
from geoseg.models.dynamicworld import DynamicWorld
from geoseg.models.fields import closest
from geoseg.models.networks import GeosegUNet

OWN: Final = "geoseg-unet"
DYNAMICWORLD: Final = "dynamicworld"

_SMP: Final = {
    "deeplabv3": "DeepLabV3",
    "deeplabv3plus": "DeepLabV3Plus",
    "dpt": "DPT",
    "fpn": "FPN",
    "linknet": "Linknet",
    "manet": "MAnet",
    "pspnet": "PSPNet",
    "segformer": "Segformer",
    "unet": "Unet",
    "unetplusplus": "UnetPlusPlus",
    "upernet": "UPerNet",
}
NAMES: Final = (OWN, DYNAMICWORLD, *sorted(_SMP))

# What the card says elsewhere, and what would download weights or change what comes out.
_NOT_ASKED = {"self", "encoder_name", "encoder_weights", "in_channels", "classes", "activation"}
_NOT_ASKED |= {"aux_params", "kwargs"}


def build(card: ModelCard, *, seed: int = 0) -> nn.Module:
    """The network that ``card.architecture`` describes, with random weights; nothing is downloaded.

    ``{"name": "geoseg-unet", "widths": [...], "depths": [...]}``, ``{"name": "dynamicworld"}`` or
    ``{"name": "unet", "encoder": "resnet34", ...}`` with an encoder of
    segmentation-models-pytorch or timm, and any other parameter of smp's class of that name.

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
    make = {OWN: _own, DYNAMICWORLD: _dynamicworld}.get(str(name), _zoo)
    # The caller's random numbers are not ours to use up.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make(card, str(name), parameters)
    return network.eval()


def check_stride(network: nn.Module, card: ModelCard) -> None:
    """Refuse a card whose stride is not the network's, by running one small chip."""
    # Some decoders bend features to fit instead of failing, and then move with the chip's start.
    halved = getattr(getattr(network, "encoder", None), "output_stride", 1)
    if card.stride % halved:
        raise ModelError(
            f"model {card.name!r}: its card says stride {card.stride}, its network works in "
            f"steps of {halved} px; wanted a multiple of {halved}"
        )
    # Three strides: a network that halves once more than the card says cannot take them.
    side = 3 * card.stride
    wanted = (1, len(card.legend.classes), side, side)
    try:
        with torch.inference_mode():
            found = tuple(network(torch.zeros(1, len(card.bands), side, side)).shape)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise ModelError(
            f"model {card.name!r}: its network does not take chips of {side} px, three times the "
            f"stride of its card ({card.stride}): {_first_line(error)}"
        ) from error
    if found != wanted:
        raise ModelError(
            f"model {card.name!r}: for a chip of {side} px (three times the card's stride "
            f"{card.stride}) its network gives {found}; the card says {wanted}"
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
    classes = len(card.legend.classes)
    return GeosegUNet(len(card.bands), classes, widths=widths, depths=depths)


def _dynamicworld(card: ModelCard, name: str, parameters: Mapping[str, Any]) -> nn.Module:
    _known_only(card, name, parameters, set())
    return DynamicWorld(len(card.bands), len(card.legend.classes))


def _zoo(card: ModelCard, name: str, parameters: Mapping[str, Any]) -> nn.Module:
    import segmentation_models_pytorch as smp  # noqa: PLC0415 (takes a second, own models need none)

    make: Callable[..., nn.Module] = getattr(smp, _SMP[name])
    asked = dict(parameters)
    encoder = asked.pop("encoder", None)
    accepted = set(inspect.signature(make).parameters)
    if encoder is not None:
        asked["encoder_name"] = _encoder(card, str(encoder), timm_only=name == "dpt")
    _known_only(card, name, parameters, (accepted - _NOT_ASKED) | {"encoder"})
    if name == "dpt":
        asked["dynamic_img_size"] = True  # chips are of any size, not only of the pretrained one
    try:
        return make(
            **asked,
            encoder_weights=None,
            in_channels=len(card.bands),
            classes=len(card.legend.classes),
        )
    except (TypeError, ValueError, KeyError, IndexError, RuntimeError, AssertionError) as error:
        raise ModelError(
            f"model {card.name!r}: {name} cannot be built with {dict(parameters)}: "
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
        f"model {card.name!r}: no encoder {name!r}{hint or ';'} encoders of "
        f"segmentation-models-pytorch and all of timm are known"
    )


def _known_only(card: ModelCard, name: str, parameters: Mapping[str, Any], known: set[str]) -> None:
    for key in parameters:
        if key not in known:
            raise ModelError(
                f"model {card.name!r}: architecture {name} has no parameter {key!r}"
                f"{closest(key, known) or ';'} it has {', '.join(sorted(known)) or 'none'}"
            )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
