"""What a ``.pt2`` file may hold before torch is let near it.

``torch.export.load`` reads a graph from JSON and tensors from raw bytes, but it will also unpickle
what an archive says is pickled, evaluate what it gives as a symbolic size, and call whatever
function of torch a node names. None of that is in an archive that ``torch.export.save`` makes of a
network, so that archives with any of it are refused.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from geoseg.errors import ModelError

CARD_NAME: Final = "card.json"
"""Extra file in archives that geoseg writes: the card of the model."""

_LARGEST_JSON: Final = 2**28
_OPERATOR = re.compile(
    r"torch\.ops\.(aten|prims|torchvision|higher_order)\.\w+(\.\w+)?"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|neg|pow|getitem|eq|ne|lt|le|gt|ge|and_|or_)"
    r"|math\.(ceil|floor|trunc|sqrt)"
    r"|torch\.sym_(int|float|max|min|not|ite|sqrt|sum)"
    r"|torch\._sym_sqrt"
)
_NAME = re.compile(r"\w*")
_WORDS = re.compile(r"[^\W\d]\w*")
_SYMBOL = re.compile(r"[suzf]\d+|zuf\d+")
_EXPRESSION = re.compile(r"[\w\s()+\-*/,.<>=!&|~%']*")
_FUNCTIONS: Final = {
    "FloorDiv", "CleanDiv", "ModularIndexing", "Mod", "PythonMod", "Max", "Min", "CeilToInt",
    "FloorToInt", "CeilDiv", "IntTrueDiv", "FloatTrueDiv", "TruncToInt", "ToFloat", "Identity",
    "Where", "And", "Or", "Not", "Eq", "Ne", "Lt", "Le", "Gt", "Ge", "Piecewise", "True", "False",
    "PowByNatural", "oo", "int_oo", "Mul", "Add", "Pow", "Integer", "Rational", "Float", "Symbol",
    "StrictLessThan", "LessThan", "StrictGreaterThan", "GreaterThan", "Equality", "Unequality",
    "positive", "nonnegative", "negative", "integer", "real", "precision", "evaluate",
}  # fmt: skip


def check_archive(path: Path, data: bytes) -> None:
    """Refuse an archive that holds anything but a graph and plain tensors.

    Raises:
        ModelError: Says what was found.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_sizes(path, archive, len(data))
            models = [n for n in archive.namelist() if re.search(r"/models/[^/]+\.json$", n)]
            if len(models) != 1:
                raise ModelError(f"{path}: has {len(models)} networks; wanted one")
            _check_graph(path, _json(path, archive, models[0]))
            for name in archive.namelist():
                _check_member(path, archive, name)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"{path}: not a torch.export file: {error}") from error


def stored_card(path: Path) -> dict[str, Any] | None:
    """The card that geoseg put into an archive; None where there is none.

    Raises:
        ModelError: It cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(f"/extra/{CARD_NAME}"):
                    found = _json(path, archive, name)
                    return found if isinstance(found, dict) else None
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError) as error:
        raise ModelError(f"{path}: not a torch.export file: {error}") from error
    return None


def _check_sizes(path: Path, archive: zipfile.ZipFile, size: int) -> None:
    """Torch stores members as they are; compressed ones may be far larger than they look."""
    total = 0
    for entry in archive.infolist():
        total += entry.file_size
        if entry.compress_type != zipfile.ZIP_STORED:
            raise ModelError(f"{path}: {entry.filename} is compressed: torch writes no such file")
    if total > size:
        raise ModelError(f"{path}: its members overlap: torch writes no such file")


def _check_member(path: Path, archive: zipfile.ZipFile, name: str) -> None:
    inner = name.partition("/")[2]
    if inner.startswith(("data/weights/", "data/constants/")) and name.endswith("_config.json"):
        for entry in _json(path, archive, name).get("config", {}).values():
            if entry.get("use_pickle") is not False:
                raise ModelError(f"{path}: {name} asks for a pickle: it could run code")
    if inner.startswith("data/sample_inputs/"):
        import torch  # noqa: PLC0415 (cards are read without it)

        try:
            torch.load(io.BytesIO(archive.read(name)), weights_only=True)
        except Exception as error:  # whatever it is: torch itself would go on to run it
            raise ModelError(f"{path}: {name} is a pickle of more than tensors") from error


def _check_graph(path: Path, graph: Any) -> None:
    for key, value in _entries(graph):
        if key == "target" and isinstance(value, str) and not _OPERATOR.fullmatch(value):
            raise ModelError(f"{path}: calls {value[:80]!r}, which is no operator of a network")
        if key == "expr_str" and not _harmless(value):
            raise ModelError(f"{path}: has the size {str(value)[:80]!r}, which is no number")
        if key == "name" and isinstance(value, str) and not _NAME.fullmatch(value):
            raise ModelError(f"{path}: has a node of the name {value[:80]!r}")


def _harmless(expression: Any) -> bool:
    """Whether it is arithmetic on sizes, and nothing that could be evaluated to something else."""
    if not isinstance(expression, str) or not _EXPRESSION.fullmatch(expression):
        return False
    words = _WORDS.findall(expression)
    return all(word in _FUNCTIONS or _SYMBOL.fullmatch(word) for word in words)


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key of every mapping, however deep."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield from found.items()
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found


def _json(path: Path, archive: zipfile.ZipFile, name: str) -> Any:
    if archive.getinfo(name).file_size > _LARGEST_JSON:
        raise ModelError(f"{path}: {name} has more than {_LARGEST_JSON} bytes")
    try:
        return json.loads(archive.read(name))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: {name}: not JSON: {error}") from error
