"""What all kinds of workflow begin with, and how they are written down again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Annotated, Any, Literal

from pydantic import PrivateAttr

from geoseg.redaction import masked
from geoseg.workflow.fields import FilePath, Slug, Text, one_of
from geoseg.workflow.section import Section
from geoseg.workflow.source import Path
from geoseg.workflow.standing import Standing


class Whole(Section):
    """A workflow file as a whole, whatever it is for."""

    geoseg: Annotated[Literal[1], one_of(1)]
    """Version of the workflow format."""
    name: Slug
    """Names the workflow in products and logs."""
    description: Text | None = None
    """What it is for."""
    extends: FilePath | None = None
    """A workflow file to start from, relative to this one. Keys given here win; lists are
    replaced as a whole."""

    # Where all this stands.
    _standing: Standing = PrivateAttr(default_factory=Standing)
    # How values are written that came from the environment, by path: they may be secrets.
    _origins: Mapping[Path, str] = PrivateAttr(default_factory=dict)

    def __repr__(self) -> str:
        # The values of the sections may be secrets from the environment.
        return f"<{type(self).__name__} {self.name}>"

    __str__ = __repr__

    def pointing(self) -> AbstractContextManager[None]:
        """Around what is done with it: errors say in which line of the file they have their reason.

        They keep their type, and are :class:`~geoseg.errors.InputError`; those that speak of no key
        and no value of the file are left alone.
        """
        return self._standing.told()

    def canonical(self) -> dict[str, Any]:
        """All settings, defaults too, ready for JSON; safe to write and to log.

        Units are text. What came from the environment appears as it was written, ``${NAME}``;
        addresses lose their passwords and signatures.
        """
        settings: dict[str, Any] = self.model_dump(mode="json", exclude={"extends"})
        for path, origin in self._origins.items():
            _replace(settings, path, origin)
        safe: dict[str, Any] = json.loads(masked(json.dumps(settings)))
        return safe


def _replace(settings: dict[str, Any], path: Path, origin: str) -> None:
    """Put ``origin`` at ``path``, or at what it is part of."""
    inside: Any = settings
    key, *below = path
    for step in below:
        if not _has(inside[key], step):
            break
        inside, key = inside[key], step
    if _has(inside, key):
        inside[key] = origin


def _has(settings: Any, step: str | int) -> bool:
    if isinstance(settings, dict):
        return step in settings
    return isinstance(settings, list) and isinstance(step, int) and step < len(settings)
