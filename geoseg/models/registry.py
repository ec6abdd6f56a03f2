"""Which models there are, by name or folder, and whether one fits a scene; torch loads last."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from geoseg.errors import ModelError
from geoseg.models.base import ModelCard, Segmenter
from geoseg.models.card import load_card
from geoseg.models.check import check_classes, check_scene, ground_sample_distance
from geoseg.models.engines import Engine, Precision, check_precision
from geoseg.models.fields import closest
from geoseg.models.formats import ONNX, by_name

__all__ = [
    "CARD_FILE",
    "Engine",
    "ModelPackage",
    "Precision",
    "available",
    "check_classes",
    "check_device",
    "check_scene",
    "find",
    "ground_sample_distance",
    "home",
    "open_segmenter",
    "packages",
    "pinned",
]

CARD_FILE = "card.json"
SEARCH_PATH = "GEOSEG_MODELS"
"""Environment variable: folders that hold model packages, looked at before all others."""

_USER = Path("geoseg", "models")
"""Within the user's data folder: looked at next, before the shipped ones."""

_SHIPPED = Path(__file__).parent / "weights"


@dataclass(frozen=True, slots=True)
class ModelPackage:
    """A model on disk: its card, and the folder that holds the card and the weights."""

    card: ModelCard
    folder: Path
    allow_code: bool = False
    """Whether whoever opens it has said that its file may run code (TorchScript)."""

    @property
    def weights(self) -> Path | None:
        """The file of the weights; None for an untrained model."""
        return None if self.card.weights is None else self.folder / self.card.weights


def packages() -> list[ModelPackage]:
    """All packages: of the search path, the user's, the shipped; the first of a name wins.

    Raises:
        ModelError: A card among them cannot be read.
    """
    found: dict[str, ModelPackage] = {}
    for folder in _folders():
        if folder.name not in found:
            found[folder.name] = _open_named(folder)
    return [found[name] for name in sorted(found)]


def available() -> list[ModelCard]:
    """The cards of all models that can be called by name."""
    return [package.card for package in packages()]


def pinned(package: ModelPackage) -> ModelPackage:
    """The same with the sha256 of its weights in the card, where the card has none.

    Raises:
        ModelError: The file cannot be read.
    """
    if package.weights is None or package.card.sha256 is not None:
        return package
    try:
        with package.weights.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{package.weights}: cannot be read: {error.strerror or error}") from error
    return replace(package, card=replace(package.card, sha256=found))


def find(name: str | Path) -> ModelPackage:
    """A model by name, or by the path of its folder or card.

    Raises:
        ModelError: There is none; the message names the closest one and lists them all.
    """
    path = Path(name).expanduser()
    if (path / CARD_FILE).is_file():
        return _open(path)
    plain = isinstance(name, str) and name == path.name
    folders = list(_folders()) if plain else []
    # Before other files are looked at: products may well lie in a folder called like their model.
    for folder in folders:
        if folder.name == name:
            return _open_named(folder)
    if path.is_file():
        return _from_file(path)
    if not plain or path.is_dir():
        what = "has no" if path.is_dir() else "does not exist; it should be a folder with a"
        raise ModelError(f"model {path}: {what} {CARD_FILE}")
    known = sorted({folder.name for folder in folders})
    raise ModelError(
        f"model {name!r}: there is none of that name{closest(str(name), known) or ';'} "
        f"known: {', '.join(known) or 'none'}; or give the folder of a model package"
    )


def home() -> Path:
    """The folder that new models are added to; it may not be there yet.

    The first folder of packages in ``GEOSEG_MODELS``, else ``~/.local/share/geoseg/models`` (or
    where ``XDG_DATA_HOME`` says).

    Raises:
        ModelError: Nobody knows where the user's files are.
    """
    for root in _named():
        if not (root / CARD_FILE).is_file():
            return root
    folder = _user()
    if folder is None:
        raise ModelError(f"this user has no home folder: set {SEARCH_PATH} to a folder for models")
    return folder


