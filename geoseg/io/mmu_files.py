"""Files of a minimum mapping unit: what was found in a block, what changes in it, its new classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import BlockError
from geoseg.grid import Window
from geoseg.io.atomic import replacing
from geoseg.io.bucket import Place, as_place
from geoseg.ops.mmu.balance import MOVED, TOTAL
from geoseg.ops.mmu.graph import CONTACT, MEMBER, PIECE
from geoseg.ops.mmu.survey import CHANGE, Survey

_VERSION = 1
_SURVEY = {
    "regions": MEMBER,
    "contacts": CONTACT,
    "pieces": PIECE,
    "sums": np.dtype(np.int64),
    "rim": np.dtype(np.int32),
    "changes": CHANGE,
    "moved": MOVED,
    "totals": TOTAL,
    "counts": np.dtype(np.int64),
}
_CHANGES = {"changes": CHANGE}
_CODES = np.dtype(np.int16)
_PACKED = {"packed": np.dtype(np.uint8)}
_SIDES = dict.fromkeys(("first_row", "last_row", "first_col", "last_col"), _CODES)
_LEVEL = 1  # zstd: maps of classes are a twentieth then, and hardly smaller with more


def survey_path(folder: str | Place, window: Window) -> Place:
    """Where it is kept what was found in a block."""
    return _path(folder, "survey", window)


def codes_path(folder: str | Place, window: Window) -> Place:
    """Where the new classes of a block are kept."""
    return _path(folder, "codes", window)


def save_survey(folder: str | Place, survey: Survey) -> Place:
    """Write what was found in a block; the same gives the same bytes.

    Raises:
        ProductError: The folder cannot be written to.
    """
    path = _path(folder, "survey", survey.window)
    _save(path, survey.window, survey.shape, {name: getattr(survey, name) for name in _SURVEY})
    return path


def load_surveys(
    folder: str | Place, windows: Iterable[Window], shape: tuple[int, int]
) -> Iterator[Survey]:
    """Read what was found in many blocks, one at a time.

    Raises:
        BlockError: A file is missing or damaged, or belongs to another raster.
    """
    for window in windows:
        tables = _load(_path(folder, "survey", window), window, shape, _SURVEY)
        yield Survey(window, shape, **tables)


def save_changes(
    folder: str | Place, window: Window, shape: tuple[int, int], changes: NDArray[np.void]
) -> Place:
    """Write what changes in a block of a raster of ``shape``.

    Raises:
        ProductError: The folder cannot be written to.
    """
    path = _path(folder, "changes", window)
    _save(path, window, shape, {"changes": changes})
    return path


def load_changes(folder: str | Place, window: Window, shape: tuple[int, int]) -> NDArray[np.void]:
    """Read what changes in a block of a raster of ``shape``.

    Raises:
        BlockError: The file is missing or damaged, or belongs to another raster.
    """
    return _load(_path(folder, "changes", window), window, shape, _CHANGES)["changes"]


def save_tables(
    folder: str | Place,
    what: str,
    window: Window,
    shape: tuple[int, int],
    tables: Mapping[str, NDArray[Any]],
) -> None:
    """Write ``what`` is known of a block of a raster of ``shape``; the same gives the same bytes.

    Raises:
        ProductError: The folder cannot be written to.
    """
    _save(_path(folder, what, window), window, shape, tables)


def load_tables(
    folder: str | Place,
    what: str,
    window: Window,
    shape: tuple[int, int],
    wanted: Mapping[str, np.dtype[Any]],
) -> dict[str, NDArray[Any]]:
    """Read what :func:`save_tables` wrote.

    Raises:
        BlockError: The file is missing or damaged, or belongs to another raster.
    """
    return _load(_path(folder, what, window), window, shape, wanted)


class CodeBlocks:
    """A raster of class codes in files of one block each. Implements ``RasterReader``.

    Holds int16, with :data:`geoseg.ops.regions.NODATA` for pixels without a class. Any number of
    threads and processes may write different blocks at once. The sides of blocks are kept beside
    them once more: whoever needs a pixel around a block need not read all of its neighbours.

    Args:
        folder: Where the files are.
        shape: Height and width of the raster.
        block: Rows and columns of a block.
    """

    def __init__(self, folder: str | Place, shape: tuple[int, int], block: int) -> None:
        self.folder, self.shape, self.block = as_place(folder), shape, block

    def write(self, window: Window, codes: NDArray[np.int16]) -> Place:
        """Store one block; the same codes give the same bytes.

        Raises:
            ProductError: The folder cannot be written to.
        """
        import numcodecs  # type: ignore[import-untyped]  # noqa: PLC0415 (seldom needed)

        codes = np.ascontiguousarray(codes, _CODES)
        sides = codes[0], codes[-1], codes[:, 0], codes[:, -1]
        tables = dict(zip(_SIDES, sides, strict=True))
        tables["packed"] = np.frombuffer(numcodecs.Zstd(level=_LEVEL).encode(codes), np.uint8)
        path = _path(self.folder, "codes", window)
        _save(path, window, self.shape, tables)
        return path

    def read(self, window: Window) -> NDArray[np.int16]:
        """The codes of any window inside the raster.

        Raises:
            BlockError: A file is missing or damaged, or belongs to another raster.
        """
        out = np.empty(window.shape, _CODES)
        size = self.block
        for row in range(window.y0 // size, -(-window.y1 // size)):
            for col in range(window.x0 // size, -(-window.x1 // size)):
                corner = Window(row * size, col * size, (row + 1) * size, (col + 1) * size)
                block = corner & Window(0, 0, *self.shape)
                part = block & window
                out[part.within(window).slices] = self._read_part(block, part.within(block))
        return out

    def _read_part(self, block: Window, part: Window) -> NDArray[Any]:
        import numcodecs  # noqa: PLC0415 (only where there is a minimum unit)

        path, (height, width) = _path(self.folder, "codes", block), block.shape
        if part.shape[0] == 1 and part.y0 in (0, height - 1):
            side = "first_row" if part.y0 == 0 else "last_row"
            return self._read(path, block, side, (width,))[None, part.x0 : part.x1]
        if part.shape[1] == 1 and part.x0 in (0, width - 1):
            side = "first_col" if part.x0 == 0 else "last_col"
            return self._read(path, block, side, (height,))[part.y0 : part.y1, None]
        packed = _load(path, block, self.shape, _PACKED)["packed"]
        try:
            codes = np.frombuffer(numcodecs.Zstd().decode(packed), _CODES).reshape(block.shape)
        except (RuntimeError, ValueError) as error:
            raise _damaged(path) from error
        return codes[part.slices]

    def _read(self, path: Place, block: Window, side: str, shape: tuple[int]) -> NDArray[Any]:
        found = _load(path, block, self.shape, {side: _CODES})[side]
        if found.shape != shape:
            raise _damaged(path)
        return found


def _path(folder: str | Place, what: str, window: Window) -> Place:
    return as_place(folder) / f"{what}_y{window.y0:07d}_x{window.x0:07d}.npz"


def _save(
    path: Place, window: Window, shape: tuple[int, int], tables: Mapping[str, NDArray[Any]]
) -> None:
    w = window
    head = np.array([_VERSION, *shape, w.y0, w.x0, w.y1, w.x1], np.int64)
    with replacing(path) as made, made.open("wb") as file:
        cleaned: dict[str, Any] = {name: _clean(table) for name, table in tables.items()}
        np.savez(file, head=head, **cleaned)


def _clean(table: NDArray[Any]) -> NDArray[Any]:
    """The same with zeros between fields, where copies leave what was there."""
    if table.dtype.names is None:
        return table
    clean = np.zeros(table.shape, table.dtype)
    for name in table.dtype.names:
        clean[name] = table[name]
    return clean


def _load(
    path: Place, window: Window, shape: tuple[int, int], wanted: Mapping[str, np.dtype[Any]]
) -> dict[str, NDArray[Any]]:
    try:
        # numpy leaves files open that it cannot read, unless they are opened for it.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            head, tables = file["head"], {name: file[name] for name in wanted}
    except FileNotFoundError as error:
        raise BlockError(f"{path}: block {window} has not been done yet") from error
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise _damaged(path) from error
    expected = [_VERSION, *shape, window.y0, window.x0, window.y1, window.x1]
    if head.tolist() != expected:
        raise BlockError(
            f"{path}: belongs to another raster or version {head.tolist()}, wanted are "
            f"{expected} (version, shape, window); do the block again"
        )
    return {name: _typed(path, tables[name], dtype) for name, dtype in wanted.items()}


def _typed(path: Place, table: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if table.dtype.itemsize != dtype.itemsize or table.dtype.names != dtype.names:
        raise _damaged(path)
    # What numpy reads has the same bytes, but not the flag that says that fields are aligned.
    return table.view(dtype)


def _damaged(path: Place) -> BlockError:
    return BlockError(f"{path}: is damaged, or something else; do the block again")
