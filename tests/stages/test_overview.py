"""Notes in one partition become one page, exactly, wherever batches end and processes die."""

from __future__ import annotations

from typing import Any

import pytest
from builders import a_command
from core.notes import DAY, HOUR, NOON, Noted, a_proposal, a_rollback, a_standing, a_task, an_alert, at, histories
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.overview import Condition, Ledger, row_position
from crl_stream.errors import Unsafe
from crl_stream.stages.driver import Stored, TopologyDriver
from crl_stream.stages.fold import Folded
from crl_stream.stages.incidents import fold_failure_alert
from crl_stream.stages.overview import fold_notes
from crl_stream.stages.partition import PartitionRow, decode_partition, encode_partition, partition_key
from crl_stream.stages.tally import SentNotes, note_records
from crl_stream.wire.codec import decode, encode
from crl_stream.wire.records import Output
from crl_stream.wire.topics import ALERTS, DEAD_LETTERS, OVERVIEW

ROW = partition_key(0)


def log_of(history: list[Noted]) -> list[Stored]:
    return [Stored(i, noted.time, b"a/b", encode(noted.note)) for i, noted in enumerate(history)]


def last_page(outputs: list[Output]) -> bytes | None:
    pages = [output.value for output in outputs if output.topic == OVERVIEW]
    return pages[-1] if pages else None


def facts(outputs: list[Output]) -> list[Output]:
    return [output for output in outputs if output.topic != OVERVIEW]


def page_of(outputs: list[Output]) -> m.Overview:
    decoded = decode(OVERVIEW, last_page(outputs), b"overview")
    return decoded.message


class Worker:
    """Folds a log of notes; a test may cut off its writes anywhere."""

    def __init__(self) -> None:
        self.table: dict[bytes, bytes] = {}
        self.outputs: list[Output] = []

    @property
    def position(self) -> int:
        return decode_partition(self.table.get(ROW)).next_offset

    def fold(self, records: list[Stored]) -> Folded:
        return fold_notes(self.table.get(ROW), {k: v for k, v in self.table.items() if k != ROW}, records)

    def work(self, records: list[Stored], *, rows_written: int | None = None) -> None:
        folded = self.fold(records)
        self.outputs += folded.outputs
        rows = list(folded.rows.items())
        self.table.update(rows[:rows_written])
        if rows_written is None:
            self.table[ROW] = folded.partition_row


garbage = st.binary(max_size=20).map(lambda value: value or None)
mixed = st.tuples(histories, st.lists(st.tuples(st.integers(0, 60), garbage), max_size=3))


def with_garbage(history: list[Noted], bad: list[tuple[int, bytes | None]]) -> list[Stored]:
    log = log_of(history)
    for place, value in bad:
        where = place % (len(log) + 1)
        time = log[where - 1].timestamp if where else NOON
        log.insert(where, Stored(0, time, None, value))
    return [record._replace(offset=offset) for offset, record in enumerate(log)]


@settings(max_examples=150, deadline=None)
@given(mixed, st.data())
def test_where_a_batch_ends_changes_neither_rows_nor_facts_nor_the_last_page(
    given_log: tuple[list[Noted], list[tuple[int, bytes | None]]], data: st.DataObject
) -> None:
    log = with_garbage(*given_log)
    if not log:
        return
    whole, pieces = Worker(), Worker()
    whole.work(log)
    while pieces.position < len(log):
        pieces.work(log[pieces.position : data.draw(st.integers(pieces.position + 1, len(log)))])
    assert pieces.table == whole.table
    assert facts(pieces.outputs) == facts(whole.outputs)
    assert last_page(pieces.outputs) == last_page(whole.outputs)


