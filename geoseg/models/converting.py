"""Other people's weights into packages: safetensors, and pickles of which only tensors are read."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from geoseg.errors import ModelError
from geoseg.models.architectures import build, check_stride
from geoseg.models.bare import name_from
from geoseg.models.base import ModelCard
from geoseg.models.fields import closest
from geoseg.models.formats import SAFETENSORS, by_content
from geoseg.models.hub import measured
from geoseg.models.intact import not_safetensors
from geoseg.models.told import Told, card_from
from geoseg.models.weights_file import check_tensors, network_state, save_package
from geoseg.models.zoo import ARCHITECTURES

_INSIDE: Final = ("state_dict", "model_state_dict", "model", "network", "ema", "weights")
_PREFIXES: Final = ("module.", "model.", "network.", "net.", "_orig_mod.")


def convert_weights(source: Path, out: Path, told: Told) -> ModelCard:
    """Write a package of the weights in ``source`` for the network that was told.

    Where weights lie deeper (``state_dict``), or all their names begin alike (``module.``), that is
    undone.

    Raises:
        ModelError: The file holds more than tensors, or tensors of another network.
    """
    name = str(told.architecture.get("name"))
    entry = ARCHITECTURES.get(name)
    if entry is None:
        raise ModelError(
            f"--architecture {name}: no such network{closest(name, ARCHITECTURES) or ';'} "
            f"known: {', '.join(ARCHITECTURES)}"
        )
    card = card_from(told, str(source), name=name_from(source.stem), stride=entry.stride)
    network = build(card)
    check_stride(network, card)
    wanted = network_state(network)
    tensors = _renamed(_tensors(source), set(wanted))
    check_tensors(source, tensors, wanted)
    network.load_state_dict({key: tensors[key] for key in wanted}, strict=False)
    return save_package(network, measured(card, network), out)


def _tensors(path: Path) -> dict[str, Tensor]:
    if by_content(path) is SAFETENSORS:
        try:
            return dict(load_file(path))
        except SafetensorError as error:
            raise not_safetensors(path, error) from error
    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        ValueError,
        zipfile.BadZipFile,
    ) as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise ModelError(
            f"{path}: holds more than tensors, or is damaged (torch.load with weights_only: "
            f"{line}). Where you trust it, load it there and save model.state_dict() alone"
        ) from error
    return _dug_out(path, found)


def _dug_out(path: Path, found: Any) -> dict[str, Tensor]:
    for _ in range(3):
        if isinstance(found, Mapping) and found and all(map(_is_tensor, found.values())):
            return {str(key): value for key, value in found.items()}
        key = next((k for k in _INSIDE if isinstance(found, Mapping) and k in found), None)
        if key is None:
            break
        found = found[key]
    raise ModelError(f"{path}: no state_dict in it: wanted tensors by their names")


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)


def _renamed(tensors: dict[str, Tensor], wanted: set[str]) -> dict[str, Tensor]:
    """Without what all names begin with, as long as that brings them nearer to the network's."""
    while tensors and not wanted & set(tensors):
        prefix = next((p for p in _PREFIXES if all(k.startswith(p) for k in tensors)), None)
        if prefix is None:
            break
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors
