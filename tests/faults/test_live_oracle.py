"""The oracle of the live campaign detects every kind of error: each kind is produced once and must be counted."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from source_tree import environment_of_this_checkout

from campaign.live.oracle.__main__ import FOREIGN
from campaign.live.oracle.findings import Findings
from campaign.live.oracle.folds import Folds
from campaign.live.oracle.reading import Request
from campaign.live.oracle.recount import Recount
from campaign.live.traffic import Traffic
from crl_stream.core.monitor.row import decode_row, encode_row
from crl_stream.stages.driver import Stored, TopologyDriver
from crl_stream.stages.partition import partition_key
from crl_stream.wire.topics import (
    ACTIVE_VARIANTS,
    DEAD_LETTERS,
    DECISIONS,
    INVOCATIONS,
    ROLLBACKS,
    TASKS,
    Topics,
)

PARTITIONS = 3


class Shelf(NamedTuple):
    """What the worker's own stages have written in memory, which the oracle can read as if it were a broker."""

    driver: TopologyDriver
    request: Request
    names: Topics
    ledger: list[list[Any]]

    async def portions(self, topic: str, partition: int) -> AsyncIterator[list[Any]]:
        if topic.endswith("-changelog"):
            rows = self.driver.changelog[partition].items()
            yield [Stored(offset, 0, key, value) for offset, (key, value) in enumerate(rows)]
        else:
            yield list(self.driver.topics[topic][partition])

    log = portions

    async def all(self, topic: str, partition: int) -> list[Any]:
        return list(self.driver.topics[topic][partition])


@cache
def played() -> tuple[TopologyDriver, list[list[Any]]]:
    driver, traffic = TopologyDriver(partitions=PARTITIONS), Traffic(random.Random(7), PARTITIONS, tasks=6)
    ledger = []
    for number in range(2_500):
        draft = traffic.draft()
        stored = driver.append(draft.topic, draft.value, draft.key, partition=draft.partition, headers=draft.headers)
        place = next(p for p, log in enumerate(driver.topics[draft.topic]) if log and log[-1] is stored)
        ledger.append([draft.what, draft.topic, place, stored.offset, draft.task, draft.id])
        if number % 100 == 99:
            driver._run_inlet()
            driver._work(None)
    return driver, ledger


def a_round(tmp_path: Path) -> Shelf:
    """Return what the stages have written in memory, as a fresh copy for each test."""
    driver, ledger = deepcopy(played())
    request = Request(
        bootstrap_servers="", prefix="", app_id="a", partitions=PARTITIONS, ledger=str(tmp_path / "ledger.jsonl")
    )
    return Shelf(driver, request, Topics(), ledger)


def write_ledger(shelf: Shelf) -> None:
    assert shelf.request.ledger is not None
    Path(shelf.request.ledger).write_text("\n".join(map(json.dumps, shelf.ledger)), encoding="utf-8")


async def examine(shelf: Shelf) -> Findings:
    write_ledger(shelf)
    findings = Findings()
    recount = Recount(PARTITIONS, shelf.request.ledger)
    folds = Folds(shelf, recount, findings)  # type: ignore[arg-type]
    await folds.run()
    await folds.compare()
    return findings


def log_of(shelf: Shelf, topic: str) -> list[Stored]:
    return max(shelf.driver.topics[topic], key=len)


def without_an_output(shelf: Shelf) -> None:
    log_of(shelf, ROLLBACKS).pop()


def with_a_foreign_output(shelf: Shelf) -> None:
    log = log_of(shelf, ROLLBACKS)
    log.append(log[-1]._replace(value=log[-1].value.replace(b'"reason', b'"raison')))  # type: ignore[union-attr]


def in_another_order(shelf: Shelf) -> None:
    log_of(shelf, DECISIONS).reverse()


def a_row(shelf: Shelf) -> tuple[dict[bytes, bytes], bytes]:
    rows = max(shelf.driver.changelog, key=len)
    return rows, next(key for key in rows if not key.startswith(b"!"))


def with_an_outcome_too_many(shelf: Shelf) -> None:
    rows, key = a_row(shelf)
    row = decode_row(rows[key])
    row.variants["default"].life.n += 1
    rows[key] = encode_row(row)


def with_an_outcome_missing(shelf: Shelf) -> None:
    rows, key = a_row(shelf)
    row = decode_row(rows[key])
    row.variants["default"].life.n -= 1
    rows[key] = encode_row(row)


