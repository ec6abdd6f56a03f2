"""Dask's page of how workers were used, drawn by Dask's own code from the record of a run."""

from __future__ import annotations

import asyncio
import gzip
import html
import io
import re
import time
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Annotated, Any, Literal, Self, cast

import dask
import distributed
from distributed import Scheduler
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from geoseg.errors import InputError

LARGEST = 200_000_000
"""Bytes of a record, unpacked: some hundred times those of a long run on a large cluster."""

_HERE = {
    "Dask": str(cast("Any", dask).__version__),
    "Dask.Distributed": str(cast("Any", distributed).__version__),
}
"""Versions, as the page calls them."""

_ICON = re.compile(r'<link rel="shortcut icon"[^>]*>')  # which would be fetched
_NO_RECORD = "is no record of a run with Dask, or a damaged one"


def page_of(packed: bytes, *, named: str) -> bytes:
    """The page (HTML) of a record that ``DaskReport.record`` made.

    It is that which the scheduler would have drawn then. bokeh is imported for it: a second.

    Args:
        packed: The record, which may be from anybody.
        named: What errors call it.

    Raises:
        InputError: It is damaged or no record, or cannot be drawn by the Dask that is here.
    """
    noted = _read(packed, named)
    try:
        # A loop of its own, as this thread may be within one: a notebook's.
        with ThreadPoolExecutor(1, "geoseg-dask-page") as beside:
            text = beside.submit(lambda: asyncio.run(_draw(noted))).result()
    except ImportError as error:
        raise InputError(f"{named}: to draw it takes bokeh: pip install bokeh ({error})") from error
    except Exception as error:  # whatever another version's code makes of what it does not know
        raise InputError(
            f"{named}: was noted by distributed {noted.versions.distributed} and cannot be drawn by "
            f"{_HERE['Dask.Distributed']}, which is here: {error!r}"
        ) from error
    return _ICON.sub("", text).encode()


async def _draw(noted: _Noted) -> str:
    began = time.time() - (noted.stop - noted.start)  # the page tells how long until now
    draw = cast("Any", Scheduler.performance_report)
    text: str = await draw(_Scheduler(noted), start=began, last_count=0, code="", mode="inline")
    then = {"Dask": noted.versions.dask, "Dask.Distributed": noted.versions.distributed}
    for name, here in _HERE.items():
        text = text.replace(f"{name} Version: {here} ", f"{name} Version: {then[name]} ")
    return text


class _Scheduler:
    """What :meth:`distributed.Scheduler.performance_report` asks of itself, answered by a record."""

    def __init__(self, noted: _Noted) -> None:
        self._noted = noted
        self.address = html.escape(noted.address)  # becomes a part of the page as it is
        self.workers = {
            one.address: SimpleNamespace(
                name=one.name, nthreads=one.threads, memory_limit=one.memory
            )
            for one in noted.workers
        }
        self.bandwidth = noted.bandwidth
        self.bandwidth_types = dict(noted.bandwidth_types)
        self.bandwidth_workers = {(a, b): value for a, b, value in noted.bandwidth_workers}
        self.monitor = _Monitor(noted.monitor)

    async def get_profile(
        self,
        *,
        start: float,  # noqa: ARG002 (that of the record, here and below)
        scheduler: bool = False,
        server: bool = False,
    ) -> dict[str, Any]:
        """One of the three."""
        profiles = self._noted.profiles
        one = profiles.scheduler if scheduler else profiles.server if server else profiles.compute
        return _tree(one)

    def get_task_stream(self, *, start: float) -> list[dict[str, Any]]:  # noqa: ARG002 (as above)
        """All tasks of the record."""
        return [
            one.model_dump(exclude_unset=True)
            | {"startstops": [dict(zip(_SPAN, span, strict=True)) for span in one.startstops]}
            for one in self._noted.tasks
        ]

    def get_logs(
        self,
        *,
        start: float,  # noqa: ARG002 (as above)
        timestamps: bool,  # noqa: ARG002 (they are there)
    ) -> list[tuple[float, str, str]]:
        """All lines of the record."""
        return self._noted.logs


