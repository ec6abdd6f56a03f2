"""Bringing models in: a public one by its recipe, a package from a folder or from the web."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ModelError
from geoseg.models.bare import card_of, format_of, name_from, only_weights
from geoseg.models.base import ModelCard
from geoseg.models.card import dump_card, load_card
from geoseg.models.download import SCHEMES, download
from geoseg.models.fields import closest
from geoseg.models.formats import ONNX, SAFETENSORS, Format
from geoseg.models.hub import (
    SCHEME,
    TIMM,
    fetch,
    is_hub_folder,
    write_from_folder,
    write_with_encoder,
)
from geoseg.models.onnx_file import read_onnx
from geoseg.models.recipe import Recipe, recipes
from geoseg.models.registry import CARD_FILE, ModelPackage, find
from geoseg.models.tensor_bundle import INDEX, read_variables
from geoseg.models.told import Told, card_from

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


def incoming(what: str, *, source: Path | None = None, told: Told | None = None) -> Incoming:
    """Find out what is wanted.

    Args:
        what: The name of a recipe; a folder: of a package, or as Hugging Face's hub has them; a
            model file; an address: http(s)://, hf:// or timm://.
        source: For a recipe or ``timm://``: a local copy of what would be fetched.
        told: What is said of a model that does not say it itself.

    Raises:
        ModelError: There is no such model.
    """
    known, told = recipes(), told or Told()
    if what in known:
        recipe = known[what]
        return Incoming(recipe.name, lambda folder: _convert(recipe, source, folder))
    if what.startswith(TIMM):
        return _encoder(what, source, told)
    if source is not None:
        raise ModelError(
            f"model {what!r}: only known models are made from a copy elsewhere"
            f"{closest(what, known) or ';'} known: {', '.join(known)}"
        )
    if what.lower().startswith(SCHEMES):
        return _from_web(what)
    if what.startswith(SCHEME):
        return _from_folder(fetch(what), what.partition("@")[0], told)
    path = Path(what).expanduser()
    if path.name == CARD_FILE:
        path = path.parent
    if path.is_file():
        return _from_file(path, told)
    if path.exists():
        return _from_folder(path, str(path.absolute()), told)
    raise ModelError(
        f"model {what!r}: neither a known model nor a folder{closest(what, known) or ';'} "
        f"known: {', '.join(known)}; or give the folder or the address of a package"
    )


def _from_folder(folder: Path, source: str, told: Told) -> Incoming:
    if (folder / CARD_FILE).is_file() or not is_hub_folder(folder):
        package = replace(find(folder), allow_code=told.allow_code)
        return Incoming(package.card.name, lambda out: _copy(package, out))
    return _made(lambda out: write_from_folder(folder, out, told, source=source))


def _encoder(address: str, source: Path | None, told: Told) -> Incoming:
    """Weights of a timm encoder, under a decoder that has yet to be trained."""
    name = address.removeprefix(TIMM)
    folder = source if source is not None else fetch(f"{SCHEME}timm/{name}")
    weights = folder / "model.safetensors" if folder.is_dir() else folder
    if not weights.is_file():
        raise ModelError(f"{weights}: is not there: wanted the weights of timm's {name}")
    return _made(lambda out: write_with_encoder(weights, name, out, told, source=address))


def _made(write: Callable[[Path], ModelCard]) -> Incoming:
    """A package whose name is only known once it is made: made here, and moved into its place."""
    room = tempfile.TemporaryDirectory()
    made = Path(room.name, "made")
    made.mkdir()
    try:
        card = write(made)
    except BaseException:
        room.cleanup()
        raise

    def move(out: Path) -> None:
        with room:
            for file in sorted(made.iterdir()):
                shutil.copyfile(file, out / file.name)

    return Incoming(card.name, move)


def _from_file(path: Path, told: Told) -> Incoming:
    """A model file: what it says itself, or what is told of it."""
    known = format_of(path)
    if known is SAFETENSORS:
        raise only_weights(path)
    card = card_of(path, known, bands=told.bands)
    if card is None:
        card = _told_card(path, known, told)
    elif told != Told(bands=told.bands, name=told.name, allow_code=told.allow_code):
        raise ModelError(f"model {path}: says itself what it needs: only --name and --bands go")
    name = f"weights{known.suffix}"
    data = _bytes(path)
    card = replace(
        card,
        name=told.name or card.name,
        weights=name,
        sha256=hashlib.sha256(data).hexdigest(),
    )

    def write(out: Path) -> None:
        (out / name).write_bytes(data)
        dump_card(card, out / CARD_FILE)

    return Incoming(card.name, write)


def _told_card(path: Path, known: Format, told: Told) -> ModelCard:
    more: dict[str, Any] = {}
    if known is ONNX:
        file = read_onnx(path)
        if told.bands and file.bands != len(told.bands):
            raise ModelError(
                f"{path}: takes {file.bands} bands, {len(told.bands)} are named: "
                f"{', '.join(told.bands)}"
            )
        if file.sides is not None:
            more = {"size": file.sides[0], "stride": 1, "fixed": True, "margin": file.sides[0] // 8}
    name = name_from(path.stem)
    title = f"{path.name}, of {known.name}"
    return card_from(told, f"model {path}", name=name, about={"title": title}, **more)


def prove(folder: Path, *, allow_code: bool = False) -> ModelPackage:
    """Open a package, load its weights, have it look at a small chip, and keep what it says.

    Raises:
        ModelError: Any of this fails.
    """
    from geoseg.models.proof import write_check  # noqa: PLC0415 (torch)

    package = replace(find(folder), allow_code=allow_code)
    if package.weights is None:
        raise ModelError(
            f"model {package.card.name!r} has no weights: it must be trained before use"
        )
    write_check(package)
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
