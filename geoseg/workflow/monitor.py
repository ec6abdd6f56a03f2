"""What a workflow says of its runs night after night: what is kept, and who is told of what."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, model_validator
from pydantic.json_schema import WithJsonSchema

from geoseg.errors import InputError
from geoseg.workflow.faults import UnfitError, show
from geoseg.workflow.fields import OrElse, Some, Span
from geoseg.workflow.section import Section
from geoseg.workflow.units import Duration, Keep

Event = Literal["alerts", "products", "failure", "silence"]
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"


def _keep(value: object) -> Keep:
    keep = Keep.parse(value)
    if keep.value <= 0 or (keep.unit in ("run", "runs") and not keep.value.is_integer()):
        raise UnfitError("expected how long products are kept, like '90 d' or '10 runs'", str(keep))
    return keep


def keep_of(text: str) -> Keep:
    """How long to keep products, as it is written on a command line.

    Raises:
        InputError: It is something else.
    """
    try:
        return _keep(text)
    except UnfitError as error:
        raise InputError(f"keep: {error}") from None


def span_of(text: str) -> timedelta:
    """A span of time, as it is written on a command line.

    Raises:
        InputError: It is something else.
    """
    try:
        return Duration.parse(text).timedelta
    except UnfitError as error:
        raise InputError(str(error)) from None


def _variable(value: object) -> str:
    text = value if isinstance(value, str) else ""
    if text.isidentifier() and text.isascii():
        return text
    # What was written may be the secret itself: it is not repeated.
    found = "an address" if "://" in text or "@" in text else show(value)
    advice = "expected the name of an environment variable that holds it, like GEOSEG_WEBHOOK"
    hint = "write NAME, not ${NAME}: it is only looked up when somebody is told"
    raise UnfitError(advice, found, hint=hint)


KeepFor = Annotated[
    Keep,
    PlainValidator(_keep),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(Keep.json_schema()),
]
Variable = Annotated[
    str,
    PlainValidator(_variable),
    WithJsonSchema({"type": "string", "pattern": f"^{_VARIABLE}$", "examples": ["GEOSEG_WEBHOOK"]}),
]


class Monitor(Section):
    """Runs again and again: latest.json and a collection beside the products, and what is kept."""

    keep: KeepFor | None = None
    """How long ``geoseg clean`` leaves products: those of scenes of the last 90 d, or those that
    the last 10 runs made. The newest always stay; without it all do."""
    max_age: Span | None = None
    """After this long without a good run, ``geoseg status`` fails."""


class Email(Section):
    """Mail by a server that the environment names."""

    server_env: Variable = "GEOSEG_SMTP"
    """Name of the environment variable with the server: smtp://user:password@host:587, or
    smtps://."""
    to_env: Variable = "GEOSEG_MAIL_TO"
    """Name of the environment variable with the addresses, separated by commas."""
    from_env: Variable | None = None
    """Name of the environment variable with the sender's address; the server's user without it."""


class Notify(Section):
    """Who is told of what. Addresses are secrets: the workflow only names variables."""

    events: Some[Event] = ("alerts", "failure", "silence")
    """alerts: new or changed ones; products: a scene was mapped; failure: a scene or a run failed;
    silence: ``geoseg status --notify`` found that there was no good run for too long."""
    webhook_env: Variable | None = None
    """Name of the environment variable with an address that takes JSON by HTTP POST."""
    email: (
        Annotated[
            Email,
            BeforeValidator(lambda value: {} if value is True else value),
            OrElse({"const": True}),
        ]
        | None
    ) = None
    """Mail; true for the usual names of variables."""

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if self.webhook_env is None and self.email is None:
            raise UnfitError("nobody would be told: expected webhook_env, email, or both")
        return self


def expand_monitor(value: object) -> object:
    """The long way to write ``true``."""
    return {} if value is True else value


OptionalMonitor = Annotated[
    Annotated[Monitor, BeforeValidator(expand_monitor), OrElse({"const": True})] | None,
    Field(default=None),
]
