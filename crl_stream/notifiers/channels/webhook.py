"""An HTTP POST of a signed JSON document to your own program; ``docs/notifiers.md`` shows how to verify it."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from pydantic import SecretStr, field_validator
from pydantic_core import PydanticCustomError

from crl_stream import __version__
from crl_stream.notifiers.failures import Refused, Undelivered
from crl_stream.notifiers.notice import Notice
from crl_stream.notifiers.options import Options
from crl_stream.notifiers.signature import key_of, signed_headers

MIN_KEY: Final = 16
"""Minimum length of a secret, in bytes."""
_REFUSALS: Final = {400, 413, 415, 422}
"""HTTP status codes with which a receiver rejects the document itself."""


class WebhookOptions(Options):
    """Settings of a webhook."""

    url: SecretStr
    """http:// or https://; never shown, because some services put a token into it."""
    secret: SecretStr
    """Key that signs every request: at least 16 bytes, or ``whsec_`` and base64.  Best set through
    CRL_NOTIFIERS_<NAME>_SECRET.
    """

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, value: SecretStr) -> SecretStr:
        found = None
        with contextlib.suppress(ValueError):
            parts = urlsplit(value.get_secret_value())
            found = None if parts.port == 0 else parts  # raises ValueError for an impossible port
        if found is None or found.scheme not in {"http", "https"} or not found.hostname:
            raise PydanticCustomError("url", "expected an address like https://host/path")
        return value

    @field_validator("secret")
    @classmethod
    def _is_long_enough(cls, value: SecretStr) -> SecretStr:
        try:
            length = len(key_of(value.get_secret_value()))
        except ValueError as error:
            raise PydanticCustomError("secret", "the text after whsec_ should be base64") from error
        if length < MIN_KEY:
            raise PydanticCustomError("secret", "expected at least 16 bytes; create them with openssl rand -hex 32")
        return value

    def place(self) -> str:
        """Return host and port; the rest of the address may be a secret."""
        found = urlsplit(self.url.get_secret_value())
        return f"{found.scheme}://{found.netloc.rpartition('@')[2]}"


def asked_wait(text: str, date: str, now: float) -> float:
    """Return the wait in seconds that a ``Retry-After`` header (a number or a date) asks for; 0 without one.

    A date is relative to the receiver's clock, as its ``Date`` header shows it; without that header ``now`` is used.
    The notifier limits the result.
    """
    with contextlib.suppress(ValueError):
        seconds = float(text)
        return max(0.0, seconds) if math.isfinite(seconds) else 0.0
    until = _instant(text)
    if until is None:
        return 0.0
    there = _instant(date)
    return max(0.0, until - (now if there is None else there))


def _instant(text: str) -> float | None:
    """Convert an HTTP date to seconds since the epoch; without a zone it is UTC."""
    try:
        found = parsedate_to_datetime(text.strip())
    except (ValueError, OverflowError):
        return None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()


class WebhookChannel:
    """Posts each notice. Any answer other than 2xx is a failure, and redirects are not followed."""

    def __init__(self, name: str, options: Any, *, now: Callable[[], float] = time.time) -> None:
        self.name, self._now = name, now
        self.options: WebhookOptions = options
        self._session: Any = None

    async def send(self, notice: Notice) -> None:
        """Make one attempt to post the notice."""
        import aiohttp

        body = orjson.dumps(
            {"type": f"crl.{notice.kind}", "timestamp": notice.timestamp, "data": notice.document()},
        )
        headers = signed_headers(self.options.secret.get_secret_value(), notice.id, int(self._now()), body)
        headers |= {"content-type": "application/json", "user-agent": f"crl-stream/{__version__}"}
        if self._session is None:
            self._session = aiohttp.ClientSession(trust_env=True)
        limit = aiohttp.ClientTimeout(total=self.options.timeout_seconds)
        try:
            async with self._session.post(
                self.options.url.get_secret_value(), data=body, headers=headers, timeout=limit, allow_redirects=False
            ) as answer:
                status, answered = answer.status, answer.headers
        except TimeoutError as error:
            raise Undelivered(f"no answer within {self.options.timeout_seconds:g} s") from error
        except (aiohttp.ClientError, ValueError) as error:
            # The text of the error may contain the whole address.
            raise Undelivered(f"{self.options.place()} cannot be reached ({type(error).__name__})") from None
        if 200 <= status < 300:
            return
        failure = Refused if status in _REFUSALS else Undelivered
        wait = asked_wait(answered.get("retry-after", ""), answered.get("date", ""), self._now())
        raise failure(f"{self.options.place()} answered {status}", retry_after=wait)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


OPTIONS, CHANNEL = WebhookOptions, WebhookChannel
