"""Addresses as they may be shown and stored: without passwords, tokens and signatures."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

_ADDRESS = re.compile(r"(?:[a-zA-Z][a-zA-Z0-9+.-]*://|/vsi[a-z0-9_]+\?)[^\s'\"<>]+")
_USER = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*://)[^/?#]*@")
# Names of query parameters that sign or identify: AWS (X-Amz-*, AWSAccessKeyId), Google
# (X-Goog-*, GoogleAccessId), CloudFront (Key-Pair-Id, Policy), Azure's shared access signatures
# (sv, se, sp, sr, st, ss, srt, sig, ske, skoid, sks, skt, sktid, skv, spr, sip), GDAL's options
# (header.*, userpwd), and what services call their keys.
_SECRET = re.compile(
    r"x-amz-|x-goog-|access|auth|cred|expires?|header|hmac|jwt|key|pass|policy|pwd|secret|"
    r"session|sig|ticket|token|user|"
    r"^(?:s[eprstv]|srt|sip|spr|sk(?:e|s|t|v|oid|tid))$",
    re.IGNORECASE,
)
_LONG = 32
"""Values from that length on are no numbers, dates or names of assets, but most likely secrets."""


def without_secrets(text: str) -> str:
    """``text`` with the secrets of all addresses in it taken out.

    ``https://user:password@host/a.tif?asset=b4&sig=...`` becomes ``https://host/a.tif?asset=b4``:
    what stands before ``@`` goes, and so do query parameters whose names or lengths look like those
    of keys, tokens and signatures. Paths stay as they are.
    """
    if "://" not in text and "/vsi" not in text:
        return text
    return _ADDRESS.sub(lambda match: _bare(match[0]), text)


def _bare(address: str) -> str:
    place, mark, query = _USER.sub(r"\1", address).partition("?")
    if not mark:
        return place
    kept = [found for part in query.split("&") if (found := _harmless(part)) is not None]
    closing = re.search(r"[),.:;\]]*$", query)  # of a sentence in which the address stood last
    end = closing[0] if closing and not query.endswith(tuple(kept[-1:])) else ""
    return f"{place}?{'&'.join(kept)}{end}" if kept else place + end


def _harmless(parameter: str) -> str | None:
    """A parameter without secrets; None where it is one."""
    name, _, value = parameter.partition("=")
    if name == "url":  # of GDAL: /vsicurl?url=...
        inner = unquote(value)
        bare = _bare(inner)
        return parameter if bare == inner else f"url={quote(bare, safe='')}"
    long = len(value or name) >= _LONG
    return None if long or _SECRET.search(name) else parameter
