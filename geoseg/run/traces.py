"""A run as an OpenTelemetry trace: run > scene > stage > block, sent as the OTEL_* variables say.

Nothing of OpenTelemetry is imported where these variables ask for no traces. Blocks are spans of
the worker that does them: what is traced inside of them, such as requests, belongs to them.
Source: the specification's "Environment Variable Specification", and W3C Trace Context.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from threading import Lock, Thread
from typing import Any

from geoseg.grid import Window
from geoseg.run.event_log import Event

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
FLUSH_SECONDS = 2.0
"""Longest wait for a collector when a run ends."""

WORKER_FLUSH_SECONDS = 3.0

_MAKING = Lock()

_NOT_OURS = {"time", "event", "run", "scene", "stage"}


def wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the variables ask for traces."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip()
    return exporter == "otlp" or (not exporter and any(environment.get(e) for e in ENDPOINTS))


def provider() -> Any:
    """The tracer provider of this process; any thread may ask first.

    Raises:
        ImportError: A package of the extra ``otel`` is missing.
    """
    # functools.cache may call twice, and the spans of a second provider would be sent by nobody.
    with _MAKING:
        return _provider()


@cache
def _provider() -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 (an extra)
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 (an extra)
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 (an extra)
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 (an extra)

    import geoseg  # noqa: PLC0415 (for its version)

    about = {"service.version": geoseg.__version__}
    named = "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if not (named or os.environ.get("OTEL_SERVICE_NAME")):
        about["service.name"] = "geoseg"
    # A collector that is away is told of once, by the client.
    logging.getLogger("opentelemetry").addHandler(_complaints)
    logging.getLogger("opentelemetry").propagate = False
    made = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
    made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return made


class _Complaints(logging.Handler):
    """Keeps the first thing that the exporter complains of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.first = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.first = self.first or record.getMessage()


_complaints = _Complaints()


def _tracer() -> Any:
    return provider().get_tracer("geoseg")


@cache
def _tracer_here() -> Any:
    """The tracer of this worker; None where it has none, or is told to send nothing."""
    with suppress(ImportError):
        return _tracer() if wanted() else None
    return None


def flush_soon(seconds: float = WORKER_FLUSH_SECONDS) -> None:
    """Send what was traced; waits no longer than that for a collector."""
    if _tracer_here() is not None:
        thread = Thread(target=provider().force_flush, name="geoseg-traces", daemon=True)
        thread.start()
        thread.join(seconds)


@contextmanager
def block_span(
    stage: str, block: Window, carrier: Mapping[str, str]
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Around the work on a block, on the worker; call what is given with the block's report.

    Does nothing on a worker that has no OpenTelemetry, or is told to send nothing.
    """
    tracer = _tracer_here()
    if tracer is None:
        yield lambda _: None
        return
    from opentelemetry.propagate import extract  # noqa: PLC0415 (an extra)

    about = {
        "geoseg.stage": stage,
        "geoseg.block": [block.y0, block.x0, block.y1, block.x1],
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
    }
    with tracer.start_as_current_span("block", context=extract(carrier), attributes=about) as span:

        def told(report: Mapping[str, Any]) -> None:
            seconds = report.get("seconds")
            for lane, value in seconds.items() if isinstance(seconds, Mapping) else ():
                span.set_attribute(f"geoseg.seconds.{lane}", float(value))

        yield told


class Traces:
    """Makes spans of a run's events. A sink of :class:`RunEvents`, and its carrier.

    Raises:
        ImportError: A package of the extra ``otel`` is missing.
    """

    def __init__(self) -> None:
        self._tracer, self._lock = _tracer(), Lock()
        self._spans: dict[tuple[str, ...], Any] = {}

    def __call__(self, event: Event) -> None:
        """Begin or end a span, or note what happened in one."""
        what, where = event["event"], _where(event)
        about = {f"geoseg.{k}": v for k, v in event.items() if k not in _NOT_OURS and _plain(v)}
        with self._lock:
            if what.endswith("_started"):
                self._begin(what.removesuffix("_started"), where, event, about)
            elif what.endswith("_ended"):
                self._end(where, event, about)
            elif what in ("warning", "product") and where in self._spans:
                self._spans[where].add_event(what, about)
        if what == "run_ended":
            flush_soon(FLUSH_SECONDS)

    def carrier(self, scene: str, stage: str) -> dict[str, str]:
        """W3C fields of a stage's span, for workers."""
        from opentelemetry.propagate import inject  # noqa: PLC0415 (an extra)

        fields: dict[str, str] = {}
        with self._lock:
            span = self._spans.get(("run", scene, stage))
        if span is not None:
            inject(fields, context=_within(span))
        return fields

    @property
    def complaint(self) -> str:
        """What went wrong with sending, first; "" where nothing did."""
        return _complaints.first

    def _begin(
        self, kind: str, where: tuple[str, ...], event: Event, about: dict[str, Any]
    ) -> None:
        above = self._spans.get(where[:-1])
        about |= {"geoseg.run": event["run"]}
        about |= {f"geoseg.{key}": event[key] for key in ("scene", "stage") if key in event}
        self._spans[where] = self._tracer.start_span(
            kind if kind == "run" else f"{kind} {where[-1]}",
            context=_parent() if above is None else _within(above),
            attributes=about,
        )

    def _end(self, where: tuple[str, ...], event: Event, about: dict[str, Any]) -> None:
        from opentelemetry.trace import StatusCode  # noqa: PLC0415 (an extra)

        span = self._spans.pop(where, None)
        if span is None:
            return
        span.set_attributes(about)
        if event["state"] != "done":
            span.set_status(StatusCode.ERROR, str(event.get("error", event["state"])))
        span.end()


def _where(event: Event) -> tuple[str, ...]:
    """The run, scene or stage that an event is of."""
    return ("run", *(event[key] for key in ("scene", "stage") if key in event))


def _plain(value: Any) -> bool:
    return isinstance(value, (str, bool, int, float))


def _within(span: Any) -> Any:
    from opentelemetry.trace import set_span_in_context  # noqa: PLC0415 (an extra)

    return set_span_in_context(span)


def _parent() -> Any:
    """What started this process, where it says so (TRACEPARENT)."""
    from opentelemetry.propagate import extract  # noqa: PLC0415 (an extra)

    names = ("traceparent", "tracestate")
    return extract({n: os.environ[n.upper()] for n in names if n.upper() in os.environ})
