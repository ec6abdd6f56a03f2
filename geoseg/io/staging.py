"""Outputs in a store: the folder on this machine that stands for one, and its way up."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from geoseg.errors import InputError, ProductError
from geoseg.io.bucket import BucketPath
from geoseg.io.bucket_client import answers, digest

STATE = ".geoseg"
"""Folder inside an output that holds what a run needs to go on, and its last word: no product."""
ITEM = "item.json"
"""The last product: without it the others are not finished."""
VOUCHING = (ITEM, "collection.json")
"""What says that all beside it is there."""
MIRRORED = (ITEM, "run.json")
"""What tells of the products of earlier runs."""
PART = 16 * 2**20
"""Bytes of one part of an upload; the least of S3 is 5 MiB, the most parts are 10,000."""
AT_ONCE = 4

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*):/+(.*)", re.DOTALL)


def staging_root() -> Path:
    """Where folders lie that stand for outputs in a store, below ``GEOSEG_CACHE``."""
    named = os.environ.get("GEOSEG_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    home = base if base.is_absolute() else Path.home() / ".cache"
    return (Path(named) if named else home / "geoseg").absolute() / "outputs"


def local_folder(output: str | Path) -> Path:
    """The folder of an output on this machine: itself, or what stands for ``s3://bucket/folder``.

    Products are made there, and leave it when they are in the store.

    Raises:
        InputError: It is an address of another kind.
    """
    match = _ADDRESS.fullmatch(str(output))
    if match is None:
        return Path(output).absolute()
    if match[1] != "s3":
        raise InputError(
            f"{output}: products go to folders and to s3://; mount another store as a folder, or "
            f"use its S3 endpoint"
        )
    place = BucketPath.of(f"s3://{match[2]}")  # a path has lost a slash
    return staging_root() / place.bucket / place.key


def store_place(folder: Path) -> BucketPath | None:
    """The place in a store that ``folder`` stands for; None where it is just a folder."""
    root = staging_root()
    if not folder.is_relative_to(root) or folder == root:
        return None
    bucket, *parts = folder.relative_to(root).parts
    return BucketPath(bucket, "/".join(parts))


def ledger_folder(above: str) -> Path:
    """Where the ledger of runs lies, of outputs that are all below ``above``.

    It is one machine's, also where its outputs are in a store.

    Raises:
        InputError: It is an address of another kind.
    """
    if not _ADDRESS.match(above):
        return Path(above).absolute()
    return staging_root().parent / "runs" / local_folder(above).relative_to(staging_root())


def products_of(root: Path) -> Path:
    """The folder of products whose ledger of runs lies in ``root``; see :func:`ledger_folder`."""
    runs = staging_root().parent / "runs"
    return staging_root() / root.relative_to(runs) if root.is_relative_to(runs) else root


def address(path: Path) -> str:
    """What people call it: a path, or an ``s3://`` address."""
    return str(store_place(path) or path)


def moves_apart(document: Path, target: Path) -> bool:
    """Whether a file that ``document`` names will not lie as it does now once both are in place."""
    away, other = store_place(document), store_place(target)
    if away is None or other is None:
        return away is not other
    return away.bucket != other.bucket


def begin(folder: Path, place: BucketPath) -> None:
    """Begin to work on an output in a store: what a killed run left goes, what tells comes here.

    Only for who holds the output.

    Raises:
        ProductError: The store does not answer.
    """
    shutil.rmtree(folder, ignore_errors=True)
    place.abort_uploads()
    for name in MIRRORED:
        try:
            data = (place / name).read_bytes()
        except FileNotFoundError:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def fetch(folder: Path, names: Iterable[str]) -> None:
    """Bring products here that are in the store that ``folder`` stands for; none where it does not.

    Those that are here stay as they are, those that are nowhere are passed over.

    Raises:
        ProductError: The store does not answer.
    """
    place = store_place(folder)
    if place is None:
        return

    def bring(name: str) -> None:
        if not (folder / name).exists():
            with suppress(FileNotFoundError):
                (place / name).fetch(folder / name)

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="geoseg-fetch") as pool:
        list(pool.map(bring, names))


