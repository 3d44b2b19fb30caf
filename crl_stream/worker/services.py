"""The roles beside the monitor: each a consumer group of its own, so that nothing waits for a stranger."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC
from typing import Final

from crl_stream.core.overview import Ledger, make_page, weekly_review
from crl_stream.core.overview import row_position as overview_position
from crl_stream.core.proposer.row import row_position as proposals_position
from crl_stream.errors import ConfigError
from crl_stream.notifiers import Notifier, open_notifiers
from crl_stream.settings import Settings
from crl_stream.settings.remedies import load_remedies
from crl_stream.stages.notes import NOTES_PARTITION, SOURCES
from crl_stream.telemetry import TelemetryFiles
from crl_stream.telemetry.files import FILE_OF
from crl_stream.wire.codec import encode
from crl_stream.wire.records import Output
from crl_stream.wire.topics import ALERTS, OVERVIEW_EVENTS, TASKS
from crl_stream.worker.member import Member
from crl_stream.worker.review_hours import ReviewHours
from crl_stream.worker.service_stages import LOOK_SECONDS, Deliver, OverviewStage, ProposerStage, SinkStage, TallyStage
from crl_stream.worker.table import TaskTable

log = logging.getLogger(__name__)

MONITOR: Final = "monitor"
EVERY_MINUTE: Final = "* * * * *"
SETTLE_SECONDS: Final = 0.2
"""Between two looks whether partitions have stopped moving."""


def create_services(settings: Settings, roles: Collection[str], *, web: bool) -> list[Member]:
    """The members of ``roles``; with ``web`` the first one gets the web server of the process."""
    members: list[Member] = []
    for role, make in _MAKERS.items():
        if role in roles:
            members += make(settings, web and not members)
    return members


def _proposer(settings: Settings, web: bool) -> Iterator[Member]:
    member = Member(settings, "proposer", web=web)
    partitions = settings.kafka.partitions
    table = member.add_table("proposals", proposals_position, partitions=partitions)
    stage = ProposerStage(table, member.outlet, member.reader, load_remedies(settings.proposer.modifications))
    member.add_agent("proposer", TASKS, stage, partitions=partitions)
    yield member


def _overview(settings: Settings, web: bool) -> Iterator[Member]:
    member = Member(settings, "overview", web=web)
    for topic in SOURCES:
        stage = TallyStage(topic, member.outlet)
        if topic == TASKS:
            member.look_every(LOOK_SECONDS, TASKS, stage.look, name="tally.silence")
        member.add_agent(f"tally.{topic.removeprefix('crl.')}", topic, stage, partitions=settings.kafka.partitions)
    table = member.add_table("overview", overview_position, partitions=1)
    member.add_agent("overview", OVERVIEW_EVENTS, OverviewStage(table, member.outlet, member.reader), partitions=1)
    _schedule_review(member, table)
    yield member


def _schedule_review(member: Member, table: TaskTable) -> None:
    """Publish the weekly review at its hour, from the process that has the overview."""
    hours = ReviewHours(member.settings.review, time.time())

    async def publish_review() -> None:
        if not hours.has_come(time.time()):
            return
        while not member.recovered:  # noqa: ASYNC110 - partitions move; Faust has no event for it
            await asyncio.sleep(SETTLE_SECONDS)
        if table.partition_row(NOTES_PARTITION) is None:
            return  # the process that has the overview asks itself the same
        page = make_page(Ledger(table.rows(NOTES_PARTITION)), NOTES_PARTITION)
        alert = weekly_review(page, int(time.time() * 1_000))
        log.info("%s", alert.text)
        await member.outlet.publish([Output(ALERTS, NOTES_PARTITION, alert.subject.encode(), encode(alert))])

    member.app.crontab(EVERY_MINUTE, timezone=UTC)(publish_review)


def _files(settings: Settings, web: bool) -> Iterator[Member]:
    files = TelemetryFiles(settings.telemetry.folder)
    member = Member(settings, "files", web=web)
    member.at_close(asyncio.to_thread, files.close)
    _add_sinks(member, "files", FILE_OF, files.deliver)
    yield member


def _notifiers(settings: Settings, web: bool) -> Iterator[Member]:
    """A group for each channel, so that a failing one neither delays nor loses the others."""
    for name, channel in settings.disabled_notifiers.items():
        _say_disabled(name, channel.reason, channel.hint)
    for notifier in _usable_notifiers(settings):
        member = Member(settings, f"notifier-{notifier.name}", web=web)
        member.at_close(notifier.close)
        _add_sinks(member, f"notifier.{notifier.name}", notifier.topics, notifier.deliver)
        yield member
        web = False


def _say_disabled(name: str, reason: str, hint: str) -> None:
    log.error("notifiers.%s is DISABLED, nothing is told there: %s; %s", name, reason.rstrip("."), hint)


def _usable_notifiers(settings: Settings) -> Iterator[Notifier]:
    """The channels that can work; the worker's log when there is none, so that alerts are told somewhere."""
    found = False
    for name, options in settings.notifiers.items():
        try:
            yield from open_notifiers({name: options})
            found = True
        except ConfigError as error:
            _say_disabled(name, error.message, error.hint or "")
    if not found:
        yield from open_notifiers({})


def _add_sinks(member: Member, name: str, topics: Iterable[str], deliver: Deliver) -> None:
    for topic in topics:
        stage = SinkStage(topic, member.outlet, deliver)
        agent = f"{name}.{topic.removeprefix('crl.')}"
        member.add_agent(agent, topic, stage, partitions=member.settings.kafka.partitions)


_MAKERS: Final = {"proposer": _proposer, "overview": _overview, "files": _files, "notifier": _notifiers}
