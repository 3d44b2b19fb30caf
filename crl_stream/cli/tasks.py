"""Checks that a task is known, because a command for a mistyped name would create that task permanently."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Final

from crl_stream.core.identity import TaskKey
from crl_stream.errors import NotFound
from crl_stream.kafka.commands import home_of
from crl_stream.kafka.reader import TopicReader
from crl_stream.kafka.session import Access
from crl_stream.wire.topics import ACTIVE_VARIANTS, TASKS

_TOPICS: Final = (ACTIVE_VARIANTS, TASKS)
"""A task is known if either topic has a record of it; the smaller topic is searched first."""


async def require_known(access: Access, key: TaskKey, *, or_else: str = "") -> None:
    """Raise ``NotFound`` if the task is unknown; the hint names similar tasks and ends with ``or_else``."""
    home = home_of(access, key)
    for topic in _TOPICS:
        if str(key) in await _names(access, topic, home):
            return
    there = set[str]().union(*[await _names(access, topic) for topic in _TOPICS])
    similar = get_close_matches(str(key), sorted(there))
    meant = f"did you mean {' or '.join(similar)}? " if similar else ""
    raise NotFound(f"Nothing is known of {key}.", hint=f"{meant}crl status lists the tasks{or_else}")


async def _names(access: Access, topic: str, partition: int | None = None) -> set[str]:
    messages = [received.message for received in await TopicReader(access).read(topic, partition)]
    return {f"{message.agent_name}/{message.task_type}" for message in messages if message is not None}
