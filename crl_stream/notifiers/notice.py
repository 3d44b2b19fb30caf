"""One event for a channel: what it is about, and one line for people."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from crl_stream.core import messages as m
from crl_stream.core.drills import is_drill
from crl_stream.core.instant import from_text, readable
from crl_stream.core.messages.facts import Severity
from crl_stream.core.reach import reach_parts

MAX_TEXT: Final = 2_000
"""Longest line, in characters; chat services cut or refuse longer ones."""
DRILL: Final = "THIS IS A DRILL, nothing is wrong: "
"""Beginning of the text of a notice about a drill."""


class Notice(NamedTuple):
    """An event as a channel receives it."""

    id: str
    """The id; it stays the same for every attempt to send the event, so that receivers can drop repetitions."""
    timestamp: str
    kind: str
    """The alert's kind, or ``rollback``, ``degradation``, ``backlog`` or ``test``."""
    severity: Severity
    subject: str
    text: str
    """One line: subject, action, number, limit, undo command, what it touches, what happened last time."""
    resolved: bool = False
    """Whether this notice reports that an earlier one is resolved."""
    data: Mapping[str, Any] = MappingProxyType({})
    """The complete message, for programs."""
    url: str = ""
    """The page of the dashboard about this event; empty if the settings name no dashboard (``web.url``)."""

    def at(self) -> int:
        """Return the event's time in milliseconds since the epoch; 0 if it has none."""
        try:
            return from_text(self.timestamp)
        except (ValueError, OverflowError):
            return 0

    def document(self) -> dict[str, Any]:
        """Return the notice as JSON, for channels that send it."""
        found = self._asdict() | {"data": dict(self.data)}
        if not self.url:
            del found["url"]
        return found


def notice_of(message: Any) -> Notice:
    """Create the notice for an ``Alert``, a ``RollbackEvent`` or a ``DegradationAlert``.

    The text of a drill's notice starts with ``THIS IS A DRILL``.
    """
    notice = _notice_of(message)
    return notice._replace(text=one_line(f"{DRILL}{notice.text}")) if is_drill(message.agent_name) else notice


def _notice_of(message: Any) -> Notice:
    data = msgspec.to_builtins(message)
    if isinstance(message, m.Alert):
        text = _with_reach(message.text, message)
        return Notice(
            message.alert_id,
            message.timestamp,
            message.kind,
            message.severity,
            one_line(message.subject),
            text,
            message.resolved,
            data,
        )
    task = f"{message.agent_name}/{message.task_type}"
    if isinstance(message, m.RollbackEvent):
        subject = f"{task} {message.from_variant}"
        action = "rolled back to" if message.enforced else "would be rolled back to"
        text = f"{subject}: {action} {message.to_variant}: {message.reason}"
        text += f"; undo: {message.undo_command}" if message.enforced else ""
        text = _with_reach(text, message)
        return Notice(message.rollback_id, message.timestamp, "rollback", "critical", subject, text, False, data)
    subject, resolved = f"{task} {message.variant_id}", message.state == "recovered"
    severity: Severity = "info" if resolved else "critical" if message.active else "warning"
    text = f"{subject}: {message.state}: {message.reason}"
    # This fact has no figures: what is done about it follows as a rollback or an alert of its own, which has them.
    text = one_line(text if resolved else f"{text}; it changes nothing itself; what it touches: crl status")
    return Notice(message.alert_id, message.timestamp, "degradation", severity, subject, text, resolved, data)


def _with_reach(text: str, message: m.Alert | m.RollbackEvent) -> str:
    """Return the text in one line, followed by what the message touches and what happened last time."""
    line, reach = one_line(text), one_line("".join(f"; {part}" for part in reach_parts(message)))
    return line + reach if len(line) + len(reach) <= MAX_TEXT else f"{line[: MAX_TEXT - len(reach) - 1]}…{reach}"


def with_link(notice: Notice, dashboard: str) -> Notice:
    """Return the notice with the address of its page, which also ends its text; ``dashboard`` is ``web.url``."""
    if not dashboard:
        return notice
    url = f"{dashboard.rstrip('/')}/dashboard/{_page_of(notice)}"
    end = f"; see {url}"
    text = notice.text if len(notice.text) + len(end) <= MAX_TEXT else f"{notice.text[: MAX_TEXT - len(end) - 1]}…"
    return notice._replace(text=text + end, url=url)


def _page_of(notice: Notice) -> str:
    """Return the path of the page about a notice; ids and names need no quoting."""
    data = notice.data
    if notice.kind == "rollback" and (name := data.get("rollback_id") or data.get("cause_id")):
        return f"rollbacks/{name}"
    if data.get("agent_name") and data.get("task_type"):
        return f"tasks/{data['agent_name']}/{data['task_type']}"
    return "review" if notice.kind in {"weekly_review", "daily_review"} else ""


def one_line(text: str) -> str:
    """Return a text on one line, with readable instants, cut to the length that chat services accept."""
    line = readable(" ".join("".join(c if c.isprintable() else " " for c in text).split()))
    return line if len(line) <= MAX_TEXT else f"{line[: MAX_TEXT - 1]}…"
