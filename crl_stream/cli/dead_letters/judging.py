"""Decides what would happen to a replayed dead letter: the record to send, or why it stays.

Pure. Harmful records are never sent, and useless ones only with --force. A replayed record takes effect at the end of
the log, not at its old position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from crl_stream.cli.dead_letters.letters import DeadLetter
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import from_text
from crl_stream.stages.fold import MAX_FAILURES
from crl_stream.wire import reasons
from crl_stream.wire.codec import Decoded, Rejected, decode
from crl_stream.wire.dead_letter import BATCH, own_headers
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.records import Output, record_size
from crl_stream.wire.strict_json import parse_object
from crl_stream.wire.topics import COMMANDS, INVOCATIONS, MESSAGES, TOPIC_OF

RETURNABLE: Final = (INVOCATIONS, COMMANDS)
"""Topics that records can be sent back to, because other programs write them; only crl-stream writes the rest."""
MAX_POISON: Final = MAX_FAILURES // 2
"""Maximum number of ``fold_failure`` letters sent back in one call; a worker stops at ``MAX_FAILURES`` in a batch."""
_OVERHEAD: Final = 512
"""Upper bound for the bytes that batch and record framing add to key, value and headers."""
_COMMAND_REF: Final = "command_ref"

Original = tuple[bytes | None, bytes | None]
"""Key and value of a command record."""


class Circumstances(NamedTuple):
    """What ``plan`` needs to know besides the dead letters."""

    partitions: Mapping[str, int]
    """Number of partitions on the broker, for each topic in ``RETURNABLE``."""
    max_bytes: Mapping[str, int]
    """Size of the largest record that the topic accepts, in bytes, for each topic in ``RETURNABLE``."""
    now: int
    """The current time, in milliseconds since the epoch."""
    named: bool = False
    """Whether each letter was named by its position, not chosen by a filter."""
    force: bool = False
    mend_key: bool = False
    """Whether to send an outcome under the key that its value implies."""
    originals: Mapping[tuple[str, int, int], Original | None] = {}
    """For letters of commands: the record now at their position, or None if there is none."""


class Step(NamedTuple):
    """What to do with one dead letter."""

    letter: DeadLetter
    output: Output | None
    """The record to send; None if the letter stays."""
    note: str = ""
    """Why the letter stays, or the objection to sending it."""
    forcible: bool = False
    """Whether ``--force`` would send the letter."""


def plan(letters: Sequence[DeadLetter], about: Circumstances) -> list[Step]:
    """Return the steps of a replay: one per letter, in the order of the letters."""
    steps, poison = [], 0
    for one in letters:
        step = _judge(one, about)
        if step.output is not None and one.letter.reason == reasons.FOLD_FAILURE:
            poison += 1
            if poison > MAX_POISON:
                step = Step(
                    one,
                    None,
                    f"more than {MAX_POISON} of these at once would stop a worker; run the command again for the rest",
                )
        steps.append(step)
    return steps


def _judge(one: DeadLetter, about: Circumstances) -> Step:
    record, topic = one.record, one.letter.topic
    if (harm := _harm_of(one, about)) is not None:
        return Step(one, None, harm)
    key: bytes | None = record.key
    decoded = decode(topic, record.value, key)
    if about.mend_key and topic == INVOCATIONS and isinstance(decoded, Rejected):
        mended = _key_of(record.value)
        if mended is not None and isinstance(again := decode(topic, record.value, mended), Decoded):
            key, decoded = mended, again
    if isinstance(decoded, Decoded) and (late := _lateness_of(decoded.message, about)):
        return Step(one, None, late)
    partition = _home_of(key, one.letter.partition, about.partitions[topic])
    if partition is None:
        return Step(one, None, f"{topic} has no partition {one.letter.partition}")
    output = Output(topic, partition, key, record.value, own_headers(record.headers))
    if _size_of(output) > about.max_bytes[topic]:
        return Step(one, None, f"it is larger than the {about.max_bytes[topic]} bytes that {topic} accepts")
    doubt = _doubt_about(one, decoded)
    if doubt is None:
        return Step(one, output, "" if key == record.key else f"under the key {(key or b'').decode()}")
    return Step(one, output if about.force else None, doubt, forcible=True)


def _harm_of(one: DeadLetter, about: Circumstances) -> str | None:
    """Return why the record must not be sent or would not help; None if it may be sent."""
    record, topic = one.record, one.letter.topic
    if topic not in MESSAGES or min(one.letter.partition, one.letter.offset) < 0:
        return "its headers do not say where it was read from"
    if topic not in RETURNABLE:
        return f"only crl-stream writes {topic}"
    if any(name == BATCH for name, _ in record.headers):
        return "it is a whole batch that could not be read; send its records in smaller batches"
    if record.value is None:
        return "it has no value"
    if topic == INVOCATIONS and _names_a_command(record.value):
        return "only the inlet writes references to commands; send the command again if you still want it"
    if topic == COMMANDS:
        if not about.named:
            return "a command is replayed only if you name it: PARTITION:OFFSET"
        if about.originals.get(one.place) != (record.key, record.value):
            return f"{topic} does not have this command at {one.source}; send it again if you still want it"
    return None


def _lateness_of(message: Any, about: Circumstances) -> str | None:
    """Return why a command that has expired would be refused; None if it has not expired."""
    if TOPIC_OF[type(message)] != COMMANDS or message.expires_at is None:
        return None
    expired = from_text(message.expires_at) < about.now
    return f"the command expired at {message.expires_at}; send it again if you still want it" if expired else None


def _doubt_about(one: DeadLetter, decoded: Decoded | Rejected) -> str | None:
    """Return why sending the record is probably useless; None if it may help."""
    if one.replayed is not None:
        return f"it was replayed {one.replayed}"
    if isinstance(decoded, Rejected):
        return f"it would be refused again: {decoded.reason}, {decoded.detail}"
    if isinstance(decoded.message, m.SetPolicy):
        return "it would replace the policy in force with an old one"
    if one.letter.reason == reasons.FOLD_FAILURE:
        return "it made the engine fail, and will do so again until a release fixes that"
    if one.letter.reason == reasons.FORWARDED_BEFORE:
        return "it may have been applied long ago and would count twice"
    return None


def _names_a_command(value: bytes) -> bool:
    fields = parse_object(value)
    return isinstance(fields, dict) and fields.get("type") == _COMMAND_REF


def _key_of(value: bytes) -> bytes | None:
    fields = parse_object(value)
    if not isinstance(fields, dict):
        return None
    try:
        return TaskKey.parse(f"{fields.get('agent_name')}/{fields.get('task_type')}").encode()
    except ValueError:
        return None


def _home_of(key: bytes | None, original: int, partitions: int) -> int | None:
    """Return the partition of the task's key, else the one the record was read from; None if neither exists."""
    try:
        if key is not None:
            return partition_of(TaskKey.decode(key).encode(), partitions)
    except ValueError:
        pass  # the key does not name a task
    return original if original < partitions else None


def _size_of(output: Output) -> int:
    return record_size(output.key, output.value, output.headers) + _OVERHEAD
