"""Text as it may be shown and stored: without passwords, keys, tokens and signatures."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
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

HIDDEN = "…"
"""What stands where a secret was."""
_SHORTEST = 8
"""Values of variables below that length are words that may stand anywhere."""
# Variables whose values are secrets; not those that name files (..._FILE) or the current folder.
_VARIABLE = re.compile(
    r"(?:^|_)(?:SECRET|SECRET_?KEY|SECRET_ACCESS_KEY|ACCESS_KEY|ACCESS_KEY_ID|API_?KEY|ACCOUNT_KEY|"
    r"PRIVATE_KEY|TOKEN|PASSWORD|PASSWD|USERPWD|PROXYUSERPWD|SAS|SAS_TOKEN|SIGNATURE|HEADERS|"
    r"CONNECTION_STRING|CREDENTIALS)$",
    re.IGNORECASE,
)
# What gives itself away: AWS's key ids, tokens of Hugging Face and GitHub, JWT, private keys.
_KNOWN = re.compile(
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bhf_[A-Za-z0-9]{20,}|\bgh[pousr]_[A-Za-z0-9]{20,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
    re.DOTALL,
)
# Authorization: Bearer abc, "password": "abc", AccountKey=abc; but not ${NAME}, and no number or
# null of JSON, which stays JSON.
_TOLD = re.compile(
    r"(?P<name>(?:authorization|password|passwd|userpwd|secret|(?:access|api|account|auth)[_-]?"
    r"(?:key|token)|sessiontoken|session_token|x-api-key|sas_token|set-cookie)[\w-]*[\"']?\s*[:=]\s*"
    r"[\"']?(?:bearer |basic |token )?)"
    r"(?P<value>(?!null\b|true\b|false\b|-?\d[\d.eE+-]*(?:[\s,}\]]|$)|\$)"
    r"[^\s\\\"',;&{}()\[\]]{4,})",
    re.IGNORECASE,
)


def masked(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """``text`` without all that looks like a secret, for messages, logs, reports and records.

    Beside what :func:`without_secrets` takes out of addresses: the values of environment variables
    that are called like secrets, keys and tokens that give themselves away by their form, and what
    follows words like ``password:`` and ``Authorization: Bearer``. Hashes must not be made of it, as
    two texts may become one.
    """
    text = without_secrets(text)
    for name, value in environ.items():
        if len(value) >= _SHORTEST and value in text and _VARIABLE.search(name):
            text = text.replace(value, HIDDEN)
    text = _KNOWN.sub(HIDDEN, text)
    return _TOLD.sub(lambda match: match["name"] + HIDDEN, text)


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
