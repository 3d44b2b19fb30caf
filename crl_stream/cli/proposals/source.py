"""The current proposals on the topic, for every command that needs them."""

from __future__ import annotations

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.messages.snapshots import OPEN_STATUSES
from crl_stream.errors import NotFound, UsageError
from crl_stream.kafka.commands import newest_of
from crl_stream.kafka.reader import TopicReader
from crl_stream.kafka.session import Access
from crl_stream.proposals.standing import STATUSES, latest
from crl_stream.wire.topics import DECISIONS, PROPOSALS, TASKS, VARIANTS


async def read_all(access: Access) -> list[m.Proposal]:
    """Return every proposal in its latest revision."""
    return latest(received.message for received in await TopicReader(access).read(PROPOSALS))


async def read_benefits(access: Access) -> list[m.Benefit]:
    """Return the judgements of changes of the active variant, as far as the topic still has them."""
    return [one.message for one in await TopicReader(access).read(DECISIONS) if isinstance(one.message, m.Benefit)]


async def find(access: Access, proposal_id: str) -> m.Proposal:
    """Return one proposal; raises ``NotFound`` if none has this id."""
    for proposal in await read_all(access):
        if proposal.proposal_id == proposal_id:
            return proposal
    raise NotFound(
        f"There is no proposal {proposal_id}.", hint="crl proposals list shows them; --status all includes closed ones"
    )


async def catalogue_of(access: Access, key: TaskKey) -> m.VariantCatalogue | None:
    """Return the newest catalogue of a task's variants; None if there is none."""
    return await newest_of(
        access, VARIANTS, m.VariantCatalogue, key, lambda one: (one.incarnation, one.position.offset)
    )


async def deciding_review(access: Access, proposal: m.Proposal) -> m.ReviewResult | None:
    """Return the review that closed a proposal, from the monitor's own list; None if the list has none."""
    key = TaskKey(proposal.agent_name, proposal.task_type)
    newest = await newest_of(access, TASKS, m.TaskSnapshot, key, lambda one: (one.incarnation, one.as_of.offset))
    for review in newest.reviews if newest is not None else []:
        closes = review.outcome == "applied" and review.review != "deferred"
        if review.proposal_id == proposal.proposal_id and closes:
            return review
    return None


def wanted_statuses(names: list[str] | None, default: str) -> frozenset[str]:
    """Expand the statuses on the command line; ``open`` and ``all`` stand for several."""
    found: set[str] = set()
    for name in names or [default]:
        if name == "open":
            found |= OPEN_STATUSES
        elif name == "all":
            found |= set(STATUSES)
        elif name in STATUSES:
            found.add(name)
        else:
            raise UsageError(f"There is no status {name}.", hint=f"one of open, all, {', '.join(STATUSES)}")
    return frozenset(found)
