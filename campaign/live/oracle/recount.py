"""Counts without the engine: outcomes by their bytes, malformed records by position, commands by their results."""

from __future__ import annotations

import json
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aiokafka.partitioner import murmur2

from campaign.live.oracle.findings import Findings
from crl_stream.core.monitor.row import OUTCOME, SUCCESS, TaskRow, decode_row

WINDOW: Final = 20
RING: Final = 64
"""Number of ids that a task remembers."""
Place = tuple[str, int, int]
"""A position: topic (the catalog's name), partition, offset."""


@dataclass
class _Variant:
    n: int = 0
    successes: int = 0
    shadow: int = 0
    window: deque[tuple[int, bool]] = field(default_factory=lambda: deque(maxlen=WINDOW))


@dataclass
class _Task:
    ids: deque[str] = field(default_factory=lambda: deque(maxlen=RING))
    ever: set[str] = field(default_factory=set)
    again: int = 0
    """Number of outcomes that counted as new ones although their id had been used before."""
    variants: dict[str, _Variant] = field(default_factory=lambda: defaultdict(_Variant))


class Recount:
    """Reads the log record by record, from its bytes."""

    def __init__(self, partitions: int, ledger: str | None, gaps: Sequence[tuple[int, int, int]] = ()) -> None:
        self.partitions = partitions
        self.sent: dict[Place, tuple[str, str, str]] = {}
        """Records that the broker has acknowledged: (what, task, id) by position."""
        for line in Path(ledger).read_text(encoding="utf-8").splitlines() if ledger else ():
            what, topic, partition, offset, task, name = json.loads(line)
            if topic != "crl.invocations" or not any(p == partition and a <= offset < b for p, a, b in gaps):
                self.sent[topic, partition, offset] = what, task, name
        self._met: set[Place] = set()
        self._poison: dict[Place, bytes | None] = {}
        self._tasks: dict[bytes, _Task] = defaultdict(_Task)
        self._origins: dict[int, dict[int, int]] = defaultdict(dict)
        self._misplaced: set[tuple[int, int]] = set()
        self._forwarded: set[tuple[int, int]] = set()

    # -- the log -----------------------------------------------------------------------------------
    def take(self, topic: str, partition: int, records: Iterable[Any]) -> None:
        """Process the records of a partition of the log or of the commands, in order."""
        for record in records:
            place = topic, partition, record.offset
            self._met.add(place)
            known = self.sent.get(place)
            if known is not None and known[0] == "poison":
                self._poison[place] = record.value
            elif topic == "crl.invocations":
                self._take_message(partition, record)

    def _take_message(self, partition: int, record: Any) -> None:
        try:
            message = json.loads(record.value or b"")
        except (ValueError, RecursionError):
            return
        if not isinstance(message, dict) or message.get("type", "invocation") not in {"invocation", "feedback"}:
            return  # a reference to a command
        key = f"{message.get('agent_name')}/{message.get('task_type')}".encode()
        if record.key != key:
            return
        if (murmur2(key) & 0x7FFFFFFF) % self.partitions != partition:
            self._misplaced.add((partition, record.offset))
            return
        headers = dict(record.headers)
        if "crl-origin-partition" in headers:
            source, offset = int(headers["crl-origin-partition"]), int(headers["crl-origin-offset"])
            self._forwarded.add((source, offset))
            if offset <= self._origins[partition].get(source, -1):
                return
            self._origins[partition][source] = offset
        if "type" not in message:  # an outcome
            known = self.sent.get(("crl.invocations", partition, record.offset))
            self._count(self._tasks[key], message, record.offset, fresh=known is not None and known[0] == "outcome")

    @staticmethod
    def _count(task: _Task, message: Mapping[str, Any], offset: int, *, fresh: bool) -> None:
        name = message["invocation_id"]
        if name in task.ids:
            return
        task.ids.append(name)
        task.again += fresh and name in task.ever
        task.ever.add(name)
        variant, success = task.variants[message["variant_id"]], message["status"] == "success"
        if message.get("role") == "shadow":
            variant.shadow += 1
            return
        variant.n += 1
        variant.successes += success
        variant.window.append((offset, success))

    # -- comparisons -------------------------------------------------------------------------------
    def compare_rows(self, rows: Mapping[bytes, bytes], findings: Findings) -> None:
        """Check that the rows agree with the recount: the same counts and windows for each variant."""
        for key, task in self._tasks.items():
            findings.outcomes += len(task.ever)
            row = decode_row(rows[key]) if key in rows else TaskRow("", "")
            for name, wanted in task.variants.items():
                found = row.variants.get(name)
                n, shadow = (found.life.n, found.shadow.n) if found is not None else (0, 0)
                for there, counted in ((n, wanted.n), (shadow, wanted.shadow)):
                    if there != counted:
                        kind = "lost" if there < counted else "doubled"
                        text = f"{key.decode()} {name}: {counted} outcomes are in the log, {there} in the row"
                        findings.complain(kind, abs(counted - there), text)
                if found is not None and n == wanted.n and found.life.successes != wanted.successes:
                    findings.complain("wrong_rows", 1, f"{key.decode()} {name}: the number of successes differs")
                if found is not None and _window(found.window) != list(wanted.window):
                    findings.complain("wrong_rows", 1, f"{key.decode()} {name}: the window differs")
        findings.forwarded += len(self._forwarded)
        if missing := self._misplaced - self._forwarded:
            findings.complain("lost", len(missing), f"misplaced, and not forwarded: {sorted(missing)[:5]}")

    def compare_sent(self, findings: Findings) -> None:
        """Check that acknowledged records are on the topics, and that each acknowledged outcome was counted."""
        if vanished := self.sent.keys() - self._met:
            findings.complain("lost", len(vanished), f"acknowledged, but not on the broker: {sorted(vanished)[:5]}")
        for what, task, name in self.sent.values():
            if what == "outcome" and name not in self._tasks[task.encode()].ever:
                findings.complain("lost", 1, f"outcome {name} of {task} was acknowledged but not counted")
        findings.forgotten += sum(task.again for task in self._tasks.values())

    def compare_letters(self, letters: Mapping[Place, set[bytes | None]], findings: Findings) -> None:
        """Check that each malformed record has one dead letter, with its bytes."""
        findings.poison += len(self._poison)
        for place, value in self._poison.items():
            found = letters.get(place, set())
            if not found:
                findings.complain("lost", 1, f"the malformed record at {place} has no dead letter")
            elif found != {value}:
                findings.complain("doubled", 1, f"the dead letters of {place} do not contain its bytes")

    def compare_answers(self, results: Iterable[bytes], findings: Findings) -> None:
        """Check that each command has one result, and that each policy has one result per partition."""
        answers: Counter[str] = Counter()
        for value in results:
            message = json.loads(value)
            if message.get("type") == "command_result":
                answers[message["command_id"]] += 1
        for what, _, name in self.sent.values():
            if what not in {"command", "policy"}:
                continue
            findings.commands += 1
            wanted = 1 if what == "command" else self.partitions
            if answers[name] != wanted:
                kind = "lost" if answers[name] < wanted else "doubled"
                text = f"{what} {name} has {answers[name]} results instead of {wanted}"
                findings.complain(kind, abs(wanted - answers[name]), text)


def _window(window: bytearray) -> list[tuple[int, bool]]:
    return [(offset, bool(flags & SUCCESS)) for offset, _, _, _, _, _, flags in OUTCOME.iter_unpack(bytes(window))]
