"""Weights on disk: safetensors only, checked against the card's checksum and the network's shapes."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as pack_tensors
from torch import Tensor, nn

from geoseg.errors import ModelError
from geoseg.models.base import ModelCard
from geoseg.models.card import dump_card
from geoseg.models.intact import not_safetensors, read_weights

WEIGHTS_FILE = "weights.safetensors"

# Batch norms count batches while they learn; nothing that is computed later depends on it.
_COUNTERS = ".num_batches_tracked"


def load_weights(network: nn.Module, path: Path, sha256: str | None) -> None:
    """Put the tensors of ``path`` into ``network``.

    Raises:
        ModelError: The file is damaged, is not what the card was written for, or its tensors have
            other names or shapes than the network's.
    """
    data, _ = read_weights(path, sha256)
    try:
        tensors = parse_tensors(data)
    except SafetensorError as error:
        raise not_safetensors(path, error) from error
    wanted = network_state(network)
    check_tensors(path, tensors, wanted)
    for name in wanted:
        if not bool(torch.isfinite(tensors[name]).all()):
            raise ModelError(
                f"{path}: {name} holds NaN or infinity: its training went wrong; get it again, or "
                f"train it anew"
            )
    network.load_state_dict({name: tensors[name] for name in wanted}, strict=False)


def save_package(network: nn.Module, card: ModelCard, folder: Path) -> ModelCard:
    """Write ``card.json`` and ``weights.safetensors``; gives the card with its checksum.

    The same weights give the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: t.detach().cpu().contiguous() for name, t in network_state(network).items()}
    data = pack_tensors(state, metadata={"format": "pt"})
    (folder / WEIGHTS_FILE).write_bytes(data)
    card = replace(card, weights=WEIGHTS_FILE, sha256=hashlib.sha256(data).hexdigest())
    dump_card(card, folder / "card.json")
    return card


def digest(network: nn.Module) -> str:
    """sha256 over the names, shapes and fp32 numbers of all tensors, however they are stored."""
    hasher = hashlib.sha256()
    for name, tensor in sorted(network_state(network).items()):
        hasher.update(f"{name} {list(tensor.shape)}\n".encode())
        hasher.update(tensor.detach().cpu().contiguous().numpy().astype("<f4").tobytes())
    return hasher.hexdigest()


def network_state(network: nn.Module) -> dict[str, Tensor]:
    """The tensors of a network that are kept, by name."""
    return {k: v for k, v in network.state_dict().items() if not k.endswith(_COUNTERS)}


def check_tensors(path: Path, found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Refuse tensors that have other names or shapes than a network's.

    Raises:
        ModelError: Says which.
    """
    missing = [name for name in wanted if name not in found]
    extra = [name for name in found if name not in wanted and not name.endswith(_COUNTERS)]
    if missing or extra:
        parts = [f"{len(missing)} tensors are missing (first: {missing[0]})"] if missing else []
        parts += [f"{len(extra)} belong to another network (first: {extra[0]})"] if extra else []
        raise ModelError(f"{path}: not the weights of the card's network: {', '.join(parts)}")
    for name, tensor in wanted.items():
        if found[name].shape != tensor.shape:
            raise ModelError(
                f"{path}: {name} is {tuple(found[name].shape)}, "
                f"the card's network needs {tuple(tensor.shape)}"
            )
