"""The variants with which sessions began, so that a session can keep its variant when the active one changes.

Only this process remembers them.  If a session's next invocation may run in another process, keep the ``variant_id``
with the session's own state, and give it to ``resolve`` as ``began_with``.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from crl_stream.core.identity import TaskKey

MOST: Final = 10_000
"""How many sessions are remembered; those that were used longest ago are forgotten first."""


class Sessions:
    """The variant of each session, by task and session id. It is thread-safe."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._variants: OrderedDict[tuple[TaskKey, str], str] = OrderedDict()
        self.forked()

    def forked(self) -> None:
        """Give a forked child its own lock; it keeps the sessions."""
        self._lock = threading.Lock()

    def known(self, key: TaskKey, session_id: str) -> str | None:
        """Return the variant with which the session began; None for a new session."""
        with self._lock:
            found = self._variants.get((key, session_id))
            if found is not None:
                self._variants.move_to_end((key, session_id))
            return found

    def begin(self, key: TaskKey, session_id: str, variant_id: str) -> bool:
        """Remember with which variant the session begins; return whether another session was forgotten for it."""
        with self._lock:
            self._variants[key, session_id] = variant_id
            self._variants.move_to_end((key, session_id))
            if len(self._variants) <= self._most:
                return False
            self._variants.popitem(last=False)
            return True
