"""Renders a page once for everybody who asks for it at about the same time.

Two people see the same page except for their name and the secret of their session.  A page is rendered with marks in
their places; the marks are random, so no text of a stranger can contain one.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

from markupsafe import escape

from crl_stream.dashboard.web.access import Caller

EVERY_SECONDS: Final = 0.25
"""While the fleet changes all the time, a page is rendered this often, however many people look."""
FRESH_SECONDS: Final = 1.0
"""A page in which nothing has changed is rendered again after this time, because it tells ages."""
ANYONE: Final = Caller(f"actor-{secrets.token_hex(16)}", f"csrf-{secrets.token_hex(16)}", "session", 0)
"""Stands for each viewer while the page is rendered."""


class SharedPage:
    """One page of which everybody gets a copy."""

    def __init__(self) -> None:
        self._html, self._version, self._made_at = "", -1, float("-inf")
        self._state: Any = None

    async def copy(self, state: Any, wanted: int, make: Callable[[], tuple[str, int]], caller: Caller) -> str:
        """Return the page for one person, with every change up to version ``wanted`` in it.

        ``make`` renders it for ``ANYONE`` as it is now, and says which version it shows.  A page that was made in
        another ``state`` is of no use.
        """
        while not self._is_good(state, wanted):
            wait = 0.0 if state != self._state else self._made_at + EVERY_SECONDS - time.monotonic()
            if wait <= 0:
                (self._html, self._version), self._state, self._made_at = make(), state, time.monotonic()
                break  # nothing is newer, even if versions count from 0 again since ``wanted`` was read
            await asyncio.sleep(wait)
        return self._html.replace(ANYONE.actor, str(escape(caller.actor))).replace(
            ANYONE.csrf, str(escape(caller.csrf))
        )

    def _is_good(self, state: Any, wanted: int) -> bool:
        is_fresh = time.monotonic() - self._made_at < FRESH_SECONDS
        return state == self._state and self._version >= wanted and is_fresh
