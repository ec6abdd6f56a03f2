"""Watches a folder of products: nothing half-made may ever bear a product's name."""

import ctypes
import hashlib
import json
import os
import select
import sqlite3
import struct
import threading
import time
import zipfile
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as ET

import pyarrow.parquet as pq
import pyogrio
import rasterio
from PIL import Image

# From <sys/inotify.h>.
MODIFY, CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x2, 0x8, 0x40, 0x80, 0x100, 0x200
OVERFLOW, IS_DIR = 0x4000, 0x40000000
_EVENT = struct.Struct("iIII")
# Who opens a GeoPackage to hold off other writers closes it for writing, and has written nothing.
WRITTEN = MODIFY | CREATE


class Watch:
    """Sees every change of a folder's entries, in order; opens each product that appears.

    A product may only come by a rename: whoever creates, or writes to, a file under its final name
    is noted in ``broken``, however short it took. ``opened`` counts products that were read whole.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.broken, self.opened, self.items = folder, [], 0, 0
        self._seen: list[tuple[str, str]] = []
        self._waits = threading.Condition()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._file = self._libc.inotify_init1(os.O_CLOEXEC)
        mask = MODIFY | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE
        assert self._libc.inotify_add_watch(self._file, os.fsencode(folder), mask) >= 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def mark(self) -> int:
        """A place in what was seen; see :meth:`wait_for`."""
        with self._waits:
            return len(self._seen)

    def wait_for(self, name: str, ended, since: int) -> bool:
        """Until something that begins with ``name`` appears, or ``ended`` is true."""
        at = since
        while True:
            with self._waits:
                if any(n.startswith(name) for what, n in self._seen[at:] if what == "came"):
                    return True
                at = len(self._seen)
                self._waits.wait(0.01)
            if ended():
                return False

    def close(self) -> None:
        """Stop watching, once all that happened is looked at."""
        time.sleep(0.1)
        self._ended.set()
        self._thread.join()
        os.close(self._file)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _read(self) -> None:
        while not self._ended.is_set():
            if not select.select([self._file], [], [], 0.05)[0]:
                continue
            data, at = os.read(self._file, 1 << 16), 0
            while at < len(data):
                _, mask, _, length = _EVENT.unpack_from(data, at)
                at += _EVENT.size
                name = os.fsdecode(data[at : at + length].rstrip(b"\0"))
                at += length
                self._take(mask, name)

    def _take(self, mask: int, name: str) -> None:
        if mask & OVERFLOW:
            self.broken.append("events were lost")
        came = mask & (CREATE | MOVED_TO)
        with self._waits:
            self._seen.append(("came" if came else "other", name))
            self._waits.notify_all()
        if mask & IS_DIR or name.startswith("."):
            return
        if mask & WRITTEN:
            self.broken.append(f"{name} was written to under its final name")
        if mask & MOVED_TO:
            self._open(name)

    def _open(self, name: str) -> None:
        path = self.folder / name
        try:
            check_whole(path)
            if name == "item.json":
                self._check_item(path)
            self.opened += 1
        except FileNotFoundError:
            pass  # gone again: a later run began its products anew
        except Exception as error:  # noqa: BLE001 (readers say that in many ways)
            self.broken.append(f"{name}: {type(error).__name__}: {error}")

    def _check_item(self, path: Path) -> None:
        """All that an item vouches for is there, to the last bit."""
        item = json.loads(path.read_bytes())
        for asset in item["assets"].values():
            data = (self.folder / asset["href"]).read_bytes()
            assert asset["file:checksum"] == "1220" + hashlib.sha256(data).hexdigest(), asset
        self.items += 1


def check_whole(path: Path) -> None:
    """Read a product from its first to its last byte, as its format wants it.

    Raises:
        Exception: It is damaged, in whatever way its reader says that.
    """
    _READERS.get(path.suffix, Path.read_bytes)(path)


def _tif(path: Path) -> None:
    with rasterio.open(path) as source:
        source.read()
        levels = len(source.overviews(1))
    for level in range(levels):
        with rasterio.open(path, overview_level=level) as overview:
            overview.read()


def _gpkg(path: Path) -> None:
    base = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    with closing(base):
        assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _pmtiles(path: Path) -> None:
    """Magic, and all sections within the file (PMTiles 3, header of 127 bytes)."""
    data = path.read_bytes()
    assert data[:8] == b"PMTiles\x03"
    numbers = struct.unpack_from("<8Q", data, 8)
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        assert start + length <= len(data)


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


def _png(path: Path) -> None:
    with Image.open(path) as image:
        image.load()


def _json(path: Path) -> None:
    json.loads(path.read_bytes())


_READERS = {
    ".tif": _tif,
    ".gpkg": _gpkg,
    ".parquet": pq.read_table,
    ".fgb": pyogrio.read_dataframe,
    ".pmtiles": _pmtiles,
    ".qgz": _zip,
    ".png": _png,
    ".xml": ET.parse,
    ".qml": ET.parse,
    ".svg": ET.parse,
    ".json": _json,
    ".geojson": _json,
}
