"""No password, token or signature of an address gets into what is shown or stored."""

import json
import pickle
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import GeosegError, SceneError, WorkflowError
from geoseg.redaction import without_secrets

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
