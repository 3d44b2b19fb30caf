"""The roles beside the monitor: each a consumer group of its own, so that nothing waits for a stranger."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from crl_stream.core.proposal_row import row_position as proposals_position
from crl_stream.settings import Settings
from crl_stream.settings.remedies import load_remedies
from crl_stream.wire.topics import TASKS
from crl_stream.worker.member import Member
from crl_stream.worker.service_stages import ProposerStage

MONITOR: Final = "monitor"


def create_services(settings: Settings, roles: Collection[str], *, web: bool) -> list[Member]:
    """The members of ``roles``; with ``web`` the first one gets the web server of the process."""
    members: list[Member] = []
    for role, make in _MAKERS.items():
        if role in roles:
            members += make(settings, web and not members)
    return members


def _proposer(settings: Settings, web: bool) -> Iterator[Member]:
    member = Member(settings, f"{settings.worker.app_id}-proposer", web=web)
    partitions = settings.kafka.partitions
    table = member.add_table("proposals", proposals_position, partitions=partitions)
    stage = ProposerStage(table, member.outlet, load_remedies(settings.proposer.modifications))
    member.add_agent("proposer", TASKS, stage, partitions=partitions)
    yield member


_MAKERS: Final = {"proposer": _proposer}
