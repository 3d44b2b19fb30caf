"""When people are told that a prompt store does not answer, and that it answers again."""

from __future__ import annotations

import msgspec

from crl_stream.core.ids import fact_id
from crl_stream.core.instant import to_text
from crl_stream.core.messages.mirrors import MirrorStore, PromptStore
from crl_stream.core.mirroring.alerts import alert


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
    told = alert("mirror_unreachable", _subject(store), action, alert_id, alert_id, now)
    return MirrorStore(store=store, revision=revision + 1, alert_id=alert_id, alert=told)


def answers(record: MirrorStore | None, now: int) -> MirrorStore | None:
    """Return the record after the store has answered; a new one holds the alert that it is back."""
    if record is None or record.alert_id is None:
        return record
    alert_id = fact_id("alert", now, "mirror_unreachable", record.store, record.revision)
    told = alert(
        "mirror_unreachable", _subject(record.store), "answers again", alert_id, record.alert_id, now, resolved=True
    )
    return MirrorStore(store=record.store, revision=record.revision + 1, alert_id=None, alert=told)


def published(record: MirrorStore) -> MirrorStore:
    """Return the record after its alert has been published."""
    return msgspec.structs.replace(record, revision=record.revision + 1, alert=None)


def _subject(store: PromptStore) -> str:
    return f"prompt store {store}"
