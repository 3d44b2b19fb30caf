"""Follows the topics from the beginning, in the background, keeping the newest record of each key."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from crl_stream.client.background import Background
from crl_stream.core import messages as m
from crl_stream.core.drills import is_drill
from crl_stream.core.identity import TaskKey
from crl_stream.core.policy import GUIDE, PolicySet
from crl_stream.errors import CrlError, Unavailable
from crl_stream.guide.told import Told
from crl_stream.kafka.reader import Received, TopicReader
from crl_stream.kafka.session import KafkaSession
from crl_stream.settings.model import Kafka
from crl_stream.wire.topics import ACTIVE_VARIANTS, COMMANDS, PROPOSALS, ROLLBACKS, TASKS

FOLLOWED: Final = (COMMANDS, TASKS, ACTIVE_VARIANTS, ROLLBACKS, PROPOSALS)
"""The topics to follow. Policies are the only commands kept, because a task names the policy that judged it."""


class Following:
    """The latest content of the topics; hold ``reading()`` while you read it."""

    def __init__(self, kafka: Kafka, timeout: float, cache_dir: Path) -> None:
        self.kafka = kafka
        """How to connect. Once the topics have been read, it includes their number of partitions."""
        self.policies: dict[str, PolicySet] = {GUIDE.digest(): GUIDE}
        """Policies by hash."""
        self.announced: PolicySet | None = None
        """The newest policy."""
        self.tasks: dict[TaskKey, m.TaskSnapshot] = {}
        self.active: dict[TaskKey, m.ActiveVariant] = {}
        self.rollbacks: dict[str, m.RollbackEvent] = {}
        self.proposals: dict[str, m.Proposal] = {}
        self.old: frozenset[str] = frozenset()
        """Ids of rollbacks that happened before a script first queried this installation."""
        self.told: Told | None = None
        """Which rollbacks have been reported; None until the topics have been read."""
        self._cache_dir = cache_dir
        self._caught_up = False
        self._failed: CrlError | None = None
        self._news = threading.Condition()
        self._background = Background("crl-guide-store", self._follow)
        self._background.start()
        try:
            with self._news:
                self._news.wait_for(lambda: self._caught_up or self._failed is not None, timeout)
                self._check(timeout)
        except CrlError:
            self._background.stop()
            raise

    def reading(self) -> threading.Condition:
        """Return the lock to hold while reading; if following has failed, raise its error."""
        if self._failed is not None:
            raise self._failed
        return self._news

    def wait_until(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait until ``condition`` holds, checking it after new records; return False after ``timeout`` seconds."""
        until = time.monotonic() + timeout
        with self.reading():
            while not condition():
                left = until - time.monotonic()
                if left <= 0:
                    return False
                self._news.wait(left)
                self.reading()
        return True

    def stop(self) -> None:
        """Stop following; what has been read is kept."""
        self._background.stop()
        if self.told is not None:
            self.told.close()

    def _check(self, timeout: float) -> None:
        if self._failed is not None:
            raise self._failed
        if not self._caught_up:
            raise Unavailable(
                f"The topics at {self.kafka.bootstrap_servers} have not been read within {timeout:.0f} s.",
                hint="run `crl status` to see whether the installation is running",
            )

    async def _follow(self) -> None:
        session = KafkaSession(self.kafka)
        reader = TopicReader(session)
        try:
            # The stream takes its positions before the topics are read, so a record in between is read twice, not lost.
            async with session, reader.following(FOLLOWED) as stream:
                partitions = await reader.partitions(COMMANDS)
                self.kafka = self.kafka.model_copy(update={"partitions": partitions})
                for topic in FOLLOWED:
                    self._take(await reader.read(topic))
                told = Told(self._cache_dir, f"{await reader.cluster_id()} {self.kafka.topic_prefix}")
                old = told.begin(self.rollbacks)
                with self._news:
                    self.told, self.old, self._caught_up = told, old, True
                    self._news.notify_all()
                async for received in stream:
                    self._take([received])
        except CrlError as error:
            self._fail(error)
        except Exception as error:
            failure = Unavailable(f"The topics can no longer be followed: {error!r}.", hint="connect again")
            failure.__cause__ = error
            self._fail(failure)

    def _fail(self, error: CrlError) -> None:
        with self._news:
            self._failed = error
            self._news.notify_all()

    def _take(self, records: Sequence[Received]) -> None:
        with self._news:
            for received in records:
                self._take_one(received.message)
            self._news.notify_all()

    def _take_one(self, message: Any) -> None:
        if is_drill(getattr(message, "agent_name", None)):
            return  # drills are not part of the fleet
        if isinstance(message, m.TaskSnapshot):
            key = TaskKey(message.agent_name, message.task_type)
            known = self.tasks.get(key)
            if known is None or _place(known.incarnation, known.as_of) <= _place(message.incarnation, message.as_of):
                self.tasks[key] = message
        elif isinstance(message, m.ActiveVariant):
            key = TaskKey(message.agent_name, message.task_type)
            there = self.active.get(key)
            if there is None or _version(there) <= _version(message):
                self.active[key] = message
        elif isinstance(message, m.RollbackEvent):
            self.rollbacks[message.rollback_id] = message
        elif isinstance(message, m.Proposal):
            before = self.proposals.get(message.proposal_id)
            if before is None or before.revision <= message.revision:
                self.proposals[message.proposal_id] = message
        elif isinstance(message, m.SetPolicy):
            self.announced = self.policies[message.policy.digest()] = message.policy


def _place(incarnation: int, position: m.Position) -> tuple[int, int]:
    return incarnation, position.offset


def _version(active: m.ActiveVariant) -> tuple[int, int, int]:
    return active.incarnation, active.epoch, active.position.offset