@settings(max_examples=200, deadline=None)
@given(mixed, st.data())
def test_after_a_crash_anywhere_in_the_writes_rows_facts_and_last_page_are_the_folds(
    given_log: tuple[list[Noted], list[tuple[int, bytes | None]]], data: st.DataObject
) -> None:
    log = with_garbage(*given_log)
    if not log:
        return
    whole, torn = Worker(), Worker()
    whole.work(log)
    for _ in range(data.draw(st.integers(1, 4))):
        start = torn.position
        if start == len(log):
            break
        torn.work(log[start : data.draw(st.integers(start + 1, len(log)))], rows_written=data.draw(st.integers(0, 12)))
        if data.draw(st.booleans()):
            torn.work(log[start : data.draw(st.integers(start + 1, len(log)))])
    if torn.position < len(log):
        torn.work(log[torn.position :])
    assert torn.table == whole.table
    assert set(facts(torn.outputs)) == set(facts(whole.outputs))
    if last_page(whole.outputs) is not None:
        assert last_page(torn.outputs) == last_page(whole.outputs)


@pytest.mark.parametrize("rows_written", [0, 1, 2])
def test_a_crash_brings_nothing_back_that_a_row_had_forgotten(rows_written: int) -> None:
    """The row is ahead of the partition row and has already forgotten the first proposal."""
    told = [(a_proposal("prop-old", status="rejected"), 0), (a_proposal("prop-new", 401), 401)]
    log = log_of([Noted(note, NOON + days * DAY) for note, days in told])
    whole, torn = Worker(), Worker()
    whole.work(log)
    torn.work(log, rows_written=rows_written)
    torn.work(log[:1])
    torn.work(log[1:])
    assert torn.table == whole.table


def test_notes_that_were_folded_already_are_skipped_and_say_nothing() -> None:
    log = log_of([Noted(a_task(1), NOON), Noted(a_rollback(), NOON)])
    worker = Worker()
    worker.work(log)
    again = worker.fold(log)
    assert (again.rows, again.outputs, again.counts.skipped) == ({}, [], 2)
    assert again.partition_row == worker.table[ROW]


def test_a_page_goes_out_once_per_batch_and_only_when_it_is_another_one() -> None:
    worker = Worker()
    worker.work(log_of([Noted(a_task(n), NOON) for n in range(5)]))
    assert [output.topic for output in worker.outputs] == [OVERVIEW]
    page = page_of(worker.outputs)
    assert page.as_of.offset == 4
    told_again = Stored(5, NOON + HOUR, b"a/b", encode(a_task(4)))
    folded = worker.fold([told_again])
    assert folded.outputs == []
    assert (folded.counts.applied, folded.counts.duplicates) == (0, 1)


def test_what_cannot_be_a_note_is_a_dead_letter_with_its_bytes_and_the_fold_goes_on() -> None:
    no_such_day = encode(a_task(1, 0)).replace(b"2025-11-19T12", b"2025-02-31T12")
    too_large = encode(a_task(1)).replace(b'"offset":1', b'"offset":' + b"9" * 30)
    bad = [b"{", None, b'{"type":"weather"}', no_such_day, too_large]
    log = [Stored(i, NOON, b"k", value) for i, value in enumerate([*bad, encode(a_task(7))])]
    folded = Worker().fold(log)
    dead = [output for output in folded.outputs if output.topic == DEAD_LETTERS]
    assert [output.value for output in dead] == bad
    assert folded.counts.applied == 1
    assert page_of(folded.outputs).tasks == 1


def test_a_note_that_makes_the_fold_raise_is_put_aside_and_alerted(monkeypatch: pytest.MonkeyPatch) -> None:
    apply = Ledger.apply

    def failing(self: Ledger, note: Any, place: Any) -> Any:
        result = apply(self, note, place)
        if isinstance(note, m.ProposalNote):
            raise ZeroDivisionError
        return result

    monkeypatch.setattr(Ledger, "apply", failing)
    worker = Worker()
    worker.work(log_of([Noted(a_task(1), NOON), Noted(a_proposal(), NOON), Noted(a_task(2), NOON)]))
    page = page_of(worker.outputs)
    assert (page.tasks, page.pending_proposals) == (1, 0), "changes made by a step that raised are discarded"
    [alert] = [decode(ALERTS, o.value, o.key).message for o in worker.outputs if o.topic == ALERTS]
    assert (alert.kind, alert.cause_id) == ("fold_failure", "crl.overview-events 0:1")
    assert "crl dead-letters show 0:1 --topic crl.overview-events" in alert.text
    assert alert.position is None, "the failed record is not in the log, so the alert has no position"
    of_the_log = fold_failure_alert(b"a/b", 0, Stored(1, NOON, b"a/b", None), ZeroDivisionError(), PartitionRow())
    assert alert.alert_id != of_the_log.alert_id, "a record at the same position in the log is a separate incident"
    with pytest.raises(Unsafe):
        worker.work([Stored(i, NOON, b"a/b", encode(a_proposal(f"p{i}"))) for i in range(3, 40)])


