"""How a store is spoken to: one client a process, patience with limits, errors in one line.

Keys, regions and endpoints are never settings of geoseg: they come from where Amazon's tools look
(``AWS_ACCESS_KEY_ID``, ``AWS_PROFILE``, ``AWS_ENDPOINT_URL``, the role of a machine...), on each
worker from its own. GDAL's ``AWS_S3_ENDPOINT`` and ``AWS_HTTPS`` are understood, too.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from geoseg.errors import InputError, ProductError

ATTEMPTS = 6
"""Of each request, with pauses that grow to 20 seconds; ``AWS_MAX_ATTEMPTS`` says otherwise."""
CONNECT_SECONDS, READ_SECONDS = 10, 30
CONNECTIONS = 32

_ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})
_TAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412"})
_CLOSED = {
    "NoSuchBucket": "there is no such bucket; make it, or correct the address",
    "AccessDenied": "access is denied; these keys need rights to list, read, write and delete there",
    "403": "access is denied; these keys need rights to list, read, write and delete there",
    "InvalidAccessKeyId": "the store does not know these keys",
    "SignatureDoesNotMatch": "the keys are wrong, or the clock of this machine is",
    "ExpiredToken": "the keys have expired",
}
_lock = threading.Lock()
_clients: dict[int, Any] = {}


def client() -> Any:
    """The client of this process; made when first asked for, as a fork must not share sockets.

    Raises:
        InputError: boto3 is not installed, or the environment is contradictory.
    """
    with _lock:
        if os.getpid() not in _clients:
            _clients.clear()
            _clients[os.getpid()] = _made()
        return _clients[os.getpid()]


def forget_client() -> None:
    """Ask the environment anew the next time."""
    with _lock:
        _clients.clear()


def _made() -> Any:
    try:
        import boto3  # noqa: PLC0415 (an extra, and half a second)
        from botocore.config import Config  # noqa: PLC0415
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415
    except ImportError:
        raise InputError(
            "s3:// is written to by boto3, which is not installed; pip install 'geoseg[s3]'"
        ) from None
    retries: dict[str, Any] = {"mode": "standard"}
    if "AWS_MAX_ATTEMPTS" not in os.environ:
        retries["total_max_attempts"] = ATTEMPTS
    endpoint = _endpoint()
    own = endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    config = Config(
        retries=retries,
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=CONNECTIONS,
        # Few stores but Amazon's know the newer checksums; MD5 of what is sent all of them know.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if own else "auto"},
    )
    try:
        session = boto3.session.Session()
        region = session.region_name or "us-east-1"
        return session.client("s3", endpoint_url=endpoint, region_name=region, config=config)
    except (BotoCoreError, ValueError) as error:
        raise InputError(f"s3: {_line(error)}") from error


def _endpoint() -> str | None:
    """The server in GDAL's words; Amazon's own are read by boto3."""
    host = os.environ.get("AWS_S3_ENDPOINT")
    if not host or "AWS_ENDPOINT_URL" in os.environ or "AWS_ENDPOINT_URL_S3" in os.environ:
        return None
    plain = os.environ.get("AWS_HTTPS", "YES").upper() in {"NO", "OFF", "FALSE", "0"}
    return f"{'http' if plain else 'https'}://{host}"


def digest(data: bytes) -> str:
    """MD5 as HTTP has it, which the store holds against what came."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


@contextmanager
def answers(place: object, what: str) -> Iterator[Any]:
    """The client, for one request; what goes wrong in it is told of ``place`` in one line.

    Raises:
        FileNotFoundError: There is no such object.
        FileExistsError: The condition of a write does not hold.
        InputError: No keys, no bucket, no access.
        ProductError: The store does not answer, or failed however often it was asked.
    """
    store = client()
    from botocore.exceptions import (  # noqa: PLC0415 (an extra)
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        PartialCredentialsError,
    )

    try:
        yield store
    except ClientError as error:
        _told(place, what, error)
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise InputError(
            f"{place}: no keys are found for it; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            f"or AWS_PROFILE (and AWS_ENDPOINT_URL for a server that is not Amazon's)"
        ) from error
    except (BotoCoreError, OSError) as error:
        raise ProductError(f"{place}: cannot be {what}: {_line(error)}") from error


def _told(place: object, what: str, error: Any) -> NoReturn:
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code in _ABSENT:
        raise FileNotFoundError(errno.ENOENT, "there is no such object", str(place)) from error
    if code in _TAKEN:
        raise FileExistsError(errno.EEXIST, "somebody else has written it", str(place)) from error
    if code in _CLOSED:
        raise InputError(f"{place}: cannot be {what}: {_CLOSED[code]}") from error
    meta = error.response.get("ResponseMetadata", {})
    tried = int(meta.get("RetryAttempts", 0)) + 1
    times = f", asked {tried} times" if tried > 1 else ""
    said = error.response.get("Error", {}).get("Message", "")
    status = meta.get("HTTPStatusCode", "?")
    raise ProductError(f"{place}: cannot be {what}: HTTP {status} {code} {said}{times}") from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
