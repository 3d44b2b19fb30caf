"""``crl audit`` keeps only the newest entries, each once, however long the topics are."""

from __future__ import annotations

import json
import typing
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.cli.audit import Entry, Newest, _rollout_step, _says_something_new, _take_result
from crl_stream.contract import contract_root
from crl_stream.core import messages as m
from crl_stream.core.messages.parts import ActivationCause


def an_entry(number: int, second: int) -> Entry:
    return Entry(
        timestamp=f"2025-11-19T14:30:{second:02}.000Z",
        task="a/t",
        actor="ada",
        action="HoldTask",
        outcome="applied",
        detail="",
        reason="",
        id=f"e{number}",
    )


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 59)), max_size=60), st.integers(1, 12))
def test_the_newest_so_many_are_kept_in_whatever_order_they_come(items: list[tuple[int, int]], limit: int) -> None:
    once = {f"e{number}": an_entry(number, second) for number, second in reversed(items)}
    found = Newest(limit)
    for entry in once.values():
        found.take(entry)
        found.take(entry)
        assert len(found._entries) <= limit and len(found._heap) <= limit
    expected = sorted(once.values(), key=lambda e: (e.timestamp, e.id), reverse=True)[:limit]
    assert list(found) == expected


def test_what_one_person_did_is_found_wherever_they_acted_and_others_do_not_push_it_out() -> None:
    found = Newest(2, "ada")
    for number, actor in enumerate(["ada", "bob", "web:ada", "monitor", "bob", "web:adam"]):
        entry = an_entry(number, number)
        entry.actor = actor
        found.take(entry)
    assert [entry.actor for entry in found] == ["web:ada", "ada"]


def a_result(partition: int, outcome: str = "applied", detail: str = "held until T: 3 tasks in partition 0") -> object:
    return m.CommandResult(
        result_id=f"cmdr-{partition}",
        timestamp=f"2025-11-19T14:30:0{partition}.000Z",
        agent_name=None,
        task_type=None,
        command_id="cmd-1",
        command="HoldAll",
        actor="ada",
        reason="incident 42",
        outcome=outcome,  # type: ignore[arg-type]
        detail=detail,
        epoch=0,
        position=m.Position(partition, 1),
        policy_hash="0" * 16,
        engine_version="1",
    )


def test_an_order_for_the_fleet_is_one_entry_however_many_partitions_answer() -> None:
    found = Newest(10)
    for partition in range(4):
        _take_result(found, a_result(partition))  # type: ignore[arg-type]
    [entry] = found
    assert (entry.action, entry.actor, entry.reason, entry.partitions) == ("HoldAll", "ada", "incident 42", 4)
    assert entry.detail == "held until T in 4 partitions"


@given(st.sampled_from(typing.get_args(ActivationCause)))
def test_every_automatic_change_is_listed_and_a_rollback_by_its_own_event(cause: Any) -> None:
    activation = m.Activation(
        activation_id="act-1",
        timestamp="2025-11-19T14:30:00.000Z",
        agent_name="a",
        task_type="t",
        from_variant="v1",
        to_variant="v2",
        cause=cause,
        cause_id="rb-1" if cause.startswith("rollback") else "id",
        reasoning="",
        enforced=True,
        epoch=2,
        untested=False,
        position=m.Position(0, 1),
        policy_hash="0" * 16,
        engine_version="4",
    )
    new = {"first_seen", "auto_apply", "rollback_verified_worse", "rollout", "rollout_aborted", "common_cause"}
    assert _says_something_new(activation) is (cause in new)


def test_a_step_that_nobody_ordered_names_the_share_and_the_reason() -> None:
    step = json.loads((contract_root() / "examples/crl.decisions/RolloutStep-stage-passed.json").read_bytes())
    entry = _rollout_step(msgspec.convert(step, m.RolloutStep))
    assert (entry.actor, entry.action, entry.outcome) == ("monitor", "rollout stage passed", "done")
    assert entry.detail == "default-v2 gets 25 %"
    assert entry.reason.startswith("not worse in ")
