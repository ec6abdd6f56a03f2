"""Telling people: JSON by HTTP POST, and mail by SMTP; never a word of where it went."""

from __future__ import annotations

import smtplib
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from geoseg.io.stac_http import BUSY

TIMEOUT = 10.0, 30.0
"""Seconds to wait for a connection, and for an answer."""
TRIES = 3
BACKOFF = 0.5
"""Waits of 0, 1 and 2 seconds, or as long as the server asks."""
_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail; ``ident`` is unique, so that a receiver can tell a second copy."""

    to: tuple[str, ...]
    sender: str
    subject: str
    text: str
    ident: str
    when: datetime


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed in; the password stays out of ``repr``."""

    host: str
    port: int
    tls: bool
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, address: str) -> MailServer | None:
        """``smtp://user:password@host:587`` or ``smtps://...``; None where it is neither."""
        with suppress(ValueError):
            parts = urlsplit(address)
            if parts.scheme in ("smtp", "smtps") and parts.hostname:
                tls = parts.scheme == "smtps"
                port = parts.port or (465 if tls else 587 if parts.username else 25)
                user, word = parts.username, parts.password
                return cls(
                    parts.hostname, port, tls,
                    None if user is None else unquote(user),
                    None if word is None else unquote(word),
                )  # fmt: skip
        return None


def post(address: str, payload: Mapping[str, Any], *, ident: str) -> str | None:
    """Send JSON; returns why it did not arrive, without the address, or None where it did.

    Busy servers are asked again. Redirects are not followed: what is told is for one place only.
    ``ident`` goes along as ``Idempotency-Key``, so that a receiver can tell a second copy.
    """
    if not address.startswith(("https://", "http://")):
        return "its address begins with neither https:// nor http://"
    retry = Retry(
        total=TRIES - 1,
        backoff_factor=BACKOFF,
        status_forcelist=BUSY,
        allowed_methods=None,
        respect_retry_after_header=True,
        raise_on_status=False,
        redirect=0,
    )
    with requests.Session() as session:
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry))
        try:
            answer = session.post(
                address,
                json=payload,
                timeout=TIMEOUT,
                allow_redirects=False,
                headers={"Idempotency-Key": ident},
            )
        except requests.Timeout:
            return "no answer in time"
        except (requests.RequestException, ValueError) as error:
            return f"no connection ({type(error).__name__})"
    return None if 200 <= answer.status_code < 300 else f"HTTP {answer.status_code}"


def mail(
    server: MailServer, letter: Letter, *, wait: Callable[[float], None] = time.sleep
) -> str | None:
    """Hand in a mail; returns why it was not taken, without addresses, or None where it was.

    A password is only said where the line is encrypted, or the server is this machine.
    """
    message = _message(letter)
    told: str | None = None
    for attempt in range(TRIES):
        if attempt:
            wait(BACKOFF * 2**attempt)
        told, again = _hand_in(server, message)
        if not again:
            break
    return told


def _message(letter: Letter) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"] = letter.sender, ", ".join(letter.to)
    message["Subject"] = " ".join(letter.subject.split())  # a header is one line
    message["Date"] = format_datetime(letter.when)
    message["Message-ID"] = f"<{letter.ident}@geoseg>"
    message.set_content(letter.text)
    return message


def _hand_in(server: MailServer, message: EmailMessage) -> tuple[str | None, bool]:
    """Why it was not taken, and whether another try may help."""
    try:
        with _connected(server) as line:
            if not server.tls and line.has_extn("starttls"):
                line.starttls(context=ssl.create_default_context())
                line.ehlo()
            elif server.password and not server.tls and server.host not in _LOCAL:
                return "the server offers no encryption (STARTTLS): a password is not said", False
            if server.user is not None:
                _log_in(line, server.user, server.password or "")
            line.send_message(message)
    except (smtplib.SMTPException, OSError) as error:
        return _refusal(error)
    return None, False


def _log_in(line: smtplib.SMTP, user: str, password: str) -> None:
    try:
        line.login(user, password)
    except smtplib.SMTPServerDisconnected:  # some hang up on a wrong password
        raise smtplib.SMTPAuthenticationError(535, b"") from None


def _refusal(error: Exception) -> tuple[str, bool]:
    """An error in words; what the server said stays out, as it may repeat addresses."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code = min(code for code, _ in error.recipients.values())
        return f"recipients are refused (SMTP {code})", code < 500
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return f"the server does not take user and password (SMTP {error.smtp_code})", False
    if isinstance(error, smtplib.SMTPResponseException):
        return f"SMTP {error.smtp_code}", error.smtp_code < 500
    later = isinstance(error, OSError) and not isinstance(
        error, smtplib.SMTPException | ssl.SSLError
    )
    return f"no connection ({type(error).__name__})" if later else type(error).__name__, later


def _connected(server: MailServer) -> smtplib.SMTP:
    if server.tls:
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT[1], context=context)
    line = smtplib.SMTP(server.host, server.port, timeout=TIMEOUT[1])
    line.ehlo()
    return line
