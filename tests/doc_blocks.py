"""The blocks of code in the documentation: found, told apart, and split into commands."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from conftest import ROOT

PAGES = sorted(
    [
        *(path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "decisions"),
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
        ROOT / "catalogs" / "README.md",
    ]
)
SHELLS = {"sh", "bash", "shell", "console"}
_MARK = re.compile(r"\s*<!-- (?P<mark>.*?) -->\s*\Z")
_BEGIN = re.compile(r"\s*(?:(?:\d+\.|[-*])\s+)?```(?P<language>[\w-]*)")
_END = re.compile(r"(?P<indent>\s*)```\s*\Z")
_SETTING = re.compile(r"[A-Z_][A-Z0-9_]*=\S*\Z")


@dataclass(frozen=True)
class Block:
    """A fenced block: ``mark`` is what the comment on the line above says, "" without one.

    Marks are ``skip: WHY`` (it is not run), ``run`` (in a folder in which nothing is prepared: the
    page is done as it is written), ``file: NAME`` (written before what comes next), ``output`` (of
    the commands above), ``in: PLACE`` (where in a workflow a piece belongs). What has none and is
    code is run in a folder that has what the page takes for given: tests/doc_desks.py.
    """

    page: Path
    line: int
    language: str
    text: str
    mark: str

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def is_shell(self) -> bool:
        """Commands; some pages do not say so."""
        first = self.text.lstrip().partition(" ")[0]
        named = first in ("geoseg", "python", "pytest") or bool(_SETTING.match(first))
        return self.language in SHELLS or (not self.language and named and self.mark != "output")

    @property
    def is_code(self) -> bool:
        """What is run, or says why it is not: commands, Python, YAML."""
        return self.is_shell or self.language in ("python", "yaml")

    def value_of(self, mark: str) -> str | None:
        """What a mark says behind its colon; None where the block has another one."""
        head, colon, value = self.mark.partition(":")
        return value.strip() if colon and head == mark else None


def blocks_of(page: Path) -> list[Block]:
    """All blocks of a page, in order; those in lists, too, and one that a list's item begins with."""
    lines = page.read_text("utf-8").splitlines()
    found, begun, inner = [], None, []
    for number, line in enumerate(lines, 1):
        if begun is None:
            begun, inner = _BEGIN.match(line) and (number, _BEGIN.match(line)["language"]), []
        elif end := _END.match(line):
            above = _MARK.match(lines[begun[0] - 2]) if begun[0] > 1 else None
            text = "".join(f"{one.removeprefix(end['indent'])}\n" for one in inner)
            found.append(Block(page, *begun, text, above["mark"] if above else ""))
            begun = None
        else:
            inner.append(line)
    assert begun is None, f"{page}:{begun[0]}: the block has no end"
    return found


def all_blocks() -> list[Block]:
    """All blocks of all pages."""
    return [block for page in PAGES for block in blocks_of(page)]


def lines_of(text: str) -> list[str]:
    """Commands of a block as they are typed, one each, without comments."""
    whole = re.sub(r"\\\n\s*", " ", text)
    lines = []
    for line in whole.splitlines():
        words = _without_comment(line).strip()
        lines += [part.strip() for part in re.split(r"\s&&\s", words) if part.strip()]
    return lines


def words_of(line: str) -> list[str]:
    """The words of a command, without settings of the environment and what stdout goes to."""
    words = shlex.split(line)
    while words and _SETTING.match(words[0]):
        words = words[1:]
    return words[: words.index(">")] if ">" in words else words


def _without_comment(line: str) -> str:
    """Up to a ``#`` that begins a word outside of quotes."""
    quote = ""
    for k, char in enumerate(line):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "#" and (k == 0 or line[k - 1].isspace()):
            return line[:k]
    return line
