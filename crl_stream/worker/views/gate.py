"""Allows only reads: on loopback only under the worker's host names, and with the token if one is set.

The dashboard under ``/dashboard`` has rules of its own (``dashboard.web.access``).
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web
from yarl import URL

from crl_stream.broker.ports import is_loopback
from crl_stream.dashboard.web.own_rules import has_own_rules
from crl_stream.wire.codec import encode

log = logging.getLogger(__name__)

OPEN: Final = frozenset(("/healthz", "/readyz"))
"""Paths that need no token, for probes that have none."""
_LOCAL: Final = frozenset(("localhost", "127.0.0.1", "::1"))


def problem(status: int, error: str, hint: str, **more: Any) -> web.Response:
    """Return an error response that says what to do next."""
    return web.Response(body=encode({"error": error, "hint": hint, **more}), status=status, content_type=JSON)


JSON: Final = "application/json"


def make_gate(host: str, url: URL, token: str) -> Any:
    """Return the middleware for views that listen on ``host`` and are known as ``url``."""
    # A foreign web page can make a browser call a loopback address under the page's own host name: check the name.
    names = _LOCAL | {host, url.host or host}
    any_name = not is_loopback(host)

    @web.middleware
    async def gate(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if has_own_rules(request.match_info.handler):
            return await handler(request)
        if request.method not in {"GET", "HEAD"}:
            return problem(405, "The views only read.", "send commands with crl, e.g. crl undo --help")
        if not any_name and (URL(f"http://{request.host}").host or "") not in names:
            return problem(403, f"{request.host} is not a name of this worker.", f"ask {url}")
        if token and request.path not in OPEN:
            given = request.headers.get("Authorization", "").removeprefix("Bearer ").encode()
            if not hmac.compare_digest(given, token.encode()):
                return problem(401, "The token is missing or wrong.", "send Authorization: Bearer <worker.web_token>")
        try:
            return await handler(request)
        except web.HTTPNotFound:
            return problem(404, f"There is no view {request.path}.", "GET / lists the views")
        except web.HTTPException:
            raise
        except Exception:
            log.exception("view %s failed", request.path)
            return problem(500, "The view failed.", "the worker's log says why; the fold is not affected")

    return gate
