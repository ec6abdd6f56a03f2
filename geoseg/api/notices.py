"""What waits in the ledger to be told, told: one message for each kind of event and channel."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from geoseg.api import fingerprint
from geoseg.run.noted import Notice
from geoseg.run.reporter import Reporter
from geoseg.run.work_ledger import WorkLedger
from geoseg.workflow.monitor import Email, Notify

MOST_TRIES = 20
"""Runs that try to tell something; then it is given up, and stays in the ledger."""
_SHOWN = 20
"""Lines of a text; the details have all."""

Channel = Callable[["Message"], str | None]


@dataclass(frozen=True, slots=True)
class Message:
    """All notices of one event that a channel does not have yet."""

    workflow: str
    event: str
    notices: tuple[Notice, ...]
    when: datetime

    @property
    def ident(self) -> str:
        """The same for the same notices."""
        return fingerprint.digest([self.workflow, self.event, [n.key for n in self.notices]])[:32]

    @property
    def text(self) -> str:
        """A line for each of the first ones."""
        more = len(self.notices) - _SHOWN
        lines = [notice.text for notice in self.notices[:_SHOWN]]
        return "\n".join([*lines, *([f"and {more} more"] if more > 0 else [])])

    def payload(self) -> dict[str, Any]:
        """As JSON. ``text`` is what chat services show."""
        notices = [
            {"key": n.key, "queued": n.queued, "text": n.text, "details": dict(n.details)}
            for n in self.notices
        ]
        return {
            "geoseg": 1,
            "id": self.ident,
            "workflow": self.workflow,
            "event": self.event,
            "time": self.when.isoformat(timespec="seconds"),
            "text": f"{self.workflow}: {self.event}\n{self.text}",
            "notices": notices,
        }


def channels(notify: Notify, environ: Mapping[str, str] = os.environ) -> dict[str, Channel]:
    """Each way to tell somebody, by name."""
    found: dict[str, Channel] = {}
    if notify.webhook_env is not None:
        found["webhook"] = _webhook(notify.webhook_env, environ)
    if notify.email is not None:
        found["email"] = _email(notify.email, environ)
    return found


def deliver(ledger: WorkLedger, notify: Notify | None, reporter: Reporter) -> list[str]:
    """Tell what waits; what does not arrive is tried again by the next run.

    Never raises for a server's sake: returns why something was not delivered, as it was told to
    ``reporter``.
    """
    wanted = () if notify is None else notify.events
    ways = {} if notify is None else channels(notify)
    for notice in ledger.notices():
        if notice.event not in wanted:
            ledger.settle(notice, "unwanted")
    waiting = sorted(ledger.notices(), key=lambda notice: notice.event)
    failures = []
    for event, group in groupby(waiting, key=lambda notice: notice.event):
        notices = list(group)
        arrived = {}
        for name, send in ways.items():
            lacking = tuple(notice for notice in notices if name not in notice.told)
            message = Message(ledger.workflow, event, lacking, ledger.clock.now())
            why = send(message) if lacking else None
            arrived[name] = why is None
            if why is not None:
                failures.append(f"notice of {event} not delivered by {name}: {why}")
        _settle(ledger, notices, arrived)
    for failure in failures:
        reporter.warning(f"{failure}; the next run tries again")
    return failures


def tell_now(
    workflow: str, notify: Notify | None, notices: Sequence[Notice], when: datetime
) -> list[str]:
    """Tell at once, where there is no ledger to keep it; returns why it did not arrive."""
    failures = []
    for notice in notices:
        if notify is None or notice.event not in notify.events:
            continue
        message = Message(workflow, notice.event, (notice,), when)
        for name, send in channels(notify).items():
            why = send(message)
            if why is not None:
                failures.append(f"notice of {notice.event} not delivered by {name}: {why}")
    return failures


def _settle(ledger: WorkLedger, notices: Sequence[Notice], arrived: Mapping[str, bool]) -> None:
    for notice in notices:
        told = [name for name, well in arrived.items() if well or name in notice.told]
        if len(told) == len(arrived):
            ledger.settle(notice, "told", told)
        else:
            last = notice.tries + 1 >= MOST_TRIES
            ledger.settle(notice, "undelivered" if last else "waiting", told)


def _webhook(variable: str, environ: Mapping[str, str]) -> Channel:
    def send(message: Message) -> str | None:
        address = environ.get(variable)
        if not address:
            return f"{variable} is not set in the environment"
        from geoseg.io.delivery import post  # noqa: PLC0415 (requests, for who wants to be told)

        return post(address, message.payload(), ident=message.ident)

    return send


def _email(email: Email, environ: Mapping[str, str]) -> Channel:
    def send(message: Message) -> str | None:
        for variable in (email.server_env, email.to_env, email.from_env):
            if variable is not None and not environ.get(variable):
                return f"{variable} is not set in the environment"
        from geoseg.io.delivery import (  # noqa: PLC0415 (requests, for who wants to be told)
            Letter,
            MailServer,
            mail,
        )

        server = MailServer.parse(environ[email.server_env])
        if server is None:
            return f"{email.server_env} is no address like smtp://user:password@host:587"
        to = tuple(one.strip() for one in environ[email.to_env].split(",") if one.strip())
        user = server.user if server.user and "@" in server.user else to[0]
        sender = user if email.from_env is None else environ[email.from_env]
        subject = f"geoseg {message.workflow}: {message.event}"
        return mail(server, Letter(to, sender, subject, message.text, message.ident, message.when))

    return send
