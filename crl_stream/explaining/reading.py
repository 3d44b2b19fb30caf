"""Reads what explanations are made of from Kafka; no worker is needed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey, is_identifier
from crl_stream.core.instant import from_text, to_text
from crl_stream.core.policy import GUIDE, PolicySet
from crl_stream.errors import NotFound, UsageError
from crl_stream.explaining import story as stories
from crl_stream.explaining.documents import Explanation, PolicyOrigin
from crl_stream.explaining.explain import Sources, explain, proof_of
from crl_stream.explaining.fates import Event, Fates
from crl_stream.explaining.ids import Found, day_of, id_of, ids_in, topics_of
from crl_stream.explaining.story import Story
from crl_stream.kafka.commands import active_variant, home_of
from crl_stream.kafka.policy_history import PolicyCommand, find_policy, known_policies
from crl_stream.kafka.reader import TopicReader
from crl_stream.kafka.session import Access, KafkaSession
from crl_stream.settings import Settings
from crl_stream.visible import visible
from crl_stream.wire.topics import COMMANDS, DECISIONS, INVOCATIONS, PROPOSALS, ROLLBACKS

_HINT: Final = (
    "`crl rollbacks`, `crl proposals list` and `crl audit` list ids; copy the whole id, or name the task instead: "
    "`crl explain AGENT/TASK` explains its latest rollback"
)


_DAY: Final = 86_400_000


class _Searched(NamedTuple):
    topic: str
    since: int | None
    """When the oldest record on the topic was stored, in milliseconds; None if the topic is empty."""


async def read_explanation(settings: Settings, access: Access, wanted: str) -> Explanation:
    """Return the explanation of an id, or of a task's latest rollback; raises ``NotFound`` if no topic has it."""
    async with KafkaSession.of(access) as session:
        if wanted.count("/") == 1:
            wanted = await _latest_rollback(session, wanted)
        found = await _find(session, wanted)
        message = found.message
        story = await _read_story(session, _key_of(message), wanted)
        proof = proof_of(message, story)
        policies, origin = await _policy_of(settings, session, message, story)
        policy = None if policies is None or story.key is None else policies.for_task(story.key)
        if origin is not None and policy is not None:
            limits = msgspec.to_builtins(policy.degradation)
            origin = msgspec.structs.replace(origin, limits=limits)
        records = {} if proof is None else await _records_of(session, proof.position.partition, proof.judged.offsets)
        template = settings.web.trace_url_template
        return explain(wanted, found, Sources(story, policy, origin, records, template))


async def read_fates(access: Access, events: Iterable[m.RollbackEvent]) -> dict[str, list[Event]]:
    """Return what became of rollbacks, by rollback_id, from ``crl.commands`` and ``crl.decisions``."""
    fates = Fates(events)
    async with TopicReader(access) as reader:
        for topic in (COMMANDS, DECISIONS):
            async for received in reader.each(topic):
                fates.take(received.message)
    return fates.found()


async def _find(session: KafkaSession, wanted: str) -> Found:
    """Return the message with this id, else the first one that names it; of a proposal, the latest revision."""
    if not is_identifier(wanted):
        hint = "an id is one word, like rb-20251119-5f2c8a90; a task is AGENT/TASK"
        raise UsageError(f"{visible(wanted)!r} is not an id.", hint=hint)
    day, topics = day_of(wanted), topics_of(wanted)
    if day is not None:
        # A fact is stored after the time in its id.  A clock may be wrong, so everything is read before giving up.
        for topic in topics:
            message, _ = await _look_for(session, topic, wanted, day - _DAY)
            if message is not None:
                return Found(topic, message)
    searched = list[_Searched]()
    for topic in topics:
        message, since = await _look_for(session, topic, wanted)
        if message is not None:
            return Found(topic, message)
        searched.append(_Searched(topic, since))
    raise NotFound(f"Nothing has the id {wanted}: searched {_in_words(searched)}.", hint=_HINT)


async def _latest_rollback(session: KafkaSession, task: str) -> str:
    """Return the id of a task's latest rollback, since an alert or a person names a task, not an id."""
    agent, _, kind = task.partition("/")
    if not (is_identifier(agent) and is_identifier(kind)):
        raise UsageError(f"{visible(task)!r} is neither an id nor a task.", hint="name a task as AGENT/TASK")
    key, found = TaskKey(agent, kind), None
    async for received in TopicReader(session).each(ROLLBACKS, home_of(session, key)):
        if _key_of(received.message) == key:
            found = received.message
    if found is None:
        await active_variant(session, key)  # raises if nothing is known of the task
        raise NotFound(f"{task} has not been rolled back.", hint=f"`crl why-not {task}` says why nothing has happened")
    return str(found.rollback_id)


async def _look_for(
    session: KafkaSession, topic: str, wanted: str, after: int | None = None
) -> tuple[Any | None, int | None]:
    """Return the message on a topic, or None; and when the oldest record was stored, None without records."""
    own = named = since = None
    async for received in TopicReader(session).each(topic, since=after):
        stored = received.record.timestamp
        since = stored if since is None or stored < since else since
        message = received.message
        if message is None or wanted not in ids_in(message):
            continue
        if id_of(message) != wanted:
            named = named or message
        elif own is None or topic != PROPOSALS or message.revision >= own.revision:
            own = message
    return own or named, since


def _in_words(searched: Sequence[_Searched]) -> str:
    return ", ".join(
        f"{each.topic} ({'empty' if each.since is None else f'since {to_text(each.since)[:10]}'})" for each in searched
    )


def _key_of(message: Any) -> TaskKey | None:
    agent = getattr(message, "agent_name", None)
    return None if agent is None else TaskKey(agent, message.task_type)


async def _read_story(session: KafkaSession, key: TaskKey | None, wanted: str) -> Story:
    story = Story(key, wanted)
    home = None if key is None else home_of(session, key)
    async with TopicReader(session) as reader:
        for topic in stories.TOPICS if key is not None else stories.OF_THE_FLEET:
            async for received in reader.each(topic, home):
                story.take(topic, received.message)
    return story


async def _policy_of(
    settings: Settings, session: KafkaSession, message: Any, story: Story
) -> tuple[PolicySet | None, PolicyOrigin | None]:
    """Return the policy that decided, if it is still known, and who set it."""
    digest = getattr(message, "policy_hash", None)
    if digest is None or isinstance(message, m.SetPolicy):
        return None, None
    found = await find_policy(session, digest, from_text(message.timestamp), story.refused)
    if found is None:
        is_guide = digest == GUIDE.digest()
        return known_policies(settings, digest), PolicyOrigin(policy_hash=digest, is_guide=is_guide)
    return found.command.policy, _origin_of(found, digest)


def _origin_of(found: PolicyCommand, digest: str) -> PolicyOrigin:
    command = found.command
    return PolicyOrigin(
        policy_hash=digest,
        actor=command.actor,
        set_at=to_text(found.stored),
        command_id=command.command_id,
        reason=command.reason,
    )


async def _records_of(session: KafkaSession, partition: int, offsets: Sequence[int]) -> dict[int, Any]:
    """Return the messages of the log at these offsets, as far as the log still has them."""
    found = await TopicReader(session).read_each(INVOCATIONS, [(partition, offset) for offset in offsets])
    return {received.record.offset: received.message for received in found}
