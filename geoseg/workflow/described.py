"""What the keys of a section mean: the texts below its attributes, read when a schema is wanted.

Pydantic could do so whenever a section is made, which takes longer than all else about it.
"""

from __future__ import annotations

import ast
import inspect
from functools import cache
from typing import Any

from geoseg.workflow.section import Section


def describe(schema: dict[str, Any], kind: type[Section]) -> None:
    """Fill in descriptions of the properties of a whole JSON Schema, and of its definitions."""
    homes = {one.__name__: one for one in _all_below(Section)} | {None: kind}
    for name, section in ((None, schema), *schema.get("$defs", {}).items()):
        if name not in homes:
            continue
        fields, told = homes[name].model_fields, _texts_of(homes[name])
        for key, text in told.items():
            found = section["properties"].get(fields[key].alias or key) if key in fields else None
            if found is not None:
                found.setdefault("description", text)


def _all_below(kind: type[Section]) -> list[type[Section]]:
    below = kind.__subclasses__()
    return [*below, *(one for inner in below for one in _all_below(inner))]


def _texts_of(kind: type[Section]) -> dict[str, str]:
    """Texts by attribute; what a class says goes before what those above it say."""
    texts: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        if issubclass(one, Section):
            texts |= _own_texts(one)
    return texts


@cache
def _own_texts(kind: type[Section]) -> dict[str, str]:
    (tree,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(kind))).body
    if not isinstance(tree, ast.ClassDef):
        return {}
    texts: dict[str, str] = {}
    for one, after in zip(tree.body, tree.body[1:], strict=False):
        if not (isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)):
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            texts[one.target.id] = inspect.cleandoc(str(after.value.value))
    return texts
