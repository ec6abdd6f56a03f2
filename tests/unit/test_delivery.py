"""Webhooks and mail, by real servers on the loopback; what is told of failures holds no secret."""

import socket
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from nights import webhook

from geoseg.api.notices import MOST_TRIES, Message, deliver
from geoseg.io.delivery import Letter, MailServer, mail, post
from geoseg.run.clock import Clock
from geoseg.run.noted import Notice
from geoseg.run.reporter import Silent
from geoseg.run.work_ledger import WorkLedger
from geoseg.workflow.monitor import Notify

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
LETTER = Letter(("a@example.org", "b@example.org"), "geoseg@example.org", "water:\nfailure",
                "Überschwemmung\nzweite Zeile", "0123abcd", NOON)  # fmt: skip


class Box:
    """Takes mail, but only so many of them; ``refuse`` is what it says to the others."""

    def __init__(self):
        self.mails, self.refusals = [], []

    async def handle_DATA(self, server, session, envelope):
        if self.refusals:
            return self.refusals.pop(0)
        self.mails.append((envelope.rcpt_tos, envelope.content.decode()))
        return "250 OK"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def mailbox(host):
    """A real mail server that knows one user."""
    box = Box()

    def authenticate(server, session, envelope, mechanism, data):
        return AuthResult(success=(data.login, data.password) == (b"me", b"p@ss w0rd"))

    controller = Controller(
        box, hostname=host, port=free_port(), authenticator=authenticate, auth_require_tls=False
    )
    controller.start()
    box.port = controller.port
    try:
        yield box
    finally:
        controller.stop()


@pytest.fixture
def box():
    with mailbox("127.0.0.1") as box:
        yield box


def test_a_webhook_gets_json_and_a_key_against_doubles():
    with webhook() as server:
        assert post(server.address, {"text": "ä", "n": 1}, ident="k1") is None
        ((headers, body),) = server.told
    assert body == {"text": "ä", "n": 1}
    assert headers["Idempotency-Key"] == "k1"
    assert headers["Content-Type"] == "application/json"


def test_a_busy_webhook_is_asked_again_and_a_refusal_is_not():
    with webhook(failing=2, answer=503) as server:
        assert post(server.address, {}, ident="k") is None
        assert len(server.told) == 1
    with webhook(failing=9, answer=503) as server:
        assert post(server.address, {}, ident="k") == "HTTP 503"
        assert server.failing == 9 - 3
    with webhook(failing=9, answer=404) as server:
        assert post(server.address, {}, ident="k") == "HTTP 404"
        assert server.failing == 8
    with webhook(failing=1, answer=302) as server:
        assert post(server.address, {}, ident="k") == "HTTP 302"


def test_why_a_webhook_failed_does_not_tell_its_address():
    for address in (
        f"http://127.0.0.1:{free_port()}/S3CRET",
        "ftp://host/S3CRET",
        "http://[S3CRET",
    ):
        why = post(address, {}, ident="k")
        assert why
        assert "S3CRET" not in why
        assert "127.0.0.1" not in why


def test_mail_arrives_with_its_text_and_one_line_of_subject(box):
    server = MailServer.parse(f"smtp://127.0.0.1:{box.port}")
    assert mail(server, LETTER) is None
    ((to, content),) = box.mails
    assert to == ["a@example.org", "b@example.org"]
    assert "Subject: water: failure" in content
    assert "Message-ID: <0123abcd@geoseg>" in content
    assert "Date: Wed, 01 May 2024 12:00:00 +0000" in content


def test_mail_is_tried_again_where_that_may_help(box):
    server = MailServer.parse(f"smtp://127.0.0.1:{box.port}")
    waits = []
    box.refusals = ["451 busy at S3CRET", "451 busy"]
    assert mail(server, LETTER, wait=waits.append) is None
    assert len(waits) == 2
    box.refusals = ["554 no, a@example.org"]
    assert mail(server, LETTER, wait=waits.append) == "SMTP 554"
    assert (len(waits), len(box.mails)) == (2, 1)


