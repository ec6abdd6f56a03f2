"""Models in and out of files: measured, converted, exported, proven."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from geoseg.errors import ModelError
from geoseg.io.atomic import replacing
from geoseg.models.converting import convert_weights
from geoseg.models.exporting import KINDS, Exported, Wish, write_export
from geoseg.models.fields import closest
from geoseg.models.measuring import measure_named
from geoseg.models.proof import Line, examine, write_check
from geoseg.models.registry import CARD_FILE, ModelPackage, find
from geoseg.models.told import Told

_BY_SUFFIX = {".onnx": "onnx", ".pt2": "pt2"}


def measure_network(architecture: Mapping[str, Any], *, bands: int, classes: int) -> dict[str, Any]:
    """What a network of the zoo costs and how far it looks, whatever its weights."""
    return measure_named(architecture, bands=bands, classes=classes)


def convert(source: Path, out: Path, told: Told, *, force: bool = False) -> ModelPackage:
    """Make a package of a file of weights; see :func:`geoseg.models.converting.convert_weights`."""
    _check_free(out, force=force, package=True)
    with replacing(out) as made:
        convert_weights(source, made, told)
        write_check(find(made))
    return find(out)


def export(
    name: str,
    out: Path,
    *,
    kind: str | None = None,
    force: bool = False,
    allow_code: bool = False,
    **wish: Any,
) -> Exported:
    """Write a model as ``out``, after it was opened again and gave the same scores."""
    suffix = out.suffix.lower()
    kind = kind or _BY_SUFFIX.get(suffix, "safetensors")
    if kind not in KINDS:
        raise ModelError(
            f"--format {kind}: no such format{closest(kind, KINDS) or ';'} known: {', '.join(KINDS)}"
        )
    wanted = {"safetensors": "", "pt2": ".pt2"}.get(kind, ".onnx")
    if suffix not in ("", wanted) or out.name == "":
        more = f"a {wanted} file or " if wanted else ""
        raise ModelError(f"{out}: as {kind} the model goes into {more}a folder without a suffix")
    package = replace(find(name), allow_code=allow_code)
    _check_free(out, force=force, package=not suffix)
    with replacing(out) as made:
        found = write_export(package, made, Wish(kind=kind, **wish))
        if not suffix:
            write_check(find(made))
    return replace(found, path=out)


def check(name: str, *, write: bool = False, allow_code: bool = False) -> list[Line]:
    """Prove a model; with ``write`` its scores of now are kept first."""
    package = replace(find(name), allow_code=allow_code)
    if write:
        if not (package.folder / CARD_FILE).is_file():
            raise ModelError(f"model {name}: --write is for packages, this is one file")
        write_check(package)
    return examine(package)


def _check_free(out: Path, *, force: bool, package: bool) -> None:
    if not out.exists():
        return
    if package and not (out / CARD_FILE).is_file():
        raise ModelError(f"{out}: is in the way, and is no model package")
    if not force:
        raise ModelError(f"{out}: is there already; --force replaces it")
