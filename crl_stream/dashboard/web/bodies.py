"""Reads the body of a request, which must be small and come soon."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from crl_stream.dashboard.web.access import Refusal

MOST_BODY: Final = 32_768
"""Bytes that a request may carry."""
BODY_SECONDS: Final = 5.0
"""How long a request may take to send its body."""


async def body_of(request: web.Request) -> bytes:
    """Return the body of a request; refuse one that is too large, too slow or broken."""
    if (request.content_length or 0) > MOST_BODY:
        raise Refusal(413, "The request is too large.", f"at most {MOST_BODY} bytes")
    found = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.content.iter_any():
                found += part
                if len(found) > MOST_BODY:
                    raise Refusal(413, "The request is too large.", f"at most {MOST_BODY} bytes")
    except TimeoutError:
        raise Refusal(408, "The request took too long to arrive.", f"send it within {BODY_SECONDS:g} s") from None
    except (web.RequestPayloadError, ConnectionResetError):
        raise Refusal(400, "The body of the request cannot be read.") from None
    return bytes(found)
