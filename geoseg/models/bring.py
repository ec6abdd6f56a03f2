"""Bringing models in: a public one by its recipe, a package from a folder or from the web."""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import BlockError, ModelError
from geoseg.models.base import Batch, ModelCard
from geoseg.models.card import dump_card, load_card
from geoseg.models.download import SCHEMES, download
from geoseg.models.fields import closest
from geoseg.models.recipe import Recipe, recipes
from geoseg.models.registry import CARD_FILE, ModelPackage, find, open_segmenter
from geoseg.models.tensor_bundle import INDEX, read_variables

if TYPE_CHECKING:
    from torch import nn

ARRAYS_FILE: Final = "weights.npz"
"""Variables by their names in TensorFlow, in the place of a SavedModel."""

_LARGEST_CARD: Final = 2**20
_LARGEST_WEIGHTS: Final = 8 * 2**30


@dataclass(frozen=True, slots=True)
class Incoming:
    """A model that is wanted here: its name, and what writes its package into an empty folder."""

    name: str
    write: Callable[[Path], None]


def incoming(what: str, *, source: Path | None = None) -> Incoming:
    """Find out what is wanted.

    Args:
        what: The name of a recipe, or the folder of a package, or its address on the web.
        source: For a recipe: a local copy of what it would fetch.

    Raises:
        ModelError: There is no such model.
    """
    known = recipes()
    if what in known:
        recipe = known[what]
        return Incoming(recipe.name, lambda folder: _convert(recipe, source, folder))
    if source is not None:
        raise ModelError(
            f"model {what!r}: only known models are made from a copy elsewhere"
            f"{closest(what, known) or ';'} known: {', '.join(known)}"
        )
    if what.lower().startswith(SCHEMES):
        return _from_web(what)
    folder = Path(what).expanduser()
    if folder.name == CARD_FILE:
        folder = folder.parent
    if folder.exists():
        package = find(folder)
        return Incoming(package.card.name, lambda out: _copy(package, out))
    raise ModelError(
        f"model {what!r}: neither a known model nor a folder{closest(what, known) or ';'} "
        f"known: {', '.join(known)}; or give the folder or the address of a package"
    )


def prove(folder: Path) -> ModelPackage:
    """Open a package, load its weights, and have it look at one small chip.

    Raises:
        ModelError: Any of this fails.
    """
    package = find(folder)
    segmenter = open_segmenter(package, device="cpu")
    bands, side = len(package.card.bands), 4 * package.card.stride
    ones, zeros = np.ones(bands, np.float32), np.zeros(bands, np.float32)
    chip = np.broadcast_to(
        np.asarray(package.card.mean, np.float32)[:, None, None], (bands, side, side)
    )
    try:
        segmenter.scores(Batch(chip[None], ones, zeros, np.ones((1, side, side), np.bool_)))
    except BlockError as error:
        raise ModelError(str(error)) from error
    return package


def _convert(recipe: Recipe, source: Path | None, folder: Path) -> None:
    """Make a package of the files of a recipe."""
    with tempfile.TemporaryDirectory() as room:
        if source is None:
            _fetch(recipe, Path(room))
        where = recipe.url if source is None else str(source)
        variables = _variables(recipe, source or Path(room))
    from geoseg.models.weights_file import digest, save_package  # noqa: PLC0415 (torch)

    try:
        network, card = _CONVERTERS[recipe.converter](variables)
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from error
    found = digest(network)
    if found != recipe.tensors_sha256:
        raise ModelError(
            f"{where}: not the published weights of {recipe.name} {recipe.version}: the sha256 over "
            f"all tensors is {found[:12]}..., it should be {recipe.tensors_sha256[:12]}..."
        )
    about = recipe.about | dict(card.about)
    card = replace(card, name=recipe.name, version=recipe.version, about=about)
    save_package(network, card, folder)


def _dynamicworld(variables: Mapping[str, NDArray[Any]]) -> tuple[nn.Module, ModelCard]:
    from geoseg.models.dynamicworld import CARD, from_tensorflow  # noqa: PLC0415 (torch)

    return from_tensorflow(variables), CARD


_CONVERTERS: Final = {"dynamicworld": _dynamicworld}
"""What makes a network, and a card that says what it needs, from variables by name."""


def _fetch(recipe: Recipe, folder: Path) -> None:
    for name in recipe.files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            download(f"{recipe.url}/{name}", path, limit=recipe.largest_bytes)
        except ModelError as error:
            raise ModelError(
                f"{error}. Without network: bring a copy of {recipe.source} and say "
                f"`geoseg models add {recipe.name} --from FOLDER`"
            ) from error


def _variables(recipe: Recipe, source: Path) -> Mapping[str, NDArray[Any]]:
    """Of a SavedModel, a clone that has it, or of the arrays that were read from it."""
    if source.is_file() and source.suffix == Path(ARRAYS_FILE).suffix:
        return _arrays(source)
    for folder in (source / inner for inner in recipe.folders):
        if (folder / INDEX).is_file():
            return read_variables(folder)
        if (folder / ARRAYS_FILE).is_file():
            return _arrays(folder / ARRAYS_FILE)
    what = (
        "has neither" if source.is_dir() else "is no folder" if source.exists() else "is not there"
    )
    raise ModelError(
        f"{source}: {what}: wanted a copy of {recipe.source}, or its SavedModel (a folder with "
        f"{INDEX}), or {ARRAYS_FILE} with its variables by their TensorFlow names"
    )


def _arrays(path: Path) -> Mapping[str, NDArray[Any]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{path}: not an archive of arrays as numpy.savez writes: {error}"
        ) from error


def _copy(package: ModelPackage, out: Path) -> None:
    """Card and weights, and nothing else that lies in the folder."""
    if package.weights is None:
        raise ModelError(
            f"model {package.card.name!r} has no weights: it must be trained before use"
        )
    data = _bytes(package.weights)
    (out / package.weights.name).write_bytes(data)
    if package.card.sha256 is not None:
        (out / CARD_FILE).write_bytes(_bytes(package.folder / CARD_FILE))
        return
    # From now on these weights and no others belong to the card.
    pinned = hashlib.sha256(data).hexdigest()
    dump_card(replace(package.card, sha256=pinned), out / CARD_FILE)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error


def _from_web(url: str) -> Incoming:
    address = url if url.endswith(".json") else f"{url.rstrip('/')}/{CARD_FILE}"
    with tempfile.TemporaryDirectory() as room:
        path = Path(room, CARD_FILE)
        download(address, path, limit=_LARGEST_CARD)
        try:
            card = load_card(path)
        except ModelError as error:
            raise ModelError(str(error).replace(str(path), address, 1)) from error
        text = path.read_bytes()
    if card.weights is None or card.sha256 is None:
        raise ModelError(
            f"{address}: its weights have no `file:checksum`: without one nothing is fetched"
        )
    weights = card.weights

    def write(out: Path) -> None:
        download(urljoin(address, weights), out / weights, limit=_LARGEST_WEIGHTS)
        (out / CARD_FILE).write_bytes(text)

    return Incoming(card.name, write)
