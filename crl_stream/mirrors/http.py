"""Requests to a prompt store: JSON, with a time limit, a size limit and no redirects; errors contain no secret."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import aiohttp
import orjson
from yarl import URL

from crl_stream import __version__
from crl_stream.mirrors.store import Silent
from crl_stream.visible import visible

MAX_BYTES: Final = 8 * 1024 * 1024
"""The largest answer that is read; a prompt may be long, and its text comes with its labels."""
CONNECTIONS: Final = 8
"""How many requests one store gets at the same time."""


class Answer(NamedTuple):
    """What a store has answered."""

    status: int
    body: Any
    """The JSON document; None if the body is something else."""


class Requests:
    """The connections to one store."""

    def __init__(self, host: str, headers: Mapping[str, str], timeout_seconds: float) -> None:
        self._host, self._headers, self._timeout = host, dict(headers), timeout_seconds
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Any = None) -> Answer:
        """Make one request; raise ``Silent`` unless the store answers, with a status below 500 other than 429.

        ``path`` must be quoted already.
        """
        if self._session is None:
            own = {"user-agent": f"crl-stream/{__version__}", "accept": "application/json"}
            self._session = aiohttp.ClientSession(
                headers=own | self._headers,
                connector=aiohttp.TCPConnector(limit=CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=True,
            )
        url = URL(self._host + path, encoded=True).with_query(query or {})
        data = None if body is None else orjson.dumps(body)
        kind = {} if body is None else {"content-type": "application/json"}
        limit = aiohttp.ClientTimeout(total=self._timeout)
        try:
            async with self._session.request(
                method, url, data=data, headers=kind, timeout=limit, allow_redirects=False
            ) as answer:
                received = await _read(answer)
        except TimeoutError:
            raise Silent(f"no answer within {self._timeout:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # The text of the error may contain parts of the request.
            raise Silent(f"{self._host} cannot be reached ({type(error).__name__})") from None
        if answer.status in {401, 403}:
            raise Silent(f"{self._host} refuses our credentials ({answer.status})")
        if answer.status >= 500 or answer.status == 429 or 300 <= answer.status < 400:
            raise Silent(f"{self._host} answered {answer.status}")
        return Answer(answer.status, _json(received))

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def basic(user: str, password: str) -> str:
    """Return the value of the header ``authorization`` for a user and password, or a pair of keys."""
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for part in answer.content.iter_any():
        data += part
        if len(data) > MAX_BYTES:
            raise Silent(f"the answer is longer than {MAX_BYTES} bytes")
    return bytes(data)


def _json(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


def said(answer: Answer) -> str:
    """Return the error text of an answer, shortened, for people."""
    body = answer.body if isinstance(answer.body, dict) else {}
    text = body.get("message") or body.get("error")
    shown = visible(" ".join(text[:2_000].split()))[:200] if isinstance(text, str) else ""
    return f"it answered {answer.status}" + (f": {shown}" if shown else "")


def unreadable(answer: Answer, what: str) -> Silent:
    """Return the error for an answer that is not what the store's API promises."""
    return Silent(f"its answer about {what} cannot be understood ({answer.status}); is the address right?")
