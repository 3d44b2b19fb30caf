"""A session uses one variant: by its hash while there are weights, and until its end if ``on_change`` says so."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from client.exploring import ACTIVE, OTHERS
from client.exploring import exploring as _exploring
from crl_stream.client import sessions
from crl_stream.client.resolver import Resolver
from crl_stream.client.sessions import Sessions
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.settings import Settings
from crl_stream.wire.weights import variant_of

KEY = TaskKey(ACTIVE.agent_name, ACTIVE.task_type)
WEIGHTS = {"cheap": 34, "dear": 33, "plain": 33, ACTIVE.variant_id: 900}


def a_resolver(settings: Settings, **fields: Any) -> Resolver:
    """Return a resolver that follows the monitor's shares and has heard from Kafka."""
    found = _exploring(settings)
    found.exploration, found._explores_itself = None, False
    become(found, **fields)
    found.heard()
    return found


def become(resolver: Resolver, **fields: Any) -> None:
    resolver._active[KEY] = msgspec.structs.replace(ACTIVE, **fields)


def use(resolver: Resolver, session_id: str | None = None, **ids: Any) -> Any:
    found = resolver.resolve(*KEY, session_id=session_id, **ids)
    assert found is not None
    return found


def test_published_shares_replace_chance_so_a_session_always_explores_the_same_variant(settings: Settings) -> None:
    resolver = a_resolver(settings, weights=WEIGHTS, exploration=0.1)
    for number in range(300):
        session = f"conversation {number}"
        expected = variant_of(WEIGHTS, ACTIVE.variant_id, session)
        assert {use(resolver, session, invocation_id=f"i{turn}").variant_id for turn in range(3)} == {expected}
    used = {use(resolver, f"conversation {number}").variant_id for number in range(300)}
    assert used == {ACTIVE.variant_id, *OTHERS}


def test_without_a_session_each_invocation_is_chosen_by_its_own_id(settings: Settings) -> None:
    resolver = a_resolver(settings, weights=WEIGHTS)
    for number in range(300):
        assert use(resolver, invocation_id=f"i{number}").variant_id == variant_of(
            WEIGHTS, ACTIVE.variant_id, f"i{number}"
        )


def test_a_runtimes_own_exploration_is_sticky_by_session_too(settings: Settings) -> None:
    resolver = a_resolver(settings, weights=WEIGHTS)
    resolver.exploration, resolver._explores_itself = 0.5, True
    by_session = [{use(resolver, f"s{number}").variant_id for _ in range(5)} for number in range(60)]
    assert all(len(used) == 1 for used in by_session)
    assert len(set.union(*by_session)) == 4


def test_at_next_turn_a_session_follows_a_change_at_once(settings: Settings) -> None:
    resolver = a_resolver(settings)
    assert use(resolver, "s").variant_id == ACTIVE.variant_id
    become(resolver, variant_id="cheap", epoch=ACTIVE.epoch + 1)
    assert (use(resolver, "s").variant_id, use(resolver, "s").source) == ("cheap", "live")


def test_at_next_session_a_session_keeps_its_variant_and_reports_the_epoch_that_it_knows(settings: Settings) -> None:
    resolver = a_resolver(settings, on_change="next_session")
    assert use(resolver, "old").source == "live"
    become(resolver, on_change="next_session", variant_id="cheap", epoch=ACTIVE.epoch + 1)
    kept, new = use(resolver, "old"), use(resolver, "new")
    assert (kept.variant_id, kept.source, kept.epoch) == (ACTIVE.variant_id, "session", ACTIVE.epoch + 1)
    assert (new.variant_id, new.source) == ("cheap", "live")
    assert use(resolver, "old") == kept


def test_a_variant_that_the_caller_kept_is_used_even_if_this_process_never_saw_the_session(settings: Settings) -> None:
    resolver = a_resolver(settings, on_change="next_session")
    assert (use(resolver, "s", began_with="dear").variant_id, use(resolver, began_with="dear").source) == (
        "dear",
        "session",
    )
    become(resolver)
    assert use(resolver, "s", began_with="dear").variant_id == ACTIVE.variant_id


def test_a_session_leaves_a_retired_variant(settings: Settings) -> None:
    resolver = a_resolver(settings, on_change="next_session")
    assert use(resolver, "s", began_with="retired").variant_id == ACTIVE.variant_id