def open_segmenter(
    package: ModelPackage,
    *,
    device: str = "auto",
    precision: Precision = "fp32",
    threads: int | None = None,
    engine: Engine = "torch",
    callers: int = 1,
) -> Segmenter:
    """Load the weights; this is what imports torch, or another engine.

    Args:
        package: What to load.
        device: ``"auto"`` (CUDA where there is any), ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
        precision: Of the network's arithmetic; scores are always made in fp32.
        threads: CPU threads for one chip; None leaves them as they are.
        engine: What computes. Networks of torch are converted for the others, once; files that are
            ONNX are run by onnxruntime where it says torch. torch-compile is torch with kernels
            that :func:`torch.compile` writes for the network, as its first chip comes.
        callers: How many threads may compute chips of their own at once; for OpenVINO, which
            must know.

    Raises:
        ModelError: Weights are missing, damaged or of another network, there is no such device,
            or the engine is missing or cannot take the network.
    """
    check_precision(engine, precision)
    if engine in ("onnxruntime", "openvino"):
        return _converted(package, engine, device, precision, threads, callers)
    if package.weights is not None and by_name(package.weights.name) is ONNX:
        if engine != "torch":
            raise ModelError(
                f"engine {engine!r}: {package.weights.name} is ONNX: wanted torch, onnxruntime or "
                f"openvino"
            )
        from geoseg.models.onnx_engine import OnnxSegmenter  # noqa: PLC0415 (may be missing)

        return OnnxSegmenter.load(package, device=device, precision=precision, threads=threads)
    from geoseg.models.torch_device import Tuning  # noqa: PLC0415 (torch takes seconds)
    from geoseg.models.torch_engine import TorchSegmenter  # noqa: PLC0415 (as above)

    tuning = Tuning(compiled=engine == "torch-compile")
    return TorchSegmenter.load(
        package, device=device, precision=precision, threads=threads, tuning=tuning
    )


def _converted(
    package: ModelPackage,
    engine: Engine,
    device: str,
    precision: Precision,
    threads: int | None,
    callers: int,
) -> Segmenter:
    from geoseg.models.converted import as_onnx  # noqa: PLC0415 (only where it is used)

    if engine == "onnxruntime":
        from geoseg.models.onnx_engine import OnnxSegmenter  # noqa: PLC0415 (may be missing)

        return OnnxSegmenter.load(as_onnx(package), device=device, threads=threads)
    from geoseg.models.openvino_engine import (  # noqa: PLC0415 (may be missing)
        OpenVinoSegmenter,
        load_openvino,
    )

    load_openvino()  # what is missing is said before seconds are spent
    return OpenVinoSegmenter.load(
        as_onnx(package), device=device, precision=precision, threads=threads, callers=callers
    )


def check_device(name: str, precision: Precision = "fp32") -> None:
    """Refuse a device that is not there, or that cannot compute so; imports torch.

    Raises:
        ModelError: Says what there is.
    """
    from geoseg.models import torch_device  # noqa: PLC0415 (torch takes seconds)

    torch_device.check_device(name, precision)


def _open(folder: Path) -> ModelPackage:
    package = ModelPackage(load_card(folder / CARD_FILE), folder)
    if package.weights is not None and not package.weights.is_file():
        raise ModelError(f"model {package.card.name!r}: its weights are missing: {package.weights}")
    return package


def _open_named(folder: Path) -> ModelPackage:
    """A package of the search path, where folders bear the names of their models."""
    package = _open(folder)
    if package.card.name != folder.name:
        raise ModelError(
            f"{folder / CARD_FILE}: the model is called {package.card.name!r}, its folder "
            f"{folder.name!r}: on the search path both must be the same; rename the folder"
        )
    return package


def _from_file(path: Path) -> ModelPackage:
    if path.name == CARD_FILE:
        return _open(path.parent)
    from geoseg.models.bare import open_bare  # noqa: PLC0415 (onnxruntime takes a moment)

    return open_bare(path)


def _folders() -> Iterator[Path]:
    """Folders of packages in the order they are looked at; a package's folder bears its name."""
    named, user = _named(), _user()
    for root in [*named, *([user] if user else []), _SHIPPED]:
        try:
            if (root / CARD_FILE).is_file():
                yield root
            elif root.is_dir():
                yield from sorted(f for f in root.iterdir() if (f / CARD_FILE).is_file())
            elif root in named:
                raise ModelError(f"{SEARCH_PATH}: there is no folder {root}")
        except OSError as error:
            where = f"{SEARCH_PATH}: " if root in named else ""
            raise ModelError(f"{where}{root} cannot be read: {error.strerror or error}") from error


def _named() -> list[Path]:
    """The folders of the environment variable."""
    named = [p for p in os.environ.get(SEARCH_PATH, "").split(os.pathsep) if p]
    return [Path(p).expanduser().absolute() for p in named]


def _user() -> Path | None:
    """The user's own folder of packages; None for users who have no home."""
    data = Path(os.environ.get("XDG_DATA_HOME", ""))
    try:
        # Relative ones are to be ignored, says the XDG base directory specification.
        return (data if data.is_absolute() else Path.home() / ".local" / "share") / _USER
    except RuntimeError:
        return None
