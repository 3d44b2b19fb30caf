"""Closes idle connections to the views of a worker."""

from __future__ import annotations

from typing import Any

from crl_stream.dashboard.web.connections import keep_closing_idle


async def close_idle_connections(app: Any) -> None:
    """Close idle connections of the web server of a Faust ``app`` until cancelled."""
    await keep_closing_idle(lambda: app.web._runner.server)