def remove_folder(folder: Path) -> None:
    """Remove a folder that stands for an output, and those above that are empty then."""
    shutil.rmtree(folder, ignore_errors=True)
    prune(folder.parent)


def prune(folder: Path) -> None:
    """Remove a folder that stands for a place in a store, and those above, if they are empty."""
    for above in (folder, *folder.parents):
        if above == staging_root():
            return
        with suppress(OSError):
            above.rmdir()


def sizes(paths: Iterable[Path]) -> dict[Path, int]:
    """Bytes of products, wherever they are; raises FileNotFoundError where one is missing."""

    def size(path: Path) -> int:
        place = store_place(path)
        if place is None or path.exists():
            return path.stat().st_size
        head = place.head()
        if head is None and path.suffix == ".zarr":
            head = (place / ".zgroup").head()
        if head is None:
            raise FileNotFoundError(str(place))
        return head.size

    several = list(paths)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(several, pool.map(size, several), strict=True))


def upload(folder: Path, place: BucketPath, *, confirm: Callable[[], None]) -> list[BucketPath]:
    """Bring all products of ``folder`` to the store, the item last; they leave the folder.

    Items and collections that stand there from an earlier run go first: they must not vouch for a
    mixture. ``confirm`` raises where the output is not ours any more; it is asked before each file.

    Raises:
        ProductError: The store does not take them. The item is not there then.
    """
    files = [f for f in sorted(folder.rglob("*")) if f.is_file() and _is_product(folder, f)]
    # Those of folders below before that of all, items before the collection that names them.
    last = sorted(
        (f for f in files if f.name in VOUCHING), key=lambda f: (-len(f.parts), f.name != ITEM, f)
    )
    confirm()
    for there in {_below(place, folder, file) for file in last} | {place / ITEM}:
        there.unlink()
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="geoseg-upload") as pool:
        for file in files:
            if file not in last:
                confirm()
                _send(file, _below(place, folder, file), pool)
    for file in last:
        confirm()
        _send(file, _below(place, folder, file), None)
    for file in files:
        if file.relative_to(folder).as_posix() not in MIRRORED:
            file.unlink()
    return [_below(place, folder, file) for file in files]


def _is_product(folder: Path, file: Path) -> bool:
    parts = file.relative_to(folder).parts
    return parts[0] != STATE and not any(part.endswith(".part") for part in parts)


def _below(place: BucketPath, folder: Path, file: Path) -> BucketPath:
    return place / file.relative_to(folder).as_posix()


def _send(file: Path, place: BucketPath, pool: ThreadPoolExecutor | None) -> None:
    """One file, whole or not at all; large ones in parts."""
    size = file.stat().st_size
    if size <= PART or pool is None:
        place.write_bytes(file.read_bytes())
        return
    with answers(place, "written") as store:
        began = store.create_multipart_upload(Bucket=place.bucket, Key=place.key)
    upload_id = began["UploadId"]
    try:
        numbers = range(1, -(-size // PART) + 1)
        etags = list(pool.map(lambda n: _send_part(file, place, upload_id, n), numbers))
        parts = [{"PartNumber": n, "ETag": tag} for n, tag in zip(numbers, etags, strict=True)]
        with answers(place, "written") as store:
            store.complete_multipart_upload(
                Bucket=place.bucket,
                Key=place.key,
                UploadId=upload_id,
                MultipartUpload={"Parts": parts},
            )
    except BaseException:
        with answers(place, "cleared of an upload") as store:
            store.abort_multipart_upload(Bucket=place.bucket, Key=place.key, UploadId=upload_id)
        raise
    there = place.head()
    if there is None or there.size != size:
        raise ProductError(f"{place}: the store has not kept what was sent; run again")


def _send_part(file: Path, place: BucketPath, upload_id: str, number: int) -> str:
    with file.open("rb") as opened:
        opened.seek((number - 1) * PART)
        data = opened.read(PART)
    with answers(place, "written") as store:
        done = store.upload_part(
            Bucket=place.bucket, Key=place.key, UploadId=upload_id, PartNumber=number, Body=data,
            ContentMD5=digest(data),
        )  # fmt: skip
    return str(done["ETag"])
