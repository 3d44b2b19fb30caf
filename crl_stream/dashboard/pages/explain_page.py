"""The page that explains one fact by its id: the words and figures of ``crl explain``."""

from __future__ import annotations

from collections.abc import Sequence

from crl_stream.core.identity import TaskKey
from crl_stream.dashboard.fleet import Fleet
from crl_stream.dashboard.pages.frame import Scene, page
from crl_stream.dashboard.pages.viewer import Viewer
from crl_stream.explaining.documents import Explanation


def explain_page(
    fleet: Fleet, found: Explanation, viewer: Viewer, now: int, *, troubles: Sequence[str] = (), parts: bool = False
) -> str:
    """Return what happened, what led to it, what the verdict rests on, and what has happened since."""
    return page(
        Scene(fleet=fleet, viewer=viewer, now=now, troubles=troubles, orders=[]),
        "explain.html",
        title=found.id,
        current="fleet",
        parts=parts,
        key=None if found.task is None else TaskKey.parse(found.task),
        found=found,
    )
