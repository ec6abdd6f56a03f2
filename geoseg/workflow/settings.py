"""Settings that stand in no file, as they are written on a command line or in Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from geoseg.errors import InputError
from geoseg.workflow.faults import UnfitError
from geoseg.workflow.section import Section

S = TypeVar("S", bound=Section)


def section_of(kind: type[S], settings: Mapping[str, Any]) -> S:
    """A section of a workflow, checked as if it stood in one.

    Raises:
        InputError: The first setting that does not fit.
    """
    try:
        return kind.model_validate(dict(settings))
    except ValidationError as error:
        first = error.errors()[0]
        cause = first.get("ctx", {}).get("error")
        at = (*first["loc"], *(cause.at if isinstance(cause, UnfitError) else ()))
        told = str(cause) if isinstance(cause, UnfitError) else first["msg"]
        raise InputError(f"{'.'.join(str(part) for part in at)}: {told}") from None