def with_another_window(shelf: Shelf) -> None:
    rows, key = a_row(shelf)
    row = decode_row(rows[key])
    row.variants["default"].window = row.variants["default"].window[:-1] + b"\0"
    rows[key] = encode_row(row)


def without_a_row(shelf: Shelf) -> None:
    rows, key = a_row(shelf)
    del rows[key]


def with_an_older_partition_row(shelf: Shelf) -> None:
    shelf.driver.changelog[1][partition_key(1)] = shelf.driver.changelog[0][partition_key(0)]


def without_a_dead_letter(shelf: Shelf) -> None:
    log_of(shelf, DEAD_LETTERS).pop()


def with_other_bytes_in_a_dead_letter(shelf: Shelf) -> None:
    log = log_of(shelf, DEAD_LETTERS)
    log.append(log[-1]._replace(value=b"other"))


def without_an_answer(shelf: Shelf) -> None:
    log = log_of(shelf, DECISIONS)
    log.remove(next(record for record in log if b'"command_result"' in (record.value or b"")))


def with_a_second_answer(shelf: Shelf) -> None:
    log = log_of(shelf, DECISIONS)
    found = next(record for record in log if b'"command_result"' in (record.value or b""))
    log.append(found._replace(value=found.value.replace(b'"epoch":', b'"epoch":1')))  # type: ignore[union-attr]


def without_an_acknowledged_record(shelf: Shelf) -> None:
    log = log_of(shelf, INVOCATIONS)
    shelf.ledger.append(["outcome", INVOCATIONS, 0, len(log) + 5, "a/b", "i0"])


@pytest.mark.parametrize(
    ("tamper", "kinds"),
    [
        (without_an_output, {"lost"}),
        (with_a_foreign_output, {"foreign"}),
        (in_another_order, {"disordered"}),
        (with_an_outcome_too_many, {"doubled", "wrong_rows"}),
        (with_an_outcome_missing, {"lost", "wrong_rows"}),
        (with_another_window, {"wrong_rows"}),
        (without_a_row, {"lost", "wrong_rows"}),
        (with_an_older_partition_row, {"wrong_rows"}),
        (without_a_dead_letter, {"lost"}),
        (with_other_bytes_in_a_dead_letter, {"doubled", "foreign"}),
        (without_an_answer, {"lost"}),
        (with_a_second_answer, {"doubled", "foreign"}),
        (without_an_acknowledged_record, {"lost"}),
    ],
)
async def test_what_is_wrong_is_counted_as_what_it_is(
    tmp_path: Path, tamper: Callable[[Shelf], None], kinds: set[str]
) -> None:
    shelf = a_round(tmp_path)
    tamper(shelf)
    findings = await examine(shelf)
    counted = {kind: getattr(findings, kind) for kind in ("lost", "doubled", "wrong_rows", "disordered", "foreign")}
    assert {kind for kind, number in counted.items() if number} == kinds, findings.complaints
    assert not findings.is_exact


async def test_what_is_right_is_exact_and_repetitions_with_equal_bytes_are_only_counted(tmp_path: Path) -> None:
    shelf = a_round(tmp_path)
    assert (await examine(shelf)).is_exact
    log = log_of(shelf, ROLLBACKS)
    log.append(log[-1])
    findings = await examine(shelf)
    assert findings.is_exact and findings.same_id_duplicates == 1
    assert min(findings.outcomes, findings.poison, findings.commands, findings.forwarded, findings.rows) > 0


@pytest.mark.parametrize("topic", [ACTIVE_VARIANTS, TASKS])
async def test_an_old_last_record_of_a_compacted_topic_is_counted(tmp_path: Path, topic: str) -> None:
    shelf = a_round(tmp_path)
    log = log_of(shelf, topic)
    log.append(next(record for record in log if record.value != {r.key: r.value for r in log}[record.key]))
    findings = await examine(shelf)
    assert findings.stale_last == 1


def test_the_oracle_knows_neither_faust_nor_the_worker() -> None:
    program = "import sys, campaign.live.oracle.__main__; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment_of_this_checkout(),
        check=True,
    )
    known = [name for name in done.stdout.split() if any(name == f or name.startswith(f"{f}.") for f in FOREIGN)]
    assert known == []
