"""``${NAME}`` and ``${NAME:-default}`` in a workflow, and what a plain YAML value means."""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)\}?")
_INSIDE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
# YAML 1.2.2, section 10.3.2: the core schema.
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]{1,100}|0o[0-7]{1,100}|0x[0-9a-fA-F]{1,100}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"([-+]?)\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


def plain_value(text: str) -> bool | int | float | str | None:
    """What an unquoted scalar stands for in YAML 1.2 (``no`` is text, ``1e-3`` a number)."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if _FLOAT.fullmatch(text):
        return float(text)
    if match := _SPECIAL.fullmatch(text):
        return float(f"{match[1]}inf" if match[1] is not None else "nan")
    return text


class UnresolvedError(ValueError):
    """A reference that cannot be replaced; the message never holds a value."""


def expand(text: str, environ: Mapping[str, str]) -> tuple[str, bool]:
    """Replace references; also say whether there were any. ``$${`` stands for ``${``.

    A default counts where the variable is unset or empty, as in a shell.

    Raises:
        UnresolvedError: A variable without default is not set, or a reference is malformed.
    """
    found = False

    def replace(match: re.Match[str]) -> str:
        nonlocal found
        if match[0] == "$${":
            return "${"
        found = True
        return _lookup(match, environ)

    return _REFERENCE.sub(replace, text), found


def is_reference(text: str) -> bool:
    """Whether ``text`` is one reference and nothing else."""
    match = _REFERENCE.fullmatch(text)
    return bool(match) and text != "$${"


def _lookup(match: re.Match[str], environ: Mapping[str, str]) -> str:
    inside = _INSIDE.fullmatch(match[1])
    if not inside or not match[0].endswith("}"):
        raise UnresolvedError(
            "'${' starts a reference to the environment: write ${NAME} or ${NAME:-default}, "
            "or $${ for the characters themselves"
        )
    name, default = inside.groups()
    value = environ.get(name)
    if value or (value is not None and default is None):
        return value
    if default is None:
        raise UnresolvedError(
            f"environment variable {name} is not set: set it, or write ${{{name}:-default}}"
        )
    return str(default)
