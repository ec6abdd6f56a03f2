"""What a worker sees of its machine, and of the folders that a run needs; asked before any block."""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from distributed import Client

from geoseg.errors import GeosegError
from geoseg.io.bucket import BucketPath
from geoseg.run.resources import available_cores, available_memory, nvidia_smi

ANSWER_SECONDS = 120.0
"""For a worker to look at everything; a folder of a server that is gone hangs for ever."""

VISIBLE_SECONDS = 10.0
"""For a file that a worker wrote to be seen here: file systems of a network keep what they know."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What workers are to see.

    Attributes:
        files: Sizes in bytes by path, as jobs will open them.
        weights: sha256 by path, of models.
        folders: That blocks are written to; all of them exist, or are places like s3://bucket/a.
        packages: Names of those whose versions are asked for.
        mark: Part of the names of what is written and removed again.
    """

    files: Mapping[str, int] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    mark: str = "0"


@dataclass(frozen=True, slots=True)
class Seen:
    """What one worker says.

    Attributes:
        host: Name of its machine.
        python: Version.
        packages: Versions, of those that are installed.
        cores: That its process may use.
        free: Bytes of memory that nobody uses.
        limit: Bytes that it may take before it is replaced; None: no limit.
        threads: Blocks that it has in hand at once.
        resources: That it offers.
        gpus: Name and driver of each GPU of its machine.
        lacks: What it does not see, or not as the client does.
        unwritable: Folders that it cannot write to, and why.
        written: One file in each of the other folders.
    """

    host: str
    python: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    cores: int = 0
    free: int = 0
    limit: int | None = None
    threads: int = 0
    resources: Mapping[str, float] = field(default_factory=dict)
    gpus: tuple[tuple[str, ...], ...] = ()
    lacks: tuple[str, ...] = ()
    unwritable: tuple[str, ...] = ()
    written: tuple[str, ...] = ()


def ask(client: Client, needs: Needs) -> dict[str, Seen]:
    """What each worker sees, by its address; those that do not answer say so in ``lacks``.

    What workers write is looked for, and removed.
    """
    answers: dict[str, Any] = client.run(look, needs, on_error="return")
    # Who left as it was asked keeps no run from beginning, if others are there.
    answers = {w: said for w, said in answers.items() if not isinstance(said, OSError)} or answers
    try:
        return {who: _checked(answer) for who, answer in answers.items()}
    finally:
        client.run(clear, needs, on_error="ignore")


def clocks(client: Client) -> dict[str, float]:
    """Seconds that each worker's clock is ahead of ours, as far as the way of a message tells."""
    before = time.time()
    answers: dict[str, Any] = client.run(clock, on_error="return")
    after = time.time()
    found = {}
    for who, told in answers.items():
        if isinstance(told, float):
            found[who] = told - min(max(told, before), after)
    return found


def clock() -> float:
    """Run by a worker: what it takes for now."""
    return time.time()


async def look(needs: Needs, dask_worker: Any) -> Seen:
    """Run by a worker, in a thread: the worker itself must go on answering."""
    host = socket.gethostname()
    state, limit = dask_worker.state, dask_worker.memory_manager.memory_limit
    try:
        seen = await asyncio.wait_for(
            asyncio.to_thread(_look, needs, dask_worker.address), ANSWER_SECONDS
        )
    except TimeoutError:
        return Seen(host, lacks=(f"no answer in {ANSWER_SECONDS:g} s: a folder may hang",))
    return Seen(
        host=host,
        python=platform.python_version(),
        packages={name: found for name, found in installed(needs.packages).items() if found},
        cores=available_cores(),
        free=_free(),
        limit=limit or None,
        threads=int(state.nthreads),
        resources=dict(state.total_resources),
        gpus=tuple(nvidia_smi("name", "driver_version")),
        lacks=seen[0],
        unwritable=seen[1],
        written=seen[2],
    )


