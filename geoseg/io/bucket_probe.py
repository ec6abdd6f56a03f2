"""Whether a server does with objects what outputs in a store stand on; asked before anything is."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from geoseg.errors import InputError, ProductError
from geoseg.io.bucket import BucketPath
from geoseg.io.bucket_client import answers

AT_ONCE, ROUNDS = 8, 3
"""Writers that want the same object at once, and how often: one of them must get it each time."""
LEAST_PART = 5 * 2**20
"""Bytes of a part of an upload, but of its last one, that S3 takes."""

_CONDITIONS = "take a newer version of this server, or another; or write to a folder"


class Answer(NamedTuple):
    """What one question to a store came to; ``mend`` is what helps where it is not ``ok``.

    Outputs do without what is not ``needed``.
    """

    what: str
    found: str
    ok: bool
    mend: str = ""
    needed: bool = True


def probe(place: BucketPath) -> Iterator[Answer]:
    """Ask a store all that outputs need of it, with objects below ``place`` that go again.

    After one that is not ok about whether it can be read or written at all, no more is asked.
    """
    below = place / f".geoseg-probe-{secrets.token_hex(8)}"
    reached = _asked(
        "list, write, read, remove", "rights to list, get, put and delete", _rights, below
    )
    yield reached
    if not reached.ok:
        return
    try:
        yield _asked("sees what was written last", _CONDITIONS, _sees, below)
        yield _asked("refuses on conditions", _CONDITIONS, _conditions, below)
        yield _asked(f"one of {AT_ONCE} writers at once", _CONDITIONS, _race, below)
        yield _asked("age of objects", "let its answers have Date and Last-Modified", _age, below)
        yield _asked("uploads in parts", "rights to put, list and abort uploads", _parts, below)
        checks = _asked(
            "checks what it got", "TLS finds bytes that change on their way", _checks, below
        )
        yield checks._replace(needed=False)
    finally:
        below.remove_below()


def _asked(what: str, mend: str, ask: Callable[[BucketPath], str], below: BucketPath) -> Answer:
    try:
        return Answer(what, ask(below), ok=True)
    except (InputError, ProductError, OSError) as error:
        return Answer(what, str(error), ok=False, mend=mend)


def _rights(below: BucketPath) -> str:
    one = below / "rights"
    one.parent.parent.check()
    one.write_bytes(b"1")
    _hold(one.read_bytes() == b"1", one, "reads back otherwise than it was written")
    one.unlink()
    _hold(one.head() is None, one, "is there after it was removed")
    return "as these keys may"


def _sees(below: BucketPath) -> str:
    one = below / "seen"
    for turn in range(ROUNDS):
        data = b"%d" % turn
        one.write_bytes(data)
        _hold(one.read_bytes() == data, one, "reads as it was before it was written")
        listed = {place.name for place, _ in below.below()}
        _hold(one.name in listed, one, "is not listed right after it was written")
    one.unlink()
    _hold(not list(below.below()), one, "is listed right after it was removed")
    return "at once, in listings, too"


def _conditions(below: BucketPath) -> str:
    one = below / "conditions"
    first = one.write_if(b"first")
    _hold(first is not None, one, "is not written where there is none (If-None-Match: *)")
    _hold(one.write_if(b"second") is None, one, "is replaced in spite of If-None-Match: *")
    wrong = one.write_if(b"third", etag='"00000000000000000000000000000000"')
    _hold(wrong is None, one, "is replaced in spite of another If-Match")
    _hold(one.write_if(b"fourth", etag=first) is not None, one, "is not replaced with its If-Match")
    _hold(one.read_bytes() == b"fourth", one, "reads otherwise than was written on a condition")
    one.unlink()
    gone = one.write_if(b"fifth", etag=first)
    _hold(gone is None, one, "is written with If-Match where there is none")
    return "If-None-Match and If-Match"


def _race(below: BucketPath) -> str:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for turn in range(ROUNDS):
            one = below / f"race-{turn}"
            written = pool.map(one.write_if, [b"%d" % who for who in range(AT_ONCE)])
            won = sum(etag is not None for etag in written)
            _hold(won == 1, one, f"was made anew by {won} of {AT_ONCE} writers at once, not by one")
            again = partial(one.write_if, etag=one.put(b"next"))
            written = pool.map(again, [b"%d" % who for who in range(AT_ONCE)])
            won = sum(etag is not None for etag in written)
            _hold(won == 1, one, f"was replaced by {won} of {AT_ONCE} writers at once, not by one")
    return f"gets the object, {2 * ROUNDS} times"


def _age(below: BucketPath) -> str:
    one = below / "age"
    one.write_bytes(b"1")
    with answers(one, "asked for") as store:
        found = store.head_object(Bucket=one.bucket, Key=one.key)
    headers = found["ResponseMetadata"]["HTTPHeaders"]
    _hold("date" in headers, one, "comes without a Date, so that nobody knows how old it is")
    head = one.head()
    _hold(
        head is not None and abs(head.age) < 60, one, f"is {head and head.age} s old, new as it is"
    )
    return "by the server's own clock"


def _parts(below: BucketPath) -> str:
    one, first, last = below / "parts", b"\1" * LEAST_PART, b"\2" * 1000
    whole = {"Bucket": one.bucket, "Key": one.key}
    with answers(one, "written in parts") as store:
        upload = {**whole, "UploadId": store.create_multipart_upload(**whole)["UploadId"]}
        tags = [
            store.upload_part(**upload, PartNumber=n, Body=data)["ETag"]
            for n, data in enumerate((first, last), 1)
        ]
        _hold(one.head() is None, one, "is there before all of its parts are")
        parts = [{"PartNumber": n, "ETag": tag} for n, tag in enumerate(tags, 1)]
        store.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        head = one.head()
        _hold(head is not None and head.size == len(first + last), one, "lacks parts")
        store.create_multipart_upload(**whole)
    _hold(below.abort_uploads() == 1, one, "has an upload that is not listed, to be given up")
    return "whole, or not at all"


def _checks(below: BucketPath) -> str:
    one = below / "checks"
    try:
        with answers(one, "written") as store:
            store.put_object(
                Bucket=one.bucket, Key=one.key, Body=b"1", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg=="
            )
    except ProductError:
        return "a wrong Content-MD5 is refused"
    raise ProductError(f"{one}: is taken with a wrong Content-MD5")


def _hold(true: object, place: BucketPath, otherwise: str) -> None:
    if not true:
        raise ProductError(f"{place}: {otherwise}")
