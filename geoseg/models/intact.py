"""Whether weights on disk are what their card says; reads the file, but needs no torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

from safetensors import SafetensorError, safe_open

from geoseg.errors import ModelError
from geoseg.models.formats import SAFETENSORS, Format, check_format

__all__ = ["check_digest", "check_format", "check_weights", "not_safetensors", "read_weights"]


def check_weights(path: Path, sha256: str | None) -> Format:
    """Refuse weights that no run could load. Shapes are only known to the network itself.

    Raises:
        ModelError: The file is of no known format, is damaged, or is not the one of the card.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    return _checked(path, found, sha256)


def read_weights(path: Path, sha256: str | None) -> tuple[bytes, Format]:
    """The bytes of a file of weights, which are those of the card.

    Raises:
        ModelError: As :func:`check_weights`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    return data, _checked(path, hashlib.sha256(data).hexdigest(), sha256)


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


def _checked(path: Path, found: str, wanted: str | None) -> Format:
    check_digest(path, found, wanted)
    known = check_format(path)
    if known is SAFETENSORS:
        try:
            with safe_open(path, framework="numpy"):
                pass
        except (SafetensorError, OSError) as error:
            raise not_safetensors(path, error) from error
    return known
