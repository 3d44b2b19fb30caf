"""When people are told that a prompt store does not answer, and that it answers again."""

from __future__ import annotations

from typing import Literal

import msgspec

from crl_stream.core import messages as m
from crl_stream.core.ids import fact_id
from crl_stream.core.instant import to_text
from crl_stream.core.messages.mirrors import MirrorStore, PromptStore
from crl_stream.core.version import ENGINE_VERSION


def silent(
    record: MirrorStore | None, store: PromptStore, since: int, why: str, now: int, patience: int
) -> MirrorStore | None:
    """Return the record after a failed attempt; a new one holds the alert, once the store was silent for ``patience``.

    Times are in milliseconds; ``since`` is when the store last answered.
    """
    if (record is not None and record.alert_id is not None) or now - since < patience:
        return record
    revision = 0 if record is None else record.revision
    alert_id = fact_id("alert", now, "mirror_unreachable", store, revision)
    action = f"has not answered since {to_text(since)[:19]}Z: {why}; labels follow when it answers again"
    alert = _alert(store, "warning", action, alert_id, alert_id, now, resolved=False)
    return MirrorStore(store=store, revision=revision + 1, alert_id=alert_id, alert=alert)


def answers(record: MirrorStore | None, now: int) -> MirrorStore | None:
    """Return the record after the store has answered; a new one holds the alert that it is back."""
    if record is None or record.alert_id is None:
        return record
    alert_id = fact_id("alert", now, "mirror_unreachable", record.store, record.revision)
    alert = _alert(record.store, "info", "answers again", alert_id, record.alert_id, now, resolved=True)
    return MirrorStore(store=record.store, revision=record.revision + 1, alert_id=None, alert=alert)


def published(record: MirrorStore) -> MirrorStore:
    """Return the record after its alert has been published."""
    return msgspec.structs.replace(record, revision=record.revision + 1, alert=None)


def _alert(
    store: PromptStore,
    severity: Literal["info", "warning"],
    action: str,
    alert_id: str,
    cause_id: str,
    now: int,
    *,
    resolved: bool,
) -> m.Alert:
    subject = f"prompt store {store}"
    return m.Alert(
        alert_id=alert_id,
        timestamp=to_text(now),
        kind="mirror_unreachable",
        severity=severity,
        subject=subject,
        action=action,
        text=f"{subject}: {action}",
        cause_id=cause_id,
        resolved=resolved,
        engine_version=ENGINE_VERSION,
    )
