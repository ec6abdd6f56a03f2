"""The page of errors quotes messages that the code has, and the exit codes that errors carry."""

import ast
import re

import pytest
from conftest import ROOT

from geoseg import errors

PAGE = (ROOT / "docs" / "errors.md").read_text("utf-8")
ROWS = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| `")]
MESSAGES = [row[0].removeprefix("| ").strip("` ") for row in ROWS]


@pytest.fixture(scope="module")
def literals():
    """All texts in the code; what is filled in is ``…``, and so are neighbours of it."""
    found = []
    for path in sorted((ROOT / "geoseg").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [v.value if isinstance(v, ast.Constant) else "…" for v in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return [_even(text) for text in found]


def _even(text):
    return re.sub(r"…(\W{0,2}…)*", "…", " ".join(text.split()))


def test_there_are_messages():
    assert len(MESSAGES) > 60
    assert len(set(MESSAGES)) == len(MESSAGES)
    assert all(len(row) == 3 and all(cell.strip(" |") for cell in row) for row in ROWS)


@pytest.mark.parametrize("message", MESSAGES)
def test_the_message_is_in_the_code(message, literals):
    wanted = _even(message).strip("…")
    assert len(wanted) > 6
    assert any(wanted in text for text in literals), message


def test_exit_codes_are_those_of_the_errors():
    codes = set(map(int, re.findall(r"\b\d+\b", "".join(
        line.split("|")[1] for line in PAGE.splitlines() if re.match(r"\| \d", line)
    ))))  # fmt: skip
    assert codes == {0, 1, 2, 3, 4, 75, 130, 143}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    carried = {kind.exit_code for kind in kinds if isinstance(getattr(kind, "exit_code", 0), int)
               and issubclass(kind, errors.GeosegError)}  # fmt: skip
    assert carried <= codes