def clear(needs: Needs, dask_worker: Any) -> None:
    """Remove what :func:`look` wrote."""
    for folder in needs.folders:
        with suppress(OSError):  # of what is in a store nothing is left
            probe(folder, needs.mark, dask_worker.address).unlink()


def _look(needs: Needs, address: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    unseen, unwritable, written = [], [], []
    for folder in needs.folders:
        file = probe(folder, needs.mark, address)
        if folder.startswith("s3://"):
            unwritable += shut(folder, file.name)
            continue
        try:
            # Not as root's rights say, but as they are: somebody may have mounted it read-only.
            with file.open("x") as opened:
                opened.write(address)
                os.fsync(opened.fileno())
            written.append(str(file))
        except FileNotFoundError:
            unseen.append(f"does not see the folder {folder}")
        except OSError as error:
            unwritable.append(f"{folder} ({error.strerror or error})")
    return (*lacking(needs), *unseen), tuple(unwritable), tuple(written)


def installed(names: Iterable[str]) -> dict[str, str]:
    """Versions of packages here, ``""`` of those that are not installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found


def other_packages(ours: Mapping[str, str], theirs: Mapping[str, str]) -> Iterator[str]:
    """A clause for each of ``ours`` that a worker has otherwise."""
    for name, mine in ours.items():
        found = theirs.get(name, "")
        # 2.9.0+cpu and 2.9.0+cu128 are the same for another device.
        if mine.partition("+")[0] != found.partition("+")[0]:
            yield f"has {name} {found or '(none)'}, the client {mine or 'none'}"


def shut(place: str, name: str) -> list[str]:
    """Why a worker cannot write to a place in a store, with the keys that it finds; [] if it can."""
    file = BucketPath.of(place) / name
    try:
        file.write_bytes(b"")
        file.unlink()
    except (GeosegError, OSError) as error:
        return [f"{place} ({error})"]
    return []


def lacking(needs: Needs) -> Iterator[str]:
    """What is not here, or not as the client sees it; a clause for each."""
    for name, size in needs.files.items():
        try:
            found = Path(name).stat().st_size
            with Path(name).open("rb"):
                pass
        except OSError as error:
            yield f"does not see {name} ({error.strerror or error})"
            continue
        if found != size:
            yield f"sees another {name}, of {found} bytes, where the client sees {size}"
    for name, digest in needs.weights.items():
        try:
            with Path(name).open("rb") as file:
                found_digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            yield f"does not see {name} ({error.strerror or error})"
            continue
        if found_digest != digest:
            yield f"sees other weights at {name} (sha256 {found_digest[:12]}, not {digest[:12]})"


def _checked(answer: Any) -> Seen:
    """With the folders that are others than ours, where a worker's files are not seen."""
    if not isinstance(answer, Seen):
        said = " ".join(str(answer).split())[:200]
        return Seen("?", lacks=(f"did not answer ({type(answer).__name__}: {said})",))
    hidden = [file for file in answer.written if not appears(Path(file))]
    if not hidden:
        return answer
    elsewhere = tuple(f"writes to another {Path(file).parent} than the client" for file in hidden)
    return Seen(
        **{name: getattr(answer, name) for name in Seen.__slots__ if name != "lacks"},
        lacks=(*answer.lacks, *elsewhere),
    )


def appears(file: Path) -> bool:
    """Whether a file is seen here, soon."""
    until = time.monotonic() + VISIBLE_SECONDS
    while time.monotonic() < until:
        if file.exists():
            return True
        time.sleep(0.1)
    return False


def probe(folder: str, mark: str, address: str) -> Path:
    """The file that a worker writes to see whether it can; each has its own."""
    name = hashlib.sha256(address.encode()).hexdigest()[:12]
    return Path(folder) / f".geoseg-probe-{mark}-{name}"


def _free() -> int:
    import psutil  # noqa: PLC0415 (who only reads this module does without it)

    return min(int(psutil.virtual_memory().available), available_memory())
