"""Which dead letters can be sent back, which can never be, and which can be only with --force."""

from __future__ import annotations

from typing import Any

import pytest
from builders import a_command, a_policy, an_invocation
from hypothesis import given
from hypothesis import strategies as st

from cli.letters import KEY, MARK, NOW, Topic
from crl_stream.cli.dead_letters.judging import MAX_POISON, RETURNABLE, Circumstances, Step, plan
from crl_stream.cli.dead_letters.letters import choose
from crl_stream.core import messages as m
from crl_stream.core.policy import PolicySet
from crl_stream.wire import dead_letter as wire
from crl_stream.wire import reasons
from crl_stream.wire.codec import encode
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.records import Output
from crl_stream.wire.topics import COMMANDS, DEAD_LETTERS, INVOCATIONS, MESSAGES, POLICY_KEY

TRACE = ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
ORIGIN = ((wire.ORIGIN_PARTITION, b"1"), (wire.ORIGIN_OFFSET, b"9"))
PARTITIONS = 4


def steps_for(topic: Topic, **about: Any) -> list[Step]:
    circumstances = Circumstances(
        partitions=dict.fromkeys(RETURNABLE, PARTITIONS), max_bytes=dict.fromkeys(RETURNABLE, 1 << 20), now=NOW
    )
    return plan(choose(topic.letters), circumstances._replace(**about))


def step_for(*letter: Any, about: dict[str, Any] | None = None, **fields: Any) -> Step:
    topic = Topic()
    topic.refuse(*letter, **fields)
    [step] = steps_for(topic, **(about or {}))
    return step


def never(step: Step) -> str:
    """Return the reason why a letter is not sent even with --force."""
    assert (step.output, step.forcible) == (None, False)
    return step.note


def only_by_force(*letter: Any, about: dict[str, Any] | None = None, **fields: Any) -> str:
    """Return why a letter is only sent with --force, and check that it is then sent unchanged."""
    step = step_for(*letter, about=about, **fields)
    assert (step.output, step.forcible) == (None, True)
    forced = step_for(*letter, about={**(about or {}), "force": True}, **fields)
    assert forced.output is not None
    assert forced.output.value == letter[0]
    assert forced.note == step.note
    return step.note


VALUE = encode(an_invocation())


# -- letters that are sent -------------------------------------------------------------------------
def test_what_goes_back_is_what_its_sender_wrote_to_the_partition_of_its_task() -> None:
    sent = step_for(VALUE, headers=(TRACE, *ORIGIN, ("x", b"1"), ("x", b"2")))
    assert sent.output == Output(
        INVOCATIONS, partition_of(KEY, PARTITIONS), KEY, VALUE, (TRACE, ("x", b"1"), ("x", b"2"))
    )
    assert sent.note == ""


@pytest.mark.parametrize("key", [None, b"nobody", b"a/b/c", b"\xff/\xff"])
def test_a_record_of_no_task_goes_by_force_to_where_it_was(key: bytes | None) -> None:
    step = step_for(VALUE, reasons.NULL_KEY, key=key, place=(3, 7), about={"force": True})
    assert step.output is not None
    assert (step.output.key, step.output.partition) == (key, 3)
    assert "has no partition 3" in never(
        step_for(VALUE, key=key, place=(3, 7), about={"force": True, "partitions": dict.fromkeys(RETURNABLE, 3)})
    )


def test_an_outcome_under_another_key_goes_under_its_own_only_when_that_is_asked_for() -> None:
    for key, reason in ((None, reasons.NULL_KEY), (b"somebody/else", reasons.KEY_MISMATCH)):
        assert f"refused again: {reason}" in only_by_force(VALUE, reason, key=key)
        mended = step_for(VALUE, reason, key=key, about={"mend_key": True})
        assert mended.output == Output(INVOCATIONS, partition_of(KEY, PARTITIONS), KEY, VALUE)
        assert mended.note == f"under the key {KEY.decode()}"


def test_a_mended_key_mends_nothing_else() -> None:
    assert "bad_identifier" in only_by_force(
        encode(an_invocation(variant_id="openai/gpt-4o")), reasons.KEY_MISMATCH, key=b"a/b", about={"mend_key": True}
    )
    order = encode(a_command(m.HoldTask))
    about = {"mend_key": True, "named": True, "originals": {(COMMANDS, 0, 7): (b"a/b", order)}}
    assert "key_mismatch" in only_by_force(order, reasons.KEY_MISMATCH, key=b"a/b", topic=COMMANDS, about=about)


# -- letters that are not sent ---------------------------------------------------------------------
@pytest.mark.parametrize("topic", sorted(MESSAGES.keys() - set(RETURNABLE)))
def test_nothing_goes_to_a_topic_that_only_crl_stream_writes(topic: str) -> None:
    assert never(step_for(VALUE, topic=topic, about={"force": True})) == f"only crl-stream writes {topic}"


