"""The evaluations of this process: OpenFeature does not tell a provider which evaluation a tracking event belongs to.

The latest evaluation of a task is kept for each thread and asyncio task (``contextvars``), and for each session.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextvars import ContextVar
from typing import Any, Final

from crl_stream.client.resolver import Resolution
from crl_stream.core.identity import TaskKey

MOST: Final = 10_000
"""How many sessions are remembered; those that were evaluated longest ago are forgotten first."""
_MOST_HERE: Final = 64
"""How many tasks are remembered for one thread or asyncio task."""


class Evaluation:
    """One evaluation of a task's flag."""

    __slots__ = ("epoch", "invocation_id", "session_id", "source", "tracked", "variant_id")

    def __init__(self, found: Resolution, invocation_id: str, session_id: str | None) -> None:
        self.variant_id = found.variant_id
        """The variant that the outcome is credited to."""
        self.epoch, self.source = found.epoch, found.source
        self.invocation_id, self.session_id = invocation_id, session_id
        self.tracked = False
        """Whether an outcome was already tracked for this evaluation."""

    def metadata(self) -> dict[str, Any]:
        """Return what an outcome needs to know, as flag metadata."""
        known: dict[str, Any] = {
            "variant_id": self.variant_id,
            "source": self.source,
            "invocation_id": self.invocation_id,
        }
        return known if self.epoch is None else known | {"epoch": self.epoch}


class Evaluations:
    """Finds the evaluation that a tracking event belongs to. It is thread-safe."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._by_session: OrderedDict[tuple[TaskKey, str], Evaluation] = OrderedDict()
        self._here: ContextVar[dict[TaskKey, Evaluation]] = ContextVar("crl_evaluations")
        self.forked()

    def forked(self) -> None:
        """Give a forked child its own lock."""
        self._lock = threading.Lock()

    def add(self, key: TaskKey, evaluation: Evaluation) -> None:
        """Remember an evaluation as the latest one of its task, here and in its session."""
        here = dict(self._here.get({}))
        here.pop(key, None)
        here[key] = evaluation  # the last one, so that those that were evaluated longest ago are forgotten first
        if len(here) > _MOST_HERE:
            del here[next(iter(here))]
        self._here.set(here)
        if evaluation.session_id is None:
            return
        with self._lock:
            self._by_session[key, evaluation.session_id] = evaluation
            self._by_session.move_to_end((key, evaluation.session_id))
            if len(self._by_session) > self._most:
                self._by_session.popitem(last=False)

    def of(self, key: TaskKey, session_id: str | None) -> Evaluation | None:
        """Return the latest evaluation of a task here or in a session, if possible one without an outcome."""
        here = self._here.get({}).get(key)
        if here is not None and session_id is not None and here.session_id != session_id:
            here = None
        if session_id is None or (here is not None and not here.tracked):
            return here
        with self._lock:
            return self._by_session.get((key, session_id)) or here
