"""Model files that lie on their own: opened where they say of themselves what a card must say."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from geoseg.errors import ModelError
from geoseg.models.base import ModelCard
from geoseg.models.card import from_item
from geoseg.models.deepness import from_keys, is_deepness
from geoseg.models.formats import CONVERT, ONNX, PT2, SAFETENSORS, TORCHSCRIPT, Format, by_content
from geoseg.models.onnx_file import read_onnx
from geoseg.models.pt2_archive import stored_card
from geoseg.models.registry import CARD_FILE, ModelPackage

_PICKLES: Final = (".pt", ".pth", ".ckpt", ".pkl", ".bin")


def open_bare(path: Path) -> ModelPackage:
    """The package that a single file is: what geoseg exported, or ONNX made for Deepness.

    Raises:
        ModelError: It is a pickle, or does not say what a card must say; tells what to do.
    """
    known = format_of(path)
    if known is SAFETENSORS:
        raise only_weights(path)
    card = card_of(path, known)
    if card is None:
        raise ModelError(
            f"model {path}: this file is {_called(known)} without a {CARD_FILE}: nobody knows its "
            f"bands, units and classes. Say them: geoseg models add {path.name} --bands red,green,... "
            f"--classes Water,Land,... --units reflectance|dn"
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return ModelPackage(replace(card, weights=path.name, sha256=digest), path.parent)


def format_of(path: Path) -> Format:
    """The format of a file by its bytes, whatever it is called.

    Raises:
        ModelError: It is a pickle, or nothing that geoseg opens.
    """
    found = by_content(path)
    if isinstance(found, Format):
        if path.suffix.lower() != found.suffix:
            raise ModelError(
                f"model {path}: this file is {found.name}, but called otherwise: rename it to "
                f"{path.stem}{found.suffix}"
            )
        return found
    if found == "a pickle":
        raise ModelError(f"model {path}: this file is a pickle (never pickles): {CONVERT}")
    if path.suffix.lower() in _PICKLES:
        raise ModelError(
            f"model {path}: this file is {found}, perhaps a pickle (never pickles): {CONVERT}"
        )
    if path.suffix.lower() in (ONNX.suffix, PT2.suffix):
        raise ModelError(f"model {path}: not {path.suffix} as its name says: {found}, or damaged")
    raise ModelError(
        f"model {path}: this file is no model package; geoseg opens folders with {CARD_FILE} and "
        f"weights (safetensors, .pt2, .onnx, TorchScript), and .onnx and .pt2 files that carry "
        f"their card"
    )


def card_of(path: Path, known: Format, *, bands: tuple[str, ...] = ()) -> ModelCard | None:
    """The card that a file carries, or that its Deepness keys amount to; None without either."""
    item: Any = None
    if known is PT2:
        item = stored_card(path)
    if known is ONNX:
        file = read_onnx(path)
        item = file.card
        if item is None and is_deepness(file):
            return from_keys(file, name=name_from(path.stem), bands=bands)
    if item is None:
        return None
    return from_item(item, f"{path}: its card")


def only_weights(path: Path) -> ModelError:
    """What to say about weights that come without their network."""
    return ModelError(
        f"model {path}: this file is weights without their card: geoseg models convert {path.name} "
        f"OUT --architecture ... makes a package of it, with a {CARD_FILE}"
    )


def name_from(text: str) -> str:
    """A name for a model that a card may have, after a file or a folder."""
    plain = re.sub(r"[^a-zA-Z0-9_.-]+", "-", text).strip("-._")
    plain = plain if re.match(r"[a-zA-Z]", plain) else f"model-{plain}"
    return plain if len(plain) >= 3 else f"{plain}-model"


def _called(known: Format) -> str:
    return f"{known.name} (opt-in: it runs code)" if known is TORCHSCRIPT else known.name
