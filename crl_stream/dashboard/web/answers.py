"""The responses of the dashboard: every one forbids scripts of strangers, guesses of types, framing and referrers."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from crl_stream.dashboard.web.access import Refusal
from crl_stream.wire.codec import encode

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
JSON: Final = "application/json"


def page(html: str, status: int = 200, **headers: str) -> web.Response:
    """Return an HTML page; pages are never stored, because they name people and carry secrets."""
    kept = HEADERS | {"Cache-Control": "no-store"} | headers
    return web.Response(text=html, status=status, content_type="text/html", headers=kept)


def document(body: Any, status: int = 200, **headers: str) -> web.Response:
    """Return a JSON document."""
    kept = HEADERS | {"Cache-Control": "no-store"} | headers
    return web.Response(body=encode(body), status=status, content_type=JSON, headers=kept)


def problem(refusal: Refusal) -> web.Response:
    """Return a refusal as JSON."""
    body = {"error": refusal.error} | ({"hint": refusal.hint} if refusal.hint else {})
    return document(body, refusal.status, **refusal.headers)


def redirect(to: str) -> web.Response:
    """Send the browser to another page of the dashboard; ``to`` must not come from the request."""
    return web.Response(status=303, headers=HEADERS | {"Location": to, "Cache-Control": "no-store"})
