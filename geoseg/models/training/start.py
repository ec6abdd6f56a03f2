"""Where training begins: at random weights, or at those of a model that knows something already."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from geoseg.errors import ModelError
from geoseg.legend import LandClass, Legend
from geoseg.models.architectures import build
from geoseg.models.base import ModelCard
from geoseg.models.registry import ModelPackage
from geoseg.models.scaling import STANDARDISE
from geoseg.models.training.encoder import load_encoder
from geoseg.models.weights_file import load_weights

_COUNTER = "num_batches_tracked"


@dataclass(frozen=True, slots=True, eq=False)
class Beginning:
    """A network to be trained, and what it knows already.

    Attributes:
        network: With its weights.
        carried: Names of the tensors that are as they were in the model it starts from.
        adapted: Those that were carried over in part, or in another order: by band or by class.
        fresh: Those with random weights.
        notes: What a user should know, each a sentence.
    """

    network: nn.Module
    carried: tuple[str, ...]
    adapted: tuple[str, ...]
    fresh: tuple[str, ...]
    notes: tuple[str, ...]


def start_network(
    card: ModelCard, *, start: ModelPackage | None, seed: int, encoder: Path | None = None
) -> nn.Module:
    """The network of :func:`begin`, for those who do not ask what it knows.

    Raises:
        ModelError: As there.
    """
    return begin(card, start=start, seed=seed, encoder=encoder).network


def begin(
    card: ModelCard, *, start: ModelPackage | None, seed: int, encoder: Path | None = None
) -> Beginning:
    """The card's network, with random weights where nothing of ``start`` fits.

    Tensors of the same name and shape are carried over. Those that depend on the bands are carried
    over band by band, by name: bands that the start does not have begin with weights of 0, so that
    they change nothing until something is learnt from them. Those that depend on the classes are
    carried over if the classes bear the same names, in whatever order, and are random otherwise.
    Without a ``start``, ``encoder`` may be a safetensors file of weights for the encoder alone (see
    :func:`geoseg.models.training.encoder.load_encoder`).

    Raises:
        ModelError: ``start`` has no weights, cannot be loaded, is of another architecture, or
            nothing of it fits.
    """
    network = build(card, seed=seed)
    if start is None:
        return _from_random(card, network, seed, encoder)
    if encoder is not None:
        raise ModelError(
            f"model {card.name!r}: found a start and weights for the encoder; wanted one of the two"
        )
    old = _loaded(card, start)
    inputs, heads = _differing(card, network)
    state = network.state_dict()
    carried: list[str] = []
    adapted: list[str] = []
    fresh: list[str] = []
    for name, tensor in state.items():
        found = old.get(name)
        if found is not None and name in inputs:
            found = _by_band(found, tensor, card, start.card)
        elif found is not None and name in heads:
            found = _by_class(found, card, start.card)
        if found is None or found.shape != tensor.shape:
            fresh.append(name)
            continue
        same = found is old[name]
        (carried if same else adapted).append(name)
        tensor.copy_(found)
    if not any(state[name].ndim > 1 for name in carried):
        raise ModelError(
            f"model {card.name!r}: no tensor of {start.card.name!r} fits its network "
            f"{dict(card.architecture)}; that one is {dict(start.card.architecture)}"
        )
    notes = _notes(card, start.card, carried, adapted, fresh)
    return Beginning(network, tuple(carried), tuple(adapted), tuple(fresh), notes)


def _from_random(card: ModelCard, network: nn.Module, seed: int, encoder: Path | None) -> Beginning:
    names = tuple(network.state_dict())
    note = f"random weights of seed {seed}"
    if encoder is None:
        return Beginning(network, (), (), names, (note,))
    found = load_encoder(network, card, encoder, _differing(card, network)[0])
    carried, adapted = (
        tuple(f"encoder.{n}" for n in part) for part in (found.loaded, found.adapted)
    )
    fresh = tuple(n for n in names if n not in {*carried, *adapted})
    said = f"{len(carried) + len(adapted)} tensors of the encoder are those of {encoder}"
    return Beginning(network, carried, adapted, fresh, (note, said))


def _loaded(card: ModelCard, start: ModelPackage) -> dict[str, Tensor]:
    if start.weights is None:
        raise ModelError(f"model {start.card.name!r} has no weights to start from")
    names = card.architecture.get("name"), start.card.architecture.get("name")
    if names[0] != names[1]:
        raise ModelError(
            f"model {card.name!r} is of architecture {names[0]!r}, the start {start.card.name!r} "
            f"of {names[1]!r}: nothing would fit; use the start's architecture "
            f"{dict(start.card.architecture)}"
        )
    network = build(start.card)
    load_weights(network, start.weights, start.card.sha256)
    return network.state_dict()


def _differing(card: ModelCard, network: nn.Module) -> tuple[set[str], set[str]]:
    """Names of the tensors whose shape depends on the bands, and on the classes."""
    legend = card.legend
    code = next(c for c in range(256) if c not in legend.values and c != legend.nodata)
    more = (*legend.classes, LandClass(code, "one more", "#000000"))
    others = (
        replace(
            card,
            bands=(*card.bands, "one more"),
            mean=(*card.mean, 0.0),
            std=(*card.std, 1.0),
        ),
        replace(card, legend=Legend(legend.name, more, legend.nodata)),
    )
    shapes = {name: t.shape for name, t in network.state_dict().items()}
    bands, classes = (
        {n for n, t in build(other).state_dict().items() if shapes.get(n) != t.shape}
        for other in others
    )
    return bands, classes


def _by_band(found: Tensor, wanted: Tensor, card: ModelCard, start: ModelCard) -> Tensor | None:
    """Weights ``(out, band, ...)`` for the card's bands; None where they share none."""
    if card.bands == start.bands and _steepness(card) == _steepness(start):
        return found
    shared = [band for band in card.bands if band in start.bands]
    fits = found.ndim > 1 and found.shape[1] == len(start.bands)
    if not shared or not fits or wanted.shape[1] != len(card.bands):
        return None
    out = torch.zeros_like(wanted)
    if out[:, 0].shape != found[:, 0].shape:
        return None
    for at, band in enumerate(card.bands):
        if band in start.bands:
            before = start.bands.index(band)
            # The same physical step must move the sum as before.
            factor = _steepness(start)[before] / _steepness(card)[at]
            out[:, at] = found[:, before] * factor
    return out


