"""Weights of timm's encoders in networks of ours, for any number of bands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from geoseg.errors import ModelError
from geoseg.models.architectures import build
from geoseg.models.base import ModelCard
from geoseg.models.formats import SAFETENSORS
from geoseg.models.intact import check_format


def put_encoder(card: ModelCard, name: str, weights: Path) -> nn.Module:
    """The card's network with an encoder's weights from a safetensors file.

    Its first layer is adapted to the card's bands as timm does it: the weights of red, green and
    blue are repeated and scaled, so that the sums stay the same.

    Raises:
        ModelError: The file is no safetensors, or belongs to another encoder.
    """
    import timm  # noqa: PLC0415 (takes a second)

    if check_format(weights) is not SAFETENSORS:
        raise ModelError(f"{weights}: wanted the encoder's weights as safetensors")
    network = build(card)
    body = _body(network)
    overlay = {"file": str(weights)}
    asked: dict[str, Any] = {"in_chans": len(card.bands), "features_only": True}
    try:
        trained = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **asked)
    except Exception as error:  # it fails in every way
        line = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ModelError(f"{weights}: not weights of timm's {name}: {line}") from error
    found, wanted = trained.state_dict(), body.state_dict()
    fits = {k: v for k, v in found.items() if k in wanted and wanted[k].shape == v.shape}
    if not set(wanted) <= set(fits):
        missing = sorted(set(wanted) - set(fits))
        raise ModelError(f"{weights}: timm's {name} lacks {missing[0]} of the card's encoder")
    body.load_state_dict(fits)
    return network


def _body(network: nn.Module) -> nn.Module:
    encoder = getattr(network, "encoder", None)
    body = getattr(encoder, "body", None) or getattr(encoder, "model", None)
    if not isinstance(body, nn.Module):
        raise ModelError(
            "this architecture has no encoder of timm: take unet, fpn, fcn or the like"
        )
    return body
