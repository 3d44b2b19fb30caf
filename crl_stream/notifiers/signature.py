"""Signs webhooks, proving who sent them and when, as specified by standardwebhooks.com.

webhook-id         the notice's id, the same for every attempt
webhook-timestamp  when this attempt was made, in seconds since the epoch
webhook-signature  v1,<base64 of HMAC-SHA256 over "id.timestamp.body">
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE_SECONDS: Final = 300
"""Tolerance in seconds. A receiver refuses timestamps outside it, so a recorded request cannot be replayed later."""
_PREFIX: Final = "whsec_"


def signed_headers(secret: str, notice_id: str, seconds: int, body: bytes) -> dict[str, str]:
    """Return the three headers for a request.

    ``secret`` is the shared key, ``notice_id`` names the notice, ``seconds`` is the time of the attempt in seconds
    since the epoch, and ``body`` holds exactly the bytes to send.
    """
    return {ID: notice_id, TIMESTAMP: str(seconds), SIGNATURE: f"v1,{_sign(secret, notice_id, str(seconds), body)}"}


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> bool:
    """Return whether a request is genuine and recent.

    ``secret`` is the shared key, ``headers`` and ``body`` are those of the request, and ``now`` is the time in seconds
    since the epoch. A request whose timestamp is more than five minutes from ``now`` is not accepted.
    """
    seconds = headers.get(TIMESTAMP, "")
    if not seconds.isascii() or not seconds.isdigit() or abs(now - int(seconds)) > TOLERANCE_SECONDS:
        return False
    expected = _sign(secret, headers.get(ID, ""), seconds, body)
    given = [entry.partition(",") for entry in headers.get(SIGNATURE, "").split()]
    return any(version == "v1" and hmac.compare_digest(text.encode(), expected.encode()) for version, _, text in given)


def key_of(secret: str) -> bytes:
    """Return the bytes of a secret: ``whsec_`` and base64, or any other text; raises ``ValueError`` for bad base64."""
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError(f"the text after {_PREFIX} is not base64") from error


def _sign(secret: str, notice_id: str, seconds: str, body: bytes) -> str:
    signed = f"{notice_id}.{seconds}.".encode() + body
    return base64.b64encode(hmac.digest(key_of(secret), signed, hashlib.sha256)).decode()
