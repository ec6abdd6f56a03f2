"""Put a model where workflows find it by name: whole, proven, and never over another."""

from __future__ import annotations

from pathlib import Path

from geoseg.errors import ModelError
from geoseg.io.atomic import replacing
from geoseg.models.bring import incoming, prove
from geoseg.models.registry import CARD_FILE, ModelPackage, find, home, packages
from geoseg.models.told import Told


def add(
    what: str, *, source: Path | None = None, force: bool = False, told: Told | None = None
) -> ModelPackage:
    """Bring a model in; see :func:`geoseg.api.add_model`."""
    told = told or Told()
    model = incoming(what, source=source, told=told)
    target = _open(home()) / model.name
    _check_place(model.name, target, force=force)
    with replacing(target) as made:
        made.mkdir()
        model.write(made)
        prove(made, allow_code=told.allow_code)
    return find(target)


def _open(folder: Path) -> Path:
    """The folder, which need not have been there: a search path may not name what is not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"{folder}: cannot be made: {error.strerror or error}") from error
    return folder


def _check_place(name: str, target: Path, *, force: bool) -> None:
    """Refuse to write over what is there, or to hide a model that workflows call by this name."""
    if target.exists() and not (target / CARD_FILE).is_file():
        raise ModelError(f"model {name!r}: {target} is in the way, and is no model package")
    if force:
        return
    if target.exists():
        raise ModelError(f"model {name!r}: is there already: {target}; --force replaces it")
    taken = {package.card.name: package.folder for package in packages()}
    if name in taken:
        raise ModelError(
            f"model {name!r}: there is one of that name: {taken[name]}; with --force the new one "
            f"goes before it"
        )