def test_an_alert_about_the_rate_is_one_that_its_own_topic_can_read() -> None:
    log = log_of([Noted(a_rollback(f"rb-{n}", n / 10), NOON + HOUR) for n in range(4)])
    [alert, page] = Worker().fold(log).outputs
    assert (alert.topic, alert.partition, alert.key) == (ALERTS, 0, b"all tasks")
    assert decode(ALERTS, alert.value, alert.key).message.text == "High rollback rate: 4 in last 7 days"
    assert (page.topic, page.partition, page.key) == (OVERVIEW, 0, b"overview")


def test_of_two_rows_the_newer_one_is_known_by_its_place() -> None:
    worker = Worker()
    worker.work(log_of([Noted(a_task(1), NOON), Noted(an_alert(), NOON), Noted(a_task(2), NOON)]))
    places = {key: row_position(value) for key, value in worker.table.items() if key != ROW}
    assert places == {
        b"!overview": (0, 2),
        b"!agent/backend-architect": (0, 0),
        b"backend-architect/api-design": (0, 2),
    }


def test_notes_of_a_log_made_anew_are_counted_on_top_of_what_is_known() -> None:
    worker = Worker()
    worker.work(log_of([Noted(a_task(1), NOON)]))
    state = decode_partition(worker.table[ROW])
    state.next_offset, state.last_hash, state.incarnation = 0, b"", state.incarnation + 1
    worker.table[ROW] = encode_partition(state)
    worker.work(log_of([Noted(a_task(2, variants=7), NOON)]))
    assert page_of(worker.outputs).q_table_entries == 7


def test_a_note_among_ten_thousand_tasks_writes_the_totals_and_its_own_row() -> None:
    worker = Worker()
    many = [
        Noted(
            a_task(1, agent_name=f"agent-{n % 50}", task_type=f"t{n}", high_confidence=[a_standing(q=0.9 + n / 1e6)]),
            NOON,
        )
        for n in range(10_000)
    ]
    worker.work(log_of(many))
    page = page_of(worker.outputs)
    assert (page.tasks, page.agents, page.n_high_confidence, len(page.high_confidence)) == (10_000, 50, 10_000, 100)
    folded = worker.fold(
        [Stored(10_000, NOON + DAY, b"a/b", encode(a_task(2, agent_name="agent-3", task_type="t3", variants=9)))]
    )
    assert list(folded.rows) == [b"!overview", b"agent-3/t3"]
    assert sum(map(len, folded.rows.values())) < 30_000
    assert at(0) < page_of(folded.outputs).timestamp


def test_a_held_fleet_needs_attention_until_it_is_resumed() -> None:
    driver = TopologyDriver(partitions=3)
    for command, word in ((m.HoldAll, "ATTENTION NEEDED"), (m.HoldAll, "ATTENTION NEEDED"), (m.ResumeAll, "HEALTHY")):
        driver.pipe(a_command(command, actor="ada"))
        notes = [note for log in driver.topics[ALERTS] for note in note_records(ALERTS, 0, log, SentNotes())]
        worker = Worker()
        worker.work([Stored(i, NOON, note.key, note.value) for i, note in enumerate(notes)])
        page = page_of(worker.outputs)
        condition = Condition(page, NOON)
        assert condition.word == word
        if word != "HEALTHY":
            assert ["held by ada" in concern for concern in condition.concerns] == [True]