class _Monitor:
    """The scheduler's process as it was: after what is known comes nothing."""

    def __init__(self, quantities: Mapping[str, list[float | None]]) -> None:
        self.quantities = quantities
        self.count = max(map(len, quantities.values()))

    def update(self) -> None:
        """There is nothing new."""

    def range_query(self, start: int) -> dict[str, list[float | None]]:
        """All from moment ``start`` on."""
        return {name: values[start:] for name, values in self.quantities.items()}


def _key(value: object) -> object:
    """The key of a task: JSON made lists of tuples, and had no word for bytes."""
    match value:
        case list():
            return tuple(_key(one) for one in value)
        case {"bytes": str(digits)}:
            return bytes.fromhex(digits)
        case str() | int() | float() | None:
            return value
    raise ValueError("expected the key of a task")


def _whole(moments: dict[str, list[float | None]]) -> dict[str, list[float | None]]:
    """Moments as they can be drawn: as many of each quantity, and one at least."""
    if len({len(values) for values in moments.values()}) != 1:
        raise ValueError("expected as many numbers of each quantity")
    for name in ("cpu", "memory", "time"):
        if not moments.get(name) or None in moments[name]:
            raise ValueError(f"expected numbers of {name}")
    return moments


def _rooted(rows: list[_Row]) -> list[_Row]:
    """Rows of a profile, each after the row of its caller."""
    if [row[0] for row in rows[:1]] != [-1]:
        raise ValueError("expected a root first")
    if not all(0 <= row[0] < number for number, row in enumerate(rows[1:], 1)):
        raise ValueError("expected callers before what they call")
    return rows


def _tree(rows: list[_Row]) -> dict[str, Any]:
    """A profile as distributed nests it."""
    nodes: list[dict[str, Any]] = []
    for above, count, identifier, *line in rows:
        description = dict(zip(_LINE, line, strict=True))
        node = {"count": count, "identifier": identifier, "description": description}
        nodes.append(node | {"children": {}})
        if above >= 0:
            nodes[above]["children"][identifier] = nodes[-1]
    return nodes[0]


_LINE = ("filename", "name", "line_number", "line")
_SPAN = ("action", "start", "stop")
_Version = Annotated[str, Field(pattern=r"^[\w.+-]{1,60}$")]
_Action = Annotated[str, Field(pattern=r"^[\w-]{1,60}$")]  # as the version: parts of the page
_Count = Annotated[int, Field(ge=0)]
_Row = tuple[int, _Count, str, str, str, int, str]
"""Of a profile: row of the caller, samples, identifier, file, name, line number, line."""
_Profile = Annotated[list[_Row], AfterValidator(_rooted)]
_Spans = list[tuple[_Action, float, float]]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class _Versions(_Part):
    dask: _Version
    distributed: _Version


class _Worker(_Part):
    address: str
    name: str | None
    threads: _Count
    memory: _Count


class _Task(_Part):
    key: Annotated[Any, AfterValidator(_key)]
    worker: str | None = None
    thread: int | None = None
    status: str
    startstops: _Spans


class _Profiles(_Part):
    compute: _Profile
    scheduler: _Profile
    server: _Profile


class _Noted(_Part):
    """A record, as ``DaskReport.record`` makes it."""

    kind: Literal["geoseg.dask_record"]
    version: Literal[1]
    versions: _Versions
    address: str
    start: float
    stop: float
    workers: list[_Worker]
    tasks: list[_Task]
    bandwidth: float
    bandwidth_workers: list[tuple[str, str, float]]
    bandwidth_types: list[tuple[str, float]]
    monitor: Annotated[dict[str, list[float | None]], AfterValidator(_whole)]
    logs: list[tuple[float, str, str]]
    profiles: _Profiles

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.stop < self.start:
            raise ValueError("expected stop after start")
        return self


def _read(packed: bytes, named: str) -> _Noted:
    try:
        text = gzip.GzipFile(fileobj=io.BytesIO(packed)).read(LARGEST + 1)
        if len(text) > LARGEST:
            raise InputError(f"{named}: is larger than the record of any run: {LARGEST:,} bytes")
        return _Noted.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        why = f"{place}: {first['msg']}" if place else first["msg"]
        raise InputError(f"{named}: {_NO_RECORD}: {why}") from error
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{named}: {_NO_RECORD}: {error}") from error
