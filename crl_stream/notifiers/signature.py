"""How a webhook proves who sent it and when: the scheme of standardwebhooks.com, known to a library of any language.

webhook-id         the notice's id, the same however often it is sent
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
"""A receiver refuses an older or newer timestamp: a recorded request cannot be played again later."""
_PREFIX: Final = "whsec_"


def signed_headers(secret: str, notice_id: str, seconds: int, body: bytes) -> dict[str, str]:
    """The three headers for exactly these bytes."""
    return {ID: notice_id, TIMESTAMP: str(seconds), SIGNATURE: f"v1,{_sign(secret, notice_id, str(seconds), body)}"}


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> bool:
    """Whether the request was signed with ``secret``, for these bytes, within the last five minutes."""
    seconds = headers.get(TIMESTAMP, "")
    if not seconds.isascii() or not seconds.isdigit() or abs(now - int(seconds)) > TOLERANCE_SECONDS:
        return False
    expected = _sign(secret, headers.get(ID, ""), seconds, body)
    given = [entry.partition(",") for entry in headers.get(SIGNATURE, "").split()]
    return any(version == "v1" and hmac.compare_digest(text.encode(), expected.encode()) for version, _, text in given)


def key_of(secret: str) -> bytes:
    """The bytes of a secret: ``whsec_`` and base64, or any other text as it is; ``ValueError`` when it is neither."""
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError(f"what follows {_PREFIX} is not base64") from error


def _sign(secret: str, notice_id: str, seconds: str, body: bytes) -> str:
    signed = f"{notice_id}.{seconds}.".encode() + body
    return base64.b64encode(hmac.digest(key_of(secret), signed, hashlib.sha256)).decode()
