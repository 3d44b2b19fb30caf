"""A command for a mistyped task is refused before it is sent, because the monitor would create the task permanently."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
import typer

from crl_stream.cli import orders, tasks
from crl_stream.cli.application import app
from crl_stream.core import messages as m
from crl_stream.errors import NotFound
from crl_stream.wire.topics import ACTIVE_VARIANTS, TASKS

KNOWN, ONLY_HELD = "backend-architect/api-design", "reviewer/diff"
"""Two known tasks: one with outcomes, and one that only has a snapshot."""
TYPO, ELSEWHERE = "backend-architect/api-desing", "z/z"
"""The names of two tasks that do not exist."""

EVERY_ORDER = {
    "undo": ["undo", "TASK"],
    "pin": ["pin", "TASK"],
    "unpin": ["unpin", "TASK"],
    "hold": ["hold", "TASK"],
    "resume": ["resume", "TASK"],
    "activate": ["activate", "TASK", "v2"],
    "retire": ["retire", "TASK", "v2"],
    "accept": ["accept", "TASK", "v2"],
    "propose": ["propose", "TASK", "v2"],
    "quarantine lift": ["quarantine", "lift", "TASK", "v2"],
    "rollout start": ["rollout", "start", "TASK", "v2"],
    "pin a variant": ["pin", "TASK", "v2"],
}
MAY_NAME_A_NEW_TASK = {"hold", "activate", "pin a variant"}


class Named(NamedTuple):
    """A message with only the fields that the code under test reads."""

    agent_name: str
    task_type: str
    epoch: int = 3


class Topics:
    """Two topics, read as the command line reads them."""

    def __init__(self, *_: object) -> None:
        pass

    async def read(self, topic: str, partition: int | None = None) -> Sequence[Any]:
        task = {ACTIVE_VARIANTS: KNOWN, TASKS: ONLY_HELD}[topic]
        record = Named(*task.split("/"))
        return [type("Received", (), {"message": message}) for message in (None, record)]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the list of commands that reached the topic."""
    given: list[Any] = []

    async def take(_kafka: Any, command: Any, _timeout: float) -> m.CommandResult:
        given.append(command)
        raise typer.Exit(0)  # the monitor's result is tested elsewhere

    async def active(_kafka: Any, key: Any) -> Any:
        if str(key) != KNOWN:
            raise NotFound(f"Nothing is known of {key}.", hint="raised by the test")
        return Named(*key)

    monkeypatch.setenv("CRL_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr(tasks, "TopicReader", Topics)
    monkeypatch.setattr(orders, "give", take)
    monkeypatch.setattr(orders, "active_variant", active)
    return given


def call(words: Sequence[str], task: str, *options: str) -> None:
    app([task if word == "TASK" else word for word in words] + [*options], standalone_mode=False)


@pytest.mark.parametrize("name", EVERY_ORDER)
def test_an_order_for_a_mistyped_task_is_not_sent_and_the_one_that_was_meant_is_named(
    name: str, sent: list[Any]
) -> None:
    with pytest.raises(NotFound) as refused:
        call(EVERY_ORDER[name], TYPO)
    assert refused.value.message == f"Nothing is known of {TYPO}."
    assert refused.value.hint is not None
    assert refused.value.hint.startswith(f"did you mean {KNOWN}? crl status lists the tasks")
    assert ("--new-task" in refused.value.hint) == (name in MAY_NAME_A_NEW_TASK)
    assert sent == []


def test_a_task_like_no_other_is_refused_without_a_guess(sent: list[Any]) -> None:
    with pytest.raises(NotFound) as refused:
        call(["unpin", "TASK"], ELSEWHERE)
    assert refused.value.hint == "crl status lists the tasks"
    assert sent == []


@pytest.mark.parametrize("name", EVERY_ORDER)
def test_an_order_for_a_task_with_outcomes_is_sent(name: str, sent: list[Any]) -> None:
    call(EVERY_ORDER[name], KNOWN)
    assert [f"{command.agent_name}/{command.task_type}" for command in sent] == [KNOWN]


def test_a_task_that_was_only_held_or_registered_so_far_is_known_too(sent: list[Any]) -> None:
    call(["resume", "TASK"], ONLY_HELD)
    assert [command.task_type for command in sent] == ["diff"]


@pytest.mark.parametrize("name", sorted(MAY_NAME_A_NEW_TASK))
def test_a_new_task_may_be_held_and_given_a_variant_by_who_says_that_it_is_new(name: str, sent: list[Any]) -> None:
    call(EVERY_ORDER[name], ELSEWHERE, "--new-task")
    assert [command.agent_name for command in sent] == ["z"]


def test_nothing_can_be_pinned_where_nothing_is_active_new_or_not(sent: list[Any]) -> None:
    with pytest.raises(NotFound):
        call(["pin", "TASK"], ELSEWHERE, "--new-task")
    assert sent == []


def test_a_variant_may_be_registered_for_a_task_that_is_new(sent: list[Any]) -> None:
    call(["register", "TASK", "v1"], ELSEWHERE)
    assert [command.variant_id for command in sent] == ["v1"]
