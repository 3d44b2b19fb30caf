"""The page that says why nothing happens to a task: the words and figures of ``crl why-not``."""

from __future__ import annotations

from collections.abc import Sequence

from crl_stream.core.identity import TaskKey
from crl_stream.dashboard.fleet import Fleet
from crl_stream.dashboard.pages.frame import Scene, page
from crl_stream.dashboard.pages.viewer import Viewer
from crl_stream.explaining.why_not import WhyNot, details_of, is_in_play, is_near, words_of


def why_not_page(
    fleet: Fleet, found: WhyNot, viewer: Viewer, now: int, *, troubles: Sequence[str] = (), parts: bool = False
) -> str:
    """Return the conclusion, and the conditions of every step that is in play; the others follow in one line each."""
    key = TaskKey(found.agent_name, found.task_type)
    full = [answer for answer in found.answers if is_in_play(answer, found)]
    return page(
        Scene(fleet=fleet, viewer=viewer, now=now, troubles=troubles, orders=[]),
        "why_not.html",
        title=f"Why not: {key}",
        current="fleet",
        parts=parts,
        key=key,
        found=found,
        full=full,
        words_of=words_of,
        details_of=details_of,
        near=[answer for answer in found.answers if answer not in full and is_near(answer)],
        command_of_page=" ".join(["crl why-not", str(key), *([found.variant_id] if found.variant_id else [])]),
    )