def test_a_letter_that_does_not_say_where_it_is_from_stays() -> None:
    for topic in ("", "crl.unheard-of", "prefix.crl.invocations"):
        assert "do not say where" in never(step_for(VALUE, topic=topic, about={"force": True}))
    stranger = Topic()
    stranger.append(Output(DEAD_LETTERS, 0, KEY, VALUE, ((wire.TOPIC, INVOCATIONS.encode()),)))
    [step] = steps_for(stranger, force=True)
    assert "do not say where" in never(step)


@pytest.mark.parametrize(
    "value",
    [
        encode(m.CommandRef(schema_version=1, command_id="c", partition=0, offset=9, sha256="0" * 64)),
        b'{"type":"command_ref"}',
        b'{"schema_version":7, "type" : "command_ref"}',
    ],
)
def test_a_reference_to_a_command_is_never_sent_again(value: bytes) -> None:
    for reason in (reasons.COMMAND_MISSING, reasons.COMMAND_MISMATCH, reasons.KEY_MISMATCH):
        about = {"force": True, "named": True, "mend_key": True}
        assert "only the inlet writes" in never(step_for(value, reason, key=POLICY_KEY, about=about))


def test_a_record_without_a_value_or_larger_than_its_topic_takes_stays() -> None:
    assert "no value" in never(step_for(None, about={"force": True}))
    large = encode(an_invocation(model="m" * 70_000))
    assert "oversize" in only_by_force(large, reasons.OVERSIZE)
    about = {"force": True, "max_bytes": dict.fromkeys(RETURNABLE, len(large))}
    assert "larger than" in never(step_for(large, reasons.OVERSIZE, about=about))


@given(st.binary(max_size=60))
def test_bytes_that_would_be_refused_again_go_only_by_force(value: bytes) -> None:
    assert "refused again" in only_by_force(value, reasons.NOT_JSON)


def test_what_was_sent_back_is_sent_again_only_by_force() -> None:
    topic = Topic()
    topic.refuse(VALUE)
    topic.append(MARK)
    [step] = steps_for(topic)
    assert (step.output, step.forcible) == (None, True)
    assert step.note == "it was replayed 2026-01-31T12:00:00.000Z by ada as 2:41"
    [step] = steps_for(topic, force=True)
    assert step.output is not None


def test_a_batch_of_what_makes_the_engine_raise_never_grows_so_large_that_a_worker_stops() -> None:
    assert "engine fail" in only_by_force(VALUE, reasons.FOLD_FAILURE)
    assert "count twice" in only_by_force(VALUE, reasons.FORWARDED_BEFORE)
    topic = Topic()
    for offset in range(MAX_POISON + 3):
        topic.refuse(VALUE, reasons.FOLD_FAILURE, place=(0, offset))
        topic.refuse(VALUE, reasons.VARIANT_LIMIT, place=(1, offset))
    steps = steps_for(topic, force=True)
    held = [step for step in steps if step.output is None]
    assert {step.letter.letter.reason for step in held} == {reasons.FOLD_FAILURE}
    assert len(held) == 3
    assert all("run the command again" in never(step) for step in held)


# -- commands --------------------------------------------------------------------------------------
def an_order(order: Any, key: bytes = KEY, **about: Any) -> Step:
    value = encode(order)
    given = {"named": True, "originals": {(COMMANDS, 0, 7): (key, value)}} | about
    return step_for(value, reasons.UNKNOWN_VERSION, key=key, topic=COMMANDS, about=given)


def test_an_order_that_is_readable_by_now_is_sent_when_a_person_names_it() -> None:
    order = a_command(m.HoldTask, expires_at="2026-01-31T12:00:01Z")
    sent = an_order(order).output
    assert sent == Output(COMMANDS, partition_of(KEY, PARTITIONS), KEY, encode(order))
    assert "only if you name it" in never(an_order(order, named=False, force=True))


def test_an_order_that_has_expired_stays() -> None:
    expired = a_command(m.HoldTask, expires_at="2026-01-31T11:59:59Z")
    assert "expired at 2026-01-31T11:59:59Z" in never(an_order(expired, force=True))


def test_the_word_of_a_letter_gives_nobody_the_right_to_give_orders() -> None:
    order = a_command(m.HoldTask)
    for there in (None, (KEY, b"another"), (b"a/b", encode(order))):
        assert "does not have this command" in never(an_order(order, force=True, originals={(COMMANDS, 0, 7): there}))
    assert "does not have this command" in never(an_order(order, force=True, originals={}))


def test_an_old_policy_replaces_a_newer_one_only_by_force() -> None:
    policy = a_policy(PolicySet())
    step = an_order(policy, POLICY_KEY)
    assert (step.output, step.forcible) == (None, True)
    forced = an_order(policy, POLICY_KEY, force=True)
    assert forced.output is not None
    assert (forced.output.key, forced.output.partition) == (POLICY_KEY, 0)
