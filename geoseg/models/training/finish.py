"""The end of a training: a model package, with what is measured of its network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from geoseg.errors import ProductError
from geoseg.models.base import ModelCard
from geoseg.models.card_rules import check_card
from geoseg.models.proof import write_check
from geoseg.models.reach import measure
from geoseg.models.registry import ModelPackage
from geoseg.models.training.checkpoint import sync
from geoseg.models.weights_file import save_package


def finish(
    card: ModelCard, network: nn.Module, folder: Path, *, about: Mapping[str, Any]
) -> ModelCard:
    """Write a model package to ``folder``, whole or not at all; one that is there is replaced.

    Beside card and weights lies what the network says of a fixed chip (``check.json``), for
    ``geoseg models check``. Reach, memory and cost are measured. The margin becomes the smallest multiple of the stride
    that is at least the reach, so that tiles join exactly; where the reach has no end, it stays
    the card's own. A chip that would be all margin is made larger.

    Args:
        card: As it was trained with.
        network: The trained one.
        folder: Of the package; its last part should be the model's name.
        about: What the card's own ``about`` becomes richer by: temperature, scores, training.

    Returns:
        The card as it was written.

    Raises:
        ProductError: It cannot be written.
        ModelError: The card contradicts itself.
    """
    found = measure(network, bands=len(card.bands), stride=card.stride)
    stride = card.stride
    margin = card.margin if found.reach is None else -(-found.reach // stride) * stride
    card = replace(
        card,
        reach=found.reach,
        margin=margin,
        size=max(card.size, 2 * margin + 2 * stride),
        activation_bytes=found.activation_bytes,
        about={
            **card.about,
            **about,
            "parameters": found.parameters,
            "flops_per_pixel": found.flops_per_pixel,
        },
    )
    check_card(card, str(folder))
    return _written(card, network, folder)


def _written(card: ModelCard, network: nn.Module, folder: Path) -> ModelCard:
    folder = folder.absolute()
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.old.part")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        card = save_package(network, card, beside)
        write_check(ModelPackage(card, beside))
        for path in [*beside.iterdir(), beside]:
            sync(path)
        if folder.exists():
            folder.replace(aside)
        beside.replace(folder)
        sync(folder.parent)
    except OSError as error:
        raise ProductError(f"{folder}: cannot be written: {error.strerror or error}") from error
    finally:
        for left in (beside, aside):
            shutil.rmtree(left, ignore_errors=True)
    return card