def test_a_session_that_began_with_the_candidate_of_a_rollout_counts_for_it(settings: Settings) -> None:
    rollout = m.ActiveRollout(rollout_id="ro-1", variant_id="cheap", stage=1, stages=3, paused=False)
    given = {"on_change": "next_session", "rollout": rollout, "weights": {"cheap": 50, ACTIVE.variant_id: 950}}
    resolver = a_resolver(settings, **given)
    assert use(resolver, began_with="cheap").source == "explore"
    assert use(resolver, began_with=ACTIVE.variant_id).source == "live"
    become(resolver, on_change="next_session")
    assert use(resolver, began_with="cheap").source == "session"


def test_a_bounded_number_of_sessions_is_remembered_and_forgetting_one_is_said(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    resolver = a_resolver(settings, on_change="next_session")
    resolver._sessions = Sessions(2)
    for session in ("a", "b", "a", "c"):
        use(resolver, session)
    assert [record.message for record in caplog.records if f"more than {sessions.MOST} sessions" in record.message]
    become(resolver, on_change="next_session", variant_id="cheap", epoch=ACTIVE.epoch + 1)
    assert [use(resolver, session).variant_id for session in ("a", "c", "b")] == [
        ACTIVE.variant_id,
        ACTIVE.variant_id,
        "cheap",
    ]


@pytest.mark.parametrize("field", ["session_id", "invocation_id", "began_with"])
@pytest.mark.parametrize("wrong", ["\ud800", 7, b"bytes", ["list"], {"a": 1}])
@pytest.mark.parametrize("on_change", ["next_turn", "next_session"])
def test_an_id_that_is_no_text_gets_the_active_variant(
    settings: Settings, field: str, wrong: Any, on_change: str
) -> None:
    for weights, own in ((WEIGHTS, False), (None, False), (WEIGHTS, True)):
        resolver = a_resolver(settings, weights=weights, on_change=on_change)
        resolver.exploration, resolver._explores_itself = (0.5, True) if own else (None, False)
        found = use(resolver, **{field: wrong})
        known = {ACTIVE.variant_id, *OTHERS}
        assert found.variant_id in known
        assert found.epoch == ACTIVE.epoch


@pytest.mark.parametrize("session_id", ["", "x" * 100_000])
def test_an_empty_session_id_is_no_session_and_a_long_one_is_one(settings: Settings, session_id: str) -> None:
    resolver = a_resolver(settings, on_change="next_session")
    use(resolver, session_id)
    become(resolver, on_change="next_session", variant_id="cheap", epoch=ACTIVE.epoch + 1)
    assert use(resolver, session_id).variant_id == (ACTIVE.variant_id if session_id else "cheap")


uses = st.lists(st.tuples(st.sampled_from(["known", "begin"]), st.sampled_from("ab"), st.sampled_from("xy")))


@given(uses, st.integers(1, 3))
@example([("begin", "a", "x"), ("begin", "b", "x"), ("begin", "a", "x"), ("begin", "a", "y")], 2)
def test_the_sessions_used_last_are_remembered_each_with_its_latest_variant(
    drawn: list[tuple[str, str, str]], most: int
) -> None:
    found, used = Sessions(most), list[tuple[str, str]]()
    for number, (kind, session, task) in enumerate(drawn):
        key, variants = TaskKey("agent", task), dict(used)
        known = variants.get(session + task)
        if kind == "known":
            assert found.known(key, session) == known
            variant = known
        else:
            variant = f"v{number}"
            assert found.begin(key, session, variant) is (known is None and len(used) == most)
        if variant is not None:
            used = [(name, value) for name, value in used if name != session + task] + [(session + task, variant)]
            used = used[-most:]
    remembered = {name: found.known(TaskKey("agent", name[1]), name[0]) for name in ("ax", "ay", "bx", "by")}
    assert {name: variant for name, variant in remembered.items() if variant is not None} == dict(used)


def test_a_forked_child_keeps_the_sessions_even_if_another_thread_was_just_using_them() -> None:
    found = Sessions()
    found.begin(KEY, "s", "cheap")
    found._lock.acquire()  # as another thread does at the moment of the fork, which the child has not got
    found.forked()
    assert not found._lock.locked()
    assert found.known(KEY, "s") == "cheap"
