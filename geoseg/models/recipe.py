"""Recipes: where a public model is, whose it is, and which converter makes a package of it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any, Final

from geoseg.models.fields import At, closest, read_json

_FOLDER: Final = Path(__file__).parent / "recipes"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A file of ``recipes/``, with one entry for each of these.

    Attributes:
        name: What the model will be called.
        version: Of the weights, as the card wants it.
        title: One line.
        description: For people: what it is, what to mind.
        license: SPDX identifier.
        citation: What to cite.
        attribution: The notice that its authors ask for.
        source: Where it is published.
        converter: Which function of :mod:`geoseg.models.bring` makes a network of the files.
        tensors_sha256: Digest of the converted weights (:func:`geoseg.models.weights_file.digest`):
            whatever way the files came, nothing else is let in.
        url: Folder that the files are fetched from.
        files: Paths below the folder.
        folders: Where the folder may be in a local copy, e.g. in a clone of the whole repository.
        largest_bytes: A file that is larger is not the one.
    """

    name: str
    version: str
    title: str
    description: str
    license: str
    citation: str
    attribution: str
    source: str
    converter: str
    tensors_sha256: str
    url: str
    files: tuple[str, ...]
    folders: tuple[str, ...]
    largest_bytes: int

    @property
    def about(self) -> dict[str, Any]:
        """What the card says of it."""
        return {
            "title": self.title,
            "description": self.description,
            "license": self.license,
            "citation": self.citation,
            "attribution": self.attribution,
            "source": self.source,
        }


def recipes() -> dict[str, Recipe]:
    """All recipes that come with geoseg, by name.

    Raises:
        ModelError: One of the files does not say what it should.
    """
    found = [load_recipe(path) for path in sorted(_FOLDER.glob("*.json"))]
    return {recipe.name: recipe for recipe in found}


def load_recipe(path: Path) -> Recipe:
    """Read one recipe.

    Raises:
        ModelError: It does not say what it should; names file, key, found and wanted.
    """
    entry = At(str(path), "", read_json(path))
    known = [field.name for field in fields(Recipe)]
    for key in entry.mapping("a recipe"):
        hint = closest(key, known) or f"; known: {', '.join(known)}"
        entry.demand(key in known, key, entry.get(key).value, f"no such key{hint}")
    values: dict[str, Any] = {}
    for field in fields(Recipe):
        at = entry.get(field.name)
        if field.name in ("files", "folders"):
            values[field.name] = tuple(_inner(one) for one in at.items("a list of paths"))
        else:
            values[field.name] = at.integer(1) if field.name == "largest_bytes" else at.text()
    return Recipe(**values)


def _inner(at: At) -> str:
    """A path that stays below its folder."""
    path = PurePosixPath(at.text())
    if path.is_absolute() or ".." in path.parts:
        raise at.wrong("a path below the folder")
    return str(path)
