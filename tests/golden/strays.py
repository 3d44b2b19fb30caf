"""Records that should never occur: invalid messages, forged references, wrong partitions, and damaged rows."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec

from crl_stream.core import messages as m
from crl_stream.wire.codec import encode
from crl_stream.wire.topics import COMMANDS, INVOCATIONS, POLICY_KEY, TICK_KEY

from .scribe import Scribe, Task

KEY = b"a/b"
GOOD: dict[str, Any] = {
    "schema_version": 1,
    "invocation_id": "i",
    "timestamp": "2025-11-19T14:30:00Z",
    "agent_name": "a",
    "task_type": "b",
    "variant_id": "v",
    "status": "success",
}
BAD: list[tuple[bytes | None, bytes | None]] = [
    (None, KEY),
    (b"{}", None),
    (b'{"pad":"' + b"x" * 65_536 + b'"}', KEY),
    (b'{"a":"\xff"}', KEY),
    (b"{", KEY),
    (b'{"reward":NaN}', KEY),
    (b'{"a":1,"a":2}', KEY),
    (b"[" * 20 + b"]" * 20, KEY),
    (b'{"a":' * 20 + b"1" + b"}" * 20, KEY),
    (b"[1]", KEY),
    (b'{"type":"weather"}', KEY),
    (b"{}", KEY),
    *[
        (json.dumps(GOOD | change).encode(), KEY)
        for change in (
            {"schema_version": 2},
            {"status": 7},
            {"reward": 2.0},
            {"variant_id": "no name"},
            {"timestamp": "yesterday"},
            {"timestamp": "2025-02-31T00:00:00Z"},
            {"agent_name": "other"},
        )
    ],
    (b'{"type":"feedback","schema_version":1}', KEY),
    (b'{"type":"tick","schema_version":1}', KEY),
]
UNKNOWN_SETTING = {
    "type": "SetPolicy",
    "schema_version": 1,
    "command_id": "c",
    "timestamp": "2025-11-19T14:30:00Z",
    "actor": "ada",
    "policy": {"default": {"colour": "red"}},
    "policy_hash": "0" * 16,
}


def damaged_rows(scribe: Scribe) -> None:
    """Store rows that cannot be read or processed, and rows of an older engine, which lack the newest fields."""
    scribe.put_row(b"damaged/row", b"\x91\xa1\xff")
    scribe.put_row(b"damaged/name", b"\x92\xa1\xff\xa1a")
    ids = b"".join(hashlib.blake2b(name, digest_size=8).digest() for name in (b"old-1", b"old-2"))
    life = [2, 2, 0, 2_000_000, 2_000_000]
    variant = ["default", 0, False, life, 1.0, 1.0, b"", [0] * 5]
    past, soon, ahead = scribe.clock - 600_000, scribe.clock + 1_000, scribe.clock + 3_600_000
    for task_type, time, until, active in (
        ("plain", past, None, "default"),
        ("pinned", past, soon + 60_000, "default"),
        ("ahead", ahead, soon, "default"),
        ("broken", past, soon, "default"),
    ):
        pin = None if until is None else ["ada", "an old pin", past, until, None, active]
        row = ["older", task_type, 0, -1, time, 2, 0, 0, 0, 1, active, None, past, 0]
        row += ["first_seen", "old-1", None, False, False, -1, -1, -1, pin, None, ids, b"", [], {"default": variant}]
        if task_type == "broken":  # makes the engine raise: the review is deferred until an invalid time
            row += [{}, [["p1", "deferred", "applied", "ada", "", "", past, "cmd-old", "never"]]]
        scribe.put_row(f"older/{task_type}".encode(), msgspec.msgpack.encode(row))


def met_again(scribe: Scribe) -> None:
    """Send records for the tasks whose rows ``damaged_rows`` has stored."""
    scribe.task("damaged", "row").run("default", "SS")
    scribe.task("damaged", "name").run("default", "S")
    scribe.pipe(m.Tick(schema_version=1))
    scribe.task("older", "broken").run("default", "S")
    older = scribe.task("older", "plain")
    older.send(invocation_id="old-2")
    older.score("old-1", reward=0.5)
    older.run("default", "SSF", runtime_id="r1")


def no_messages(scribe: Scribe) -> None:
    """Append invalid messages; each becomes a dead letter with its reason."""
    for value, key in BAD:
        scribe.stray(value, key)
    scribe.stray(encode(m.Tick(schema_version=1)), TICK_KEY)
    good = json.dumps(GOOD).encode()
    scribe.stray(good, KEY, headers=(("traceparent", b"00-1"), ("empty", None)))
    scribe.stray(b"{", KEY, headers=(("traceparent", b"00-1"), ("__streams.errors.exception", b"made up")))
    for value, key in ((b"{", KEY), (b"{}", KEY), (json.dumps(UNKNOWN_SETTING).encode(), POLICY_KEY), (None, None)):
        scribe.stray(value, key, topic=COMMANDS)


def in_the_wrong_place(scribe: Scribe) -> None:
    """Append records in wrong partitions, each forwarded once; some have forged origins."""
    task = scribe.task("backend-architect", "misplaced")
    task.run("default", "SS")
    task.misplace(task.outcome())
    task.misplace(task.outcome(status="failure"), headers=(("traceparent", b"00-2"),))
    score = m.Feedback(
        schema_version=1,
        feedback_id="fb-misplaced",
        timestamp="2025-11-19T14:30:00Z",
        invocation_id="inv-x",
        reward=0.5,
        **task.names,
    )
    task.misplace(score)
    task.misplace(task.outcome(), headers=_origin(0, 3))
    _forwarded_here(task, _origin(0, 3))
    _forwarded_here(task, _origin(0, 3))
    _forwarded_here(task, _origin(9, 3))
    _forwarded_here(task, (("crl-origin-partition", b"x"), ("crl-origin-offset", b"1")))
    for partition in range(scribe.partitions):
        scribe.stray(json.dumps(GOOD | {"invocation_id": f"j{partition}"}).encode(), KEY, partition=partition)


def _origin(partition: int, offset: int) -> tuple[tuple[str, bytes], ...]:
    return (("crl-origin-partition", b"%d" % partition), ("crl-origin-offset", b"%d" % offset))


def _forwarded_here(task: Task, headers: Any) -> None:
    task.scribe.stray(encode(task.outcome(invocation_id="inv-forwarded")), task.key, headers=headers)


def forged_references(scribe: Scribe) -> None:
    """Append references to no command, to the wrong command and in the wrong partition, and a repeated reference."""
    task = scribe.task("backend-architect", "forged")
    task.run("default", "SS")
    task.order(m.HoldTask, hours=0.01)
    last = scribe.inputs[-1]
    assert last.topic == INVOCATIONS
    assert last.value is not None
    reference = msgspec.json.decode(last.value)
    place = {"partition": reference["partition"], "offset": reference["offset"] + 1}
    wrong = encode(scribe.command(m.HoldTask, **task.names))

    def forge(**changes: Any) -> None:
        scribe.stray(json.dumps(reference | changes).encode(), task.key, partition=last.partition)

    forge()
    forge(offset=999)
    forge(partition=77)
    task.misplace(msgspec.json.decode(last.value, type=m.CommandRef))
    bad = b"{"
    scribe.append(COMMANDS, bad, task.key, partition=place["partition"])
    forge(**place)
    forge(**place, sha256=hashlib.sha256(bad).hexdigest())
    scribe.append(COMMANDS, wrong, task.key, partition=place["partition"])
    place["offset"] += 1
    forge(**place, sha256=hashlib.sha256(wrong).hexdigest())
    task.run("default", "S")
