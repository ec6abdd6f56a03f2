"""Weights for the encoder alone: what others trained on millions of pictures, as a local file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from geoseg.errors import ModelError
from geoseg.models.base import ModelCard
from geoseg.models.intact import check_format, not_safetensors

# What libraries put before the names of the same tensors.
_PREFIXES: Final = ("", "model.", "encoder.", "encoder.model.", "backbone.", "features.")
# Pictures have their channels in this order.
_PICTURE: Final = ("red", "green", "blue")


@dataclass(frozen=True, slots=True)
class EncoderLoaded:
    """What came from the file.

    Attributes:
        loaded: Names of the encoder's tensors that did, as they were.
        adapted: Those that did for other bands.
        missing: Those that stay random.
    """

    loaded: tuple[str, ...]
    adapted: tuple[str, ...]
    missing: tuple[str, ...]


def load_encoder(
    network: nn.Module, card: ModelCard, path: Path, inputs: Collection[str]
) -> EncoderLoaded:
    """Put the tensors of ``path`` into the encoder of ``network``.

    Tensors are known by name and shape, whatever prefix the library gave them. The layer that sees
    the bands takes red, green and blue from those of a picture, and the mean of the three for other
    bands; all are scaled by 3 / bands, so that what comes out stays as large.

    Args:
        network: Its encoder is filled.
        card: Says the bands.
        path: A safetensors file.
        inputs: Names of the network's tensors that depend on the bands.

    Raises:
        ModelError: The network has no encoder, the file cannot be read, or less than half of the
            encoder's tensors are in it.
    """
    encoder = getattr(network, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise ModelError(
            f"model {card.name!r}: architecture {card.architecture.get('name')!r} has no encoder "
            f"to load {path} into"
        )
    wanted = encoder.state_dict()
    found = _matched(_read(path), wanted)
    loaded: list[str] = []
    adapted: list[str] = []
    for name, tensor in wanted.items():
        given = found.get(name)
        if given is None:
            continue
        if f"encoder.{name}" in inputs:
            given = _for_bands(given, tensor, card)
        if given is None or given.shape != tensor.shape:
            continue
        (adapted if f"encoder.{name}" in inputs else loaded).append(name)
        tensor.copy_(given)
    done = {*loaded, *adapted}
    missing = tuple(n for n in wanted if n not in done and not n.endswith("num_batches_tracked"))
    if 2 * len(done) < len(wanted):
        raise ModelError(
            f"{path}: not weights of the encoder {card.architecture.get('encoder')!r}: "
            f"{len(done)} of its {len(wanted)} tensors are there by name and shape "
            f"(first missing: {missing[0]})"
        )
    return EncoderLoaded(tuple(loaded), tuple(adapted), missing)


def _read(path: Path) -> dict[str, Tensor]:
    check_format(path)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise not_safetensors(path, error) from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error


def _matched(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by the names of the encoder, with the prefixes that fit most of them."""
    best: dict[str, Tensor] = {}
    for theirs in _PREFIXES:
        plain = {k.removeprefix(theirs): v for k, v in tensors.items() if k.startswith(theirs)}
        for ours in _PREFIXES:
            found = {
                name: plain[name.removeprefix(ours)]
                for name in wanted
                if name.startswith(ours) and name.removeprefix(ours) in plain
            }
            if len(found) > len(best):
                best = found
    return best


def _for_bands(given: Tensor, wanted: Tensor, card: ModelCard) -> Tensor | None:
    """Weights ``(out, 3, ...)`` of a picture for the card's bands."""
    bands = card.bands
    outer = (given.shape[0], *given.shape[2:]) == (wanted.shape[0], *wanted.shape[2:])
    if not outer or given.ndim < 2 or (given.shape[1], wanted.shape[1]) != (3, len(bands)):
        return None
    grey = given.mean(dim=1)
    parts = [given[:, _PICTURE.index(b)] if b in _PICTURE else grey for b in bands]
    return torch.stack(parts, dim=1) * (3 / len(bands))
