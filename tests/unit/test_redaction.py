"""No password, token or signature of an address gets into what is shown or stored."""

import json
import pickle
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import GeosegError, SceneError, WorkflowError
from geoseg.redaction import HIDDEN, masked, without_secrets

SECRET = "hunter2xyz"  # noqa: S105 (what must not be seen)
AZURE = f"st=2024-06-01&se=2024-06-02&sp=rl&sv=2023-01-03&sr=c&skoid=1&sktid=2&sig={SECRET}%3D"
AMAZON = f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={SECRET}&X-Amz-Signature={SECRET}"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (f"https://me:{SECRET}@host:8080/a/b.tif", "https://host:8080/a/b.tif"),
        (f"https://{SECRET}@host/a.tif", "https://host/a.tif"),
        (f"https://host/a.tif?{AZURE}", "https://host/a.tif"),
        (f"https://host/a.tif?{AMAZON}#x", "https://host/a.tif"),
        (f"https://host/a.tif?asset=b4&token={SECRET}&zone=3", "https://host/a.tif?asset=b4&zone=3"),
        (f"https://host/a?{SECRET * 4}", "https://host/a"),
        (f"/vsicurl/https://me:{SECRET}@host/a.tif", "/vsicurl/https://host/a.tif"),
        (
            f"/vsicurl?header.X={SECRET}&url={quote(f'https://u:{SECRET}@h/a.tif', safe='')}",
            f"/vsicurl?url={quote('https://h/a.tif', safe='')}",
        ),
        ("https://host/a.tif?x=1&band=2", "https://host/a.tif?x=1&band=2"),
        ("s3://bucket/a@b/c.tif", "s3://bucket/a@b/c.tif"),
        ("/data/me:x@y/a?sig=1.tif", "/data/me:x@y/a?sig=1.tif"),
        (f"scene a: https://h/a.tif?sig={SECRET}: no such file", "scene a: https://h/a.tif: no such file"),
        (f"(https://h/a.tif?sig={SECRET}), then", "(https://h/a.tif), then"),
    ],
)  # fmt: skip
def test_addresses(given, shown):
    assert without_secrets(given) == shown
    assert without_secrets(json.dumps({"href": given})) == json.dumps({"href": shown})


NAMES = ("sig", "token", "X-Amz-Security-Token", "api_key", "apikey", "Signature", "access_token")


@given(
    st.sampled_from(NAMES),
    st.lists(st.sampled_from(["a=1", "b=x.y", "band=4"]), max_size=3),
    st.integers(0, 3),
)
def test_secrets_go_wherever_they_stand(name, others, at):
    parts = [*others[:at], f"{name}={SECRET}", *others[at:]]
    shown = without_secrets(f"https://h/a.tif?{'&'.join(parts)}")
    assert shown == "https://h/a.tif" + (f"?{'&'.join(others)}" if others else "")
    assert without_secrets(shown) == shown


@pytest.mark.parametrize("kind", [GeosegError, SceneError, WorkflowError])
def test_errors(kind):
    error = kind(f"https://me:{SECRET}@h/a.tif: no such file")
    for same in (error, pickle.loads(pickle.dumps(error))):  # noqa: S301 (our own)
        assert str(same) == "https://h/a.tif: no such file"
        assert SECRET not in repr(same)


FORMS = (
    f"Authorization: Bearer {SECRET}",
    f"authorization: basic {SECRET}",
    f"{{'x-api-key': '{SECRET}'}}",
    f'{{"password": "{SECRET}", "n": 3}}',
    f"AccountName=a;AccountKey={SECRET};EndpointSuffix=b",
    f"aws_secret_access_key = {SECRET}",
    f"GDAL_HTTP_USERPWD={SECRET}",
    f"Set-Cookie: {SECRET}",
    f"https://me:{SECRET}@host/a.tif",
)


@pytest.mark.parametrize("text", FORMS)
def test_secrets_that_are_told(text):
    assert SECRET not in masked(text)
    assert SECRET not in str(GeosegError(text))


@pytest.mark.parametrize(
    "secret",
    [
        "AKIA" + "ABCDEFGH23456789",
        "hf_" + "abcDEF123" * 4,
        "ghp_" + "abcDEF123" * 4,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-DEF_123",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_secrets_that_give_themselves_away(secret):
    assert masked(f"before {secret} after") == f"before {HIDDEN} after"


@pytest.mark.parametrize(
    ("name", "hides"),
    [
        ("AWS_SECRET_ACCESS_KEY", True), ("EARTHDATA_TOKEN", True), ("SMTP_PASSWORD", True),
        ("AZURE_STORAGE_CONNECTION_STRING", True), ("GDAL_HTTP_HEADERS", True),
        ("PWD", False), ("AZURE_FEDERATED_TOKEN_FILE", False), ("HOME", False),
    ],
)  # fmt: skip
def test_values_of_the_environment(name, hides):
    value = "/data/scenes-of-june"
    text = masked(f"cannot read {value}/a.tif", {name: value})
    assert (HIDDEN in text) == hides


def test_short_values_of_the_environment_are_words():
    assert masked("a test of words", {"MY_TOKEN": "test"}) == "a test of words"


@pytest.mark.parametrize(
    "text",
    [
        "class Token: 5 pixels", "password: ${SMTP_PASSWORD}", "the key of the asset is nir",
        '{"secret": null, "password": true, "access_key": 12345}', "tokens 4096 of 4096",
    ],
)  # fmt: skip
def test_what_is_no_secret_stays(text):
    assert masked(text, {}) == text


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
KEYS = st.sampled_from(["password", "secret", "access_key", "name"])
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(PLAIN)
def test_json_stays_json(value):
    text = json.dumps(value)
    json.loads(masked(text, {}))
    assert masked(masked(text, {}), {}) == masked(text, {})


def test_a_traceback_and_an_unexpected_error_hide_the_environment(monkeypatch, capfd):
    import geoseg.cli
    from geoseg.cli import commands

    monkeypatch.setenv("STORE_PASSWORD", SECRET)

    def fail(*_args, **_kwargs):
        raise RuntimeError(f"refused for {SECRET}")

    monkeypatch.setattr(commands, "app", fail)
    assert geoseg.cli.run(["doctor"], debug=True) == 1
    told = capfd.readouterr().err
    assert "Traceback" in told
    assert SECRET not in told