@pytest.mark.long
def test_user_and_password_are_said_and_never_told(box):
    server = MailServer.parse(f"smtp://me:p%40ss%20w0rd@127.0.0.1:{box.port}")
    assert "p@ss" not in repr(server)
    assert mail(server, LETTER) is None
    wrong = MailServer.parse(f"smtp://me:S3CRET@127.0.0.1:{box.port}")
    why = mail(wrong, LETTER, wait=lambda _: None)
    assert why == "the server does not take user and password (SMTP 535)"
    nowhere = MailServer.parse(f"smtp://127.0.0.1:{free_port()}")
    assert mail(nowhere, LETTER, wait=lambda _: None) == "no connection (ConnectionRefusedError)"


def test_a_password_is_not_said_in_clear_to_another_machine():
    with mailbox("127.0.0.2") as box:  # for all we know, that is one
        server = MailServer.parse(f"smtp://me:p%40ss%20w0rd@127.0.0.2:{box.port}")
        assert "offers no encryption" in mail(server, LETTER)
        assert box.mails == []
        assert mail(MailServer.parse(f"smtp://127.0.0.2:{box.port}"), LETTER) is None


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("smtp://host", ("host", 25, False)),
        ("smtp://u:p@host", ("host", 587, False)),
        ("smtps://u:p@host", ("host", 465, True)),
        ("smtps://host:99", ("host", 99, True)),
        ("http://host", None),
        ("host:25", None),
        ("smtp://host:port", None),
    ],
)
def test_addresses_of_mail_servers(address, found):
    server = MailServer.parse(address)
    assert (server and (server.host, server.port, server.tls)) == found


class Listener(Silent):
    def __init__(self):
        self.warnings = []

    def warning(self, text):
        self.warnings.append(text)


@pytest.fixture
def ledger(tmp_path):
    with WorkLedger(tmp_path, "water", Clock.at(NOON)) as ledger:
        yield ledger


def notify(**more):
    return Notify.model_validate({"webhook_env": "T_HOOK", **more})


def test_what_waits_is_told_in_one_message_for_each_event(ledger, monkeypatch):
    for k in range(30):
        ledger.tell("alerts", f"a{k:02}", f"alert {k}", {"ha": k})
    ledger.tell("failure", "f", "a scene failed")
    ledger.tell("products", "p", "nobody asked")
    with webhook() as server:
        monkeypatch.setenv("T_HOOK", server.address)
        assert deliver(ledger, notify(), Silent()) == []
        deliver(ledger, notify(), Silent())
        bodies = {body["event"]: body for _, body in server.told}
        assert len(server.told) == 2
    assert [one["details"]["ha"] for one in bodies["alerts"]["notices"]] == list(range(30))
    assert bodies["alerts"]["text"].startswith("water: alerts\nalert 0\n")
    assert bodies["alerts"]["text"].endswith("and 10 more")
    assert [one.key for one in ledger.notices("unwanted")] == ["p"]
    assert ledger.notices() == []


def test_a_channel_that_fails_is_tried_by_the_next_run_and_the_other_is_not_told_twice(
    ledger, monkeypatch, box
):
    monkeypatch.setenv("GEOSEG_SMTP", f"smtp://127.0.0.1:{box.port}")
    monkeypatch.setenv("GEOSEG_MAIL_TO", "a@example.org, b@example.org")
    ledger.tell("alerts", "a", "one")
    listener, both = Listener(), notify(email=True)
    monkeypatch.delenv("T_HOOK", raising=False)
    (why,) = deliver(ledger, both, listener)
    assert why == "notice of alerts not delivered by webhook: T_HOOK is not set in the environment"
    assert listener.warnings == [f"{why}; the next run tries again"]
    with webhook() as server:
        monkeypatch.setenv("T_HOOK", server.address)
        assert deliver(ledger, both, Silent()) == []
        assert len(server.told) == 1
    assert len(box.mails) == 1
    assert ledger.notices() == []


def test_after_many_nights_it_is_given_up_but_not_forgotten(ledger, monkeypatch):
    monkeypatch.delenv("T_HOOK", raising=False)
    ledger.tell("alerts", "a", "one")
    for _ in range(MOST_TRIES):
        assert deliver(ledger, notify(), Silent())
    assert deliver(ledger, notify(), Silent()) == []
    assert [one.key for one in ledger.notices("undelivered")] == ["a"]


def test_the_same_notices_have_the_same_id():
    one, two = (Notice("alerts", key, "t") for key in "ab")
    message = Message("w", "alerts", (one, two), NOON)
    assert message.ident == Message("w", "alerts", (one, two), datetime.now(UTC)).ident
    assert message.ident != Message("w", "alerts", (one,), NOON).ident