def _steepness(card: ModelCard) -> Sequence[float]:
    """How much a physical step moves what enters the network, band by band."""
    return [1 / s for s in card.std] if card.scaling == STANDARDISE else [1.0] * len(card.std)


def _by_class(found: Tensor, card: ModelCard, start: ModelCard) -> Tensor | None:
    """Rows in the order of the card's classes; None where the classes are others."""
    now, before = card.legend.names, start.legend.names
    if now == before:
        return found
    if sorted(now) != sorted(before) or len(set(now)) < len(now):
        return None
    return found[[before.index(name) for name in now]]


def _learnt(name: str) -> bool:
    return not name.endswith(_COUNTER)


def _notes(
    card: ModelCard,
    start: ModelCard,
    carried: Sequence[str],
    adapted: Sequence[str],
    fresh: Sequence[str],
) -> tuple[str, ...]:
    counts = [sum(map(_learnt, names)) for names in (carried, adapted, fresh)]
    first = (
        f"of {sum(counts)} tensors {counts[0]} are those of {start.name} {start.version}, "
        f"{counts[1]} were adapted, {counts[2]} are random"
    )
    notes = [first]
    if card.bands != start.bands:
        new = [band for band in card.bands if band not in start.bands]
        gone = [band for band in start.bands if band not in card.bands]
        notes.append(
            f"bands: new {', '.join(new) or 'none'}; no longer there {', '.join(gone) or 'none'}"
        )
    if sorted(card.legend.names) != sorted(start.legend.names):
        notes.append("classes are others than the start's: the last layer is random")
    if (card.mean, card.std, card.scaling, card.units) != (
        start.mean,
        start.std,
        start.scaling,
        start.units,
    ) and card.bands == start.bands:
        notes.append(
            "mean, std, scaling or units are not the start's: take over its own if you can"
        )
    if fresh:
        layers = sorted({re.sub(r"\.[^.]*$", "", name) for name in fresh})
        notes.append(f"random: {', '.join(layers[:5])}{' and others' if len(layers) > 5 else ''}")
    return tuple(notes)
