"""Names of agents, tasks and variants, and the key of a task.

All variants of a task are in one row, because a rollback compares them and one row is one atomic write.  The record
key, partition key and table key are therefore the same string: ``agent_name/task_type``.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

IDENTIFIER_PATTERN: Final = r"^[A-Za-z0-9._:-]{1,128}$"
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_FORBIDDEN: Final = re.compile(r"[^A-Za-z0-9._:-]+")


class TaskKey(NamedTuple):
    """One kind of work of one agent; the unit of every decision."""

    agent_name: str
    task_type: str

    def __str__(self) -> str:
        return f"{self.agent_name}/{self.task_type}"

    def encode(self) -> bytes:
        """Return the record key, partition key and table key of this task."""
        return f"{self.agent_name}/{self.task_type}".encode("ascii")

    @classmethod
    def decode(cls, key: bytes) -> TaskKey:
        """Parse a record key; raise ``ValueError`` unless it is ``agent_name/task_type``."""
        return cls.parse(key.decode("ascii"))

    @classmethod
    def parse(cls, text: str) -> TaskKey:
        """Parse ``agent_name/task_type``; raise a ``ValueError`` that says what is wrong."""
        agent_name, slash, task_type = text.partition("/")
        if not slash or not is_identifier(agent_name) or not is_identifier(task_type):
            raise ValueError(f"{text!r} is not agent_name/task_type")
        return cls(agent_name, task_type)


def is_identifier(text: str) -> bool:
    """Return whether ``text`` is a valid name for an agent, task, variant, runtime or invocation."""
    return _IDENTIFIER.fullmatch(text) is not None


def suggest_identifier(text: str) -> str:
    """Return the nearest allowed name: ``openai/gpt-4o`` becomes ``openai-gpt-4o``."""
    return _FORBIDDEN.sub("-", text).strip("-")[:128] or "unnamed"
