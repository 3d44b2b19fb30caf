"""Decides which records become notices of a channel: each event of the channel's severity or above, once.

Every rollback and degradation has an alert, so ``alerts`` alone covers every event: openings, the monitor's
repetitions, recoveries. A channel with ``facts`` gets complete rollbacks and degradations, and all other alerts
unchanged. Drills are left out, except those that were started with ``--notify``.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Final

from crl_stream.core import messages as m
from crl_stream.core.drills import is_silent_drill
from crl_stream.notifiers.notice import Notice, notice_of
from crl_stream.notifiers.options import SEVERITIES, Options
from crl_stream.wire.codec import Rejected, decode_record
from crl_stream.wire.records import Record
from crl_stream.wire.topics import ALERTS, DEGRADATIONS, ROLLBACKS

log = logging.getLogger(__name__)

REMEMBERED: Final = 8_192
"""How many sent notices and withheld openings are remembered; more than can be repeated after a crash."""
_TOLD_AS_FACTS: Final = frozenset({"rollback", "degradation"})


def topics_of(options: Options) -> tuple[str, ...]:
    """Return the topics that the channel's consumer group reads."""
    return (ALERTS,) if options.content == "alerts" else (ALERTS, ROLLBACKS, DEGRADATIONS)


class Selection:
    """Chooses notices for one channel. If a restart clears its memory, notices may be sent again, but none is lost."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._sent: OrderedDict[str, None] = OrderedDict()
        self._withheld: OrderedDict[tuple[str, str], None] = OrderedDict()

    def choose(self, topic: str, records: Iterable[Record]) -> list[Notice]:
        """Return the notices in a batch of raw records, in order."""
        chosen: dict[str, Notice] = {}
        for record in records:
            if record.value is None:
                continue
            decoded = decode_record(topic, record)
            if isinstance(decoded, Rejected):
                log.error("%s offset %d cannot be sent: %s", topic, record.offset, decoded.detail)
                continue
            if (notice := self._notice(decoded.message)) is not None and notice.id not in self._sent:
                chosen.setdefault(notice.id, notice)
        return list(chosen.values())

    def mark_sent(self, notice_id: str) -> None:
        """Remember a sent notice, because the monitor may repeat it after a crash."""
        _remember(self._sent, notice_id)

    def _notice(self, message: Any) -> Notice | None:
        if is_silent_drill(message.agent_name, message.task_type):
            return None
        if isinstance(message, m.Alert):
            if self.options.content == "facts" and message.kind in _TOLD_AS_FACTS:
                return None
        elif self.options.content == "alerts":
            return None
        notice = notice_of(message)
        opening = notice.kind, notice.subject
        if notice.resolved:
            # A recovery's severity says nothing about the alert it ends. If that alert is unknown after a restart, send
            # the recovery rather than miss it.
            withheld = opening in self._withheld
            self._withheld.pop(opening, None)
            return None if withheld else notice
        if SEVERITIES.index(notice.severity) < SEVERITIES.index(self.options.min_severity):
            _remember(self._withheld, opening)
            return None
        self._withheld.pop(opening, None)
        return notice


def _remember(memory: OrderedDict[Any, None], key: Any) -> None:
    memory[key] = None
    if len(memory) > REMEMBERED:
        memory.popitem(last=False)
