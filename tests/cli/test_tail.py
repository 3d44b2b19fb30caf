"""``crl tail`` prints one line for each record, and by default shows everything that matters."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from builders import a_policy, invocations
from proposals.some import the_guide_s

from cli.program import Program
from crl_stream.cli import tail
from crl_stream.cli.application import app
from crl_stream.cli.tail import _USUAL, line_of
from crl_stream.contract import contract_root
from crl_stream.core import messages as m
from crl_stream.core.policy import PolicySet
from crl_stream.kafka.reader import Received
from crl_stream.stages.driver import Stored, TopologyDriver
from crl_stream.wire.codec import decode
from crl_stream.wire.topics import DECISIONS, MESSAGES, PROPOSALS

WORDS = {"crl.dead-letters": "dead letters"}


def test_what_is_followed_unasked_is_what_the_help_says_proposals_among_it(crl: Program) -> None:
    help_text = " ".join(crl.run("tail", "--help").out.split())
    listed = help_text.partition("Default: ")[2].partition(".")[0]
    assert listed.split(", ") == [WORDS.get(topic, topic.removeprefix("crl.")) for topic in _USUAL]
    assert set(_USUAL) <= MESSAGES.keys()
    assert PROPOSALS in _USUAL


def test_a_proposal_is_a_line_with_its_status_at_the_time_that_it_got_it() -> None:
    steps = [
        m.Revision(revision=1, status="pending", timestamp="2025-11-19T14:30:00Z", reason="made"),
        m.Revision(revision=2, status="rejected", timestamp="2025-11-20T09:00:00Z", reason="no", actor="ada"),
    ]
    proposal = the_guide_s(status="rejected", history=steps, revision=2)
    line = line_of(Received(PROPOSALS, Stored(0, 0, b"a/b", b"{}"), proposal))
    task = f"{proposal.agent_name}/{proposal.task_type}"
    assert line == (
        f"2025-11-20T09:00:00Z  proposal rejected {task}: {proposal.proposal_type} {proposal.target_variant}, "
        f"confidence {proposal.confidence:.0%} ({proposal.proposal_id})"
    )


@pytest.mark.parametrize(("options", "shown"), [([], 1), (["-v"], 2)])
def test_a_policy_that_comes_into_force_once_per_partition_is_told_only_when_asked_for(
    options: list[str], shown: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    driver = TopologyDriver()
    driver.pipe(a_policy(PolicySet()), *invocations("default", "S"))
    there = [decode(DECISIONS, record.value, record.key) for record in driver.records(DECISIONS)][:2]

    class Reader:
        def __init__(self, _: Any) -> None:
            """Needs no Kafka."""

        @asynccontextmanager
        async def following(self, _topics: Any, **_: Any) -> AsyncIterator[AsyncIterator[Received]]:
            async def stream() -> AsyncIterator[Received]:
                for one in there:
                    yield Received(DECISIONS, Stored(0, 0, b"a/b", b"{}"), one.message)  # type: ignore[union-attr]

            yield stream()

    monkeypatch.setattr(tail, "TopicReader", Reader)
    monkeypatch.setenv("CRL_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    log = logging.getLogger()
    before = log.level, list(log.handlers)
    try:
        app([*options, "tail", "decisions"], standalone_mode=False)
    finally:
        log.setLevel(before[0])
        log.handlers[:] = before[1]
    out = capsys.readouterr().out
    assert len(out.splitlines()) == shown
    assert ("SetPolicy" in out) == (shown == 2)


def test_a_step_of_a_rollout_is_a_line_with_its_share_and_reason() -> None:
    text = (contract_root() / "examples/crl.decisions/RolloutStep-stage-passed.json").read_bytes()
    step = msgspec.json.decode(text, type=m.RolloutStep)
    line = line_of(Received(DECISIONS, Stored(0, 0, b"a/b", text), step))
    assert "rollout stage passed backend-architect/api-design: default-v2 gets 25 % (not worse in " in line
