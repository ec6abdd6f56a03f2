"""Networks of the zoo by name, measured without weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from geoseg.errors import ModelError
from geoseg.models.architectures import build, check_stride, steps
from geoseg.models.base import ModelCard
from geoseg.models.deepness import invented_legend
from geoseg.models.fields import closest
from geoseg.models.reach import measure
from geoseg.models.zoo import ARCHITECTURES

_SIDE = 256


def named_card(architecture: Mapping[str, Any], *, bands: int, classes: int) -> ModelCard:
    """A card for a network of the zoo, with its own small encoder where none is named."""
    name = str(architecture.get("name"))
    entry = ARCHITECTURES.get(name)
    if entry is None:
        raise ModelError(
            f"no architecture {name!r}{closest(name, ARCHITECTURES) or ';'} "
            f"known: {', '.join(ARCHITECTURES)}"
        )
    named = {"encoder": entry.encoder, **architecture} if entry.encoder else dict(architecture)
    return ModelCard(
        name=name,
        version="0.0.0",
        bands=tuple(f"b{i + 1}" for i in range(bands)),
        units="dn",
        mean=(0.0,) * bands,
        std=(1.0,) * bands,
        legend=invented_legend(name, [f"class {i}" for i in range(classes)]),
        stride=entry.stride,
        size=_SIDE,
        margin=0,
        architecture=named,
    )


def measure_named(architecture: Mapping[str, Any], *, bands: int, classes: int) -> dict[str, Any]:
    """Parameters, FLOPs and memory for a pixel, measured reach, and stride."""
    card = named_card(architecture, bands=bands, classes=classes)
    network = build(card)
    halved = steps(network)
    stride = max(halved, 2) if halved > 1 else card.stride
    # DPT halves its odd grids once more than it says.
    stride = (
        card.stride if card.stride % stride == 0 and not _takes(network, card, stride) else stride
    )
    card = replace(card, stride=stride, size=max(1, _SIDE // stride) * stride)
    check_stride(network, card)
    found = measure(network, bands=bands, stride=stride, size=card.size)
    return {
        "architecture": dict(card.architecture),
        "bands": bands,
        "classes": classes,
        "parameters": found.parameters,
        "flops_per_pixel": found.flops_per_pixel,
        "reach": found.reach,
        "stride": stride,
        "activation_bytes": found.activation_bytes,
    }


def _takes(network: Any, card: ModelCard, stride: int) -> bool:
    try:
        check_stride(network, replace(card, stride=stride, size=stride))
    except ModelError:
        return False
    return True
