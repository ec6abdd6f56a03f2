"""Which format a file of weights has: by its name, and by its first bytes; opens no pickle."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from geoseg.errors import ModelError


@dataclass(frozen=True, slots=True)
class Format:
    """A format that geoseg opens.

    Attributes:
        name: For people.
        suffix: Of its files.
        artifact_type: What MLM calls it.
        media_type: Of the asset in the card.
        runs_code: Opening it runs code that it holds.
    """

    name: str
    suffix: str
    artifact_type: str
    media_type: str
    runs_code: bool = False


SAFETENSORS: Final = Format(
    "safetensors", ".safetensors", "safetensors.torch.save_file", "application/vnd.safetensors"
)
PT2: Final = Format(
    "torch.export", ".pt2", "torch.export.save", "application/zip; application=pytorch"
)
TORCHSCRIPT: Final = Format(
    "TorchScript", ".pt", "torch.jit.save", "application/zip; application=pytorch", runs_code=True
)
ONNX: Final = Format("ONNX", ".onnx", "onnx", "application/octet-stream; framework=onnx")

FORMATS: Final = (SAFETENSORS, PT2, TORCHSCRIPT, ONNX)

CONVERT: Final = (
    "pickles are never loaded, as they can run code; where it is a state_dict, convert it with "
    "`geoseg models convert FILE OUT --architecture ...` (torch.load with weights_only), or "
    "with safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
)
"""What to do about a pickle."""


def by_name(name: str) -> Format | None:
    """The format that the name of a file promises; None where it promises none."""
    suffix = Path(name).suffix.lower()
    return next((known for known in FORMATS if known.suffix == suffix), None)


def by_content(path: Path) -> Format | str:
    """The format that the bytes of a file have, or in words what it is instead.

    Raises:
        ModelError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            start, size = file.read(16), path.stat().st_size
        if start[:4] == b"PK\x03\x04":
            return _of_archive(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    # First, as the length of a header may look like the beginning of a pickle.
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= size - 8:
        return SAFETENSORS
    if len(start) >= 2 and start[0] == 0x80 and start[1] <= 5:
        return "a pickle"
    # A protobuf whose first field is the version of ONNX's format, or another small one of it.
    if start[:1] == b"\x08" and 0 < start[1] < 64:
        return ONNX
    return "of no known format" if start else "empty"


def check_format(path: Path) -> Format:
    """The format of weights; refuses pickles by whatever name, and files that are not what they say.

    Raises:
        ModelError: Says what the file is, and what would work.
    """
    named = by_name(path.name)
    if named is None:
        raise ModelError(
            f"{path}: weights must be safetensors: {CONVERT}; .pt2, .onnx and TorchScript are "
            f"taken too"
        )
    found = by_content(path)
    if found is named:
        return named
    if found == "a pickle":
        raise ModelError(f"{path}: not {_article(named)} but a pickle: {CONVERT}")
    if isinstance(found, Format):
        raise ModelError(f"{path}: is {found.name}, not {named.name} as its name says; rename it")
    raise ModelError(f"{path}: not {_article(named)}: it is damaged, or {found}")


def _of_archive(path: Path) -> Format | str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.partition("/")[2] for name in archive.namelist()}
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError):
        return "cut off"
    if "archive_format" in names and any(name.startswith("models/") for name in names):
        return PT2
    if "constants.pkl" in names and any(name.startswith("code/") for name in names):
        return TORCHSCRIPT
    if "data.pkl" in names:
        return "a pickle"
    if any("serialized_exported_program" in name for name in names | {""}):
        return "torch.export's layout from before torch 2.8: export it anew"
    return "an archive of something else"


def _article(known: Format) -> str:
    return {"safetensors": "a safetensors file", "ONNX": "an ONNX file"}.get(
        known.name, f"a {known.name} file"
    )
