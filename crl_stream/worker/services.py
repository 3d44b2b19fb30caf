"""The roles other than the monitor, each with its own consumer group, so that none waits for another."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from datetime import UTC
from typing import Final

from crl_stream.bridges.kinds import KINDS
from crl_stream.core.messages import Alert
from crl_stream.core.overview import Ledger, daily_review, make_page, weekly_review
from crl_stream.errors import ConfigError
from crl_stream.notifiers.notifier import Notifier, open_notifiers
from crl_stream.settings import Settings
from crl_stream.settings.remedies import load_remedies
from crl_stream.stages.roles import Role
from crl_stream.stages.topology import BRIDGE, FILES, FIRST, MIRROR, NOTIFIER, OVERVIEW_PAGE, PROPOSER, TAGS, TALLY
from crl_stream.telemetry import TelemetryFiles
from crl_stream.wire.codec import encode
from crl_stream.wire.records import Output
from crl_stream.wire.topics import TOPIC_OF
from crl_stream.worker.bridge_inputs import add_bridge
from crl_stream.worker.member import Member
from crl_stream.worker.mirrors.mirroring import LOOK_SECONDS as MIRROR_SECONDS
from crl_stream.worker.mirrors.mirroring import Mirroring
from crl_stream.worker.review_hours import ReviewHours
from crl_stream.worker.service_stages import (
    LOOK_SECONDS,
    OverviewStage,
    ProposerStage,
    SinkStage,
    TagsStage,
    TallyStage,
)
from crl_stream.worker.table import TaskTable

log = logging.getLogger(__name__)

MONITOR: Final[Role] = "monitor"
EVERY_MINUTE: Final = "* * * * *"
SETTLE_SECONDS: Final = 0.2
"""How many seconds to wait between two checks whether partitions have stopped moving."""


def create_services(settings: Settings, roles: Collection[str], *, web: bool) -> list[Member]:
    """Create the members of ``roles``; with ``web`` the first one gets the web server of the process.

    Raises ``ConfigError`` if the only role is the mirror and no prompt store is configured.
    """
    if set(roles) == {MIRROR.role} and not settings.mirrors.configured:
        raise ConfigError(
            "No prompt store is configured, so the role mirror has nothing to do.",
            hint="set mirrors.mlflow.host or mirrors.langfuse.host; docs/mirrors.md shows all settings",
        )
    members: list[Member] = []
    for role, make in _MAKERS.items():
        if role in roles:
            members += make(settings, web and not members)
    return members


def _proposer(settings: Settings, web: bool) -> Iterator[Member]:
    member = Member(settings, PROPOSER.role, web=web)
    table, remedies = member.add_table(PROPOSER), load_remedies(settings.proposer.modifications)
    member.add_stage(PROPOSER, lambda _: ProposerStage(table, member.outlet, member.reader, remedies))
    yield member


def _overview(settings: Settings, web: bool) -> Iterator[Member]:
    member = Member(settings, OVERVIEW_PAGE.role, web=web)

    def tally(topic: str) -> TallyStage:
        stage = TallyStage(topic, member.outlet)
        if topic == PROPOSER.source:  # only snapshots have figures that may wait to be published
            member.look_every(LOOK_SECONDS, topic, stage.look, name="tally.silence")
        return stage

    member.add_stage(TALLY, tally)
    table = member.add_table(OVERVIEW_PAGE)
    member.add_stage(OVERVIEW_PAGE, lambda _: OverviewStage(table, member.outlet, member.reader))
    _schedule_review(member, table)
    yield member


def _schedule_review(member: Member, table: TaskTable) -> None:
    """Publish the weekly and the daily review at their hours, from the process that owns the overview."""
    review, began = member.settings.review, time.time()
    hours = ReviewHours(review, began)
    days = ReviewHours(review, began, review.daily) if review.daily else None

    async def publish_reviews() -> None:
        now = time.time()
        weekly, daily = hours.has_come(now), days is not None and days.has_come(now)
        if not weekly and not daily:
            return
        while not member.recovered:  # noqa: ASYNC110 - partitions move; Faust has no event for it
            await asyncio.sleep(SETTLE_SECONDS)
        if table.partition_row(FIRST) is None:
            return  # another process owns the overview and publishes the review
        page, alerts = make_page(Ledger(table.rows(FIRST)), FIRST), list[Alert]()
        if weekly:
            alerts.append(weekly_review(page, int(time.time() * 1_000)))
        if daily and days is not None:
            since, until = (round(hour * 1_000) for hour in days.last_two(now))
            if (waiting := daily_review(page, since, until, review.remind_days)) is not None:
                alerts.append(waiting)
        for alert in alerts:
            log.info("%s", alert.text)
        await member.outlet.publish(
            [Output(TOPIC_OF[type(alert)], FIRST, alert.subject.encode(), encode(alert)) for alert in alerts]
        )

    member.app.crontab(EVERY_MINUTE, timezone=UTC)(publish_reviews)


def _tags(settings: Settings, web: bool) -> Iterator[Member]:
    member, partitions = Member(settings, TAGS.role, web=web), settings.kafka.partitions
    table = member.add_table(TAGS)
    member.add_stage(TAGS, lambda _: TagsStage(table, member.outlet, member.reader, partitions))
    yield member


def _mirror(settings: Settings, web: bool) -> Iterator[Member]:
    """Create the member that moves labels of prompt stores; without a store, which is the default, there is none."""
    if not settings.mirrors.configured:
        return
    member = Member(settings, MIRROR.role, web=web)
    mirroring = Mirroring(settings, MIRROR.source, member.outlet)
    member.add_stage(MIRROR, lambda _: mirroring.stage)
    member.look_every(MIRROR_SECONDS, MIRROR.source, mirroring.look, name="mirror.look")
    member.at_close(mirroring.close)
    yield member


def _files(settings: Settings, web: bool) -> Iterator[Member]:
    files = TelemetryFiles(settings.telemetry.folder)
    member = Member(settings, FILES.role, web=web)
    member.at_close(asyncio.to_thread, files.close)
    member.add_stage(FILES, lambda topic: SinkStage(topic, member.outlet, files.deliver))
    yield member


def _notifiers(settings: Settings, web: bool) -> Iterator[Member]:
    """Create a member for each channel, so that a failing channel does not delay the others or lose their alerts."""
    for name, channel in settings.disabled_notifiers.items():
        _say_disabled(name, channel.reason, channel.hint)
    for notifier in _usable_notifiers(settings):
        member = Member(settings, f"{NOTIFIER.role}-{notifier.name}", web=web)
        member.at_close(notifier.close)
        _add_channel(member, notifier)
        yield member
        web = False


def _say_disabled(name: str, reason: str, hint: str) -> None:
    log.error("notifiers.%s is DISABLED and receives no alerts: %s; %s", name, reason.rstrip("."), hint)


def _usable_notifiers(settings: Settings) -> Iterator[Notifier]:
    """Return the channels that can be used, or the worker's log if there are none, so that alerts appear somewhere."""
    found = False
    for name, options in settings.notifiers.items():
        try:
            yield from open_notifiers({name: options}, settings.web.url)
            found = True
        except ConfigError as error:
            _say_disabled(name, error.message, error.hint or "")
    if not found:
        yield from open_notifiers({}, settings.web.url)


