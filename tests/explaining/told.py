"""Explanations of what a ``TopologyDriver`` has on its topics, without Kafka."""

from __future__ import annotations

from typing import Any

from builders import AGENT, TASK

from crl_stream.core.identity import TaskKey
from crl_stream.core.policy import Policy
from crl_stream.explaining import story as stories
from crl_stream.explaining.documents import Explanation, PolicyOrigin
from crl_stream.explaining.explain import Sources, explain
from crl_stream.explaining.ids import Found, id_of, ids_in, topics_of
from crl_stream.explaining.story import Story
from crl_stream.stages.driver import TopologyDriver
from crl_stream.wire.topics import INVOCATIONS

KEY = TaskKey(AGENT, TASK)


def story_of(driver: TopologyDriver, key: TaskKey | None = KEY, wanted: str = "") -> Story:
    story = Story(key, wanted)
    for topic in stories.TOPICS if key is not None else stories.OF_THE_FLEET:
        for message in driver.read(topic):
            story.take(topic, message)
    return story


def found_in(driver: TopologyDriver, wanted: str) -> Found:
    for topic in topics_of(wanted):
        named = [message for message in driver.read(topic) if wanted in ids_in(message)]
        own = [message for message in named if id_of(message) == wanted]
        if named:
            return Found(topic, own[-1] if own else named[0])
    raise AssertionError(f"no topic has {wanted}")


def explained(
    driver: TopologyDriver,
    wanted: str,
    policy: Policy | None = None,
    template: str = "",
    key: TaskKey | None = KEY,
) -> Explanation:
    origin = None if policy is None else PolicyOrigin(policy_hash="0" * 16)
    records: dict[int, Any] = dict(enumerate(driver.read(INVOCATIONS)))
    return explain(
        wanted, found_in(driver, wanted), Sources(story_of(driver, key, wanted), policy, origin, records, template)
    )
