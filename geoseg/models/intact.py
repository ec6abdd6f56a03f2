"""Whether weights on disk are what their card says; reads the file, but needs no torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

from safetensors import SafetensorError, safe_open

from geoseg.errors import ModelError


def check_weights(path: Path, sha256: str | None) -> None:
    """Refuse weights that no run could load. Shapes are only known to the network itself.

    Raises:
        ModelError: The file is no safetensors, is damaged, or is not the one of the card.
    """
    check_format(path)
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    check_digest(path, found, sha256)
    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise not_safetensors(path, error) from error


def check_format(path: Path) -> None:
    """Refuse pickles by their name: they are not even opened.

    Raises:
        ModelError: It is not called ``.safetensors``.
    """
    if path.suffix != ".safetensors":
        raise ModelError(
            f"{path}: weights must be safetensors: pickles (.pt, .pth) are never loaded, as they "
            f"can run code; convert with safetensors.torch.save_file(model.state_dict(), ...)"
        )


def check_digest(path: Path, found: str, wanted: str | None) -> None:
    """Refuse a file whose sha256 ``found`` is not the ``wanted`` one of the card.

    Raises:
        ModelError: They differ.
    """
    if wanted is not None and found != wanted:
        raise ModelError(
            f"{path}: sha256 is {found[:12]}..., the card says {wanted[:12]}...: "
            f"the file is damaged, or belongs to another version of the model"
        )


def not_safetensors(path: Path, error: Exception) -> ModelError:
    """The error about a file that does not begin as it should."""
    reason = str(error).removeprefix("Error while deserializing header: ")
    return ModelError(f"{path}: not a safetensors file: {reason}")