def _bridges(settings: Settings, web: bool) -> Iterator[Member]:
    """Create a member for each bridge, so that none waits for another."""
    for name, bridge in settings.disabled_bridges.items():
        log.error("bridges.%s is DISABLED: %s; %s", name, bridge.reason.rstrip("."), bridge.hint)
    for name, options in settings.bridges.items():
        member = Member(settings, f"{BRIDGE.role}-{name}", web=web)
        add_bridge(member, name, KINDS[options.kind], options)
        yield member
        web = False


def _add_channel(member: Member, notifier: Notifier) -> None:
    """Add the notifier's stage for one channel, which may need only some of the topics."""
    sources = tuple(topic for topic in NOTIFIER.sources if topic in notifier.topics)
    place = replace(NOTIFIER, sources=sources, channel=notifier.name)
    member.add_stage(place, lambda topic: SinkStage(topic, member.outlet, notifier.deliver))


_MAKERS: Final[dict[Role, Callable[[Settings, bool], Iterator[Member]]]] = {
    PROPOSER.role: _proposer,
    OVERVIEW_PAGE.role: _overview,
    TAGS.role: _tags,
    FILES.role: _files,
    NOTIFIER.role: _notifiers,
    BRIDGE.role: _bridges,
    MIRROR.role: _mirror,
}
