"""What a runtime may hand over: anything at all; what is no outcome is refused with a sentence, and never raises."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import AGENT, TASK, an_invocation

from crl_stream.client import Client, Publisher
from crl_stream.client.publisher import checked
from crl_stream.errors import InvalidMessage
from crl_stream.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A Kafka that is not there."""
    flags = {"kafka.bootstrap_servers": "127.0.0.1:1", "client.cache_dir": str(tmp_path)}
    return load_settings(environment={}, flags=flags)


@pytest.fixture
def publisher(settings: Settings) -> Iterator[Publisher]:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    publisher = Publisher(settings)
    yield publisher
    publisher.close(0.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("field", ["reward", "quality", "duration_seconds"])
def test_a_value_that_is_no_number_is_refused_and_not_taken_for_an_absent_one(field: str, value: float) -> None:
    with pytest.raises(InvalidMessage, match=f"{field} is .*, not a number"):
        checked(an_invocation(**{field: value}))


@pytest.mark.parametrize("wrong", [{"reward": float("nan")}, {"quality": 2}, {"agent_name": "a b"}, {"colour": 1}])
def test_what_is_no_outcome_is_counted_as_rejected(publisher: Publisher, wrong: dict[str, Any]) -> None:
    fields = {"agent_name": AGENT, "task_type": TASK, "variant_id": "default", "status": "success"} | wrong
    assert publisher.invocation(**fields) is False
    assert publisher.stats._replace(queued=0) == (0, 0, 0, 1)


@pytest.mark.parametrize("traceparent", ["nonsense", b"bytes", 7, "\ud800"])
def test_no_trace_context_raises_into_the_agent(publisher: Publisher, traceparent: Any) -> None:
    publisher.publish(an_invocation(), traceparent=traceparent)
    assert sum(publisher.stats) == 1


@pytest.mark.parametrize(
    "fields", [{"provider": "openai"}, {"quality": 0.1}, {"status": "error", "agent_name": "x"}, {"colour": "red"}]
)
def test_further_fields_neither_raise_into_the_agent_nor_replace_what_the_block_knows(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    monkeypatch.setattr(Client, "__enter__", lambda client: client)  # Kafka is not there: nothing to wait for
    with Client(settings) as client:
        published: list[dict[str, Any]] = []
        monkeypatch.setattr(client.publisher, "invocation", lambda **given: published.append(given))
        with client.invocation(AGENT, TASK) as running:
            running.quality = 0.9
            running.fields = fields
    [given] = published
    assert (given["agent_name"], given["status"], given["quality"]) == (AGENT, "success", 0.9)
    assert given.keys() >= fields.keys()
