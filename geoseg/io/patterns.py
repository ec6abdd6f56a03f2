"""Files by pattern: ``*``, ``?``, ``[...]``, ``**`` as in a shell, and ``{scene}``, which names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from glob import glob
from itertools import takewhile
from pathlib import Path

from geoseg.errors import NothingFoundError, SceneError
from geoseg.io.environment import is_remote

SCENE = "{scene}"
_TOKENS = re.compile(r"(\*\*/|\*|\?|\[[^\]]+\]|\{scene\})")
_NEARLY_REMOTE = re.compile(r"(https?|s3|gs|az):/*")
_WILD = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}


def find(pattern: str) -> list[tuple[str | None, str]]:
    """Names and absolute paths of the files that ``pattern`` means, sorted.

    The name is what ``{scene}`` stands for, None in patterns without it. What is not a local file
    is taken as it is.

    Raises:
        SceneError: There is no such file.
    """
    if is_remote(pattern):
        return [(None, pattern)]
    absolute = Path(pattern).expanduser().absolute().as_posix()
    try:
        there = Path(absolute).exists()
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise SceneError(f"{pattern[:200]}: cannot be opened: {error.strerror}") from error
    if there:
        return [(None, absolute)]
    # pathlib walks from a folder; a pattern may have wildcards in any part.
    paths = sorted(glob(absolute.replace(SCENE, "*"), recursive=True))  # noqa: PTH207 (see above)
    shape = _expression(absolute)
    matches = [(m, path) for path in paths if (m := shape.fullmatch(path)) and _is_input(path)]
    if not matches:
        missing = NothingFoundError if _TOKENS.search(pattern) else SceneError
        raise missing(f"{pattern}: {_nothing(pattern)}")
    for _, path in matches:
        if not _is_text(path):
            shown = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            raise SceneError(f"{shown}: its name is not UTF-8; rename it")
    return [(match.groupdict().get("scene"), path) for match, path in matches]


def means(pattern: str, path: Path) -> bool:
    """Whether ``path`` would be a scene of ``pattern`` if it were there."""
    if is_remote(pattern):
        return False
    absolute = Path(pattern).expanduser().absolute()
    if absolute.is_dir():
        return path.parent == absolute and not _is_input(str(absolute))
    wild = _TOKENS.search(absolute.as_posix()) is not None
    return wild and _expression(absolute.as_posix()).fullmatch(path.as_posix()) is not None


def _is_text(path: str) -> bool:
    """Whether a name can be written into a record: Linux takes any bytes for one."""
    return not any("\ud800" <= char <= "\udfff" for char in path)


def _nothing(pattern: str) -> str:
    """Why there is no file, and what is there instead."""
    wild = _TOKENS.search(pattern)
    what = "no file matches" if wild else "no such file"
    if nearly := _NEARLY_REMOTE.match(pattern):
        return f"{what}; did you mean {nearly[1]}://{pattern[nearly.end() :]}?"
    folder = Path(pattern[: wild.start()] + "x" if wild else pattern).parent.expanduser()
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError:
        return f"{what}; there is no folder {folder.absolute()}"
    if wild:
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        return f"{what}; {folder.absolute()} holds {shown or 'nothing'}"
    near = difflib.get_close_matches(Path(pattern).name, names, n=1, cutoff=0.75)
    return f"{what}; did you mean {folder / near[0]}?" if near else f"{what} in {folder.absolute()}"


def _is_input(path: str) -> bool:
    """Whether a wildcard means ``path``: files, and of the folders only products."""
    kinds = ("MTD_MSIL*.xml", "*_MTL.txt")
    return Path(path).is_file() or any(any(Path(path).glob(kind)) for kind in kinds)


def _expression(pattern: str) -> re.Pattern[str]:
    """``pattern`` as a regular expression; a second ``{scene}`` must say the same as the first."""
    parts, seen = [], False
    for part in _TOKENS.split(pattern):
        if part == SCENE:
            parts.append("(?P=scene)" if seen else "(?P<scene>[^/]+?)")
            seen = True
        elif part.startswith("[") and part.endswith("]"):
            inner = part[1:-1].replace("\\", "\\\\")
            parts.append(f"[^{inner[1:]}]" if inner.startswith("!") else f"[{inner}]")
        else:
            parts.append(_WILD.get(part) or re.escape(part))
    return re.compile("".join(parts), re.DOTALL)


def stem(path: str) -> str:
    """A file's name without its folder and its last extension."""
    return Path(path.partition("?")[0] if is_remote(path) else path).stem


def common_stem(paths: Sequence[str]) -> str:
    """What the stems of all files begin with, whole words only; else the name of their folder."""
    if len(paths) == 1:
        return stem(paths[0])
    words = zip(*(re.split(r"[-_. ]", stem(path)) for path in paths), strict=False)
    shared = [word[0] for word in takewhile(lambda word: len(set(word)) == 1, words)]
    return stem(paths[0])[: len("_".join(shared))] if shared else Path(paths[0]).parent.name
