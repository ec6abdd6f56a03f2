"""Where products go: ``products/{scene}/{date:%Y}`` filled in, whatever a scene is called."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from datetime import datetime
from string import Formatter

from geoseg.workflow.faults import UnfitError, choices, closest, show

FIELDS = ("scene", "date", "name", "stem")
# Directives that give the same digits in every locale and on every system.
_DIRECTIVES = "YmdHMSjyGVu%"
_DEFAULT_DATE = "%Y-%m-%d"
_UNSAFE = re.compile(r"[^\w.-]+")
_LONGEST_ID = 120


def expand_directory(
    template: str, *, scene: str, date: datetime | None, name: str, stem: str
) -> str:
    """Fill in a directory template.

    Args:
        template: May hold ``{scene}``, ``{date}``, ``{date:%Y-%m}``, ``{name}`` and ``{stem}``.
        scene: Id of the scene; made safe as one folder name, unique per id.
        date: When it was acquired, if that is known.
        name: Name of the workflow.
        stem: File name of the scene without folder and suffix; made safe like ``scene``.

    Raises:
        WorkflowError: The template has an unknown field, or asks for a date that is not known.
    """
    values = {"scene": safe_name(scene), "name": safe_name(name), "stem": safe_name(stem)}
    parts = []
    for text, field, spec in parse_template(template):
        parts.append(text)
        if field == "date":
            if date is None:
                advice = f"output.directory has {{date}}, but scene {scene} has no date"
                raise UnfitError(f"{advice}; set input.date, or use {{scene}}")
            parts.append(date.strftime(spec or _DEFAULT_DATE))
        elif field:
            parts.append(values[field])
    return "".join(parts)


def parse_template(template: str) -> Iterator[tuple[str, str, str]]:
    """Text, the field after it ("" at the end) and the field's format, checked.

    Raises:
        UnfitError: The template is malformed or has an unknown field.
    """
    known = choices([f"{{{field}}}" for field in FIELDS])
    try:
        pieces = list(Formatter().parse(template))
    except ValueError as error:
        raise UnfitError(f"expected {known} in braces", show(template), hint=str(error)) from None
    for text, field, spec, conversion in pieces:
        if field is not None:
            if conversion or field not in FIELDS:
                written = f"{{{field}!{conversion}}}" if conversion else f"{{{field}}}"
                guess = closest(field, FIELDS)
                hint = f"did you mean {{{guess}}}?" if guess else ""
                raise UnfitError(f"expected {known}", written, hint=hint)
            _check_format(field, spec or "")
        yield text, field or "", spec or ""


def _check_format(field: str, spec: str) -> None:
    if field != "date":
        if spec:
            raise UnfitError(f"{{{field}}} takes no format", show(spec))
        return
    wrong = [d for d in re.findall(r"%(.?)", spec) if not d or d not in _DIRECTIVES]
    if wrong or (spec and "%" not in spec):
        directives = ", ".join(f"%{d}" for d in _DIRECTIVES)
        raise UnfitError(
            f"expected a date format like {{date:%Y-%m-%d}} ({directives})", show(spec)
        )


def safe_name(text: str) -> str:
    """``text`` as the name of one file or folder; different texts give different names.

    Letters and digits of any alphabet, ``_``, ``.`` and ``-`` stay. Where anything else is
    replaced, a short hash keeps apart what would now be the same.
    """
    normal = unicodedata.normalize("NFC", text)
    name = _UNSAFE.sub("_", normal)[:_LONGEST_ID].strip(".")
    if name and name == normal:
        return name
    digest = hashlib.sha256(normal.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{name}-{digest}" if name else digest
