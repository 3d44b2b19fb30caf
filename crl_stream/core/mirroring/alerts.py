"""The alerts of the mirror: about one label, or about a whole store."""

from __future__ import annotations

from typing import Literal

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import to_text
from crl_stream.core.version import ENGINE_VERSION


def alert(
    kind: Literal["mirror_conflict", "mirror_unreachable"],
    subject: str,
    action: str,
    alert_id: str,
    cause_id: str,
    now: int,
    *,
    resolved: bool = False,
    task: TaskKey | None = None,
) -> m.Alert:
    """Return a warning about ``subject``, or with ``resolved`` its end; ``now`` is in milliseconds.

    All alerts of one matter have the id of the first one as ``cause_id``.
    """
    return m.Alert(
        alert_id=alert_id,
        timestamp=to_text(now),
        kind=kind,
        severity="info" if resolved else "warning",
        subject=subject,
        action=action,
        text=f"{subject}: {action}",
        cause_id=cause_id,
        agent_name=None if task is None else task.agent_name,
        task_type=None if task is None else task.task_type,
        resolved=resolved,
        engine_version=ENGINE_VERSION,
    )
